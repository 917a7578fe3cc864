//! A thousand seeds, and those that once found something.

use sync_core::{
    Protection,
    sim::{self, Plan},
};

fn clean(seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        if let Err(violation) = sim::run(Plan::random(seed)) {
            panic!("{violation}\nreplay it with: cargo xtask sim 1 --seed {seed}");
        }
    }
}

#[test]
fn the_guarantees_hold_through_two_hundred_quarrels() {
    for seed in 0..200 {
        if let Err(violation) = sim::run(Plan::quarrel(seed)) {
            panic!("{violation}\nreplay it with: cargo xtask sim 1 --quarrels --seed {seed}");
        }
    }
}

#[test]
fn the_guarantees_hold_through_two_hundred_runs_with_three_relays_that_lie() {
    for seed in 0..200 {
        if let Err(violation) = sim::run(Plan::several(seed)) {
            panic!("{violation}\nreplay it with: cargo xtask sim 1 --several --seed {seed}");
        }
    }
}

#[test]
fn the_guarantees_hold_through_three_hundred_copies() {
    for seed in 0..300 {
        if let Err(violation) = sim::run(Plan::copies(seed)) {
            panic!("{violation}\nreplay it with: cargo xtask sim 1 --copies --seed {seed}");
        }
    }
}

#[test]
fn the_guarantees_hold_against_two_hundred_outlaws() {
    for seed in 0..200 {
        if let Err(violation) = sim::run(Plan::outlaw(seed)) {
            panic!("{violation}\nreplay it with: cargo xtask sim 1 --outlaws --seed {seed}");
        }
    }
}

// Two tests, so that two cores have something to do.
#[test]
fn the_guarantees_hold_on_the_first_five_hundred_seeds() {
    clean(0..500);
}

#[test]
fn the_guarantees_hold_on_the_next_five_hundred_seeds() {
    clean(500..1_000);
}

