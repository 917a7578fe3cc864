//! A connection of which one side does not know that it is gone.

use rustix::process::Signal;
use sync_tests::{Relay, RelaySetup, Scratch, Way, Wire, eventually, on_a_wire, pairing};

use crate::member::{LIMIT, Member, Totals, assert_all_well, relay};

#[test]
fn a_path_that_dies_without_a_word() {
    on_a_wire("half_open::a_path_that_dies_without_a_word", |wire| {
        let mut story = Story::begin(wire);
        for ways in [Way::BOTH, &[Way::Near], &[Way::Far]] {
            wire.cut(ways);
            story.both_say(20);
            story.relay_lets_go();
            wire.mend();
            story.both_hear();
        }
        story.end();
    });
}

#[test]
fn a_device_that_sleeps_and_wakes_up_elsewhere() {
    on_a_wire("half_open::a_device_that_sleeps_and_wakes_up_elsewhere", |wire| {
        let mut story = Story::begin(wire);
        for _ in 0..2 {
            story.phone.session().signal(Signal::STOP);
            story.both_say(20);
            story.relay_lets_go();
            wire.move_far();
            story.phone.session().signal(Signal::CONT);
            story.both_hear();
        }
        story.end();
    });
}

#[test]
fn a_device_that_moves_while_it_talks() {
    on_a_wire("half_open::a_device_that_moves_while_it_talks", |wire| {
        let mut story = Story::begin(wire);
        for _ in 0..3 {
            story.both_say(10);
            wire.move_far();
            story.both_say(10);
            story.both_hear();
        }
        story.end();
    });
}

/// A phone far away and a laptop beside the relay, both online.
struct Story {
    _scratch: Scratch,
    relay: Relay,
    phone: Member,
    laptop: Member,
}

impl Story {
    fn begin(wire: &Wire) -> Self {
        let scratch = Scratch::new();
        let relay = relay(&scratch, RelaySetup { host: wire.host(), ..RelaySetup::default() });
        let phone = Member::new(&scratch, "phone", &[relay.url()], wire.entrance());
        let laptop = Member::new(&scratch, "laptop", &[relay.url()], Vec::new());
        pairing(&phone.device, &laptop.device);
        let mut story = Self { _scratch: scratch, relay, phone, laptop };
        story.phone.open();
        story.laptop.open();
        story.both_say(10);
        story.both_hear();
        assert_eq!(story.connections(), 2);
        story
    }

    fn both_say(&mut self, count: usize) {
        self.phone.say(count);
        self.laptop.say(count);
    }

    fn both_hear(&mut self) {
        let members = [&mut self.phone, &mut self.laptop];
        let totals: Totals = members.iter().map(|member| (member.name(), member.said())).collect();
        for member in members {
            member.hear(&totals);
        }
    }

    fn relay_lets_go(&self) {
        eventually("the relay lets go of the dead session", LIMIT, || (self.connections() == 1).then_some(()));
    }

    fn connections(&self) -> u64 {
        self.relay.health()["connections"].as_u64().expect("a number")
    }

    fn end(mut self) {
        self.phone.close();
        self.laptop.close();
        eventually("no session is left behind", LIMIT, || (self.connections() == 0).then_some(()));
        assert_all_well(std::slice::from_ref(&self.relay), &mut [&mut self.phone, &mut self.laptop]);
    }
}
