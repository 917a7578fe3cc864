//! What one device pushes, the other sees: all of it, once, as it was.

use std::time::Duration;

use data_encoding::BASE64;
use sync_tests::{Relay, Scratch, paired};

const SOON: Duration = Duration::from_secs(10);
/// The largest payload, in bytes.
const PAYLOAD_LEN_MAX: usize = 1024 * 1024;

#[test]
fn text_and_bytes_arrive_as_they_were() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let bytes: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    let file = scratch.file("picture", &bytes);

    let pushed = [
        phone.push("grüße \"aus\" ☁\n\u{1}"),
        phone.push(""),
        phone.run(&["push", "--file", file.to_str().expect("UTF-8")]).only_line(),
    ];
    phone.sync();
    let blobs = laptop.pull_after(0);
    assert_eq!(blobs[0].text.as_deref(), Some("grüße \"aus\" ☁\n\u{1}"));
    assert_eq!(blobs[1].text.as_deref(), Some(""));
    assert_eq!(blobs[2].data.as_deref(), Some(BASE64.encode(&bytes).as_str()));
    for (blob, pushed) in blobs.iter().zip(&pushed) {
        assert_eq!(blob.push_id, pushed["push_id"]);
        assert!(!blob.own && blob.sender.len() == 64 && blob.blob_id.len() == 32);
    }
    let own = phone.log_after(0);
    assert!(own.iter().all(|blob| blob.own && blob.sender == blobs[0].sender));
    assert_eq!(own.iter().map(|blob| blob.cursor).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn lines_become_blobs_in_their_order() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let lines: Vec<String> = (0..500).map(|number| format!("line {number}")).collect();
    let input: Vec<&str> = lines.iter().map(String::as_str).collect();
    let pushed = phone.run_with_input(&["push", "--lines", "--wait", "all"], &input).ok();
    let cursors: Vec<u64> = pushed.iter().filter_map(|line| line["cursor"].as_u64()).collect();
    assert_eq!(cursors, (1..=500).collect::<Vec<u64>>());
    assert!(pushed.iter().all(|line| line["state"] == "all"), "{:?}", pushed.last());
    assert_eq!(laptop.texts(), lines);
}

#[test]
fn how_far_a_push_got_is_said_truly() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, _laptop) = paired(&scratch, relay.url());
    assert_eq!(phone.run(&["push", "a", "--wait", "relay"]).only_line()["state"], "all", "the only relay is all");
    assert_eq!(phone.run(&["push", "b", "--wait", "all"]).only_line()["state"], "all");
    relay.kill();
    let queued = phone.run(&["push", "c", "--wait", "relay", "--timeout", "1"]).only_line();
    assert_eq!(queued["state"], "queued");
}

#[test]
fn pages_end_where_they_are_told_and_go_on_from_there() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let lines: Vec<String> = (0..25).map(|number| number.to_string()).collect();
    let input: Vec<&str> = lines.iter().map(String::as_str).collect();
    phone.run_with_input(&["push", "--lines", "--wait", "all"], &input).ok();
    laptop.sync();
    let mut seen = Vec::new();
    let mut after = "0".to_owned();
    loop {
        let page = laptop.run(&["pull", "--offline", "--after-cursor", &after, "--limit", "7"]).ok();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 7);
        after = last["cursor"].to_string();
        seen.extend(page.iter().map(|line| line["text"].as_str().expect("text").to_owned()));
    }
    assert_eq!(seen, lines);
    assert_eq!(laptop.run(&["pull", "--offline", "--after-cursor", "26"]).error(), ("cursor_unknown", 2));
}

#[test]
fn a_blob_of_a_megabyte_passes_and_one_byte_more_is_refused() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    for len in [700_000, PAYLOAD_LEN_MAX - 1, PAYLOAD_LEN_MAX] {
        // Not compressible: what a device seals is as large as it gets.
        let bytes: Vec<u8> = (0..len).scan(len as u64, |state, _| Some(noise(state))).collect();
        let file = scratch.file("large", &bytes);
        let file = file.to_str().expect("UTF-8");
        phone.run(&["push", "--file", file, "--wait", "all"]).ok();
        let arrived = laptop.pull_after(0).pop().expect("it arrived");
        assert!(arrived.data == Some(BASE64.encode(&bytes)), "{len} bytes arrive as they were");
    }
    let file = scratch.file("too-large", vec![7; PAYLOAD_LEN_MAX + 1]);
    let refused = phone.run(&["push", "--file", file.to_str().expect("UTF-8")]);
    assert_eq!(refused.error(), ("blob_too_large", 2));
    assert_eq!(phone.log_after(0).len(), 3);
}

#[test]
fn watching_shows_what_comes_from_the_newest_on() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.run(&["push", "before", "--wait", "all"]).ok();
    laptop.sync();
    let mut watch = laptop.spawn(&["watch"]);
    assert_eq!(watch.next_within(Duration::from_secs(2)), None, "what was there before is not news");
    phone.push("after");
    phone.sync();
    assert_eq!(watch.expect("the new blob", SOON)["text"], "after");

    let mut all = phone.spawn(&["watch", "--after-cursor", "0", "--lines"]);
    assert_eq!(all.expect("the log from its start", SOON)["text"], "before");
    assert_eq!(all.expect("the log from its start", SOON)["text"], "after");
    all.say("said while watching");
    let own = all.expect("the own blob in its turn", SOON);
    assert_eq!((&own["text"], &own["own"]), (&"said while watching".into(), &true.into()));
    assert_eq!(watch.expect("the same, elsewhere", SOON)["push_id"], own["push_id"]);
    all.signal(rustix::process::Signal::TERM);
    assert!(all.finish(SOON).0.success(), "a watch that is asked to end ends well");
}

#[test]
fn what_was_applied_is_remembered_and_nothing_newer_than_there_is_can_be() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.run(&["push", "a", "--wait", "all"]).ok();
    phone.run(&["push", "b", "--wait", "all"]).ok();
    laptop.sync();
    assert_eq!(laptop.status()["last_cursor"], 0);
    assert_eq!(laptop.run(&["ack", "1"]).only_line()["last_cursor"], 1);
    let status = laptop.status();
    assert_eq!((&status["last_cursor"], &status["head_cursor"]), (&1.into(), &2.into()));
    assert_eq!(laptop.run(&["ack", "3"]).error(), ("cursor_unknown", 2));
}

#[test]
fn in_step_means_synced() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.push("a");
    for device in [&phone, &laptop] {
        device.sync();
        let status = device.status();
        assert_eq!(status["badge"], "synced", "{status}");
        assert_eq!(status["connection"], "connected");
        assert_eq!(status["pending"], 0);
        assert_eq!(status["parked"].as_array().map(Vec::len), Some(0));
        assert_eq!(status["head_cursor"], 1);
    }
}

/// A byte of noise: xorshift, which no compressor sees through.
fn noise(state: &mut u64) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 24) as u8
}
