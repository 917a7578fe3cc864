//! A page and a code bring back a person who has lost every device, and nobody whose kit was taken out.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use sync_tests::{Device, Network, Outcome, Relay, Scratch, damage, paired, pairing};

const SOON: Duration = Duration::from_secs(10);

/// What a person has in two drawers.
struct Kit {
    device_id: String,
    text: String,
    code: String,
}

impl Kit {
    fn of(device: &Device) -> Self {
        let line = device.run(&["export-kit"]).only_line();
        let of = |name: &str| line["kit"][name].as_str().unwrap_or_else(|| panic!("no {name}: {line}")).to_owned();
        Self { device_id: of("device_id"), text: of("text"), code: of("code") }
    }

    /// As whoever has a copy of some device's folder as well.
    fn import_with(&self, device: &Device, backup: &Path) -> Outcome {
        let backup = backup.to_str().expect("UTF-8");
        device.run_with_input(&["import-kit", "-", "--backup", backup], &[&self.text, &self.code])
    }

    /// As whoever types both.
    fn import(&self, device: &Device) -> Outcome {
        device.run_with_input(&["import-kit", "-"], &[&self.text, &self.code])
    }
}

fn in_list(device: &Device, id: &str) -> Option<Value> {
    device.run(&["devices"]).ok().into_iter().find(|device| device["device_id"] == id)
}

fn lose<const N: usize>(devices: [Device; N]) {
    for device in devices {
        fs::remove_dir_all(device.profile()).expect("its profile is there");
    }
}

#[test]
fn who_lost_every_device_has_everything_again_and_goes_on() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.push("before the kit");
    let kit = Kit::of(&phone);
    let shown = in_list(&phone, &kit.device_id).expect("a kit is a member");
    assert_eq!((&shown["kit"], &shown["online"], &shown["last_seen"]), (&true.into(), &false.into(), &Value::Null));
    laptop.push("after it");
    for round in 0..3 {
        laptop.run(&["rotate-key"]).only_line();
        laptop.push(&format!("round {round}"));
        laptop.sync();
        phone.sync();
    }
    for device in [&phone, &laptop] {
        assert_eq!(device.status()["badge"], "synced", "nobody waits for the kit");
    }
    lose([phone, laptop]);

    let tablet = Device::new(&scratch, "tablet", relay.url());
    let member = kit.import(&tablet).only_line();
    assert_ne!(member["device_id"], kit.device_id.as_str(), "it is a device of its own");
    let mut texts = tablet.texts_in_step();
    texts.sort_unstable();
    assert_eq!(texts, ["after it", "before the kit", "round 0", "round 1", "round 2"]);

    // It is a device like any other: it pushes, lets others in, and takes the used kit out.
    tablet.push("back again");
    let desk = Device::new(&scratch, "desk", relay.url());
    pairing(&tablet, &desk);
    assert!(desk.texts_in_step().contains(&"back again".to_owned()));
    let next = Kit::of(&tablet);
    tablet.run(&["remove-device", &kit.device_id]).only_line();
    desk.push("without the old kit");
    desk.sync();
    assert!(tablet.texts_in_step().contains(&"without the old kit".to_owned()));
    let other = Device::new(&scratch, "other", relay.url());
    assert_eq!(kit.import(&other).error(), ("removed", 6));
    next.import(&other).only_line();
    assert!(other.texts_in_step().contains(&"without the old kit".to_owned()));
}

