//! Several relays: every blob goes to all of them, any of them will do, and what one lost it is given again.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use sync_tests::{
    Device, Network, Relay, RelaySetup, Replica, Scratch,
    damage::{Backup, blob_ids},
    eventually, paired, pairing,
};

use crate::trace::{Update, assert_documents, both, chosen_trace};

const SOON: Duration = Duration::from_secs(60);
/// However often something is taken away, nothing takes longer on loopback.
const TRACE_MAX: Duration = Duration::from_secs(1_800);

fn relay(scratch: &Scratch, name: &str) -> Relay {
    Relay::start_with(scratch, RelaySetup { name, ..RelaySetup::default() })
}

fn relays_of(device: &Device) -> Vec<Value> {
    device.run(&["relay", "list"]).ok()
}

#[test]
fn a_relay_that_is_added_gets_what_it_lacks_and_any_of_them_will_do() {
    let scratch = Scratch::new();
    let (mut first, mut second) = (relay(&scratch, "first"), relay(&scratch, "second"));
    let (phone, laptop) = paired(&scratch, first.url());
    for text in ["one", "two"] {
        phone.push(text);
    }
    assert_eq!(laptop.texts(), ["one", "two"]);
    let added = phone.run(&["relay", "add", second.url()]).only_line();
    assert_eq!(added["added"], second.url());
    phone.settles();
    let [asked_first, asked_second] = relays_of(&phone).try_into().expect("two relays");
    for (row, relay) in [(asked_first, &first), (asked_second, &second)] {
        assert_eq!((&row["address"], &row["relay_id"]), (&relay.url().into(), &relay.id().into()), "{row}");
        assert_eq!((&row["connection"], &row["pending"]), (&"connected".into(), &0.into()), "{row}");
    }

    // The laptop learns of it by being told too, and the first one can go.
    laptop.run(&["relay", "add", second.url()]).ok();
    laptop.settles();
    first.stop();
    phone.run(&["push", "three", "--wait", "relay"]).ok();
    assert_eq!(phone.status()["badge"], "pending", "one of its relays has not got it");
    eventually("the laptop has it by the other way", SOON, || {
        let blobs = laptop.pull_after(0);
        let texts: Vec<&str> = blobs.iter().map(|blob| blob.text()).collect();
        let cursors: Vec<u64> = blobs.iter().map(|blob| blob.cursor).collect();
        assert_eq!(cursors, (1..=cursors.len() as u64).collect::<Vec<_>>(), "cursors are the device's own");
        (texts == ["one", "two", "three"]).then_some(())
    });

    // It comes back, and is given what it missed. What it alone would still hold is read from it.
    first.restart();
    phone.settles();
    second.stop();
    phone.run(&["relay", "remove", second.url()]).only_line();
    phone.push("four");
    phone.settles();
    assert_eq!(relays_of(&phone).len(), 1);
    assert_eq!(laptop.texts(), ["one", "two", "three", "four"]);
    second.restart();
    laptop.settles();
}

#[test]
fn what_is_no_relay_of_a_device_is_not_removed() {
    let scratch = Scratch::new();
    let relay = relay(&scratch, "relay");
    let phone = Device::new(&scratch, "phone", relay.url());
    let refused = phone.run(&["relay", "remove", "http://127.0.0.1:9"]);
    assert_eq!(refused.error(), ("invalid_argument", 2));
    assert_eq!(phone.run(&["relay", "add", "nowhere"]).error(), ("relay_unknown", 2));
    phone.run(&["relay", "add", relay.url()]).ok();
    assert_eq!(relays_of(&phone).len(), 1, "one that is there already is not there twice");
    phone.run(&["relay", "remove", relay.url()]).ok();
    assert_eq!(relays_of(&phone), [] as [Value; 0]);
}

/// What was found of each thing that was looked at.
fn verdicts(lines: &[Value]) -> Vec<(String, String)> {
    let field = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    lines
        .iter()
        .filter(|line| line["check"].is_string())
        .map(|line| (field(line, "check"), field(line, "verdict")))
        .collect()
}

