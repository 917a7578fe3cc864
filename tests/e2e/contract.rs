//! The words that other people's scripts depend on, field by field.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use serde_json::Value;
use sync_tests::{Binary, Device, Relay, Scratch, paired, pairing, refusal_to_start, workspace_root};

const SOON: Duration = Duration::from_secs(10);

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

fn assert_keys(value: &Value, expected: &[&str]) {
    assert_eq!(keys(value), expected.iter().copied().collect(), "{value}");
}

#[test]
fn a_relay_says_when_it_is_ready_and_how_it_is() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    assert_eq!(relay.id().len(), 64);
    assert!(relay.quic().starts_with("127.0.0.1:") && relay.url().starts_with("http://127.0.0.1:"));
    assert!(relay.ticket().starts_with("endpoint"));
    let health = relay.health();
    assert_keys(&health, &["status", "version", "connections", "groups", "blobs_stored", "uptime_seconds"]);
    let document: Value = serde_json::from_str(&relay.get("/.well-known/0k-sync")).expect("JSON");
    assert_keys(&document, &["version", "relay_id", "quic", "iroh_relay"]);
    assert_eq!((&document["version"], &document["relay_id"]), (&1.into(), &relay.id().into()));
    assert_eq!(document["quic"][0], relay.quic());
    let metrics = relay.get("/metrics");
    for name in ["connections_total", "connections_active", "blobs_stored", "blobs_delivered", "bytes_transferred"] {
        assert!(metrics.contains(&format!("# TYPE sync_relay_{name} ")), "no {name} in:\n{metrics}");
    }
}

#[test]
fn every_answer_has_the_fields_it_promises() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let phone = Device::new(&scratch, "phone", relay.url());
    let laptop = Device::new(&scratch, "laptop", relay.url());
    let (created, joined) = pairing(&phone, &laptop);
    assert_keys(&created[0], &["code", "link", "expires_at"]);
    let code = created[0]["code"].as_str().expect("a code");
    assert!(code.len() == 19 && code.split('-').all(|part| part.len() == 4), "the form of a code");
    assert!(created[0]["link"].as_str().is_some_and(|link| link.starts_with("zerok://join#")), "the form of a link");
    assert!(
        created[0]["expires_at"].as_u64().is_some_and(|seconds| (1_600_000_000..10_000_000_000).contains(&seconds))
    );
    assert_keys(&created[1]["confirm"], &["digits", "name", "platform"]);
    assert_keys(&created[2]["joined"], &["device_id", "name"]);
    assert_eq!((created.len(), joined.len()), (3, 2));
    assert_keys(&joined[0]["confirm"], &["digits", "name", "platform"]);
    assert_keys(&joined[1], &["group_id", "device_id"]);

    let pushed = phone.run(&["push", "text", "--wait", "all", "--ttl", "3600"]).only_line();
    assert_keys(&pushed, &["push_id", "cursor", "state"]);
    let pulled = laptop.run(&["pull"]).only_line();
    assert_keys(&pulled, &["cursor", "push_id", "blob_id", "sender", "own", "time_ms", "text"]);
    assert!(pulled["time_ms"].as_u64().is_some_and(|ms| ms > 1_600_000_000_000));
    let file = scratch.file("bytes", [0xff, 0xfe]);
    phone.run(&["push", "--file", file.to_str().expect("UTF-8"), "--wait", "all"]).ok();
    let pulled = laptop.run(&["pull", "--after-cursor", "1"]).only_line();
    assert_keys(&pulled, &["cursor", "push_id", "blob_id", "sender", "own", "time_ms", "data"]);

    let status = phone.status();
    let promised = ["badge", "connection", "pending", "parked", "last_cursor", "head_cursor", "relays"];
    assert!(promised.iter().all(|key| keys(&status).contains(key)), "{status}");
    assert_eq!(status["relays"].as_array().map(Vec::len), Some(1));
    let devices = phone.run(&["devices"]).ok();
    let id = devices[0]["device_id"].as_str().expect("an id").to_owned();
    let renamed = phone.run(&["rename-device", &id, "desk"]).only_line();
    assert_keys(&renamed, &["renamed"]);
    assert_keys(&renamed["renamed"], &["device_id", "name"]);
    for device in devices {
        assert_keys(
            &device,
            &[
                "device_id",
                "name",
                "platform",
                "joined_by",
                "copy_of",
                "joined_at",
                "online",
                "last_seen",
                "received_up_to",
                "applied_up_to",
                "behind",
                "lost",
                "this",
            ],
        );
    }
}

