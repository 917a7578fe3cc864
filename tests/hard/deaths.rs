//! SIGKILL at two hundred random moments with one relay and two hundred with three, with everybody talking, and every promise
//! checked after each.
//!
//! Eight groups die in parallel, each by dice of its own. `SYNC_DEATHS_SEED` replays the same dice; the moment in a program's
//! life at which they strike is still the machine's.

use std::{
    env, thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sync_tests::{Dice, Relay, RelaySetup, Scratch, eventually, pairing};

use crate::member::{LIMIT, Member, Totals, assert_all_well, relay};

/// How many relays each story has.
const STORIES: [usize; 8] = [1, 3, 1, 3, 1, 3, 1, 3];
const DEATHS_EACH: usize = 50;
/// Lines that somebody says between two deaths, at most.
const LINES_MAX: u64 = 8;
/// The longest time between two deaths.
const PAUSE_MS_MAX: u64 = 120;

#[test]
fn two_hundred_deaths_at_random_moments_with_one_relay_and_with_several() {
    let seed = env::var("SYNC_DEATHS_SEED").map_or_else(
        |_| SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs(),
        |seed| seed.parse().expect("SYNC_DEATHS_SEED is a number"),
    );
    println!("SYNC_DEATHS_SEED={seed}");
    thread::scope(|deaths| {
        for (story, relays) in (0..).zip(STORIES) {
            let seed = seed.wrapping_mul(STORIES.len() as u64).wrapping_add(story);
            deaths.spawn(move || Story::begin(seed, relays).run());
        }
    });
}

struct Story {
    dice: Dice,
    relays: Vec<Relay>,
    /// What each relay held before anybody said anything.
    before: u64,
    members: [Member; 3],
    /// How many of its own lines each was told are at a relay.
    confirmed: [usize; 3],
    _scratch: Scratch,
}

impl Story {
    fn begin(seed: u64, relays: usize) -> Self {
        let scratch = Scratch::new();
        let names = (0..relays).map(|number| format!("relay-{number}"));
        let relays: Vec<_> =
            names.map(|name| relay(&scratch, RelaySetup { name: &name, ..RelaySetup::default() })).collect();
        let urls: Vec<_> = relays.iter().map(Relay::url).collect();
        let mut members = ["phone", "laptop", "tablet"].map(|name| Member::new(&scratch, name, &urls, Vec::new()));
        pairing(&members[0].device, &members[1].device);
        pairing(&members[1].device, &members[2].device);
        members.iter().for_each(|member| member.device.settles());
        let before = stored(&relays[0]);
        members.iter_mut().for_each(Member::open);
        Self { dice: Dice::new(seed), relays, before, members, confirmed: [0; 3], _scratch: scratch }
    }

    fn run(mut self) {
        let mut deaths = 0;
        while deaths < DEATHS_EACH {
            for member in &mut self.members {
                member.say(self.dice.below(LINES_MAX) as usize);
                member.listen();
            }
            thread::sleep(self.pause());
            match self.dice.below(5) as usize {
                3 => self.relay_dies(),
                4 => {
                    self.command_dies();
                    deaths += 1;
                }
                member => {
                    self.member_dies(member);
                    self.members[member].open();
                }
            }
            deaths += 1;
        }
        self.everybody_hears();
        self.relay_dies_with_its_disk();
        self.members.iter_mut().for_each(Member::close);
        let [phone, laptop, tablet] = &mut self.members;
        assert_all_well(&self.relays, &mut [phone, laptop, tablet]);
    }

    fn everybody_hears(&mut self) {
        let totals: Totals = self.members.iter().map(|member| (member.name(), member.said())).collect();
        for member in &mut self.members {
            member.hear(&totals);
        }
    }

    /// The last death takes everything along. The devices give it back, and nobody hears anything twice.
    fn relay_dies_with_its_disk(&mut self) {
        let victim = self.dice.below(self.relays.len() as u64) as usize;
        let relay = &mut self.relays[victim];
        relay.kill();
        relay.wipe();
        relay.restart();
        self.members.iter_mut().for_each(|member| member.say(3));
        self.everybody_hears();
        let all = self.before + self.members.iter().map(|member| member.said() as u64).sum::<u64>();
        eventually("every relay has everything", LIMIT, || {
            self.relays.iter().all(|relay| stored(relay) == all).then_some(())
        });
    }

    fn pause(&mut self) -> Duration {
        Duration::from_millis(self.dice.below(PAUSE_MS_MAX))
    }

    /// One after the other: the process that is online, and a command that promises.
    fn command_dies(&mut self) {
        let victim = self.dice.below(3) as usize;
        self.member_dies(victim);
        let wait = ["local", "relay"][self.dice.below(2) as usize];
        let (lines, pause) = (1 + self.dice.below(LINES_MAX) as usize, self.pause());
        let confirmed = self.members[victim].say_and_die(lines, wait, pause);
        self.confirmed[victim] = self.confirmed[victim].max(confirmed);
        self.members[victim].open();
    }

    /// What it confirmed, and what it has passed on to somebody else, is there again.
    fn relay_dies(&mut self) {
        for member in &mut self.members {
            member.listen();
        }
        let promised: usize =
            self.passed_on(None).values().zip(self.confirmed_by_name().values()).map(|(a, b)| a.max(b)).sum();
        let victim = self.dice.below(self.relays.len() as u64) as usize;
        let relay = &mut self.relays[victim];
        let had = stored(relay);
        relay.kill();
        relay.restart();
        let has = stored(relay);
        assert!(has >= had, "the relay has lost what it said to have: {has} of {had} are left");
        // Where there are several, another may be whose promise it was.
        if self.relays.len() == 1 {
            let kept = has - self.before;
            assert!(kept >= promised as u64, "the relay has lost what it had promised: {kept} of {promised} are left");
        }
    }

    /// What it had said is in its log; and if it says that it is in step, then it has what others had from the relay.
    fn member_dies(&mut self, victim: usize) {
        self.members[victim].die();
        if self.dice.below(2) == 0 {
            for member in &mut self.members {
                member.listen();
            }
            let mut passed_on = self.passed_on(Some(victim));
            passed_on.remove(self.members[victim].name());
            for (name, confirmed) in self.confirmed_by_name() {
                passed_on.entry(name).and_modify(|count| *count = (*count).max(confirmed));
            }
            let member = &mut self.members[victim];
            let status = member.device.status();
            member.read_log();
            if status["badge"] == "synced" {
                assert_eq!(status["pending"], 0, "{status}");
                for (name, count) in &passed_on {
                    let heard = member.heard(name);
                    assert!(heard >= *count, "{} is synced without {name}'s lines {heard}..{count}", member.name());
                }
            }
        }
    }

    fn confirmed_by_name(&self) -> Totals {
        self.members.iter().map(Member::name).zip(self.confirmed).collect()
    }

    /// How many of each sender's lines somebody else than the sender has heard, other than by `but`: those went
    /// through a relay.
    fn passed_on(&self, but: Option<usize>) -> Totals {
        let names = self.members.iter().map(Member::name);
        let heard = |name| {
            let others = self.members.iter().enumerate().filter(|(index, _)| Some(*index) != but);
            others
                .map(|(_, member)| member)
                .filter(|member| member.name() != name)
                .map(|member| member.heard(name))
                .max()
        };
        names.map(|name| (name, heard(name).unwrap_or_default())).collect()
    }
}

fn stored(relay: &Relay) -> u64 {
    relay.health()["blobs_stored"].as_u64().expect("a number")
}
