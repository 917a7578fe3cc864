//! Devices that are taken out of the group, keys that are renewed, and groups that are left.

use std::time::Duration;

use sync_tests::{Device, Relay, RelaySetup, Scratch, paired, pairing};

const SOON: Duration = Duration::from_secs(60);

fn id_of(device: &Device) -> String {
    let devices = device.run(&["devices"]).ok();
    let this = devices.into_iter().find(|device| device["this"] == true).expect("it is one of them");
    this["device_id"].as_str().expect("an id").to_owned()
}

/// Phone, laptop and tablet, in step.
fn three(scratch: &Scratch, relay: &Relay) -> [Device; 3] {
    let (phone, laptop) = paired(scratch, relay.url());
    let tablet = Device::new(scratch, "tablet", relay.url());
    pairing(&phone, &tablet);
    for device in [&phone, &laptop, &tablet] {
        device.push(&format!("{} was here", device.profile().file_name().expect("a folder").display()));
        device.sync();
    }
    for device in [&phone, &laptop] {
        device.sync();
    }
    [phone, laptop, tablet]
}

#[test]
fn a_device_that_is_removed_while_it_is_connected_is_told_at_once_and_the_others_go_on() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let [phone, laptop, tablet] = three(&scratch, &relay);
    let (before, id) = (tablet.texts(), id_of(&tablet));
    let mut watch = tablet.spawn(&["watch", "--lines"]);
    watch.say("still here");
    watch.expect("what it pushed", SOON);

    let removed = phone.run(&["remove-device", &id[..12]]).only_line();
    assert_eq!((&removed["removed"]["device_id"], &removed["keys"]), (&id.as_str().into(), &"new".into()));
    let (status, said) = watch.finish(SOON);
    assert_eq!(status.code(), Some(6));
    assert!(said.iter().any(|line| line["error"]["code"] == "removed"), "{said:?}");

    for command in [&["sync"][..], &["push", "after all"], &["rename-device", &id, "x"], &["pair", "--create", "--yes"]]
    {
        assert_eq!(tablet.run(command).error().0, "removed", "{command:?}");
    }
    let page = scratch.path().join("kit").display().to_string();
    for command in [
        &["sync"][..],
        &["status"],
        &["devices"],
        &["relay", "list"],
        &["rotate-key"],
        &["remove-device", &id],
        &["snapshot", "load", "--output", &page],
        &["export-kit", "--output", &page],
    ] {
        assert_eq!(tablet.run(command).error(), ("removed", 6), "{command:?}");
    }
    let other = Relay::start_with(&scratch, RelaySetup { name: "other", ..RelaySetup::default() });
    let added = tablet.run(&["relay", "add", other.url()]);
    assert_eq!((&added.lines[0]["added"], added.error()), (&other.url().into(), ("removed", 6)));
    let listed = tablet.run(&["relay", "list"]);
    assert_eq!(listed.error(), ("removed", 6));
    let addresses: Vec<_> = listed.lines.iter().filter_map(|line| line["address"].as_str()).collect();
    assert_eq!(addresses, [relay.url(), other.url()], "it shows both, and fails afterwards");
    assert_eq!(other.health()["blobs_stored"], 0, "a relay that it adds is given nothing");
    let kept = tablet.texts();
    assert!(before.iter().all(|text| kept.contains(text)), "what it had is still there: {kept:?}");

    laptop.push("among ourselves");
    laptop.sync();
    phone.sync();
    assert!(phone.texts().contains(&"among ourselves".to_owned()));
    assert!(!tablet.texts().contains(&"among ourselves".to_owned()));
    for device in [&phone, &laptop] {
        let devices = device.run(&["devices"]).ok();
        assert_eq!(devices.len(), 2, "{devices:?}");
        assert_eq!(device.status()["badge"], "synced");
    }
}

#[test]
fn a_member_that_was_away_for_several_keys_comes_back() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let [phone, laptop, tablet] = three(&scratch, &relay);
    // The tablet is away, and pushes there.
    tablet.run(&["push", "written on the train"]).ok();
    for round in 0..3 {
        phone.run(&["rotate-key"]).only_line();
        phone.push(&format!("round {round}"));
        phone.sync();
    }
    phone.run(&["remove-device", &id_of(&laptop)]).only_line();
    phone.push("without the laptop");
    phone.sync();
    tablet.sync();
    phone.sync();
    for text in ["round 0", "round 1", "round 2", "without the laptop"] {
        assert!(tablet.texts().contains(&text.to_owned()), "{text}");
    }
    assert!(phone.texts().contains(&"written on the train".to_owned()));
    assert_eq!(laptop.run(&["sync"]).error(), ("removed", 6));

    // Whoever joins now has all of it.
    let desk = Device::new(&scratch, "desk", relay.url());
    pairing(&tablet, &desk);
    desk.sync();
    let mut all = [desk.texts(), phone.texts()];
    all.iter_mut().for_each(|texts| texts.sort());
    assert_eq!(all[0], all[1]);
}