#[test]
fn a_checkup_says_what_is_wrong_and_with_what() {
    let scratch = Scratch::new();
    let (mut first, second) = (relay(&scratch, "first"), relay(&scratch, "second"));
    let alone = Device::new(&scratch, "alone", first.url());
    let good = |checks: &[&str]| checks.iter().map(|it| ((*it).to_owned(), "good".to_owned())).collect::<Vec<_>>();
    let notice = |check: &str| (check.to_owned(), "notice".to_owned());
    let bad = |check: &str| (check.to_owned(), "bad".to_owned());
    let found = verdicts(&alone.run(&["doctor"]).ok());
    assert_eq!(found, [good(&["keys", "store"]), vec![notice("group")], good(&["relay", "clock"])].concat());

    let (phone, _laptop) = paired(&scratch, first.url());
    phone.run(&["relay", "add", second.url()]).ok();
    phone.push("here");
    let all = ["keys", "store", "group", "relay", "relay", "clock"];
    eventually("all is well", SOON, || (verdicts(&phone.run(&["doctor"]).lines) == good(&all)).then_some(()));

    first.stop();
    let unwell = phone.run(&["doctor"]);
    assert_eq!(unwell.error(), ("offline", 4));
    let found = verdicts(&unwell.lines);
    assert_eq!(found, [good(&all[..3]), vec![bad("relay")], good(&all[4..])].concat());
    assert_eq!(unwell.lines[3]["relay"], first.url());

    // The only finding of a profile that does not open.
    std::fs::remove_file(phone.profile().join("secrets.key")).expect("its keys are in a file");
    let locked_out = phone.run(&["doctor"]);
    assert_eq!(locked_out.error(), ("key_missing", 8));
    assert_eq!(verdicts(&locked_out.lines), [bad("keys")]);
}

#[test]
fn a_report_for_whoever_helps_says_how_it_stands_and_nothing_of_whom() {
    let scratch = Scratch::new();
    let (mut first, second) = (relay(&scratch, "first"), relay(&scratch, "second"));
    let (phone, laptop) = paired(&scratch, first.url());
    phone.run(&["relay", "add", second.url()]).ok();
    phone.push("a secret word");
    laptop.sync();
    phone.settles();
    first.stop();
    let report = phone.run(&["diagnostics"]).only_line();
    let codes: Vec<_> = report["findings"].as_array().expect("a list").iter().map(|found| &found["code"]).collect();
    assert_eq!(codes, [&Value::Null, &Value::Null, &Value::Null, &"offline".into(), &Value::Null, &Value::Null]);
    let profile = &report["profile"];
    assert_eq!((&profile["status"]["head_cursor"], &profile["secrets"]), (&1.into(), &"file".into()));
    let relays = profile["relays"].as_array().expect("a list");
    assert_eq!(relays.iter().map(|relay| relay["connection"] == "connected").collect::<Vec<_>>(), [false, true]);
    assert_eq!(profile["devices"].as_array().map(Vec::len), Some(2));
    assert!(profile["store_bytes"].as_u64().is_some_and(|bytes| bytes > 10_000), "{report}");

    let text = report.to_string();
    let devices = phone.run(&["devices", "--offline"]).ok();
    let named = devices.iter().flat_map(|device| ["device_id", "name"].map(|key| device[key].clone()));
    let named: Vec<_> = named.map(|value| value.as_str().expect("a text").to_owned()).collect();
    let port = |relay: &Relay| relay.url().rsplit(':').next().expect("a port").to_owned();
    let secret =
        ["a secret word".to_owned(), port(&first), port(&second), first.id().to_owned(), "127.0.0.1".to_owned()];
    for word in named.iter().chain(&secret) {
        assert!(!text.contains(word.as_str()), "{word} in {text}");
    }

    std::fs::remove_file(phone.profile().join("secrets.key")).expect("its keys are in a file");
    let report = phone.run(&["diagnostics"]).only_line();
    assert_eq!((&report["fails_with"], &report["profile"]), (&"key_missing".into(), &Value::Null));
}

