//! A group may begin with a passphrase. It makes the first keys, and lets nobody in.

use std::path::PathBuf;

use sync_tests::{Device, Relay, Scratch, Terminal, pairing};

const PASSPHRASE: &str = "ramp onyx cabin gusto plow hinge";

fn file(scratch: &Scratch, name: &str, content: &str) -> String {
    let path: PathBuf = scratch.file(name, content);
    path.to_str().expect("UTF-8").to_owned()
}

/// A device that starts a group with the passphrase.
fn founder(scratch: &Scratch, name: &str, relay: &str) -> Device {
    let device = Device::uninitialised(scratch, name, "warn");
    let passphrase = file(scratch, &format!("{name}.passphrase"), &format!("{PASSPHRASE}\n"));
    let init = ["init", "--name", name, "--relay", relay, "--secrets", "file", "--passphrase-file", &passphrase];
    let said = device.run(&init).only_line();
    assert_eq!(said["group_id"].as_str().map(str::len), Some(64), "{said}");
    std::fs::remove_file(passphrase).expect("it is needed no more");
    device
}

#[test]
fn two_devices_of_a_group_that_began_with_a_passphrase_are_in_step() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let phone = founder(&scratch, "phone", relay.url());
    let laptop = Device::new(&scratch, "laptop", relay.url());
    phone.run(&["push", "before anybody came", "--wait", "all"]).ok();
    pairing(&phone, &laptop);
    laptop.push("from the laptop");
    laptop.sync();
    phone.push("from the phone");
    phone.sync();
    for device in [&phone, &laptop] {
        let mut texts = device.texts_in_step();
        texts.sort_unstable();
        assert_eq!(texts, ["before anybody came", "from the laptop", "from the phone"]);
    }
    // The one that joined lets others in like any member.
    let tablet = Device::new(&scratch, "tablet", relay.url());
    pairing(&laptop, &tablet);
    assert_eq!(tablet.texts_in_step().len(), 3);
}

#[test]
fn who_knows_the_passphrase_is_in_no_group_by_that() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let phone = founder(&scratch, "phone", relay.url());
    phone.run(&["push", "among us", "--wait", "all"]).ok();

    let knowing = founder(&scratch, "knowing", relay.url());
    assert!(knowing.texts_in_step().is_empty(), "a group of its own");
    assert_eq!(knowing.run(&["devices"]).ok().len(), 1);
    let mut create = phone.spawn(&["pair", "--create", "--yes"]);
    let code = create.expect("the code", std::time::Duration::from_secs(30))["code"].as_str().map(str::to_owned);
    let refused = knowing.run(&["pair", "--join", &code.expect("a code"), "--yes"]);
    assert_eq!(refused.error(), ("already_in_group", 7));
    assert_eq!(phone.run(&["devices", "--offline"]).code, 9, "the invite is still open");
    drop(create);
    assert_eq!(phone.run(&["devices"]).ok().len(), 1);
}

/// `init` at a terminal.
fn asked(scratch: &Scratch, name: &str) -> (Device, Terminal) {
    let device = Device::uninitialised(scratch, name, "warn");
    let nowhere = "http://127.0.0.1:1";
    let terminal =
        device.at_terminal(&["init", "--name", name, "--relay", nowhere, "--secrets", "file", "--passphrase"]);
    (device, terminal)
}

#[test]
fn a_person_types_it_twice_and_nobody_sees_it() {
    let scratch = Scratch::new();
    let (phone, mut terminal) = asked(&scratch, "phone");
    terminal.answers_unseen("passphrase: ", &format!("{PASSPHRASE}\r"));
    terminal.answers_unseen("the same again: ", &format!("{PASSPHRASE}\r"));
    let (status, shown) = terminal.finish();
    assert!(status.success() && shown.contains("group_id"), "{shown}");
    assert!(PASSPHRASE.split(' ').all(|word| !shown.contains(word)), "{shown}");
    assert_eq!(phone.run(&["devices", "--offline"]).ok().len(), 1);

    let (other, mut terminal) = asked(&scratch, "other");
    terminal.answers_unseen("passphrase: ", &format!("{PASSPHRASE}\r"));
    terminal.answers_unseen("the same again: ", &format!("{PASSPHRASE}s\r"));
    let (status, shown) = terminal.finish();
    assert!(status.code() == Some(2) && shown.contains("the two passphrases differ"), "{shown}");
    assert_eq!(other.run(&["status"]).error(), ("no_profile", 2));
}

#[test]
fn a_prompt_that_is_interrupted_leaves_a_terminal_that_shows_what_is_typed() {
    let scratch = Scratch::new();
    let (phone, mut terminal) = asked(&scratch, "phone");
    assert!(terminal.shows_what_is_typed());
    terminal.answers_unseen("passphrase: ", "half of\u{3}");
    let (status, shows) = terminal.ends();
    assert_eq!(status.code(), Some(130));
    assert!(shows, "and is as it was");
    assert_eq!(phone.run(&["status"]).error(), ("no_profile", 2));
}

#[test]
fn where_nobody_can_be_asked_that_is_said() {
    let scratch = Scratch::new();
    let mut phone = Device::uninitialised(&scratch, "phone", "warn");
    // In a session without a terminal, wherever this runs.
    phone.enter_by(vec!["setsid".to_owned(), "--wait".to_owned()]);
    let init = ["init", "--name", "x", "--relay", "http://127.0.0.1:1", "--secrets", "file", "--passphrase"];
    let refused = phone.run(&init);
    assert_eq!(refused.error(), ("invalid_argument", 2));
    assert!(refused.advice().contains("--passphrase-file"), "{}", refused.advice());
}