#[test]
fn a_page_is_read_from_a_file_and_a_code_from_another() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let phone = Device::new(&scratch, "phone", relay.url());
    let page = scratch.path().join("kit.html");
    let path = page.to_str().expect("UTF-8");
    let line = phone.run(&["export-kit", "--output", path]).only_line();
    assert_eq!((&line["kit"]["page"], &line["kit"]["text"]), (&path.into(), &Value::Null));
    let code = line["kit"]["code"].as_str().expect("a code");
    assert!(!fs::read_to_string(&page).expect("is there").contains(code), "the code is kept apart");
    assert_eq!(
        phone.run(&["export-kit", "--output", path]).error(),
        ("invalid_argument", 2),
        "nothing is written over"
    );
    assert_eq!(phone.run(&["devices", "--offline"]).ok().len(), 2, "and no kit was made for that");
    phone.push("kept");
    phone.sync();

    let laptop = Device::new(&scratch, "laptop", relay.url());
    let codes = scratch.file("code.txt", format!("{}\n", code.to_lowercase()).as_bytes());
    laptop.run(&["import-kit", path, "--code-file", codes.to_str().expect("UTF-8")]).only_line();
    assert_eq!(laptop.texts_in_step(), ["kept"]);
    assert_eq!(laptop.run(&["import-kit", path]).error(), ("already_in_group", 7));
}

#[test]
fn what_is_wrong_with_a_kit_is_said() {
    let (scratch, elsewhere) = (Scratch::new(), Scratch::new());
    let (mut relay, other_relay) = (Relay::start(&scratch), Relay::start(&elsewhere));
    let phone = Device::new(&scratch, "phone", relay.url());
    let (kit, other) = (Kit::of(&phone), Kit::of(&phone));
    phone.sync();
    let laptop = Device::new(&scratch, "laptop", other_relay.url());
    let import = |text: &str, code: &str| laptop.run_with_input(&["import-kit", "-"], &[text, code]);
    assert_eq!(import(&kit.text[..kit.text.len() - 1], &kit.code).error(), ("invalid_kit", 2));
    assert_eq!(import(&kit.text, &kit.code[..kit.code.len() - 1]).error(), ("invalid_kit_code", 2));
    assert_eq!(import(&kit.text, &other.code).error(), ("wrong_kit_code", 2));
    assert_eq!(import(&kit.text.replace("KIT:1:", "KIT:9:"), &kit.code).error(), ("kit_too_new", 2));
    let stranger = Device::uninitialised(&scratch, "stranger", "warn");
    let init = ["init", "--name", "s", "--relay", relay.url(), "--secrets", "file", "--app", "org.example.other"];
    stranger.run(&init).only_line();
    assert_eq!(kit.import(&stranger).error(), ("other_app", 7));

    relay.kill();
    assert_eq!(kit.import(&laptop).error(), ("kit_unknown", 5), "the relay that answers knows nothing of the group");
    relay.restart();
    kit.import(&laptop).only_line();
    laptop.settles();
}

#[test]
fn a_thousand_blobs_come_back() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let phone = Device::new(&scratch, "phone", relay.url());
    let kit = Kit::of(&phone);
    let blobs: Vec<String> = (0..1_000).map(|number| format!("blob number {number}")).collect();
    let lines: Vec<&str> = blobs.iter().map(String::as_str).collect();
    phone.run_with_input(&["push", "--lines"], &lines).ok();
    phone.sync();
    lose([phone]);
    let tablet = Device::new(&scratch, "tablet", relay.url());
    kit.import(&tablet).only_line();
    assert_eq!(tablet.texts_in_step(), blobs);
}

/// A copy of a profile's folder as a backup of files makes one: its keys rest in the keychain, and are in none.
fn copied(scratch: &Scratch, device: &Device, name: &str) -> PathBuf {
    let copy = scratch.path().join(name);
    fs::create_dir(&copy).expect("one copy a name");
    for entry in fs::read_dir(device.profile()).expect("it is there") {
        let path = entry.expect("readable").path();
        if let Some(name) = path.file_name().filter(|name| name.to_string_lossy().starts_with("profile.db")) {
            fs::copy(&path, copy.join(name)).expect("writable");
        }
    }
    copy
}

fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path());
    files.map(|path| (path.clone(), fs::read(path).expect("readable"))).collect()
}

