//! SIGSTOP: a process that is there and does nothing, for longer than anybody waits.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use sync_tests::{Relay, RelaySetup, Scratch, eventually, pairing};

use crate::member::{LIMIT, Member, Totals, assert_all_well, relay};

const PAUSE: Duration = Duration::from_secs(20);

#[test]
fn a_relay_stopped_for_twenty_seconds() {
    let mut story = Story::begin();
    story.relay.process().signal(Signal::STOP);
    let stopped = Instant::now();
    // What is said meanwhile is safe where it was said, and nobody is told that it is more.
    while stopped.elapsed() < PAUSE {
        for member in [&mut story.phone, &mut story.laptop] {
            member.say(5);
            member.hear(&Totals::from([(member.name(), member.said())]));
        }
        let status = story.tablet.device.status();
        assert_eq!(status["badge"], "offline", "{status}");
        assert_ne!(status["connection"], "connected", "{status}");
        assert_eq!(story.tablet.say_by_command(&["--wait", "relay", "--timeout", "1"]), "queued");
    }
    story.relay.process().signal(Signal::CONT);
    story.tablet.open();
    story.everybody_hears();
    story.end();
}

#[test]
fn a_device_stopped_for_twenty_seconds() {
    let mut story = Story::begin();
    story.tablet.open();
    story.everybody_hears();
    story.tablet.session().signal(Signal::STOP);
    let stopped = Instant::now();
    // Said to a process that does not listen: it will, later.
    story.tablet.say(40);
    while stopped.elapsed() < PAUSE {
        story.phone.say(20);
        story.laptop.say(20);
        let totals = Totals::from([("phone", story.phone.said()), ("laptop", story.laptop.said())]);
        story.phone.hear(&totals);
        story.laptop.hear(&totals);
        thread::sleep(Duration::from_millis(200));
    }
    eventually("the relay lets go of the sleeper", LIMIT, || (story.relay.health()["connections"] == 2).then_some(()));
    story.tablet.session().signal(Signal::CONT);
    story.everybody_hears();
    story.end();
}

/// Three devices, of which the tablet is not online yet.
struct Story {
    relay: Relay,
    phone: Member,
    laptop: Member,
    tablet: Member,
    _scratch: Scratch,
}

impl Story {
    fn begin() -> Self {
        let scratch = Scratch::new();
        let relay = relay(&scratch, RelaySetup::default());
        let member = |name| Member::new(&scratch, name, &[relay.url()], Vec::new());
        let (phone, laptop, tablet) = (member("phone"), member("laptop"), member("tablet"));
        pairing(&phone.device, &laptop.device);
        pairing(&phone.device, &tablet.device);
        let mut story = Self { relay, phone, laptop, tablet, _scratch: scratch };
        story.phone.open();
        story.laptop.open();
        story.phone.say(10);
        story.laptop.say(10);
        let totals = Totals::from([("phone", 10), ("laptop", 10)]);
        story.phone.hear(&totals);
        story.laptop.hear(&totals);
        story
    }

    fn everybody_hears(&mut self) {
        let members = [&mut self.phone, &mut self.laptop, &mut self.tablet];
        let totals: Totals = members.iter().map(|member| (member.name(), member.said())).collect();
        for member in members {
            member.hear(&totals);
        }
    }

    fn end(mut self) {
        self.phone.close();
        self.laptop.close();
        self.tablet.close();
        assert_all_well(std::slice::from_ref(&self.relay), &mut [&mut self.phone, &mut self.laptop, &mut self.tablet]);
    }
}