#[test]
fn every_kind_of_failure_has_its_exit_code() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let nobody = Device::uninitialised(&scratch, "nobody", "warn");
    assert_eq!(nobody.run(&["push", "x"]).error(), ("no_profile", 2));
    assert_eq!(nobody.run(&["push"]).error(), ("invalid_argument", 2));
    assert_eq!(nobody.run(&["pusj"]).error(), ("invalid_argument", 2));
    let init = ["init", "--name", "x", "--secrets", "file", "--relay"];
    assert_eq!(nobody.run(&[&init[..], &["nowhere"]].concat()).error(), ("relay_unknown", 2));

    let device = Device::new(&scratch, "device", relay.url());
    assert_eq!(device.run(&[&init[..], &[relay.url()]].concat()).error(), ("profile_exists", 2));
    for command in [&["push", "x"][..], &["pull"], &["sync"], &["watch"], &["devices"], &["ack", "1"]] {
        assert_eq!(device.run(command).error(), ("no_group", 3), "{command:?}");
    }

    let (phone, _laptop) = paired(&scratch, relay.url());
    relay.kill();
    assert_eq!(phone.run(&["sync", "--timeout", "1"]).error().1, 4);
}

#[test]
fn a_profile_in_use_names_its_holder_at_once() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, _laptop) = paired(&scratch, relay.url());
    let mut watch = phone.spawn(&["watch", "--lines"]);
    watch.say("ready");
    watch.expect("it runs", SOON);
    let start = Instant::now();
    let refused = phone.run(&["push", "x"]);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(refused.error(), ("profile_in_use", 9));
    let message = refused.lines[0]["error"]["message"].as_str().expect("a message");
    assert!(message.contains(&watch.id().to_string()), "{message} names {}", watch.id());
    watch.say("unharmed");
    assert_eq!(watch.expect("it goes on", SOON)["text"], "unharmed");
}

#[test]
fn a_relay_names_the_setting_it_does_not_like() {
    struct Wrong {
        config: &'static str,
        flags: &'static [&'static str],
        env: &'static [(&'static str, &'static str)],
        named: &'static str,
    }
    let fine = Wrong { config: "", flags: &[], env: &[], named: "" };
    let cases = [
        Wrong { config: "[server]\nquick_bind = \"127.0.0.1:1\"\n", named: "quick_bind", ..fine },
        Wrong { config: "[limits]\nmessages_per_minute = \"many\"\n", named: "messages_per_minute", ..fine },
        Wrong { config: "[servers]\n", named: "servers", ..fine },
        Wrong { flags: &["--cleanup-interval", "soon"], named: "--cleanup-interval", ..fine },
        Wrong { env: &[("SYNC_RELAY_STORAGE_MAX_GROUPS", "few")], named: "SYNC_RELAY_STORAGE_MAX_GROUPS", ..fine },
    ];
    let scratch = Scratch::new();
    for Wrong { config, flags, env, named } in cases {
        let config = scratch.file("relay.toml", config);
        let said = refusal_to_start(&scratch, "wrong", &config, flags, env);
        assert!(said.contains(named), "{named}: {said}");
    }
}

#[test]
fn the_readme_lists_the_settings_there_are_with_their_defaults() {
    let help = Binary::Relay.command().arg("--help").output().expect("it runs").stdout;
    let help = String::from_utf8(help).expect("it speaks UTF-8");
    let readme = fs::read_to_string(workspace_root().join("README.md")).expect("there is a README");
    let table = readme.lines().skip_while(|line| !line.starts_with("| setting | default |")).skip(2);
    let rows = table.map_while(|line| line.strip_prefix("| `"));
    let rows: Vec<(&str, &str)> = rows.filter_map(|row| row.split_once("` | ")).collect();
    assert!(rows.len() > 15, "the table is read: {rows:?}");
    for (setting, rest) in rows {
        let default = rest.split(" |").next().unwrap_or_default().trim_matches('`');
        let flag = format!("--{} ", setting.replace(['.', '_'], "-"));
        let (_, entry) = help.split_once(&flag).unwrap_or_else(|| panic!("the help has no {flag}"));
        let entry = entry.split("\n      --").next().unwrap_or_default();
        assert!(entry.contains(&format!("[default: {default}]")), "{setting} is {default}, the help says{entry}");
    }
}
