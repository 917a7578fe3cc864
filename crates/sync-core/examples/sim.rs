//! Runs the simulator over a range of seeds: `sim N [--seed FIRST] [--quarrels|--outlaws|--several|--copies|--snapshots]`. Ends with
//! `N seeds, F failed`.
//!
//! `sim prove [NAME [--outlaws]]` switches off one protection after the other and prints the first seed whose checks see it,
//! of a random run, or else of the other kinds in turn; the kind that is named is tried before all.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use sync_core::{
    Protection,
    sim::{self, Plan, Report},
};

/// How a kind of life is asked for, what comes before its seeds in the table of docs/TESTING.md, and its plans.
type Kind = (&'static str, &'static str, fn(u64) -> Plan);

/// The kinds of lives in which a protection may be missed, in the order in which they are tried.
const KINDS: [Kind; 6] = [
    ("--random", "", Plan::random),
    ("--quarrels", "quarrel ", Plan::quarrel),
    ("--copies", "copies ", Plan::copies),
    ("--snapshots", "snapshots ", Plan::snapshots),
    ("--outlaws", "outlaw ", Plan::outlaw),
    ("--several", "several ", Plan::several),
];
/// So many seeds are tried before a check is taken to see nothing.
const PROOF: u64 = 1_000;

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("prove") {
        return prove();
    }
    let mut args = std::env::args().skip(1);
    let (mut count, mut first) = (1_000, 0);
    let mut plan: fn(u64) -> Plan = Plan::random;
    while let Some(arg) = args.next() {
        let kind = KINDS.into_iter().find(|(flag, ..)| *flag == arg).map(|(_, _, plan)| plan);
        if let Some(kind) = kind {
            plan = kind;
            continue;
        }
        let number = if arg == "--seed" { args.next() } else { Some(arg.clone()) };
        let Some(number) = number.and_then(|number| number.parse().ok()) else {
            println!("usage: sim N [--seed FIRST] [--quarrels|--outlaws|--several|--copies|--snapshots]");
            return ExitCode::from(2);
        };
        *if arg == "--seed" { &mut first } else { &mut count } = number;
    }
    let started = Instant::now();
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let total = thread::scope(|scope| {
        let work = || {
            let mut total = Report::default();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return total;
                }
                let seed = first + index;
                match sim::run(plan(seed)) {
                    Ok(report) => total = total.plus(&report),
                    Err(violation) => {
                        failed.fetch_add(1, Ordering::Relaxed);
                        println!("seed {seed}: {violation}");
                    }
                }
            }
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let reports =
            workers.into_iter().map(|worker| worker.join().expect("a panic in a run is a failure of its own"));
        reports.fold(Report::default(), |total, report| total.plus(&report))
    });
    let rate = count as f64 / started.elapsed().as_secs_f64();
    let Report { steps, pushed, crashes, receipts, snapshots, let_go, .. } = total;
    println!(
        "{steps} steps, {pushed} pushes, {receipts} receipts, {snapshots} snapshots loaded, {let_go} envelopes let go, \
         {crashes} crashes, {rate:.0} seeds/s"
    );
    let failed = failed.into_inner();
    println!("{count} seeds, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn prove() -> ExitCode {
    let mut all = true;
    let (only, first) = (std::env::args().nth(2), std::env::args().nth(3));
    let mut kinds = KINDS;
    kinds.sort_by_key(|(flag, ..)| first.as_deref() != Some(flag));
    for protection in Protection::ALL.into_iter().filter(|p| only.as_ref().is_none_or(|only| *only == format!("{p:?}")))
    {
        let caught = kinds.into_iter().find_map(|(_, name, plan)| {
            (0..PROOF).find_map(|seed| Some((name, seed, sim::run_without(plan(seed), protection).err()?)))
        });
        if let Some((name, seed, violation)) = caught {
            println!("{protection:?} | {name}{seed} | {violation}");
        } else {
            println!("{protection:?} | not seen in {PROOF} seeds of each kind");
            all = false;
        }
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
