//! What a relay must do with sessions, pages, repeats and time.

use std::{fs, thread, time::Duration};

use rustix::process::Signal;
use sync_tests::{Device, Relay, Scratch, eventually, noisy_text, paired, pairing};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_page_always_moves_on() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let mut expected = Vec::new();
    for number in 0..6_u8 {
        let blob: Vec<u8> =
            (0..1_000_000_u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8 ^ number).collect();
        let file = scratch.file("large", &blob);
        phone.run(&["push", "--file", file.to_str().expect("UTF-8"), "--wait", "all", "--timeout", "60"]).ok();
        phone.run(&["push", &format!("small {number}"), "--wait", "all"]).ok();
        expected.push(data_encoding::BASE64.encode(&blob));
        expected.push(format!("small {number}"));
    }
    let mut cursor = 0;
    for expected in &expected {
        let line = laptop.run(&["pull", "--after-cursor", &cursor.to_string(), "--limit", "1"]).only_line();
        let payload = line["text"].as_str().or(line["data"].as_str());
        assert!(payload == Some(expected), "page after {cursor}");
        cursor = line["cursor"].as_u64().expect("a cursor");
    }
}

#[test]
fn a_push_repeated_after_a_crash_takes_one_place() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, _laptop) = paired(&scratch, relay.url());
    phone.sync();
    let rows = |relay: &Relay| relay.health()["blobs_stored"].as_u64().expect("a number");
    let before = rows(&relay);
    let mut push = phone.spawn(&["push", "--lines", "--wait", "all", "--timeout", "60"]);
    for number in 0..400 {
        push.say(&number.to_string());
    }
    for round in 0..2 {
        for _ in 0..20 {
            push.expect("a confirmed blob", SOON);
        }
        relay.kill(); // Confirmations on their way are lost, and those pushes are sent again.
        relay.restart();
        assert!(rows(&relay) < before + 400, "round {round} interrupted nothing");
    }
    assert!(push.finish(SOON).0.success());
    assert_eq!(rows(&relay), before + 400);
}

#[test]
fn a_goodbye_leaves_no_session_behind() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, _laptop) = paired(&scratch, relay.url());
    let mut watch = phone.spawn(&["watch"]);
    eventually("the session is open", SOON, || (relay.health()["connections"] == 1).then_some(()));
    watch.signal(Signal::TERM);
    assert!(watch.finish(SOON).0.success());
    // At once: nothing waits for a connection to go silent, which takes seconds.
    eventually("the session is gone", Duration::from_secs(1), || (relay.health()["connections"] == 0).then_some(()));
    assert!(relay.get("/metrics").contains("\nsync_relay_connections_active 0\n"));
}

#[test]
fn a_stalled_reader_holds_nobody_up() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let tablet = Device::new(&scratch, "tablet", relay.url());
    pairing(&phone, &tablet);
    let mut stalled = tablet.spawn(&["watch", "--lines"]);
    stalled.say("here");
    stalled.expect("a live session", SOON);
    stalled.signal(Signal::STOP);

    let lines: Vec<String> = (0..2_000).map(|number| format!("{number} {}", "x".repeat(1_000))).collect();
    let input: Vec<&str> = lines.iter().map(String::as_str).collect();
    let pushed = phone.run_with_input(&["push", "--lines", "--wait", "all"], &input).ok();
    assert!(pushed.iter().all(|line| line["state"] == "all"));
    let arrived = laptop.pull_after(0).into_iter().filter(|blob| blob.text() != "here").count();
    assert_eq!(arrived, lines.len());

    stalled.signal(Signal::CONT);
    for line in &lines {
        assert_eq!(&stalled.expect("all of it, once it reads again", SOON)["text"], line.as_str());
    }
}

#[test]
fn what_has_expired_is_gone_for_everybody() {
    let scratch = Scratch::new();
    // The cleanup is an hour away: what has expired must not be served even though it is still on the disk.
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.run(&["push", "short-lived", "--ttl", "1", "--wait", "all"]).ok();
    thread::sleep(Duration::from_millis(2_200));
    phone.run(&["push", "lasting", "--wait", "all"]).ok();
    let seen = eventually("what came after the gap is handed out", SOON, || {
        let texts = laptop.texts();
        (!texts.is_empty()).then_some(texts)
    });
    assert_eq!(seen, ["lasting"]);
}

#[test]
fn a_cleanup_takes_what_has_expired_off_the_disk_and_gives_the_room_back() {
    const LEN: usize = 60_000;
    let scratch = Scratch::new();
    // The next cleanup is an hour away.
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    laptop.sync();
    let before = relay.health()["blobs_stored"].as_u64().expect("a number");
    for number in 0..20 {
        phone.run(&["push", &noisy_text(number, LEN), "--ttl", "1", "--wait", "all"]).ok();
    }
    phone.run(&["push", "lasting", "--wait", "all"]).ok();
    let size = |relay: &Relay| fs::metadata(relay.data().join("relay.db")).expect("it is there").len();
    relay.stop();
    // Of base64 a compressor leaves three quarters.
    assert!(size(&relay) > 15 * LEN as u64, "the file has {} bytes", size(&relay));

    relay.configure("[cleanup]\ninterval = 1\n");
    relay.restart();
    eventually("only what lasts is kept", SOON, || (relay.health()["blobs_stored"] == before + 1).then_some(()));
    relay.stop();
    assert!(size(&relay) < 5 * LEN as u64, "the file has {} bytes", size(&relay));
}

#[test]
fn another_relay_at_the_same_address_is_not_believed() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, _laptop) = paired(&scratch, relay.url());
    phone.run(&["push", "before", "--wait", "all"]).ok();
    relay.stop();
    std::fs::remove_dir_all(relay.data()).expect("the scratch folder is writable");
    let id = relay.id().to_owned();
    relay.restart();
    assert_ne!(relay.id(), id, "a relay without its identity file is another relay");
    assert_eq!(phone.push("after")["state"], "queued");
    let status = eventually("the change is noticed", SOON, || {
        let status = phone.status();
        (status["relays"][0]["problem"] == "relay_identity_changed").then_some(status)
    });
    assert_eq!(status["badge"], "failed", "{status}");
    assert_eq!(relay.health()["blobs_stored"], 0, "nothing was given to the stranger");
}
