//! A relay as a process, that can be killed and started again at the same addresses.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;

use crate::{Binary, Process, Scratch, SmallDisk};

const START_MAX: Duration = Duration::from_secs(20);

/// What is special about a relay. The default is a relay as it comes.
#[derive(Clone, Copy, Debug)]
pub struct RelaySetup<'a> {
    /// Tells the relays of one story apart.
    pub name: &'a str,
    /// `relay.toml`.
    pub config: &'a str,
    /// What it logs, as `RUST_LOG` has it.
    pub log: &'a str,
    /// The disk its data is on, where that is not the one of the story.
    pub disk: Option<&'a SmallDisk>,
    /// The address it listens at.
    pub host: &'a str,
    /// What starts it, where it doesn't run like any other.
    pub entrance: &'a [String],
}

impl Default for RelaySetup<'_> {
    fn default() -> Self {
        Self { name: "relay", config: "", log: "info", disk: None, host: "127.0.0.1", entrance: &[] }
    }
}

/// A relay. Dropping it kills it.
#[derive(Debug)]
pub struct Relay {
    name: String,
    folder: PathBuf,
    data: PathBuf,
    entrance: Vec<String>,
    log: String,
    process: Option<Process>,
    ready: Value,
}

impl Relay {
    /// A relay as it comes, on free ports of loopback.
    pub fn start(scratch: &Scratch) -> Self {
        Self::start_with(scratch, RelaySetup::default())
    }

    /// A relay set up like this, on free ports of loopback.
    pub fn start_with(scratch: &Scratch, setup: RelaySetup<'_>) -> Self {
        let folder = scratch.path().join(setup.name);
        fs::create_dir(&folder).expect("one relay a name");
        fs::write(folder.join("relay.toml"), setup.config).expect("the scratch folder is writable");
        let data = setup.disk.map_or_else(|| folder.join("data"), |disk| disk.place().join("data"));
        let mut entrance = setup.disk.map_or_else(Vec::new, SmallDisk::entrance);
        entrance.extend_from_slice(setup.entrance);
        let mut relay = Self {
            name: setup.name.to_owned(),
            folder,
            data,
            entrance,
            log: setup.log.to_owned(),
            process: None,
            ready: Value::Null,
        };
        let any = format!("{}:0", setup.host);
        relay.run(any.clone(), any);
        relay
    }

    /// Has other settings, from its next start on.
    pub fn configure(&self, config: &str) {
        fs::write(self.folder.join("relay.toml"), config).expect("the scratch folder is writable");
    }

    /// Tries to start it again where it was, which should fail: what it says about that.
    ///
    /// # Panics
    /// If it starts.
    pub fn refuses_to_restart(&self) -> String {
        assert!(self.process.is_none(), "it still runs");
        let said = self.folder.join("refusal.log");
        let mut process = Process::spawn(&self.name, self.command(self.quic(), self.http_addr()), &said);
        let (status, lines) = process.finish(START_MAX);
        assert!(!status.success() && lines.is_empty(), "it should not have started: {lines:?}");
        let refusal = process.stderr();
        fs::remove_file(&said).expect("the scratch folder is writable");
        refusal
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "it still runs");
        let http = self.http_addr().to_owned();
        self.run(self.quic().to_owned(), http);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// SIGTERM, and waits until it is gone.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.signal(rustix::process::Signal::TERM);
        let (status, _) = process.finish(Duration::from_secs(10));
        assert!(status.success(), "a relay that is asked to stop ends well: {status}");
    }

    /// Loses everything but its identity: the database is gone.
    pub fn wipe(&mut self) {
        assert!(self.process.is_none(), "it still runs");
        for entry in fs::read_dir(self.data()).expect("it has run") {
            let path = entry.expect("the folder is readable").path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().contains(".db")) {
                fs::remove_file(path).expect("the folder is writable");
            }
        }
    }

    /// The running process.
    ///
    /// # Panics
    /// If it doesn't run.
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// Its `http://` address, a way for a client to name it.
    pub fn url(&self) -> &str {
        self.said("http")
    }

    /// Its iroh ticket, another way.
    pub fn ticket(&self) -> &str {
        self.said("ticket")
    }

    /// `id@host:port`, the third.
    pub fn id_at_addr(&self) -> String {
        format!("{}@{}", self.id(), self.quic())
    }

    /// Its identity.
    pub fn id(&self) -> &str {
        self.said("endpoint_id")
    }

    /// Where its QUIC side listens.
    pub fn quic(&self) -> &str {
        self.said("quic")
    }

    /// Everything it keeps.
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// What it wrote to standard error, over all restarts.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("stderr.log")
    }

    /// `GET /health`.
    pub fn health(&self) -> Value {
        serde_json::from_str(&self.get("/health")).expect("health is JSON")
    }

    /// The body of a `GET` that succeeds.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.http_addr()).expect("the relay's HTTP side is there");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http_addr())
            .expect("the relay reads its requests");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the relay answers in UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP has a head and a body");
        assert!(head.starts_with("HTTP/1.1 200"), "GET {path}: {head}");
        body.to_owned()
    }

    fn http_addr(&self) -> &str {
        self.url().strip_prefix("http://").expect("the contract says http://")
    }

    fn said(&self, field: &str) -> &str {
        self.ready[field].as_str().unwrap_or_else(|| panic!("the ready line has no {field}: {}", self.ready))
    }

    fn command(&self, quic: &str, http: &str) -> Command {
        let mut command = Binary::Relay.command_within(&self.entrance);
        command.arg("--data-dir").arg(self.data()).arg("--config").arg(self.folder.join("relay.toml"));
        command.args(["--quic-bind", quic, "--http-bind", http, "--json"]).env("RUST_LOG", &self.log);
        command
    }

    fn run(&mut self, quic: String, http: String) {
        let command = self.command(&quic, &http);
        let mut process = Process::spawn(&self.name, command, &self.log_file());
        self.ready = process.expect("its ready line", START_MAX);
        assert_eq!(self.ready["ready"], true, "{}", self.ready);
        self.process = Some(process);
    }
}

/// Runs a relay that should refuse to start: what it says about it.
///
/// # Panics
/// If it starts, or takes longer than a moment to refuse.
pub fn refusal_to_start(scratch: &Scratch, name: &str, config: &Path, args: &[&str], env: &[(&str, &str)]) -> String {
    let log = scratch.path().join(format!("{name}.log"));
    let mut command = Binary::Relay.command();
    command.arg("--data-dir").arg(scratch.path().join(name)).arg("--config").arg(config);
    command.args(["--quic-bind", "127.0.0.1:0", "--http-bind", "127.0.0.1:0", "--json"]).args(args);
    command.envs(env.iter().copied());
    let mut process = Process::spawn(name, command, &log);
    let (status, said) = process.finish(Duration::from_secs(10));
    assert!(!status.success() && said.is_empty(), "{name} should not have started: {said:?}");
    let said = process.stderr();
    fs::remove_file(&log).expect("the scratch folder is writable");
    said
}
