//! `cargo xtask demo`: a relay and two devices, in a terminal one can follow.
//!
//! Everything shown is done by the real programs and read from what they say; every claim is checked before it is
//! made, and the demo fails where one does not hold.

mod stage;

use std::{fs, path::Path, time::Duration};

use serde_json::Value;
use stage::{Actor, scene};
use sync_tests::{
    Blob, Device, Process, Relay, Scratch,
    canary::{Search, files},
};

use Actor::{Laptop, Phone, Stage};

const SOON: Duration = Duration::from_secs(30);
const SECRET: &str = "milk, bread, and the surprise party on friday";

fn main() {
    let scratch = Scratch::new();
    let relay = relay(&scratch);
    let (phone, laptop) = pairing(&scratch, &relay);
    let cursor = both_ways(&phone, &laptop);
    let cursor = killed_and_back(&phone, &laptop, cursor);
    let relay = without_a_relay(relay, &phone, &laptop, cursor);
    what_the_relay_holds(&relay, &phone);
    summary(&relay, &phone, &laptop);
}

fn relay(scratch: &Scratch) -> Relay {
    scene(1, "A relay starts");
    let relay = Relay::start(scratch);
    Actor::Relay.says(&format!("ready: quic {}, http {}", relay.quic(), relay.url()));
    Actor::Relay.says(&format!("I am {}…", &relay.id()[..16]));
    relay
}

fn pairing(scratch: &Scratch, relay: &Relay) -> (Device, Device) {
    scene(2, "Two devices pair with a short code");
    let phone = Device::new(scratch, "phone", relay.url());
    let laptop = Device::new(scratch, "laptop", relay.url());
    Phone.says("$ sync-cli pair --create");
    let mut create = phone.spawn(&["pair", "--create"]);
    let invite = create.expect("the code", SOON);
    let code = text(&invite["code"]);
    Phone.says(&format!("type this on the other device: {code}"));
    Laptop.says(&format!("$ sync-cli pair --join {code}"));
    let mut join = laptop.spawn(&["pair", "--join", code]);
    let asked = [(Phone, create.expect("its digits", SOON)), (Laptop, join.expect("its digits", SOON))];
    for (actor, asked) in &asked {
        let confirm = &asked["confirm"];
        actor.says(&format!("{} — does {} show the same digits?", text(&confirm["digits"]), text(&confirm["name"])));
    }
    assert_eq!(asked[0].1["confirm"]["digits"], asked[1].1["confirm"]["digits"], "the digits are the same");
    for (actor, process) in [(Phone, &mut create), (Laptop, &mut join)] {
        actor.says("yes");
        process.say("yes");
    }
    for (actor, process) in [(Phone, &mut create), (Laptop, &mut join)] {
        let (status, said) = process.finish(SOON);
        assert!(status.success(), "pairing: {said:?}");
        let last = said.last().expect("pairing ends with an answer");
        match last.get("joined") {
            Some(joined) => actor.says(&format!("{} is in", text(&joined["name"]))),
            None => actor.says(&format!("I am in: device {}…", &text(&last["device_id"])[..16])),
        }
    }
    (phone, laptop)
}

/// Both push, both see: the laptop's newest cursor.
fn both_ways(phone: &Device, laptop: &Device) -> u64 {
    scene(3, "Each pushes, the other sees it as it comes");
    let mut at_phone = phone.spawn(&["watch", "--lines"]);
    let mut at_laptop = laptop.spawn(&["watch", "--lines"]);
    let mut cursor = 0;
    for (from_phone, line) in [(true, SECRET), (false, "got the bread"), (true, "and candles?"), (false, "forty")] {
        let (from, to) = if from_phone { (&mut at_phone, &mut at_laptop) } else { (&mut at_laptop, &mut at_phone) };
        let (sender, reader) = if from_phone { (Phone, Laptop) } else { (Laptop, Phone) };
        sender.says(&format!("→ {line}"));
        from.say(line);
        let (own, arrived) = (blob(from), blob(to));
        assert!(own.own && !arrived.own && own.push_id == arrived.push_id && arrived.text() == line);
        reader.says(&format!("← {}", arrived.text()));
        cursor = if from_phone { arrived.cursor } else { own.cursor };
    }
    for process in [&mut at_phone, &mut at_laptop] {
        process.signal(rustix::process::Signal::TERM);
        process.finish(SOON);
    }
    cursor
}

/// The laptop is killed while the phone pushes, and comes back: its newest cursor.
fn killed_and_back(phone: &Device, laptop: &Device, cursor: u64) -> u64 {
    const NOTES: usize = 40;
    const HEARD: usize = 15;
    scene(4, "The laptop is killed in the middle, and comes back");
    let notes: Vec<String> = (1..=NOTES).map(|number| format!("note {number}")).collect();
    let mut watch = laptop.spawn(&["watch", "--after-cursor", &cursor.to_string()]);
    let mut push = phone.spawn(&["push", "--lines"]);
    for note in &notes[..HEARD] {
        push.say(note);
    }
    Phone.says(&format!("→ {} … {}", notes[0], notes[HEARD - 1]));
    let mut seen: Vec<Blob> = (1..HEARD).map(|_| blob(&mut watch)).collect();
    seen.extend(watch.kill().into_iter().map(parsed));
    Laptop.says(&format!("← {} … {}", seen[0].text(), seen[seen.len() - 1].text()));
    Laptop.says("✗ SIGKILL");
    for note in &notes[HEARD..] {
        push.say(note);
    }
    Phone.says(&format!("→ {} … {}", notes[HEARD], notes[NOTES - 1]));
    let (status, pushed) = push.finish(SOON);
    assert!(status.success() && pushed.len() == NOTES, "the phone does not care");
    phone.sync();
    let cursor = seen[seen.len() - 1].cursor;
    Laptop.says(&format!("$ sync-cli pull --after-cursor {cursor}"));
    let rest = laptop.pull_after(cursor);
    Laptop.says(&format!("← {} … {}", rest[0].text(), rest[rest.len() - 1].text()));
    seen.extend(rest);
    assert!(seen.iter().map(Blob::text).eq(notes.iter().map(String::as_str)), "nothing lost, nothing twice");
    Stage.says(&format!("✓ all {NOTES} notes, in order, each once"));
    seen[NOTES - 1].cursor
}

