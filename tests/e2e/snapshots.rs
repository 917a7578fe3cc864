//! A device that joins late begins with a state that another gave, and reads what came after.

use std::fs;

use sync_tests::{Device, Relay, Scratch, paired, pairing_with};

#[test]
fn who_joins_late_begins_with_a_snapshot() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    for number in 0..30 {
        laptop.push(&format!("{number}"));
    }
    let blobs = phone.pull_after(0);
    assert_eq!(blobs.len(), 30);
    let state: Vec<u8> = blobs.iter().flat_map(|blob| blob.text().bytes().chain(*b"\n")).collect();
    let file = scratch.file("state", &state);
    let publish = || phone.run(&["snapshot", "publish", file.to_str().expect("a plain path")]);
    assert_eq!(publish().error(), ("snapshot_outdated", 2), "nothing is acknowledged");
    phone.run(&["ack", "30"]).only_line();
    let published = publish().only_line();
    assert_eq!((&published["published"], &published["on_a_relay"]), (&30.into(), &true.into()));
    laptop.push("after");
    laptop.settles();

    let desk = Device::new(&scratch, "desk", relay.url());
    pairing_with(&laptop, &desk, &["--snapshot"]);
    relay.kill();
    relay.restart();
    let loaded = scratch.path().join("loaded");
    let load = ["snapshot", "load", "--output", loaded.to_str().expect("a plain path")];
    let line = desk.run(&load).only_line();
    assert_eq!((&line["bytes"], &line["taken"]), (&state.len().into(), &true.into()));
    assert_eq!(fs::read(&loaded).expect("was written"), state);
    assert_eq!(desk.texts_in_step(), ["after"]);
    desk.push("from the desk");
    desk.settles();
    assert_eq!(phone.texts_in_step().last().map(String::as_str), Some("from the desk"));
    let none = ["snapshot", "load", "--refuse", "--timeout", "1"];
    assert_eq!(desk.run(&none).error(), ("no_snapshot", 2), "it has what it needs");

    // Who has no use for it reads everything.
    let plain = Device::new(&scratch, "plain", relay.url());
    pairing_with(&laptop, &plain, &[]);
    assert_eq!(plain.texts_in_step().len(), 32);
}
