//! Nothing readable outside: words are planted where people put them, and looked for everywhere else.
//!
//! Everything runs at the most talkative log level, and the search is proven to find what is there: in a planted
//! file, and in the relay's memory, which does know the devices' public ids.

mod errors;
mod memory;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use sync_tests::{
    Device, Relay, RelaySetup, Scratch,
    canary::{Search, files},
};

const STEP_MAX: Duration = Duration::from_secs(60);
const PAYLOAD: &str = "canary-payload-Zebrafink-4711";
const LINE: &str = "canary-line-Girlitz-4712";
const FILE: &[u8] = b"canary-file-Stieglitz-4713 \xff\xfe binary";
const STATE: &str = "canary-state-Bergfink-4714";
const PHONE: &str = "canary-device-Kanarienvogel";
const LAPTOP: &str = "canary-device-Gimpel";
const RENAMED: &str = "canary-device-Seidenschwanz";
const PASSPHRASE: &str = "canary Zilpzalp, Wiedehopf & Mauersegler 8214";
const APP: &str = "canary.app.Kreuzschnabel";

#[test]
fn nothing_readable_is_left_anywhere() {
    let scratch = Scratch::new();
    let relay = Relay::start_with(&scratch, RelaySetup { log: "trace", ..RelaySetup::default() });
    let story = Story::told(&scratch, &relay);
    let (phone, laptop, tablet) = (&story.phone, &story.laptop, &story.tablet);

    let mut search = Search::default();
    search.plant("payload", PAYLOAD.as_bytes());
    search.plant("line", LINE.as_bytes());
    search.plant("file", FILE);
    search.plant("snapshot", STATE.as_bytes());
    for device in [phone, laptop, tablet] {
        plant_secrets(&mut search, device);
    }
    search.plant("passphrase", PASSPHRASE.as_bytes());
    plant_kit(&mut search, &story.kit);
    search.proves();

    // The keys lie in the profile, in their file and nowhere else.
    let in_profiles = search.find(&[phone.profile(), laptop.profile(), tablet.profile()]);
    let is_a_key = |(name, path): &&(String, PathBuf)| name.starts_with("secrets") && path.ends_with("secrets.key");
    let elsewhere: Vec<_> = in_profiles.iter().filter(|found| !is_a_key(found)).collect();
    assert!(elsewhere.is_empty(), "readable in a profile: {elsewhere:#?}");

    // What only the members may know, and what only the two people may.
    search.plant("group id", &story.group_id);
    for name in [PHONE, LAPTOP, RENAMED, APP] {
        search.plant("name", name.as_bytes());
    }
    plant_code(&mut search, &story.code);
    let logs = [phone.log_file(), laptop.log_file(), tablet.log_file(), &relay.log_file()];
    let answers = scratch.file("answers", format!("{}\n{}", relay.get("/metrics"), relay.get("/health")));
    let found = search.find(&[&relay.data(), &answers, logs[0], logs[1], logs[2], logs[3]]);
    assert!(found.is_empty(), "readable outside: {found:#?}");
    let in_memory = search.find_in_memory(relay.process().id());
    assert!(in_memory.is_empty(), "readable in the relay's memory: {in_memory:#?}");

    assert_searched_what_there_is(&story, &relay, &logs);
}

/// Any sixteen bytes of the stored secrets.
fn plant_secrets(search: &mut Search, device: &Device) {
    let secrets = fs::read(device.profile().join("secrets.key")).expect("the secrets are in a file");
    let windows = secrets.chunks_exact(16).skip(1);
    windows.enumerate().for_each(|(number, window)| search.plant(&format!("secrets, part {number}"), window));
}

/// A code, however it may be written.
fn plant_code(search: &mut Search, code: &str) {
    for code in [code.to_owned(), code.to_lowercase()] {
        search.plant("code", code.as_bytes());
        search.plant("code without hyphens", code.replace('-', "").as_bytes());
        search.plant("the code's second half", &code.as_bytes()[10..]);
        search.plant("the code's second half without hyphens", code[10..].replace('-', "").as_bytes());
    }
}

