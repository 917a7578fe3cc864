//! A full disk, on either side. Where a machine lets nobody mount a small one, these say so and prove nothing.

use std::time::Duration;

use sync_tests::{Device, Relay, RelaySetup, Scratch, SmallDisk, eventually, noisy_text, paired, pairing};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_relay_on_a_full_disk_refuses_what_it_can_not_keep_and_goes_on_when_there_is_room() {
    let scratch = Scratch::new();
    let Some(disk) = SmallDisk::mount(&scratch, "disk", 8 * 1_024) else { return };
    let setup = RelaySetup { disk: Some(&disk), ..RelaySetup::default() };
    let mut relay = Relay::start_with(&scratch, setup);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.run(&["push", "before", "--wait", "all", "--timeout", "60"]).ok();

    disk.fill_but(0);
    let texts: Vec<String> = (0..40).map(|number| format!("{number} {}", noisy_text(number, 500))).collect();
    let input: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(phone.run_with_input(&["push", "--lines"], &input).ok().len(), texts.len());
    let refused = phone.run(&["sync", "--timeout", "60"]);
    assert_eq!(refused.error(), ("storage_full", 5), "{refused:?}");
    assert!(refused.advice().contains("make room"), "{}", refused.advice());
    let held = || laptop.texts().first().is_some_and(|text| text == "before").then_some(());
    eventually("what it has it hands out", SOON, held);
    assert_eq!(relay.health()["status"], "ok");
    let log = std::fs::read_to_string(relay.log_file()).expect("a log");
    assert!(log.contains("full"), "its operator can read why:\n{log}");

    // Killed without room, it has what it confirmed.
    relay.kill();
    disk.make_room();
    relay.restart();
    phone.settles();
    let expected: Vec<String> = std::iter::once("before".to_owned()).chain(texts).collect();
    assert_eq!(laptop.texts_in_step(), expected);
    assert_eq!(phone.status()["badge"], "synced");
}

#[test]
fn what_a_relay_confirms_after_its_disk_was_full_is_on_the_disk() {
    let scratch = Scratch::new();
    let Some(disk) = SmallDisk::mount(&scratch, "disk", 8 * 1_024) else { return };
    let mut relay = Relay::start_with(&scratch, RelaySetup { disk: Some(&disk), ..RelaySetup::default() });
    let (phone, laptop) = paired(&scratch, relay.url());
    disk.fill_but(0);
    for number in 0..5 {
        phone.push(&noisy_text(number, 100_000)); // Each time the relay tries again.
    }
    assert_eq!(phone.run(&["sync", "--timeout", "60"]).error(), ("storage_full", 5));
    disk.make_room();
    phone.settles();
    let confirmed = relay.health()["blobs_stored"].clone();
    relay.kill();
    relay.restart();
    assert_eq!(relay.health()["blobs_stored"], confirmed, "no device had to fill it again");
    assert_eq!(laptop.texts_in_step().len(), 5);
}

#[test]
fn what_a_device_shows_after_its_disk_was_full_is_on_the_disk() {
    let scratch = Scratch::new();
    let Some(disk) = SmallDisk::mount(&scratch, "disk", 4 * 1_024) else { return };
    let relay = Relay::start(&scratch);
    let (laptop, phone) = on_a_disk(&scratch, &relay, &disk);
    let mut watch = phone.spawn(&["watch"]);
    laptop.run(&["push", "before", "--wait", "all", "--timeout", "60"]).ok();
    assert_eq!(watch.expect("what comes", SOON)["text"], "before");
    disk.fill_but(0);
    let texts: Vec<String> = (0..5).map(|number| noisy_text(number, 50_000)).collect();
    for text in &texts {
        laptop.run(&["push", text, "--wait", "all", "--timeout", "60"]).ok();
    }
    assert!(watch.next_within(Duration::from_secs(3)).is_none(), "what can't be kept is not shown");
    disk.make_room();
    for text in &texts {
        assert!(watch.expect("what came, once there is room", SOON)["text"] == text.as_str());
    }
    watch.kill();
    let kept = phone.log_after(0);
    let texts: Vec<&str> = std::iter::once("before").chain(texts.iter().map(String::as_str)).collect();
    assert!(kept.iter().map(sync_tests::Blob::text).eq(texts), "{} are kept", kept.len());
}

/// Two devices in one group, the second of them on this disk.
fn on_a_disk(scratch: &Scratch, relay: &Relay, disk: &SmallDisk) -> (Device, Device) {
    let laptop = Device::new(scratch, "laptop", relay.url());
    let mut phone = Device::uninitialised(scratch, "phone", "warn");
    phone.live_on(disk);
    phone.run(&["init", "--name", "phone", "--relay", relay.url(), "--secrets", "file"]).ok();
    pairing(&laptop, &phone);
    (laptop, phone)
}

#[test]
fn a_device_on_a_full_disk_promises_nothing_and_keeps_what_it_promised() {
    let scratch = Scratch::new();
    let Some(disk) = SmallDisk::mount(&scratch, "disk", 4 * 1_024) else { return };
    let relay = Relay::start(&scratch);
    let (laptop, phone) = on_a_disk(&scratch, &relay, &disk);
    laptop.settles();
    phone.push("before");
    phone.settles();

    disk.fill_but(64);
    let texts: Vec<String> = (0..40).map(|number| noisy_text(number, 9_000)).collect();
    let mut promised = Vec::new();
    let mut refusals = 0;
    for text in &texts {
        let outcome = phone.run(&["push", text]);
        if outcome.code == 0 {
            promised.push(text.clone());
        } else {
            assert_eq!(outcome.error(), ("local_full", 8), "{outcome:?}");
            assert!(outcome.advice().contains("free some"), "{}", outcome.advice());
            refusals += 1;
        }
        if refusals == 3 {
            break;
        }
    }
    assert_eq!(refusals, 3, "the disk was not full");
    // What others push meanwhile can't be kept here, and waits where it is.
    let large = format!("from the laptop {}", noisy_text(99, 100_000));
    laptop.run(&["push", &large, "--wait", "all", "--timeout", "60"]).ok();
    let full = phone.run(&["sync", "--timeout", "60"]);
    assert_eq!(full.error(), ("local_full", 8), "{full:?}");

    disk.make_room();
    phone.push("after");
    phone.settles();
    let mut expected = vec!["before".to_owned()];
    expected.extend(promised);
    expected.push("after".to_owned());
    laptop.settles();
    let arrived = laptop.log_after(0);
    let from_phone: Vec<_> = arrived.iter().filter(|blob| !blob.own).map(|blob| blob.text().to_owned()).collect();
    assert_eq!(from_phone, expected, "what was promised, all of it, and what was refused nowhere");
    assert!(phone.texts_in_step().iter().any(|text| text.starts_with("from the laptop")));
    assert_eq!(phone.status()["badge"], "synced");
}
