//! Two machines and a cable, and nothing else in the world.

use std::time::Duration;

use sync_tests::{Device, Scratch, Way, Wire, on_a_wire};

const STEP_MAX: Duration = Duration::from_secs(120);
/// A relay's address at which nobody is, on either machine.
const NOWHERE: &str = "http://127.0.0.1:1";

#[test]
fn two_machines_with_a_cable_between_them_pair_by_link() {
    on_a_wire("direct::two_machines_with_a_cable_between_them_pair_by_link", |wire| pair_by_link(wire));
}

#[test]
fn a_fifth_of_all_packets_lost_while_two_machines_pair() {
    on_a_wire("direct::a_fifth_of_all_packets_lost_while_two_machines_pair", |wire| {
        wire.lose(20, Way::BOTH);
        pair_by_link(wire);
    });
}

fn pair_by_link(wire: &Wire) {
    let scratch = Scratch::new();
    let phone = Device::new(&scratch, "phone", NOWHERE);
    let mut laptop = Device::new(&scratch, "laptop", NOWHERE);
    laptop.enter_by(wire.entrance());
    let mut create = phone.spawn(&["pair", "--create", "--yes"]);
    let invite = create.expect("the invite", STEP_MAX);
    let link = invite["link"].as_str().unwrap_or_else(|| create.fail("said no link"));
    let mut join = laptop.spawn(&["pair", "--join", link, "--yes"]);
    for process in [&mut join, &mut create] {
        let (status, said) = process.finish(STEP_MAX);
        assert!(status.success(), "{said:?}");
    }
    for device in [&phone, &laptop] {
        assert_eq!(device.run(&["devices"]).ok().len(), 2);
    }
}