/// A relay that is put back to an old copy shows whoever had read less than the others had what a liar would show.
#[test]
fn a_relay_that_shows_less_or_other_than_others_have_read_is_named_everywhere() {
    let scratch = Scratch::new();
    let (mut liar, other) = (relay(&scratch, "liar"), relay(&scratch, "other"));
    let (phone, laptop) = paired(&scratch, liar.url());
    let tablet = Device::new(&scratch, "tablet", liar.url());
    pairing(&phone, &tablet);
    for device in [&phone, &laptop, &tablet] {
        device.run(&["relay", "add", other.url()]).ok();
        device.settles();
    }
    for device in [&phone, &laptop, &tablet] {
        device.settles();
    }
    liar.stop();
    let copy = Backup::of(&liar.data());
    liar.restart();
    // The tablet is away, and the others read each other's.
    for (author, reader) in [(&laptop, &phone), (&phone, &laptop)] {
        author.push("a secret word");
        author.settles();
        reader.settles();
    }
    liar.stop();
    copy.restore();
    liar.restart();

    let named = |device: &Device| -> Vec<String> {
        let row = relays_of(device).into_iter().find(|row| row["relay_id"] == liar.id()).expect("it is one of them");
        let named = row["contradictions"].as_array().into_iter().flatten();
        named.map(|it| it["kind"].as_str().expect("a word").to_owned()).collect()
    };
    assert_eq!(named(&tablet), [] as [String; 0]);
    // It waits for more, thirty seconds each time it is caught up, before it is in step with what it is shown.
    let waits = || tablet.run(&["sync", "--timeout", "50"]).ok();
    waits();
    assert_eq!(named(&tablet), ["withheld"; 2]);
    let texts: Vec<_> = tablet.log_after(0).iter().map(|blob| blob.text().to_owned()).collect();
    assert_eq!(texts, ["a secret word"; 2], "the other relay tells the truth");

    // What it pushes comes where another had read something else.
    for text in ["one", "two", "three"] {
        tablet.push(text);
    }
    waits();
    assert_eq!(named(&tablet), ["forked"; 2]);
    let doctor = tablet.run(&["doctor"]);
    assert_eq!(doctor.error(), ("log_forked", 5));
    let findings = doctor.lines.iter().filter(|line| line["check"] == "relay");
    let findings: Vec<_> = findings.map(|line| (line["verdict"].as_str(), line["code"].as_str())).collect();
    assert_eq!(findings, [(Some("bad"), Some("log_forked")), (Some("good"), None)]);
    let report = tablet.run(&["diagnostics"]).only_line();
    let evidence = report["profile"]["relays"][0]["contradictions"].as_array().expect("a list").clone();
    assert_eq!(evidence.len(), 2, "{report}");
    for found in evidence {
        assert_eq!((&found["kind"], found["theirs"] == found["ours"]), (&"forked".into(), false), "{found}");
        assert!(found["theirs"].is_string() && found["ours"].is_string() && found["cursor"].is_u64(), "{found}");
    }

    // Who had read more notices by itself, and gives back what it lost; then nobody is blamed any more.
    for device in [&phone, &laptop, &tablet, &phone, &laptop, &tablet] {
        device.settles();
    }
    assert_eq!(named(&tablet), [] as [String; 0]);
    assert_eq!(tablet.status()["badge"], "synced");
}

/// Two people write a document on two devices, a third reads along. Of three relays one loses all it has, one is put back
/// to a copy made at the start, one is away for a third of the time.
#[test]
fn three_relays_that_lose_what_they_had_end_with_all_there_is() {
    let trace = chosen_trace();
    let scratch = Scratch::new();
    let network = Network::new();
    let mut relays = ["wiped", "restored", "away"].map(|name| relay(&scratch, name));
    let (phone, laptop) = paired(&scratch, relays[0].url());
    let tablet = Device::new(&scratch, "tablet", relays[0].url());
    pairing(&phone, &tablet);
    for device in [&phone, &laptop, &tablet] {
        for relay in &relays[1..] {
            device.run(&["relay", "add", relay.url()]).ok();
        }
        device.settles();
    }
    relays[1].stop();
    let copy = Backup::of(&relays[1].data());
    relays[1].restart();

    let made = AtomicUsize::new(0);
    let after = |part: usize| {
        let due = trace.edits.len() * part / 12;
        eventually("the edits go on", TRACE_MAX, || (made.load(Ordering::Relaxed) >= due).then_some(()));
    };
    let reading = tablet.spawn(&["watch"]);
    let [at_phone, at_laptop] = thread::scope(|story| {
        story.spawn(|| {
            after(2);
            relays[0].kill();
            let (had, _) = blob_ids(&network, &relays[0]);
            relays[0].wipe();
            relays[0].restart();
            let wiped = Instant::now();
            after(4);
            relays[2].stop();
            eventually("the wiped relay has all it had", TRACE_MAX, || {
                had.is_subset(&blob_ids(&network, &relays[0]).0).then_some(())
            });
            println!("from wipe to all {} blobs there again: {:.1} s", had.len(), wiped.elapsed().as_secs_f32());
            after(6);
            relays[1].kill();
            copy.restore();
            relays[1].restart();
            after(8);
            relays[2].restart();
        });
        both(&trace, [&phone, &laptop], [0, 0], &made)
    });
    assert_documents(&trace, &at_phone, &at_laptop);

    drop(reading);
    let ended = Instant::now();
    for device in [&phone, &laptop, &tablet] {
        device.settles();
    }
    println!("from the last edit to all devices in step with all relays: {:.1} s", ended.elapsed().as_secs_f32());
    relays[0].kill();
    relays[0].wipe();
    let wiped = Instant::now();
    relays[0].restart();
    for device in [&phone, &laptop, &tablet] {
        device.settles();
    }
    println!("from wipe to all green: {:.1} s", wiped.elapsed().as_secs_f32());
    let third = Replica::new(2);
    tablet.log_after(0).iter().for_each(|blob| third.merge(&Update::parse(blob).bytes));
    assert_documents(&trace, &third.content(), &at_phone);
    let [first, others @ ..] = relays.each_ref().map(|relay| blob_ids(&network, relay));
    assert_eq!(first.0.len(), first.1, "each blob takes one place");
    for other in others {
        assert!(first == other, "the relays hold different blobs: {} and {}", first.1, other.1);
    }
}