#[test]
fn a_kit_and_a_copy_of_one_device_bring_back_what_no_relay_has_any_more() {
    let (scratch, network) = (Scratch::new(), Network::new());
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let tablet = Device::new(&scratch, "tablet", relay.url());
    pairing(&laptop, &tablet);
    phone.push("before the kit");
    let kit = Kit::of(&phone);
    phone.settles();
    let early = copied(&scratch, &tablet, "before-the-kit");
    for device in [&laptop, &tablet] {
        device.settles();
        device.run(&["rotate-key"]).only_line();
        device.push("under another key");
        device.settles();
    }
    phone.settles();
    phone.push("the last of the phone");
    for device in [&phone, &laptop, &tablet, &laptop] {
        device.settles();
    }
    // The laptop has something that was never sent, and something that its disk has damaged.
    let damaged = laptop.log_after(0).iter().find(|blob| blob.text() == "before the kit").map(|blob| blob.cursor);
    relay.kill();
    damage::envelope(&network, laptop.profile(), i64::try_from(damaged.expect("it is here")).expect("small"));
    // It is copied while it runs: a part of it is in no file but the write-ahead log.
    let mut running = laptop.spawn(&["watch", "--lines"]);
    running.say("never sent");
    running.expect("it is kept", SOON);
    let backup = copied(&scratch, &laptop, "copy");
    running.kill();
    let before = content(&backup);
    lose([phone, laptop, tablet]);
    relay.wipe();
    relay.restart();

    let desk = Device::new(&scratch, "desk", relay.url());
    assert_eq!(kit.import(&desk).error(), ("kit_unknown", 5), "no relay has anything");
    assert_eq!(
        kit.import_with(&desk, scratch.path()).error(),
        ("invalid_argument", 2),
        "there is no profile in that folder"
    );
    assert_eq!(kit.import_with(&desk, &early).error().0, "kit_unknown", "it knows nothing of the kit");
    let member = kit.import_with(&desk, &backup).only_line();
    let expected = ["never sent", "the last of the phone", "under another key", "under another key"];
    // One of the phone's is damaged in the copy, and in no other place: that takes as long as it takes to be given up.
    desk.run(&["sync", "--timeout", "55"]).only_line();
    let texts = |device: &Device| {
        let mut texts = device.texts_in_step();
        texts.sort_unstable();
        texts
    };
    assert_eq!(texts(&desk), expected);
    assert_eq!(desk.status()["badge"], "synced");
    assert_eq!(content(&backup), before, "the copy is not written to");
    assert!(!fs::exists(desk.profile().join("backup")).expect("readable"), "nothing is left of reading it");

    // Who types it again, because it was interrupted, is where he was.
    assert_eq!(kit.import_with(&desk, &backup).only_line(), member);
    assert_eq!(texts(&desk), expected);

    // The relay has all of it again, and so has whoever comes with the kit alone.
    let attic = Device::new(&scratch, "attic", relay.url());
    kit.import(&attic).only_line();
    attic.run(&["sync", "--timeout", "55"]).only_line();
    assert_eq!(texts(&attic), expected);
    attic.push("and on it goes");
    attic.settles();
    assert!(texts(&desk).contains(&"and on it goes".to_owned()));
}

#[test]
fn a_copy_of_another_groups_device_is_of_no_use_to_a_kit() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, stranger) = (Device::new(&scratch, "phone", relay.url()), Device::new(&scratch, "other", relay.url()));
    let kit = Kit::of(&phone);
    let other = Kit::of(&stranger);
    stranger.push("not for everybody");
    stranger.settles();
    let backup = copied(&scratch, &stranger, "copy");
    let desk = Device::new(&scratch, "desk", relay.url());
    assert_eq!(kit.import_with(&desk, &backup).error(), ("invalid_argument", 2), "it is of another group");
    kit.import(&desk).only_line();
    assert_eq!(other.import_with(&desk, &backup).error(), ("already_in_group", 7));
}
