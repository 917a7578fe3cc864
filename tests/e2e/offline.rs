//! Without a relay everything works that can, and the rest is said.

use std::{thread, time::Duration};

use rustix::process::Signal;
use sync_tests::{Device, Relay, Scratch, eventually, paired, pairing};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn what_is_pushed_offline_is_kept_and_sent_later() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.sync(); // What pairing made is not pending any more.
    relay.kill();

    for text in ["one", "two", "three"] {
        assert_eq!(phone.push(text)["state"], "queued");
    }
    let status = phone.status();
    assert_eq!((&status["badge"], &status["pending"]), (&"offline".into(), &3.into()), "{status}");
    assert_eq!(phone.run(&["sync", "--timeout", "2"]).error().1, 4);
    let own: Vec<String> = phone.texts();
    assert_eq!(own, ["one", "two", "three"], "a pull that finds no relay still prints what is here");
    assert!(laptop.texts().is_empty());

    relay.restart();
    assert_eq!(phone.sync()["badge"], "synced");
    assert_eq!(laptop.texts(), ["one", "two", "three"]);
}

#[test]
fn a_watch_outlives_the_relay() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let mut watch = laptop.spawn(&["watch", "--lines"]);
    let mut other = phone.spawn(&["watch", "--lines"]);
    for round in 0..3 {
        watch.say(&format!("laptop {round}"));
        assert_eq!(watch.expect("the own blob", SOON)["own"], true);
        assert_eq!(other.expect("the other's blob", SOON)["text"], format!("laptop {round}"));
        relay.kill();
        other.say(&format!("phone {round}"));
        assert_eq!(other.expect("the own blob, relay or not", SOON)["own"], true);
        relay.restart();
        assert_eq!(watch.expect("what was said meanwhile", SOON)["text"], format!("phone {round}"));
    }
}

#[test]
fn a_dead_relay_is_noticed_within_seconds() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let mut watch = laptop.spawn(&["watch"]);
    phone.run(&["push", "alive", "--wait", "all"]).ok();
    watch.expect("a live session", SOON);
    relay.kill();
    relay.restart();
    phone.run(&["push", "back", "--wait", "all"]).ok();
    // The laptop's old connection gets no goodbye from a killed relay: it has to find out by itself.
    assert_eq!(watch.expect("news over a new session", Duration::from_secs(12))["text"], "back");
}

#[test]
fn a_relay_that_is_back_soon_is_reached_before_the_old_connection_times_out() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let phone = Device::new(&scratch, "phone", relay.url());
    let laptop = Device::new_logging(&scratch, "laptop", relay.url(), "warn,sync_client=debug");
    pairing(&phone, &laptop);
    let mut watch = laptop.spawn(&["watch", "--lines"]);
    // On a machine too slow to start a relay within seconds the old connection times out first. Not five times running.
    let reached = (0..5).any(|round| {
        watch.say(&format!("laptop {round}"));
        assert_eq!(watch.expect("the own blob", SOON)["own"], true);
        phone.run(&["push", &format!("phone {round}"), "--wait", "all"]).ok();
        assert_eq!(watch.expect("a live session", SOON)["text"], format!("phone {round}"));
        relay.kill();
        thread::sleep(Duration::from_secs(1));
        relay.restart();
        phone.run(&["push", &format!("again {round}"), "--wait", "all"]).ok();
        assert_eq!(watch.expect("news over a new session", SOON)["text"], format!("again {round}"));
        watch.stderr().contains("a silent relay was reached anew")
    });
    assert!(reached, "the old connection timed out every time");
}

#[test]
fn a_relay_that_stands_still_for_a_moment_loses_nothing() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let mut watch = laptop.spawn(&["watch", "--lines"]);
    let mut expected = Vec::new();
    for round in 0..2 {
        phone.run(&["push", &format!("before {round}"), "--wait", "all"]).ok();
        assert_eq!(watch.expect("a live session", SOON)["text"], format!("before {round}"));
        relay.process().signal(Signal::STOP);
        for number in 0..30 {
            watch.say(&format!("{round} {number}"));
            thread::sleep(Duration::from_millis(100));
            assert_eq!(watch.expect("the own blob", SOON)["own"], true);
            expected.push(format!("{round} {number}"));
        }
        relay.process().signal(Signal::CONT);
    }
    eventually("all of it has arrived once", SOON, || {
        let texts = phone.texts().into_iter().filter(|text| !text.starts_with("before"));
        (texts.collect::<Vec<_>>() == expected).then_some(())
    });
}

#[test]
fn a_device_that_never_met_a_relay_says_so() {
    let scratch = Scratch::new();
    let device = Device::new(&scratch, "alone", "http://127.0.0.1:9");
    assert_eq!(device.run(&["pair", "--join", "ABCD-EFGH-JKMN-PQRS", "--yes"]).error(), ("offline", 4));
    // An invite needs none: whoever reaches the device itself can use the link.
    let mut inviting = device.spawn(&["pair", "--create", "--yes"]);
    let invite = inviting.expect("an invite", SOON);
    assert!(invite["link"].is_string() && invite["code"].is_null(), "{invite}");
}

#[test]
fn a_stopped_relay_comes_back_as_itself() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.run(&["push", "before", "--wait", "all"]).ok();
    let id = relay.id().to_owned();
    relay.stop();
    relay.restart();
    assert_eq!(relay.id(), id);
    eventually("the relay is healthy again", SOON, || (relay.health()["status"] == "ok").then_some(()));
    assert_eq!(laptop.texts(), ["before"]);
}