/// A kit's page and its code, however they may be written, and what the code is a text of.
fn plant_kit(search: &mut Search, [text, code]: &[String; 2]) {
    let letters = text.rsplit(':').next().expect("a text has letters");
    for part in letters.as_bytes().chunks_exact(16) {
        search.plant("a part of a kit's page", part);
    }
    for code in [code.clone(), code.to_lowercase()] {
        search.plant("a kit's code", code.as_bytes());
        search.plant("a kit's code without hyphens", code.replace('-', "").as_bytes());
        search.plant("half of a kit's code", &code.as_bytes()[15..]);
    }
    let bits: String = code
        .chars()
        .filter(|letter| *letter != '-')
        .map(|letter| {
            let value = "0123456789ABCDEFGHJKMNPQRSTVWXYZ".find(letter).expect("a code is of these letters");
            format!("{value:05b}")
        })
        .collect();
    let byte = |bits: &[u8]| u8::from_str_radix(std::str::from_utf8(bits).expect("ASCII"), 2).expect("bits");
    let bytes: Vec<u8> = bits.as_bytes().chunks_exact(8).take(16).map(byte).collect();
    search.plant("what a kit's code is a text of", &bytes);
}

/// An empty place holds no canary either.
fn assert_searched_what_there_is(story: &Story, relay: &Relay, logs: &[&Path]) {
    for (log, ours) in logs.iter().zip(["sync_client", "sync_client", "sync_client", "sync_relay"]) {
        let text = String::from_utf8_lossy(&fs::read(log).expect("a log is there")).into_owned();
        for level in ["TRACE", "DEBUG"] {
            assert!(text.contains(level), "{} was not at its most talkative", log.display());
        }
        assert!(text.contains(ours), "{} holds nothing of {ours}", log.display());
    }
    let mut public = Search::default();
    public.plant("device id", &story.device_id);
    let stored: Vec<_> = public.find(&[&relay.data()]);
    assert!(!stored.is_empty(), "the relay stores envelopes, which name their sender, in {:?}", files(&relay.data()));
    assert!(!public.find_in_memory(relay.process().id()).is_empty(), "the relay's memory was searched");
}

struct Story {
    phone: Device,
    laptop: Device,
    /// Came back by a recovery kit.
    tablet: Device,
    code: String,
    /// The text of the kit's page, and its code.
    kit: [String; 2],
    group_id: Vec<u8>,
    device_id: Vec<u8>,
}

impl Story {
    /// Two devices pair and push, and one of them reads. Their group began with a passphrase.
    fn told(scratch: &Scratch, relay: &Relay) -> Self {
        let device = |folder: &str, name: &str, more: &[&str]| {
            let device = Device::uninitialised(scratch, folder, "trace");
            let init = ["init", "--name", name, "--relay", relay.url(), "--app", APP, "--secrets", "file"];
            device.run(&[&init[..], more].concat()).ok();
            device
        };
        let passphrase = scratch.file("passphrase", PASSPHRASE);
        let from_passphrase = ["--passphrase-file", passphrase.to_str().expect("UTF-8")];
        let (phone, laptop) = (device("phone", PHONE, &from_passphrase), device("laptop", LAPTOP, &[]));
        let mut create = phone.spawn(&["pair", "--create", "--yes"]);
        let code = create.expect("the code", STEP_MAX)["code"].as_str().map(str::to_owned).expect("a code");
        let joined = laptop.run(&["pair", "--join", &code, "--yes"]).ok().pop().expect("an answer");
        assert!(create.finish(STEP_MAX).0.success());
        let bytes = |field: &str| {
            let hex = joined[field].as_str().expect("an id");
            data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("hex")
        };
        let (group_id, device_id) = (bytes("group_id"), bytes("device_id"));

        phone.push(PAYLOAD);
        let file = scratch.file("picture", FILE);
        phone.run(&["push", "--file", file.to_str().expect("UTF-8")]).ok();
        laptop.run_with_input(&["push", "--lines", "--wait", "all"], &[LINE, LINE]).ok();
        phone.sync();
        assert_eq!(laptop.pull_after(0).len(), 4);
        assert_eq!(laptop.run(&["devices"]).ok().len(), 2);
        let id = joined["device_id"].as_str().expect("an id");
        phone.run(&["rename-device", id, RENAMED]).ok();
        laptop.sync();
        assert!(laptop.run(&["devices"]).ok().iter().any(|device| device["name"] == RENAMED));
        laptop.status();
        laptop.run(&["ack", "4"]).ok();
        let state = scratch.file("state", STATE);
        let published = laptop.run(&["snapshot", "publish", state.to_str().expect("UTF-8")]).only_line();
        assert_eq!(published["on_a_relay"], true);
        let exported = phone.run(&["export-kit"]).only_line();
        let kit = ["text", "code"].map(|field| exported["kit"][field].as_str().expect("text").to_owned());
        let tablet = device("tablet", PHONE, &[]);
        tablet.run_with_input(&["import-kit", "-"], &[&kit[0], &kit[1]]).only_line();
        assert_eq!(tablet.pull_after(0).len(), 4);
        Self { phone, laptop, tablet, code, kit, group_id, device_id }
    }
}
