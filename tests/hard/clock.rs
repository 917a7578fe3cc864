//! Clocks that are wrong, and clocks that jump.
//!
//! What is promised: a clock decides nothing. What was pushed arrives, whatever any clock says, and is kept for as long
//! as was asked for by the relay's own measure, which a jump moves by one cleanup interval at most. What comes late
//! because its device was offline, or because its device's clock says so, is kept for a while all the same.

use std::{fs, process::Command};

use sync_tests::{Clock, Relay, RelaySetup, Scratch, eventually, pairing};

use crate::member::{LIMIT, Member, Totals, assert_all_well, relay};

const MINUTES_S: i64 = 5 * 60;
const YEARS_S: i64 = 10 * 365 * 24 * 3_600;
/// A cleanup every second, each of which may move time by a second.
const CLEANUPS: &str = "[cleanup]\ninterval = 1\n";

#[test]
fn a_device_five_minutes_off() {
    for offset_s in [MINUTES_S, -MINUTES_S] {
        let Some(mut story) = Story::begin(Whose::Device, offset_s) else { return };
        story.talk();
        story.short_lived_blobs_live_long_enough();
        story.end();
    }
}

#[test]
fn a_relay_five_minutes_off() {
    for offset_s in [MINUTES_S, -MINUTES_S] {
        let Some(mut story) = Story::begin(Whose::Relay, offset_s) else { return };
        story.talk();
        story.short_lived_blobs_live_long_enough();
        story.end();
    }
}

#[test]
fn a_device_whose_clock_jumps_ten_years() {
    let Some(mut story) = Story::begin(Whose::Device, 0) else { return };
    for offset_s in [YEARS_S, 0, -YEARS_S, 0] {
        story.clock.set(offset_s);
        story.talk();
    }
    story.end();
}

#[test]
fn a_relay_whose_clock_jumps_ten_years() {
    let Some(mut story) = Story::begin(Whose::Relay, 0) else { return };
    for offset_s in [YEARS_S, 0, -YEARS_S, 0] {
        story.clock.set(offset_s);
        story.cleanups(3);
        story.talk();
    }
    story.newcomer_gets_everything();
    story.end();
}

#[test]
fn what_waits_for_a_relay_while_the_clock_jumps() {
    let Some(mut story) = Story::begin(Whose::Device, -YEARS_S) else { return };
    for (offset_s, in_one_life) in [(0, true), (YEARS_S, false), (-YEARS_S, true), (YEARS_S, true)] {
        story.relay.kill();
        story.phone.say(20);
        story.phone.hear(&Totals::from([("phone", story.phone.said())]));
        if !in_one_life {
            story.phone.die();
            assert_eq!(story.phone.say_by_command(&["--ttl", "3600"]), "queued", "for a time of its own");
        }
        story.clock.set(offset_s);
        if !in_one_life {
            story.phone.open();
        }
        story.phone.say(20);
        story.relay.restart();
        story.talk();
    }
    story.end();
}

/// Who lives by the clock of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Device,
    Relay,
}

/// A phone and a laptop, both online, and a clock that is not everybody's.
struct Story {
    whose: Whose,
    clock: Clock,
    relay: Relay,
    phone: Member,
    laptop: Member,
    scratch: Scratch,
}

impl Story {
    fn begin(whose: Whose, offset_s: i64) -> Option<Self> {
        let scratch = Scratch::new();
        let clock = Clock::new(&scratch, "other")?;
        clock.set(offset_s);
        let under = |who: Whose| if who == whose { clock.entrance() } else { Vec::new() };
        let setup = RelaySetup { config: CLEANUPS, entrance: &under(Whose::Relay), ..RelaySetup::default() };
        let relay = relay(&scratch, setup);
        let phone = Member::new(&scratch, "phone", &[relay.url()], under(Whose::Device));
        let laptop = Member::new(&scratch, "laptop", &[relay.url()], Vec::new());
        pairing(&phone.device, &laptop.device);
        let mut story = Self { whose, clock, relay, phone, laptop, scratch };
        let seen_s = story.offset_s();
        assert!((seen_s - offset_s).abs() < 120, "the clock takes no effect: {seen_s} s instead of {offset_s} s");
        story.phone.open();
        story.laptop.open();
        story.talk();
        Some(story)
    }

    /// Both say something, and each hears all there is.
    fn talk(&mut self) {
        self.phone.say(30);
        self.laptop.say(30);
        let totals = Totals::from([("phone", self.phone.said()), ("laptop", self.laptop.said())]);
        self.phone.hear(&totals);
        self.laptop.hear(&totals);
    }

    /// How far whoever lives by the clock is ahead of this test, by what its log says.
    fn offset_s(&self) -> i64 {
        let log = match self.whose {
            Whose::Device => self.phone.device.log_file().to_owned(),
            Whose::Relay => self.relay.log_file(),
        };
        let log = String::from_utf8_lossy(&fs::read(log).expect("there is a log")).into_owned();
        let last = log.lines().rev().find_map(|line| line.split('Z').next().filter(|time| time.len() == 26));
        let last = last.expect("a log's lines begin with the time");
        unix_s(&format!("{last}Z")) - unix_s("now")
    }

    /// A blob that is to live shorter than the clock is off arrives, if its reader comes at once.
    fn short_lived_blobs_live_long_enough(&mut self) {
        // Offline is who reads: what it gets comes from the relay's disk.
        self.laptop.close();
        self.phone.close();
        let ttl_s = (MINUTES_S - 60).to_string();
        assert_eq!(self.phone.say_by_command(&["--ttl", &ttl_s, "--wait", "all"]), "all");
        self.phone.read_log();
        self.laptop.device.sync();
        self.laptop.read_log();
        assert_eq!(self.laptop.heard("phone"), self.phone.said());
        self.phone.open();
        self.laptop.open();
    }

    fn cleanups(&self, count: usize) {
        let done = || {
            String::from_utf8_lossy(&fs::read(self.relay.log_file()).unwrap_or_default()).matches("cleaned up").count()
        };
        let before = done();
        eventually("cleanups", LIMIT, || (done() >= before + count).then_some(()));
    }

    /// Everything is still there for who comes late, after a restart too.
    fn newcomer_gets_everything(&mut self) {
        self.phone.close();
        self.laptop.close();
        self.relay.stop();
        self.relay.restart();
        let mut tablet = Member::new(&self.scratch, "tablet", &[self.relay.url()], Vec::new());
        pairing(&self.phone.device, &tablet.device);
        tablet.device.sync();
        tablet.read_log();
        for member in [&self.phone, &self.laptop] {
            assert_eq!(tablet.heard(member.name()), member.said(), "of {}", member.name());
        }
        self.phone.open();
        self.laptop.open();
    }

    fn end(mut self) {
        self.phone.close();
        self.laptop.close();
        assert_all_well(std::slice::from_ref(&self.relay), &mut [&mut self.phone, &mut self.laptop]);
        drop(self.scratch);
    }
}

/// What `date` makes of a time.
fn unix_s(time: &str) -> i64 {
    let said = Command::new("date").args(["--utc", "+%s", "--date", time]).output().expect("date is there").stdout;
    String::from_utf8_lossy(&said).trim().parse().unwrap_or_else(|_| panic!("no time: {time}"))
}
