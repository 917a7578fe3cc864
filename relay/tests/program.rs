//! Stories of the program: how it is configured, what it prints, what it answers over HTTP, and how it dies.

#![cfg(unix)]

mod support;

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use iroh_tickets::endpoint::EndpointTicket;
use serde_json::Value;
use support::{http, http_with_head};
use sync_types::{RelayId, RelayMsg, Run};

struct Program {
    child: Child,
    ready: Value,
    _stdout: BufReader<ChildStdout>,
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-relay"));
    command.env_clear().arg("--data-dir").arg(folder);
    command.args(["--quic-bind", "127.0.0.1:0", "--http-bind", "127.0.0.1:0", "--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Program {
    fn start(folder: &Path) -> Self {
        Self::spawn(&mut command(folder))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        Self { child, ready: serde_json::from_str(&line).expect("JSON"), _stdout: stdout }
    }

    fn id(&self) -> RelayId {
        self.ready["endpoint_id"].as_str().expect("text").parse().expect("an id")
    }

    fn quic(&self) -> SocketAddr {
        self.ready["quic"].as_str().expect("text").parse().expect("an address")
    }

    fn http(&self) -> SocketAddr {
        let url = self.ready["http"].as_str().expect("text");
        url.strip_prefix("http://").expect("a URL").parse().expect("an address")
    }

    /// Sends a signal and waits; the exit code and how long it took.
    fn end(mut self, signal: &str) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
        let status = self.child.wait().expect("ends");
        (status.code(), begun.elapsed())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it where it can't start; the exit code and what it says.
fn fails(folder: &Path, change: impl FnOnce(&mut Command)) -> (Option<i32>, String) {
    let mut command = command(folder);
    change(&mut command);
    let output = command.output().expect("runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

#[tokio::test]
async fn it_says_when_it_is_ready_and_where() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let program = Program::start(folder.path());
    let ready = &program.ready;
    assert_eq!(ready["ready"], true);
    let id = ready["endpoint_id"].as_str().expect("text");
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()));
    let quic = program.quic();
    let ticket: EndpointTicket = ready["ticket"].as_str().expect("text").parse().expect("a ticket");
    assert_eq!(ticket.endpoint_addr().id.to_string(), id);
    assert!(ticket.endpoint_addr().ip_addrs().eq([&quic]));

    let (status, body) = http(program.http(), "GET", "/.well-known/0k-sync", &[], "").await;
    let document: Value = serde_json::from_str(&body).expect("JSON");
    let expected = serde_json::json!({
        "version": 1, "relay_id": id, "quic": [quic.to_string()], "iroh_relay": null
    });
    assert_eq!((status, document), (200, expected));
}

#[tokio::test]
async fn it_stops_in_time_and_comes_back_as_the_same_relay() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut ids = Vec::new();
    for signal in ["-TERM", "-INT", "-KILL"] {
        let program = Program::start(folder.path());
        ids.push(program.ready["endpoint_id"].clone());
        let (code, took) = program.end(signal);
        assert!(took < Duration::from_secs(2), "{signal}: {took:?}");
        assert_eq!(code, if signal == "-KILL" { None } else { Some(0) }, "{signal}");
    }
    ids.push(Program::start(folder.path()).ready["endpoint_id"].clone());
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn what_was_acknowledged_survives_being_killed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (device, group) = (support::Device::new().await, support::Group::new(1));
    let mut acked = Vec::new();
    for round in 0..3 {
        let program = Program::start(folder.path());
        let mut line = device.session_with(program.id(), program.quic(), &group).await;
        for n in 0..200 {
            line.begin_push(&support::envelope(device.id(), round * 1_000 + n)).await;
        }
        // Killed with pushes on every stage of their way.
        let before = acked.len();
        while acked.len() < before + 50 {
            match line.hear().await {
                Some(RelayMsg::PushAck(ack)) => acked.push(ack),
                // Of its own rows, where the log is a step ahead of what the relay remembers of the session.
                Some(RelayMsg::Notify(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        program.end("-KILL");
    }
    let program = Program::start(folder.path());
    let mut line = device.session_with(program.id(), program.quic(), &group).await;
    let mut log = Vec::new();
    let mut run = Run::START;
    loop {
        let page = line.pull(log.len() as u64, run, 1_000).await;
        for row in &page.rows.0 {
            run = run.then(&support::row_id(row));
            log.push((support::row_id(row), run));
        }
        if log.len() as u64 == page.max_cursor.get() {
            break;
        }
    }
    for ack in acked {
        let place = usize::try_from(ack.cursor.get() - 1).expect("fits");
        assert_eq!(log.get(place), Some(&(ack.blob_id, ack.run)));
    }
}

#[test]
fn a_second_relay_on_the_same_folder_is_refused_and_told_whose_it_is() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let program = Program::start(folder.path());
    let (code, text) = fails(folder.path(), |_| {});
    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("process {}", program.child.id())), "{text}");
}

#[test]
fn what_is_configured_wrongly_is_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("relay.toml");
    let config = |text: &str| {
        std::fs::write(&file, text).expect("written");
        fails(folder.path(), |command| {
            command.arg("--config").arg(&file);
        })
    };
    let (code, text) = config("[limits]\nmesages_per_minute = 5");
    assert!(code == Some(2) && text.contains("`limits.mesages_per_minute`"), "{text}");
    let (code, text) = config("[storage]\nmax_groups = \"many\"");
    assert!(code == Some(2) && text.contains("`storage.max_groups`"), "{text}");

    let (code, text) = fails(folder.path(), |command| {
        command.env("SYNC_RELAY_LIMITS_MESSAGES_BURST", "lots");
    });
    assert!(code == Some(2) && text.contains("SYNC_RELAY_LIMITS_MESSAGES_BURST"), "{text}");
    let (code, text) = fails(folder.path(), |command| {
        command.args(["--cleanup-interval", "never"]);
    });
    assert!(code == Some(2) && text.contains("--cleanup-interval"), "{text}");
    let (code, text) = fails(folder.path(), |command| {
        command.args(["--config", "/nonexistent/relay.toml"]);
    });
    assert!(code == Some(2) && text.contains("--config"), "{text}");
}

#[test]
fn what_is_not_text_is_named_if_it_is_meant_for_the_relay() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let no_text = OsStr::from_bytes(&[0xFF]);
    let mut help = command(folder.path());
    assert_eq!(help.arg("--help").env("LESSCHARSET", no_text).output().expect("runs").status.code(), Some(0));
    let (code, error) = fails(folder.path(), |command| {
        command.env("SYNC_RELAY_SERVER_PUBLIC_ADDR", no_text);
    });
    assert_eq!(code, Some(2));
    assert!(error.contains("SYNC_RELAY_SERVER_PUBLIC_ADDR must be UTF-8"), "{error}");
    let (code, error) = fails(folder.path(), |command| {
        command.arg("--server-public-addr").arg(no_text);
    });
    assert_eq!(code, Some(2));
    assert!(error.contains("UTF-8"), "{error}");
}