fn without_a_relay(mut relay: Relay, phone: &Device, laptop: &Device, cursor: u64) -> Relay {
    scene(5, "The relay is killed; the phone goes on without it");
    relay.kill();
    Actor::Relay.says("✗ SIGKILL");
    let lines = ["written", "without", "a relay"];
    for (line, pushed) in lines.iter().zip(phone.run_with_input(&["push", "--lines"], &lines).ok()) {
        Phone.says(&format!("→ {line} ({})", text(&pushed["state"])));
        assert_eq!(pushed["state"], "queued");
    }
    let status = phone.run(&["status", "--offline"]).only_line();
    Phone.says(&format!("status: {} pending", status["pending"]));
    relay.restart();
    Actor::Relay.says(&format!("back, as the same {}…", &relay.id()[..16]));
    Phone.says("$ sync-cli sync");
    Phone.says(&format!("status: {}", text(&phone.sync()["badge"])));
    let arrived: Vec<String> = laptop.pull_after(cursor).iter().map(|blob| blob.text().to_owned()).collect();
    assert_eq!(arrived, lines);
    for text in &arrived {
        Laptop.says(&format!("← {text}"));
    }
    relay
}

fn what_the_relay_holds(relay: &Relay, phone: &Device) {
    scene(6, "What the relay holds");
    let data = relay.data();
    let files = files(&data);
    let bytes: u64 = files.iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum();
    Actor::Relay.says(&format!(
        "{} envelopes in {} files, {} KiB",
        relay.health()["blobs_stored"],
        files.len(),
        bytes / 1024
    ));
    let mut readable = Search::default();
    for word in [SECRET, "got the bread", "without a relay"] {
        readable.plant("word", word.as_bytes());
    }
    readable.proves();
    let found = readable.find(&[&data, &relay.log_file()]);
    assert!(found.is_empty(), "readable at the relay: {found:?}");
    Stage.says(&format!("searched its database and its log for “{SECRET}”: not there"));
    let sender = phone.log_after(0)[0].sender.clone();
    let (file, envelope) = envelope_of(&data, &sender);
    let (header, body) = envelope.split_at(HEADER_LEN);
    Stage.says(&format!("an envelope in {file}: what is in the clear, …"));
    Actor::Relay.says(&format!("version, suite, kind  {}", hex(&header[..3])));
    Actor::Relay.says(&format!("epoch and key id      {}", hex(&header[3..SENDER_AT])));
    Actor::Relay.says(&format!("sender                {}…", hex(&header[SENDER_AT..SENDER_AT + 16])));
    Actor::Relay.says(&format!("time to live, nonce   {}", hex(&header[SENDER_AT + 32..])));
    Stage.says("… and what is sealed");
    for row in body.chunks(32) {
        Actor::Relay.says(&hex(row));
    }
}

/// Where an envelope names its sender, and how long its header is; see docs/PROTOCOL.md.
const SENDER_AT: usize = 23;
const HEADER_LEN: usize = SENDER_AT + 32 + 4 + 24;

/// The beginning of an envelope of this sender, and the name of the file it lies in.
fn envelope_of(data: &Path, sender: &str) -> (String, Vec<u8>) {
    const VERSION_SUITE_DATA: [u8; 3] = [1, 1, 1];
    let id = data_encoding::HEXLOWER.decode(sender.as_bytes()).expect("an id is hex");
    let found = files(data).into_iter().find_map(|file| {
        let content = fs::read(&file).ok()?;
        let is_envelope = |bytes: &&[u8]| bytes.starts_with(&VERSION_SUITE_DATA) && bytes[SENDER_AT..].starts_with(&id);
        let envelope = content.windows(HEADER_LEN + 96).find(is_envelope)?.to_vec();
        Some((file.file_name()?.to_string_lossy().into_owned(), envelope))
    });
    found.expect("the relay keeps envelopes, which name their sender")
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn summary(relay: &Relay, phone: &Device, laptop: &Device) {
    scene(7, "In the end");
    for (actor, device) in [(Phone, phone), (Laptop, laptop)] {
        device.sync();
        let status = device.status();
        actor.says(&format!(
            "{}: {} blobs here, {} pending, {} unreadable",
            text(&status["badge"]),
            status["head_cursor"],
            status["pending"],
            status["parked"].as_array().map_or(0, Vec::len)
        ));
        assert_eq!(status["badge"], "synced");
    }
    let ids = |device: &Device| {
        let mut ids: Vec<String> = device.log_after(0).into_iter().map(|blob| blob.push_id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(phone), ids(laptop), "both hold the same");
    Stage.says(&format!(
        "✓ both devices hold the same {} blobs, through a killed device and a killed relay",
        ids(phone).len()
    ));
    Stage.says(&format!("✓ the relay {}… stored them and can read none", &relay.id()[..16]));
}

fn blob(process: &mut Process) -> Blob {
    parsed(process.expect("a blob", SOON))
}

fn parsed(line: Value) -> Blob {
    serde_json::from_value(line).expect("a blob is as the contract says")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
