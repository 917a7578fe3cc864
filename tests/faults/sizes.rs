//! Blobs at the edges of what there may be.

use data_encoding::BASE64;
use sync_tests::{Device, Relay, RelaySetup, Scratch, noise, paired};

const PAYLOAD_LEN_MAX: usize = 1024 * 1024;

fn file(scratch: &Scratch, len: usize) -> String {
    let path = scratch.file(&format!("{len}-bytes"), noise(len as u64, len));
    path.into_os_string().into_string().expect("UTF-8")
}

fn assert_in_step(device: &Device) {
    device.settles();
    let status = device.status();
    assert_eq!(status["badge"], "synced", "{status}");
    assert_eq!((&status["pending"], &status["waiting"]), (&0.into(), &0.into()), "{status}");
    assert_eq!(status["parked"].as_array().map(Vec::len), Some(0), "{status}");
}

#[test]
fn a_blob_over_the_limit_is_refused_at_once_and_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let refused = phone.run(&["push", "--file", &file(&scratch, PAYLOAD_LEN_MAX + 1)]);
    assert_eq!(refused.error(), ("blob_too_large", 2));
    assert!(refused.advice().contains("1048576") && refused.advice().contains("split it"), "{}", refused.advice());
    let line = "x".repeat(PAYLOAD_LEN_MAX + 1);
    let refused = phone.run_with_input(&["push", "--lines"], &[&line]);
    assert_eq!(refused.error(), ("blob_too_large", 2));
    assert_in_step(&phone);

    phone.run(&["push", "--file", &file(&scratch, PAYLOAD_LEN_MAX), "--wait", "all", "--timeout", "60"]).ok();
    phone.run(&["push", "", "--wait", "all", "--timeout", "60"]).ok();
    laptop.settles();
    let arrived = laptop.log_after(0);
    assert_eq!(arrived.len(), 2, "the largest and the empty one, and nothing of the refused");
    let largest = std::fs::read(file(&scratch, PAYLOAD_LEN_MAX)).expect("it is there");
    assert!(arrived[0].data.as_deref() == Some(&BASE64.encode(&largest)), "it arrives as it was");
    assert_eq!(arrived[1].text.as_deref(), Some(""));
    assert_in_step(&phone);
    assert_in_step(&laptop);
}

#[test]
fn a_relay_that_takes_less_is_known_by_the_time_of_a_push() {
    let scratch = Scratch::new();
    let setup = RelaySetup { config: "[storage]\nmax_blob_size = 100000\n", ..RelaySetup::default() };
    let relay = Relay::start_with(&scratch, setup);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.run(&["push", "--file", &file(&scratch, 100_000), "--wait", "all", "--timeout", "60"]).ok();
    let refused = phone.run(&["push", "--file", &file(&scratch, 300_000)]);
    assert_eq!(refused.error(), ("blob_too_large", 2), "{refused:?}");
    assert!(refused.advice().contains("what the relay allows"), "{}", refused.advice());
    phone.run(&["push", "", "--wait", "all", "--timeout", "60"]).ok();
    assert_in_step(&phone);
    laptop.settles();
    assert_eq!(laptop.log_after(0).len(), 2);
}