#[test]
fn what_it_cannot_use_is_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = taken.local_addr().expect("bound").to_string();
    let (code, text) = fails(folder.path(), |command| {
        command.args(["--server-http-bind", &address]);
    });
    assert!(code == Some(2) && text.contains("--server-http-bind"), "given twice: {text}");

    let file = folder.path().join("not-a-folder");
    std::fs::write(&file, "").expect("written");
    let (code, text) = fails(&file, |_| {});
    assert!(code == Some(1) && text.contains("storage.data_dir"), "{text}");

    std::fs::write(folder.path().join("relay.db"), [9; 4_096]).expect("written");
    let (code, text) = fails(folder.path(), |_| {});
    assert!(code == Some(1) && text.contains("the database is damaged"), "{text}");
}

#[tokio::test]
async fn operators_can_watch_it() {
    let relay = support::Running::start().await;
    let (status, head, body) = http_with_head(relay.http, "GET", "/health", &[], "").await;
    assert_eq!(status, 200);
    assert!(head.to_lowercase().contains("content-type: application/json"));
    let health: Value = serde_json::from_str(&body).expect("JSON");
    let fields: Vec<_> = health.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(fields, ["blobs_stored", "connections", "groups", "status", "uptime_seconds", "version"]);
    assert_eq!(health["status"], "ok");

    let (device, group) = (support::Device::new().await, support::Group::new(1));
    let mut line = device.session(&relay, &group).await;
    let blob = support::envelope(device.id(), 1);
    line.push(&blob).await;
    line.get(blob.blob_id()).await.expect("kept");
    let (_, text) = http(relay.http, "GET", "/metrics", &[], "").await;
    let value = |name: &str| {
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        line.and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or_else(|| panic!("{name} in {text}"))
    };
    for (name, expected) in [
        ("sync_relay_connections_total", 1),
        ("sync_relay_connections_active", 1),
        ("sync_relay_blobs_stored", 1),
        ("sync_relay_blobs_delivered", 1),
        ("sync_relay_groups", 1),
    ] {
        assert_eq!(value(name), expected, "{name}");
    }
    assert!(value("sync_relay_bytes_transferred") > 800);
}