#[test]
fn a_hundred_seeds_of_snapshots_are_clean() {
    let failed: Vec<_> =
        (0..100).filter_map(|seed| sim::run(Plan::snapshots(seed)).err().map(|it| (seed, it))).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn a_seed_replays_one_run_exactly() {
    for seed in [3, 29, 126] {
        assert_eq!(sim::run(Plan::random(seed)), sim::run(Plan::random(seed)));
    }
}

/// Each found a defect while this was built: a gap behind a gap that nobody timed, a stranger's envelopes that kept the
/// badge from ever turning, a full relay that was a failure for ever once somebody else had filled it, a joiner whose
/// entry a full relay refused and a check that took its blobs for missing ones, a log read again from its start that
/// was no longer held to what had been read of it, a crash between a removal and what follows from it, two newest
/// commits of which some never heard, a newcomer of a removed device that committed itself in, a connection that was
/// given up and came up all the same, checks that asked for what nobody could know, a name that only a newcomer had
/// heard, members that went different ways and never heard of each other, a key that went to whom its commit removed, a
/// check that asked of an old receipt what it does not claim. What a seed stands for changes with the simulator; they
/// are kept because they cost nothing.
#[test]
fn seeds_that_found_something_stay_clean() {
    clean([
        68, 126, 222, 382, 552, 1_141, 1_407, 1_817, 1_875, 2_053, 2_078, 2_269, 3_124, 3_266, 3_279, 3_378, 4_062,
        4_367, 4_946, 5_396, 5_527, 5_533, 5_946, 6_369, 6_443, 7_075, 8_129, 9_046, 9_313, 9_317, 9_501, 15_100,
        17_322, 17_786, 19_544, 20_877, 22_959, 24_789, 25_380, 25_951, 27_946, 30_294, 34_182, 38_735, 38_870, 40_290,
        40_650, 45_482, 50_164, 52_864, 57_758, 62_711, 62_816, 68_000, 68_207, 73_931, 81_167, 82_382, 90_157, 90_182,
        90_230, 95_459, 97_889,
    ]);
}

/// The same of outlaws: junk that crowded out what members had left at an id, a removed device that did not look again
/// by the key it had just learnt, what waited of a device of which it became known later that it was removed, three
/// that removed one another in a circle, commits that named void ones for nothing, a roster that had no room on the
/// disk for what it had had room for as it came, a relay that was wiped of what only those hold who believe in a void
/// commit, one that was wiped of what waited at a device that held nothing else, a removed device that was cut off
/// while it asked and asked the next time only where it had not yet, one that had filled the room for what waits while
/// it was taken for a member, and checks that asked for too much.
#[test]
fn outlaws_that_found_something_stay_clean() {
    let alone = [895, 1_053, 1_659, 1_784, 1_976, 1_989, 2_492, 2_765, 2_800, 5_399, 7_076];
    let as_they_are =
        [1_563, 2_101, 3_534, 3_895, 4_149, 4_212, 4_605, 4_685, 5_291, 5_637, 6_108, 8_700, 8_971, 9_622, 11_242];
    for (seed, may_be_a_gang) in alone.map(|seed| (seed, false)).into_iter().chain(as_they_are.map(|seed| (seed, true)))
    {
        let mut plan = Plan::outlaw(seed);
        plan.faults.gang &= may_be_a_gang;
        if let Err(violation) = sim::run(plan) {
            panic!("{violation}\noutlaw seed {seed}, in a gang if need be: {may_be_a_gang}");
        }
    }
}

/// The same of several relays: a relay's loss that was noticed and forgotten in a crash, an end that was withheld and
/// never named because a row came now and then, and checks that held against a relay what was restored since or what
/// got lost on the way.
#[test]
fn several_relays_that_found_something_stay_clean() {
    for seed in [3_466, 9_889, 16_489, 18_623, 34_818] {
        if let Err(violation) = sim::run(Plan::several(seed)) {
            panic!("{violation}\nreplay it with: cargo xtask sim 1 --several --seed {seed}");
        }
    }
}

/// The same of quarrels: a key of somebody who had not heard of a removal, and handed it to the removed device after
/// others who had heard sealed under it, and a check that asked for too much of who took that removal to be void.
#[test]
fn quarrels_that_found_something_stay_clean() {
    for seed in [8_739, 9_852] {
        if let Err(violation) = sim::run(Plan::quarrel(seed)) {
            panic!("{violation}\nreplay it with: cargo xtask sim 1 --quarrels --seed {seed}");
        }
    }
}

/// Each check is proven by switching off what it checks: the table of the testing document names the seed that sees it.
#[test]
fn every_protection_is_missed_when_it_is_gone() {
    let document = include_str!("../../../docs/TESTING.md");
    let mut unseen = Vec::new();
    for protection in Protection::ALL {
        let name = format!("`{protection:?}`");
        let row = document.lines().find(|line| line.starts_with('|') && line.contains(&name));
        let row = row.unwrap_or_else(|| panic!("the table has no row for {name}"));
        let mut cells = row.trim_end_matches([' ', '|']).rsplit('|').map(str::trim);
        let (cell, noticed) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        let (plan, seed): (fn(u64) -> Plan, _) = match cell.split_once(' ') {
            Some(("quarrel", seed)) => (Plan::quarrel, seed),
            Some(("copies", seed)) => (Plan::copies, seed),
            Some(("snapshots", seed)) => (Plan::snapshots, seed),
            Some(("outlaw", seed)) => (Plan::outlaw, seed),
            Some(("several", seed)) => (Plan::several, seed),
            Some(_) | None => (Plan::random, cell),
        };
        let seed = seed.parse().unwrap_or_else(|_| panic!("no seed in: {row}"));
        assert!(seed < 1_000, "{name} is missed too late");
        match sim::run_without(plan(seed), protection) {
            Ok(_) => unseen.push(format!("{cell} does not miss {name}")),
            Err(violation) if violation.guarantee != noticed => {
                unseen.push(format!("{cell} notices {name} not as {noticed}: {violation}"));
            }
            Err(_) => {}
        }
        if let Err(violation) = sim::run(plan(seed)) {
            unseen.push(format!("{cell} fails with {name} in place: {violation}"));
        }
    }
    assert!(unseen.is_empty(), "{unseen:#?}");
}
