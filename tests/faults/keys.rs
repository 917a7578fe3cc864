//! Devices whose keys don't open what the relay holds.

use std::fs;

use sync_tests::{Device, Relay, Scratch, paired, pairing};

fn assert_refused_and_silent(device: &Device, relay: &Relay) {
    let before = relay.health();
    for command in [&["push", "lost?"][..], &["pull"], &["sync"], &["devices"]] {
        let outcome = device.run(command);
        assert_eq!(outcome.error(), ("key_missing", 8), "{command:?}: {outcome:?}");
        assert!(outcome.advice().contains("pair this device as a new one"), "{}", outcome.advice());
    }
    let after = relay.health();
    for field in ["groups", "blobs_stored"] {
        assert_eq!(before[field], after[field], "nothing was said to the relay");
    }
}

#[test]
fn keys_of_another_group_open_nothing_and_the_right_ones_do_again() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let (uncle, aunt) = (Device::new(&scratch, "uncle", relay.url()), Device::new(&scratch, "aunt", relay.url()));
    pairing(&uncle, &aunt);
    phone.run(&["push", "ours", "--wait", "all", "--timeout", "60"]).ok();
    uncle.run(&["push", "theirs", "--wait", "all", "--timeout", "60"]).ok();

    let (ours, theirs) = (phone.profile().join("secrets.key"), uncle.profile().join("secrets.key"));
    let right = fs::read(&ours).expect("the keys are in a file");
    fs::copy(theirs, &ours).expect("it is writable");
    assert_refused_and_silent(&phone, &relay);
    fs::write(&ours, right).expect("it is writable");
    assert_eq!(laptop.texts_in_step(), ["ours"]);
    phone.run(&["push", "again", "--wait", "all", "--timeout", "60"]).ok();
    assert_eq!(laptop.texts_in_step(), ["ours", "again"]);
}

#[test]
fn a_key_that_went_bad_on_the_disk_is_noticed_wherever_it_did() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.run(&["push", "before", "--wait", "all", "--timeout", "60"]).ok();
    phone.settles();
    let path = phone.profile().join("secrets.key");
    let right = fs::read(&path).expect("the keys are in a file");
    // Some byte of each of the secrets, and of what is between them.
    for place in (0..right.len()).step_by(right.len() / 12) {
        let mut wrong = right.clone();
        wrong[place] ^= 0x10;
        fs::write(&path, wrong).expect("it is writable");
        assert_refused_and_silent(&phone, &relay);
    }
    fs::write(&path, right).expect("it is writable");
    phone.run(&["push", "after", "--wait", "all", "--timeout", "60"]).ok();
    assert_eq!(laptop.texts_in_step(), ["before", "after"]);
}