#[tokio::test]
async fn its_public_address_is_the_configured_one_or_the_one_asked() {
    let relay =
        support::Running::with(|config| config.server.public_addr = Some("relay.example:443".parse().expect("valid")))
            .await;
    let (_, body) = http(relay.http, "GET", "/.well-known/0k-sync", &[], "").await;
    assert!(body.contains("[\"relay.example:443\"]"), "{body}");

    let relay = support::Running::with(|config| config.server.quic_bind = "0.0.0.0:0".parse().expect("valid")).await;
    for (host, said) in [("relay.example:8080", "relay.example"), ("[2001:db8::1]:80", "[2001:db8::1]")] {
        let (_, body) = http(relay.http, "GET", "/.well-known/0k-sync", &[("Host", host)], "").await;
        assert!(body.contains(&format!("[\"{said}:{}\"]", relay.quic.port())), "{body}");
    }
}

#[tokio::test]
async fn only_its_owner_reads_what_it_keeps() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let program = Program::start(&folder.path().join("made"));
    let (device, group) = (support::Device::new().await, support::Group::new(1));
    let mut line = device.session_with(program.id(), program.quic(), &group).await;
    line.push(&support::envelope(device.id(), 1)).await;
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("made")), 0o700);
    let files: Vec<_> = std::fs::read_dir(folder.path().join("made")).expect("there").collect();
    let files: Vec<_> = files.into_iter().map(|file| file.expect("there").path()).collect();
    for name in ["identity.key", "relay.lock", "relay.db", "relay.db-wal", "relay.db-shm"] {
        assert!(files.iter().any(|path| path.ends_with(name)), "{name}");
    }
    for path in files {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn a_proxy_it_does_not_know_of_is_worth_one_warning() {
    let no_address = ["--server-trusted-proxy-header", "Forwarded"];
    for (flags, header) in
        [(&[][..], ("X-Forwarded-For", "198.51.100.1")), (&no_address, ("Forwarded", "for=198.51.100.1"))]
    {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("log");
        let mut command = command(folder.path());
        command.args(flags).stderr(std::fs::File::create(&path).expect("created"));
        let program = Program::spawn(&mut command);
        for _ in 0..3 {
            let headers = [("Authorization", "Bearer 00"), header];
            http(program.http(), "GET", "/invite/00000000", &headers, "").await;
        }
        assert_eq!(program.end("-TERM").0, Some(0));
        let log = std::fs::read_to_string(&path).expect("UTF-8");
        assert_eq!(log.matches("server.trusted_proxy_header").count(), 1, "{log}");
        assert!(!log.contains("198.51.100.1"), "{log}");
    }
}

#[tokio::test]
async fn its_log_names_no_key_no_invite_and_no_group() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("log");
    let mut command = command(folder.path());
    command
        .args(["--log", "trace", "--server-join-page", "true"])
        .stderr(std::fs::File::create(&path).expect("created"));
    let program = Program::spawn(&mut command);

    let token = ("Authorization", "Bearer c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1");
    let body = r#"{"name":"CANARY12","message":"Q0FOQVJZ"}"#;
    assert_eq!(http(program.http(), "POST", "/invite", &[token], body).await.0, 200);
    assert_eq!(http(program.http(), "GET", "/invite/CANARY12", &[token], "").await.0, 200);
    assert_eq!(http(program.http(), "GET", "/join?CANARY12", &[], "").await.0, 200);
    let (device, group) = (support::Device::new().await, support::Group::new(1));
    let mut line = device.session_with(program.id(), program.quic(), &group).await;
    let blob = support::envelope(device.id(), 1);
    line.push(&blob).await;
    assert_eq!(program.end("-TERM").0, Some(0));

    let log = std::fs::read_to_string(&path).expect("UTF-8");
    for event in ["session opened", "session ended", "stopped"] {
        assert!(log.contains(event), "{event}: the log is one of this run");
    }
    let key = std::fs::read_to_string(folder.path().join("identity.key")).expect("there");
    let (group, blob) = (group.id().to_string(), blob.blob_id().to_string());
    for secret in ["CANARY12", "c1c1c1c1", "Q0FOQVJZ", key.trim(), &group, &blob, "ZZZZZZZZ"] {
        assert!(!log.contains(secret), "{secret}");
    }
}
