//! A profile folder, keys and all, that is copied and used in both places; and one that is copied without its keys.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;
use sync_tests::{Device, Relay, Scratch, paired};

fn copied(from: &Device, to: &Device) {
    let done = Command::new("cp").arg("-r").args([from.profile(), to.profile()]).status().expect("cp is there");
    assert!(done.success());
}

fn devices(of: &Device) -> Vec<Value> {
    of.run(&["devices", "--offline"]).ok()
}

fn this(of: &Device) -> String {
    let this = devices(of).into_iter().find(|device| device["this"] == true).expect("it is one of them");
    this["device_id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_copied_profile_that_is_used_in_both_places_loses_nothing_and_shows_as_a_copy() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.run(&["push", "before", "--wait", "all"]).ok();
    let copy = Device::uninitialised(&scratch, "copy", "warn");
    copied(&phone, &copy);
    let was = this(&phone);
    assert_eq!(this(&copy), was);

    // Both push while nobody can tell them apart.
    relay.kill();
    phone.push("from the phone");
    copy.push("from the copy");
    copy.push("and again");
    relay.restart();
    phone.sync();
    copy.sync();
    let is = this(&copy);
    assert_ne!(is, was, "the later one found out, and is another device");
    for device in [&phone, &laptop, &copy, &phone] {
        device.sync();
    }
    assert_eq!(this(&phone), was);
    let everything: BTreeSet<_> = ["before", "from the phone", "from the copy", "and again"].map(str::to_owned).into();
    let mut names = BTreeSet::new();
    for device in [&phone, &laptop, &copy] {
        let texts = device.texts_in_step();
        assert_eq!(texts.len(), everything.len(), "each of them once: {texts:?}");
        assert_eq!(texts.into_iter().collect::<BTreeSet<_>>(), everything);
        names.insert(device.log_after(0).into_iter().map(|blob| blob.push_id).collect::<BTreeSet<_>>());
        let copies: Vec<_> = devices(device).into_iter().filter(|device| device["copy_of"] == was.as_str()).collect();
        assert_eq!(copies.len(), 1, "{copies:?}");
        assert_eq!(copies[0]["device_id"], is.as_str());
        assert_eq!(device.status()["badge"], "synced");
    }
    assert_eq!(names.len(), 1, "and by the same name on all devices");

    // Both go on.
    phone.push("later, from the phone");
    copy.push("later, from the copy");
    for device in [&phone, &copy, &laptop] {
        device.sync();
    }
    assert_eq!(laptop.texts_in_step().len(), everything.len() + 2);
    // What nobody uses any more can be removed, also the one that was there first; the copy stays.
    laptop.run(&["remove-device", &was]).ok();
    laptop.sync();
    copy.sync();
    copy.push("without the phone");
    copy.sync();
    assert!(laptop.texts_in_step().contains(&"without the phone".to_owned()));
    assert_eq!(phone.run(&["sync"]).error().0, "removed");
}

#[test]
fn a_copied_profile_without_its_keys_says_what_to_do() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.run(&["push", "before", "--wait", "all"]).ok();
    let copy = Device::uninitialised(&scratch, "copy", "warn");
    copied(&phone, &copy);
    fs::remove_file(copy.profile().join("secrets.key")).expect("the keys are in a file");
    for args in [&["pull", "--offline"][..], &["push", "x"], &["devices"]] {
        let refused = copy.run(args);
        assert_eq!(refused.error(), ("key_missing", 8), "{args:?}");
        assert!(refused.advice().contains("pair this device as a new one"), "{}", refused.advice());
    }
    phone.sync();
    assert_eq!(laptop.texts_in_step(), ["before"], "the original is unharmed");
}
