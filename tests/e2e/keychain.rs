//! Keys rest in the system's keychain, and a profile without them opens nothing.

use std::{fs, process::Command};

use sync_tests::{Device, Keychain, Relay, Scratch, pairing};

fn initialised(scratch: &Scratch, name: &str, relay: &Relay, keychain: &Keychain) -> Device {
    let mut device = Device::uninitialised(scratch, name, "warn");
    device.use_keychain(keychain);
    device.run(&["init", "--name", name, "--relay", relay.url()]).only_line();
    device
}

#[test]
fn a_profile_lives_with_its_keychain_and_not_without() {
    let scratch = Scratch::new();
    let Some(keychain) = Keychain::start(&scratch) else {
        println!("skipped: dbus-daemon and gnome-keyring-daemon are not installed");
        return;
    };
    let relay = Relay::start(&scratch);
    let phone = initialised(&scratch, "phone", &relay, &keychain);
    let laptop = initialised(&scratch, "laptop", &relay, &keychain);
    pairing(&phone, &laptop);
    phone.run(&["push", "from a keychain", "--wait", "all"]).ok();
    assert_eq!(laptop.texts(), ["from a keychain"]);
    for device in [&phone, &laptop] {
        assert!(!device.profile().join("secrets.key").exists(), "nothing secret is in the folder");
    }

    let copy = Device::uninitialised(&scratch, "copy", "warn");
    copied(&phone, &copy);
    assert_eq!(copy.run(&["pull", "--offline"]).error(), ("keychain_unavailable", 8), "no keychain at all");

    let elsewhere = Scratch::new();
    let empty = Keychain::start(&elsewhere).expect("it started once");
    let mut copy = Device::uninitialised(&scratch, "another-copy", "warn");
    copy.use_keychain(&empty);
    copied(&phone, &copy);
    assert_eq!(copy.run(&["pull", "--offline"]).error(), ("key_missing", 8), "another machine's keychain");
    assert_eq!(phone.log_after(0).len(), 1, "the original is unharmed");
}

#[test]
fn without_a_keychain_a_key_file_has_to_be_asked_for() {
    let scratch = Scratch::new();
    let device = Device::uninitialised(&scratch, "server", "warn");
    let init = ["init", "--name", "server", "--relay", "http://127.0.0.1:9"];
    assert_eq!(device.run(&init).error(), ("keychain_unavailable", 8));
    device.run(&[&init[..], &["--secrets", "file"]].concat()).ok();
    let log = fs::read_to_string(device.log_file()).expect("there is a log");
    assert!(log.contains("--secrets file"), "the error says what to do: {log}");
    assert!(log.contains("keeps its keys in a file"), "and the file is not passed over in silence: {log}");
}

fn copied(from: &Device, to: &Device) {
    let done = Command::new("cp").arg("-r").args([from.profile(), to.profile()]).status().expect("cp is there");
    assert!(done.success());
}
