//! A network that loses packets, has little room, or passes nothing at all.

use serde_json::Value;
use sync_tests::{RelaySetup, Scratch, Way, Wire, eventually, on_a_wire, pairing};

use crate::member::{LIMIT, Member, Totals, assert_all_well, relay};

const EACH: usize = 400;

#[test]
fn a_twentieth_of_all_packets_lost() {
    on_a_wire("loss::a_twentieth_of_all_packets_lost", |wire| {
        talk_across(wire, |wire| wire.lose(5, Way::BOTH));
        assert!(wire.lost() > 0, "nothing was lost");
    });
}

#[test]
fn a_fifth_of_all_packets_lost() {
    on_a_wire("loss::a_fifth_of_all_packets_lost", |wire| {
        talk_across(wire, |wire| wire.lose(20, Way::BOTH));
        assert!(wire.lost() > 0, "nothing was lost");
    });
}

#[test]
fn a_narrow_wire() {
    on_a_wire("loss::a_narrow_wire", |wire| {
        talk_across(wire, |wire| wire.narrow(512));
        assert!(wire.crowded_out() > 0, "there was room for everything");
    });
}

/// The phone is far away, the laptop is where the relay is, and both talk across this wire.
fn talk_across(wire: &mut Wire, worsen: impl FnOnce(&mut Wire)) {
    let scratch = Scratch::new();
    let relay = relay(&scratch, RelaySetup { host: wire.host(), ..RelaySetup::default() });
    let mut phone = Member::new(&scratch, "phone", &[relay.url()], wire.entrance());
    let mut laptop = Member::new(&scratch, "laptop", &[relay.url()], Vec::new());
    pairing(&phone.device, &laptop.device);
    worsen(wire);
    phone.open();
    laptop.open();
    for _ in 0..4 {
        phone.say(EACH / 4);
        laptop.say(EACH / 4);
        let totals = Totals::from([(phone.name(), phone.said()), (laptop.name(), laptop.said())]);
        phone.hear(&totals);
        laptop.hear(&totals);
    }
    phone.close();
    laptop.close();
    assert_all_well(std::slice::from_ref(&relay), &mut [&mut phone, &mut laptop]);
}

#[test]
fn a_cut_wire_is_offline_and_never_synced() {
    on_a_wire("loss::a_cut_wire_is_offline_and_never_synced", |wire| {
        let scratch = Scratch::new();
        let relay = relay(&scratch, RelaySetup { host: wire.host(), ..RelaySetup::default() });
        let mut phone = Member::new(&scratch, "phone", &[relay.url()], wire.entrance());
        let mut laptop = Member::new(&scratch, "laptop", &[relay.url()], Vec::new());
        pairing(&phone.device, &laptop.device);
        phone.device.sync();
        laptop.open();
        for round in 0..2 {
            let ways = [Way::BOTH, &[Way::Far]][round];
            wire.cut(ways);
            laptop.say(50);
            laptop.hear(&Totals::from([(laptop.name(), laptop.said())]));
            assert_offline(&phone.device.status(), 0);
            phone.open();
            phone.say(50);
            phone.hear(&Totals::from([(phone.name(), phone.said())]));
            phone.close();
            assert_offline(&phone.device.status(), 50);
            assert_eq!(phone.device.run(&["sync", "--timeout", "3"]).error().1, 4);
            wire.mend();
            eventually("the phone is in step again", LIMIT, || {
                (phone.device.status()["badge"] == "synced").then_some(())
            });
            phone.read_log();
            laptop.hear(&Totals::from([(phone.name(), phone.said()), (laptop.name(), laptop.said())]));
        }
        laptop.close();
        assert_all_well(std::slice::from_ref(&relay), &mut [&mut phone, &mut laptop]);
    });
}

fn assert_offline(status: &Value, pending: u64) {
    assert_eq!((&status["badge"], &status["pending"]), (&"offline".into(), &pending.into()), "{status}");
    assert_ne!(status["connection"], "connected", "{status}");
}
