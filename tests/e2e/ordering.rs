//! Each sender's blobs come in its order, under cursors that never change.

use std::{collections::BTreeMap, thread};

use sync_tests::{Blob, Device, Relay, Scratch, paired, pairing};

const EACH: usize = 400;

fn by_sender(blobs: &[Blob]) -> BTreeMap<&str, Vec<&str>> {
    let mut senders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for blob in blobs {
        senders.entry(&blob.sender).or_default().push(blob.text());
    }
    senders
}

#[test]
fn a_reader_that_polls_while_two_push_misses_nothing() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let reader = Device::new(&scratch, "reader", relay.url());
    pairing(&phone, &reader);
    let said: [Vec<String>; 2] = ["p", "l"].map(|who| (0..EACH).map(|number| format!("{who}{number}")).collect());
    let seen = thread::scope(|story| {
        let pushing = [&phone, &laptop].into_iter().zip(&said).map(|(device, said)| {
            let input: Vec<&str> = said.iter().map(String::as_str).collect();
            story.spawn(move || device.run_with_input(&["push", "--lines", "--wait", "all"], &input).ok())
        });
        let pushing: Vec<_> = pushing.collect();
        let mut seen: Vec<Blob> = Vec::new();
        let mut done = false;
        loop {
            let after = seen.last().map_or(0, |blob| blob.cursor);
            seen.extend(reader.pull_after(after));
            if done {
                break seen;
            }
            done = pushing.iter().all(thread::ScopedJoinHandle::is_finished);
        }
    });

    let cursors: Vec<u64> = seen.iter().map(|blob| blob.cursor).collect();
    assert_eq!(cursors, (1..=2 * EACH as u64).collect::<Vec<_>>(), "every cursor once, none left out");
    let senders = by_sender(&seen);
    assert_eq!(senders.len(), 2);
    for texts in senders.values() {
        assert!(said.iter().any(|said| texts == said), "a sender's blobs come in its order: {texts:?}");
    }
    assert_eq!(reader.log_after(0), seen, "the log read again is the same");
}

#[test]
fn an_own_push_hides_nothing_of_others() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    for round in 0..10 {
        phone.run(&["push", &format!("phone {round}"), "--wait", "all"]).ok();
        laptop.run(&["push", &format!("laptop {round}"), "--wait", "all"]).ok();
    }
    for device in [&phone, &laptop] {
        let blobs = device.pull_after(0);
        let senders = by_sender(&blobs);
        for who in ["phone", "laptop"] {
            let expected: Vec<String> = (0..10).map(|round| format!("{who} {round}")).collect();
            assert!(senders.values().any(|texts| *texts == expected), "{who}: {senders:?}");
        }
    }
}
