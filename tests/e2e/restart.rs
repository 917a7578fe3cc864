//! Killed at any moment, nothing that was promised is lost, and nothing comes twice.

use std::time::Duration;

use serde_json::Value;
use sync_tests::{Device, Process, Relay, Scratch, paired, pairing};

const SOON: Duration = Duration::from_secs(30);

/// Reads `count` lines.
fn lines(process: &mut Process, count: usize) -> Vec<Value> {
    (0..count).map(|_| process.expect("the next line", SOON)).collect()
}

#[test]
fn a_device_killed_while_it_pushes_keeps_what_it_promised() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let mut promised = Vec::new();
    for (round, heard) in [1, 37, 150].into_iter().enumerate() {
        let mut push = phone.spawn(&["push", "--lines"]);
        for number in 0..300 {
            push.say(&format!("{round} {number}"));
        }
        let mut said = lines(&mut push, heard);
        said.extend(push.kill());
        promised.extend(said.into_iter().map(|line| line["push_id"].as_str().map(str::to_owned).expect("an id")));
    }
    phone.sync();
    let arrived: Vec<String> = laptop.pull_after(0).into_iter().map(|blob| blob.push_id).collect();
    let kept: Vec<String> = phone.log_after(0).into_iter().map(|blob| blob.push_id).collect();
    assert_eq!(arrived, kept, "both logs hold the same, in the same order");
    assert!(promised.len() >= 188 && promised.iter().all(|id| kept.contains(id)), "a promise was broken");
}

#[test]
fn a_device_killed_while_it_reads_goes_on_where_it_was() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let texts: Vec<String> = (0..3_000).map(|number| number.to_string()).collect();
    let input: Vec<&str> = texts.iter().map(String::as_str).collect();
    phone.run_with_input(&["push", "--lines", "--wait", "all"], &input).ok();
    let mut read = Vec::new();
    let mut cursor = 0;
    for heard in [1, 100, 333] {
        let mut watch = laptop.spawn(&["watch", "--after-cursor", &cursor.to_string()]);
        // It says more than is listened to before it dies, so that the last round may find fewer left.
        let mut said = lines(&mut watch, heard.min(texts.len() - read.len()));
        said.extend(watch.kill());
        cursor = said.last().map_or(cursor, |line| line["cursor"].as_u64().expect("a cursor"));
        read.extend(said.into_iter().map(|line| line["text"].as_str().map(str::to_owned).expect("text")));
    }
    read.extend(laptop.pull_after(cursor).into_iter().map(|blob| blob.text().to_owned()));
    assert_eq!(read, texts);
}

#[test]
fn a_relay_killed_while_devices_push_keeps_what_it_confirmed() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let mut push = phone.spawn(&["push", "--lines", "--wait", "all", "--timeout", "60"]);
    for number in 0..600 {
        push.say(&number.to_string());
    }
    lines(&mut push, 50);
    relay.kill();
    relay.restart();
    let rest = lines(&mut push, 550);
    assert!(rest.iter().all(|line| line["state"] == "all"), "{:?}", rest.last());
    assert!(push.finish(SOON).0.success());
    let expected: Vec<String> = (0..600).map(|number| number.to_string()).collect();
    assert_eq!(laptop.texts(), expected);
}

#[test]
fn a_wiped_relay_is_filled_again() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.run(&["push", "from the phone", "--wait", "all"]).ok();
    laptop.run(&["push", "from the laptop", "--wait", "all"]).ok();
    laptop.sync();
    relay.stop();
    relay.wipe();
    relay.restart();
    // The laptop holds what the phone pushed, and gives it back with its own.
    laptop.sync();
    let tablet = Device::new(&scratch, "tablet", relay.url());
    pairing(&laptop, &tablet);
    let mut texts = tablet.texts();
    texts.sort_unstable();
    assert_eq!(texts, ["from the laptop", "from the phone"]);
    phone.sync();
    assert_eq!(phone.status()["badge"], "synced");
}

#[test]
fn a_command_asked_to_end_leaves_the_profile_to_the_next() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, _laptop) = paired(&scratch, relay.url());
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let mut push = phone.spawn(&["push", "--lines"]);
        push.say("said");
        push.expect("the blob", SOON);
        push.signal(signal);
        let (status, rest) = push.finish(Duration::from_secs(5));
        assert!(status.code().is_some() && rest.is_empty(), "it ends by itself: {status} {rest:?}");
        phone.push("next");
    }
    assert_eq!(phone.log_after(0).len(), 4);
}