/// What becomes of a relay that is away while a device is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    /// It comes back as it was.
    Whole,
    /// It has lost its data.
    Wiped,
    /// It has lost its data, and the removed device is the first to come and give it what it has.
    WipedAndFilledByTheRemoved,
}

#[test]
fn a_removal_waits_for_a_relay_and_for_one_that_lost_its_data() {
    for away in [Away::Whole, Away::Wiped, Away::WipedAndFilledByTheRemoved] {
        let scratch = Scratch::new();
        let mut relay = Relay::start(&scratch);
        let [phone, laptop, tablet] = three(&scratch, &relay);
        let before = phone.texts();
        let id = id_of(&tablet);
        relay.kill();
        phone.run(&["remove-device", &id]).only_line();
        if away != Away::Whole {
            relay.wipe();
        }
        relay.restart();
        assert_eq!(relay.health()["groups"], u64::from(away == Away::Whole), "{away:?}");
        if away == Away::WipedAndFilledByTheRemoved {
            assert_eq!(tablet.sync()["badge"], "synced", "nobody has told it yet");
            assert_ne!(relay.health()["blobs_stored"], 0, "it gave what it has");
        }
        phone.sync();
        assert_eq!(tablet.run(&["sync"]).error(), ("removed", 6), "{away:?}");
        laptop.push("the two of us");
        laptop.sync();
        phone.sync();
        assert!(phone.texts().contains(&"the two of us".to_owned()), "{away:?}");
        assert!(!tablet.texts().contains(&"the two of us".to_owned()), "{away:?}");

        // Whoever joins now finds on the relay all that was on it before.
        let desk = Device::new(&scratch, "desk", relay.url());
        pairing(&phone, &desk);
        desk.sync();
        let found = desk.texts();
        assert!(before.iter().all(|text| found.contains(text)), "{away:?}: {found:?}");
    }
}

#[test]
fn a_device_that_is_only_struck_off_is_told_so_and_the_keys_stay() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let [phone, laptop, tablet] = three(&scratch, &relay);
    let removed = phone.run(&["remove-device", &id_of(&tablet), "--keep-key"]).only_line();
    assert_eq!(removed["keys"], "kept");
    assert_eq!(tablet.run(&["sync"]).error(), ("removed", 6));
    laptop.push("go on");
    laptop.sync();
    phone.sync();
    assert!(phone.texts().contains(&"go on".to_owned()));
}

#[test]
fn who_leaves_has_nothing_left_and_can_come_back_and_who_would_lose_something_is_asked_first() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let [phone, laptop, tablet] = three(&scratch, &relay);
    relay.kill();
    tablet.run(&["push", "on no relay yet"]).ok();
    assert_eq!(tablet.run(&["leave-group"]).error(), ("not_safe_to_leave", 2));
    relay.restart();
    tablet.run(&["leave-group"]).only_line();
    assert_eq!(tablet.run(&["sync"]).error(), ("no_group", 3));
    assert_eq!(tablet.run(&["pull"]).error(), ("no_group", 3));
    for _ in 0..3 {
        phone.sync();
        laptop.sync();
        std::thread::sleep(Duration::from_secs(3));
    }
    assert!(phone.texts().contains(&"on no relay yet".to_owned()), "what it pushed stays");
    assert_eq!(phone.run(&["devices"]).ok().len(), 2);
    pairing(&laptop, &tablet);
    tablet.sync();
    assert!(tablet.texts().contains(&"on no relay yet".to_owned()));

    let alone = Device::new(&scratch, "alone", relay.url());
    let mut invite = alone.spawn(&["pair", "--create"]);
    invite.expect("an invite", SOON);
    invite.kill();
    assert_eq!(alone.run(&["leave-group"]).error(), ("not_safe_to_leave", 2));
    alone.run(&["leave-group", "--force"]).only_line();
    assert_eq!(alone.run(&["devices"]).error(), ("no_group", 3));
}
