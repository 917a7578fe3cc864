//! Several groups at one relay, several at work on one device, and a relay that comes and goes.

use std::{thread, time::Duration};

use sync_tests::{Device, Relay, Scratch, eventually, paired, pairing};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn another_group_sees_nothing() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let (stranger, friend) =
        (Device::new(&scratch, "stranger", relay.url()), Device::new(&scratch, "friend", relay.url()));
    pairing(&stranger, &friend);
    phone.run(&["push", "ours", "--wait", "all"]).ok();
    stranger.run(&["push", "theirs", "--wait", "all"]).ok();
    assert_eq!(laptop.texts(), ["ours"]);
    assert_eq!(friend.texts(), ["theirs"]);
    assert_eq!(relay.health()["groups"], 2);
}

#[test]
fn eight_at_once_share_one_device() {
    const EACH: usize = 50;
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    // One process holds the profile; eight write to it at once, and each line is pushed by a task of its own.
    let mut watch = phone.spawn(&["watch", "--lines"]);
    for number in 0..8 * EACH {
        watch.say(&format!("{} {}", number % 8, number / 8));
    }
    for _ in 0..8 * EACH {
        watch.expect("a blob", SOON);
    }
    watch.hush();
    drop(watch);
    phone.sync();
    let texts = laptop.texts();
    for writer in 0..8 {
        let own: Vec<&String> = texts.iter().filter(|text| text.starts_with(&format!("{writer} "))).collect();
        let expected: Vec<String> = (0..EACH).map(|number| format!("{writer} {number}")).collect();
        assert!(own.iter().copied().eq(&expected), "writer {writer}: {own:?}");
    }
}

#[test]
fn processes_that_contend_for_a_profile_do_it_no_harm() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let outcomes: Vec<(i32, Option<String>)> = thread::scope(|story| {
        let commands: Vec<_> = (0..8)
            .map(|number| {
                let phone = &phone;
                story.spawn(move || {
                    let outcome = phone.run(&["push", &number.to_string()]);
                    (outcome.code, outcome.lines[0]["push_id"].as_str().map(str::to_owned))
                })
            })
            .collect();
        commands.into_iter().map(|command| command.join().expect("a command ends")).collect()
    });
    assert!(outcomes.iter().all(|(code, id)| if id.is_some() { *code == 0 } else { *code == 9 }), "{outcomes:?}");
    phone.sync();
    let mut arrived: Vec<String> = laptop.pull_after(0).into_iter().map(|blob| blob.push_id).collect();
    let mut promised: Vec<String> = outcomes.into_iter().filter_map(|(_, id)| id).collect();
    arrived.sort();
    promised.sort();
    assert!(!promised.is_empty());
    assert_eq!(arrived, promised);
}

#[test]
fn an_outage_leaves_no_trace_in_the_status() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, _laptop) = paired(&scratch, relay.url());
    let mut push = phone.spawn(&["push", "--lines", "--wait", "all", "--timeout", "60"]);
    for round in 0..3 {
        push.say(&round.to_string());
        assert_eq!(push.expect("confirmed", SOON)["state"], "all");
        relay.kill();
        relay.restart();
    }
    push.say("last");
    assert_eq!(push.expect("confirmed by the relay that came back", SOON)["state"], "all");
    assert!(push.finish(SOON).0.success());
    eventually("all is well", SOON, || {
        let status = phone.status();
        (status["connection"] == "connected" && status["badge"] == "synced").then_some(())
    });
}
