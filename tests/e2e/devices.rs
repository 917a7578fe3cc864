//! The devices that a person sees, and what they are called.

use std::time::Duration;

use serde_json::Value;
use sync_tests::{Device, Relay, Scratch, paired, pairing};

fn devices(of: &Device) -> Vec<Value> {
    of.run(&["devices"]).ok()
}

fn this(of: &Device) -> String {
    let this = devices(of).into_iter().find(|device| device["this"] == true).expect("it is one of them");
    this["device_id"].as_str().expect("an id").to_owned()
}

fn name_of(device: &str, on: &Device) -> String {
    let found = devices(on).into_iter().find(|other| other["device_id"] == device).expect("it is there");
    found["name"].as_str().expect("a name").to_owned()
}

#[test]
fn a_device_is_called_on_all_devices_what_any_of_them_called_it() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let id = this(&phone);
    let renamed = laptop.run(&["rename-device", &id[..12], " Ann's \u{202e}phone "]).only_line();
    assert_eq!(
        (&renamed["renamed"]["device_id"], &renamed["renamed"]["name"]),
        (&id.as_str().into(), &"Ann's phone".into())
    );
    phone.sync();
    let tablet = Device::new(&scratch, "tablet", relay.url());
    let (_, joined) = pairing(&phone, &tablet);
    assert_eq!(joined[0]["confirm"]["name"], "Ann's phone", "who joins sees the name it has now");
    tablet.sync();
    for device in [&phone, &laptop, &tablet] {
        assert_eq!(name_of(&id, device), "Ann's phone");
    }
    let inviters: Vec<_> = devices(&laptop).into_iter().map(|device| device["joined_by"].clone()).collect();
    assert_eq!(inviters.iter().filter(|inviter| **inviter == id).count(), 2, "{inviters:?}");
    assert_eq!(inviters.iter().filter(|inviter| inviter.is_null()).count(), 1, "one made the group");
}

#[test]
fn who_gives_names_at_once_and_offline_agrees_afterwards() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let id = this(&phone);
    relay.kill();
    phone.run(&["rename-device", &id, "mine"]).ok();
    laptop.run(&["rename-device", &id, "yours"]).ok();
    relay.restart();
    for device in [&phone, &laptop, &phone] {
        device.sync();
    }
    let name = name_of(&id, &phone);
    assert!(["mine", "yours"].contains(&name.as_str()), "{name}");
    assert_eq!(name_of(&id, &laptop), name);
}

#[test]
fn a_device_that_is_not_there_and_a_name_that_is_none_are_refused() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, _laptop) = paired(&scratch, relay.url());
    assert_eq!(phone.run(&["rename-device", &"0".repeat(64), "x"]).error(), ("device_unknown", 2));
    assert_eq!(phone.run(&["rename-device", "", "x"]).error(), ("invalid_argument", 2));
    let id = this(&phone);
    assert_eq!(phone.run(&["rename-device", &id, " \u{200b} "]).error(), ("invalid_argument", 2));
    assert_eq!(name_of(&id, &phone), "phone");
}

#[test]
fn who_is_connected_is_online_and_who_went_was_seen() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let (phone_id, laptop_id) = (this(&phone), this(&laptop));
    let of = |on: &Device, id: &str| devices(on).into_iter().find(|device| device["device_id"] == id).expect("there");

    let mut watch = phone.spawn(&["watch", "--lines"]);
    watch.say("here");
    watch.expect("it runs", Duration::from_secs(60));
    laptop.sync();
    assert_eq!((&of(&laptop, &phone_id)["online"], &of(&laptop, &laptop_id)["online"]), (&true.into(), &true.into()));
    watch.kill();
    // A relay takes a connection for lost only after it has been silent for a while.
    let gone = (0..120).any(|_| {
        std::thread::sleep(Duration::from_millis(500));
        of(&laptop, &phone_id)["online"] == false
    });
    assert!(gone, "it is not online for ever");
    let last_seen = of(&laptop, &phone_id)["last_seen"].as_u64().expect("it was seen");
    relay.kill();
    let offline = laptop.run(&["devices", "--offline"]).ok();
    let seen = offline.iter().find(|device| device["device_id"] == phone_id.as_str()).expect("there");
    assert_eq!((&seen["online"], seen["last_seen"].as_u64().is_some_and(|at| at <= last_seen)), (&false.into(), true));
    assert!(offline.iter().all(|device| device["online"] == false), "nobody is connected, this one neither");
}

#[test]
fn a_device_says_how_far_it_has_received_and_applied() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let (phone_id, laptop_id) = (this(&phone), this(&laptop));
    let of = |on: &Device, id: &str| devices(on).into_iter().find(|device| device["device_id"] == id).expect("there");
    let says = |device: &Value| {
        let number = |key: &str| device[key].as_u64();
        (number("received_up_to"), number("applied_up_to"), number("behind"))
    };
    for text in ["one", "two", "three"] {
        phone.run(&["push", text, "--wait", "all"]).ok();
    }
    assert_ne!(says(&of(&phone, &laptop_id)).0, Some(3), "it was not there");
    laptop.sync();
    assert_eq!(says(&of(&phone, &laptop_id)), (Some(3), Some(0), Some(0)));
    laptop.run(&["ack", "2"]).ok();
    laptop.sync();
    laptop.run(&["ack", "3"]).ok();
    laptop.sync();
    assert_eq!(says(&of(&phone, &laptop_id)), (Some(3), Some(3), Some(0)));
    phone.run(&["push", "four", "--wait", "all"]).ok();
    assert_eq!(says(&of(&phone, &laptop_id)), (Some(3), Some(3), Some(1)));
    assert_eq!(says(&of(&phone, &phone_id)), (Some(4), Some(0), Some(0)), "of itself it knows");
    let blobs = |on: &Device, after: &str| on.run(&["status", "--blobs", "--after-cursor", after]).ok();
    let holders =
        |blob: &Value| ["relays", "received_by", "applied_by"].map(|key| blob[key].as_array().map_or(0, Vec::len));
    let of_phone = blobs(&phone, "2");
    assert_eq!(of_phone.iter().map(holders).collect::<Vec<_>>(), [[1, 1, 1], [1, 0, 0]]);
    assert_eq!((&of_phone[0]["own"], &of_phone[0]["relays_configured"]), (&true.into(), &1.into()));
    assert_eq!(of_phone[0]["received_by"][0], laptop_id.as_str());
    let at_laptop = blobs(&laptop, "0");
    assert_eq!(holders(&at_laptop[0]), [0, 1, 1], "who pushed it has it, and where else is that one's to know");
    // What it was told it knows without a relay, and a relay that lost everything is told again.
    relay.kill();
    let offline = phone.run(&["devices", "--offline"]).ok();
    let known = offline.iter().find(|device| device["device_id"] == laptop_id.as_str()).expect("there");
    assert_eq!(says(known), (Some(3), Some(3), Some(1)));
    relay.restart();
    laptop.sync();
    assert_eq!(says(&of(&phone, &laptop_id)), (Some(4), Some(3), Some(0)));
}
