//! A relay without room: it says which room, goes on serving what it has, and takes the rest once there is room.

use std::time::Duration;

use sync_tests::{Device, Relay, RelaySetup, Scratch, eventually, noisy_text, paired, pairing};

const SOON: Duration = Duration::from_secs(90);
const LEN: usize = 20_000;

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number} {}", noisy_text(number as u64, LEN))).collect()
}

/// Pushes more than the relay has room for. All of it is safe at home.
fn overfill(device: &Device, texts: &[String]) {
    let input: Vec<&str> = texts.iter().map(String::as_str).collect();
    let pushed = device.run_with_input(&["push", "--lines"], &input).ok();
    assert_eq!(pushed.len(), texts.len(), "a push is a promise of this device, not of the relay");
}

fn assert_refused(device: &Device, code: &str, advice: &str) {
    let refused = device.run(&["sync", "--timeout", "60"]);
    assert_eq!(refused.error(), (code, 5), "{refused:?}");
    assert!(refused.advice().contains(advice), "{}", refused.advice());
    let status = device.status();
    assert_eq!(status["badge"], "failed", "{status}");
    assert_eq!(status["relays"][0]["problem"], code, "{status}");
    assert!(status["pending"].as_u64().is_some_and(|pending| pending > 0), "{status}");
}

fn assert_drained(device: &Device, other: &Device, texts: &[String]) {
    device.settles();
    let status = device.status();
    assert_eq!((&status["badge"], &status["pending"]), (&"synced".into(), &0.into()), "{status}");
    assert!(other.texts_in_step() == texts, "all of it, once, in its order");
}

#[test]
fn a_group_that_has_used_up_its_room_is_drained_once_there_is_more() {
    let scratch = Scratch::new();
    let tight = RelaySetup { config: "[storage]\nmax_group_storage = 300000\n", ..RelaySetup::default() };
    let mut relay = Relay::start_with(&scratch, tight);
    let (phone, laptop) = paired(&scratch, relay.url());
    let texts = texts(25);
    overfill(&phone, &texts);
    assert_refused(&phone, "group_full", "max_group_storage");
    // A smaller blob may have found room behind one that did not: that one waits, and all before is handed out.
    let held = || Some(laptop.texts()).filter(|held| !held.is_empty());
    assert!(texts.starts_with(&eventually("what the relay took it hands out", SOON, held)));

    // Membership goes on in a full group.
    let tablet = Device::new(&scratch, "tablet", relay.url());
    pairing(&laptop, &tablet);

    relay.stop();
    relay.configure("");
    relay.restart();
    assert_drained(&phone, &laptop, &texts);
    assert!(tablet.texts_in_step() == texts);
}

#[test]
fn blobs_that_expire_make_room_by_themselves() {
    let scratch = Scratch::new();
    let config = "[storage]\nmax_group_storage = 300000\n[cleanup]\ninterval = 1\n";
    let relay = Relay::start_with(&scratch, RelaySetup { config, ..RelaySetup::default() });
    let (phone, laptop) = paired(&scratch, relay.url());
    for text in texts(8) {
        phone.run(&["push", &text, "--ttl", "4", "--wait", "all", "--timeout", "60"]).ok();
    }
    laptop.settles();
    let lasting = texts(10);
    overfill(&phone, &lasting);
    eventually("all that lasts is on the relay", SOON, || {
        (phone.run(&["sync", "--timeout", "10"]).code == 0).then_some(())
    });
    // What had expired before the laptop came for it is a gap, which it waits half a minute for.
    eventually("what lasts is all there, in its order", SOON, || {
        laptop.texts_in_step().ends_with(&lasting).then_some(())
    });
}

#[test]
fn a_full_database_refuses_everybody_serves_everybody_and_fills_up_once_it_may_be_larger() {
    let scratch = Scratch::new();
    let tight = RelaySetup { config: "[storage]\nmax_db_size = 400000\n", ..RelaySetup::default() };
    let mut relay = Relay::start_with(&scratch, tight);
    let (phone, laptop) = paired(&scratch, relay.url());
    let (uncle, aunt) = (Device::new(&scratch, "uncle", relay.url()), Device::new(&scratch, "aunt", relay.url()));
    pairing(&uncle, &aunt);
    uncle.run(&["push", "first", "--wait", "all", "--timeout", "60"]).ok();
    let (ours, theirs) = (texts(25), texts(3));
    overfill(&phone, &ours);
    assert_refused(&phone, "storage_full", "max_db_size");
    overfill(&uncle, &theirs);
    assert_refused(&uncle, "storage_full", "max_db_size");
    assert_eq!(aunt.texts_in_step(), ["first"], "whose group did not fill it reads on");
    assert!(ours.starts_with(&laptop.texts()));

    relay.kill();
    relay.configure("");
    relay.restart();
    assert_drained(&phone, &laptop, &ours);
    assert_drained(&uncle, &aunt, &[vec!["first".to_owned()], theirs].concat());
}
