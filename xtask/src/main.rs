//! Developer commands: `cargo xtask demo | test | check | sim N | fuzz S | e2e | bench`.
//!
//! Each is a list of the commands one would type, so that a person, a script and CI do the same. Nothing but std is
//! used: a developer command that has to be built for a minute is one that nobody runs.
//!
//! Invariant: a command succeeds only if every step of it did.

mod fresh;
mod fuzz;
mod generated;
mod pages;
mod setup;
mod step;
mod windows;

use std::{env, process::ExitCode};

use step::{Failed, Step, cargo};

const USAGE: &str = "\
cargo xtask demo               a relay and two devices in this terminal, one of them killed on the way; then the
                               example app in two windows, where there is a display
cargo xtask test               everything CI runs: check, then all tests
cargo xtask check              formatting, lints, documentation, the arrows between the crates
cargo xtask sim N [--seed S] [--quarrels|--outlaws|--several|--copies|--snapshots]
                               N simulated lives of a group, from seed S on; with members who remove one another, if asked
cargo xtask fuzz SECONDS [--only TARGET]
                               bytes that nobody would send, to everything that reads them, for that long in all
cargo xtask fuzz --keep [--only TARGET]
                               chooses what the tests try again from all that fuzzing has found
cargo xtask e2e [--full]       the tests on real processes and in real windows alone; in full, README's quick start too,
                               in an app made from Tauri's template
cargo xtask bench [--json FILE] [--only NAME]
                               figures of the release build beside baselines from the same run
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["demo"] => demo(),
        ["test"] => test(),
        ["check"] => check(),
        ["sim", rest @ ..] if !rest.is_empty() => simulate(rest),
        ["fuzz", rest @ ..] => fuzz(rest),
        ["e2e"] => e2e(),
        ["e2e", "--full"] => e2e().and_then(|()| fresh::test()),
        ["bench", rest @ ..] => bench(rest),
        _ => Err(Failed::Usage(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            step::complain(&failed);
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<(), Failed> {
    setup::ensure()?;
    cargo("build the relay and the command line", &["build", "--package", "sync-relay", "--package", "sync-cli"])
        .run()?;
    cargo("demo", &["run", "--quiet", "--package", "sync-tests", "--example", "demo"])
        .env("SYNC_BIN_DIR", step::built_programs())
        .run()?;
    windows::demo()
}

fn test() -> Result<(), Failed> {
    check()?;
    pages::test()?;
    tests("tests", &[]).env("SYNC_BIN_DIR", step::built_programs()).run()?;
    windows::test()
}

fn check() -> Result<(), Failed> {
    setup::ensure_for_plugin()?;
    let generated = generated::Files::now();
    let lints = ["--", "--deny", "warnings"];
    // The example's program holds its pages.
    pages::build()?;
    pages::check()?;
    cargo("format", &["fmt", "--all", "--check"]).run()?;
    cargo("lints", &["clippy", "--workspace", "--all-targets"]).args(&lints).run()?;
    cargo("lints, all features", &["clippy", "--workspace", "--all-targets", "--all-features"]).args(&lints).run()?;
    cargo("documentation", &["doc", "--workspace", "--all-features", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "--deny warnings")
        .run()?;
    generated.unchanged()?;
    tests("tidy", &["--test", "tidy"]).run()
}

fn simulate(args: &[&str]) -> Result<(), Failed> {
    cargo("simulation", &["run", "--quiet", "--package", "sync-core", "--features", "test-utils", "--example", "sim"])
        .args(&["--"])
        .args(args)
        .run()
}

fn fuzz(args: &[&str]) -> Result<(), Failed> {
    setup::ensure()?;
    fuzz::run(args, USAGE)
}

fn e2e() -> Result<(), Failed> {
    setup::ensure_for_plugin()?;
    pages::build()?;
    tests("build", &["--no-run"]).run()?;
    tests("end to end", &["--test", "e2e", "--test", "faults", "--test", "hard", "--test", "privacy"])
        .env("SYNC_BIN_DIR", step::built_programs())
        .run()?;
    windows::test()
}

fn bench(args: &[&str]) -> Result<(), Failed> {
    setup::ensure()?;
    setup::ensure_to_compare_with()?;
    cargo("release build", &["build", "--release", "--package", "sync-relay", "--package", "sync-bench"]).run()?;
    // An app is long to build, and only one topic is about it, which is left out where it can't be built.
    let only = args.iter().position(|arg| *arg == "--only").and_then(|at| args.get(at + 1));
    if only.is_none_or(|only| only.starts_with("app")) && setup::ensure_for_plugin().is_ok() {
        let app = ["build", "--profile", "app", "--package", "sync-bench-app", "--bin"];
        cargo("an empty app", &app).args(&["sync-bench-app-bare"]).run()?;
        cargo("the same with the plugin", &app).args(&["sync-bench-app-synced", "--features", "plugin"]).run()?;
    }
    cargo("bench", &["run", "--quiet", "--release", "--package", "sync-bench", "--"]).args(args).run()
}

/// Tests of the whole workspace, all under one choice of features, so that nothing is built twice.
fn tests(name: &'static str, which: &[&str]) -> Step {
    cargo(name, &["test", "--workspace", "--all-features"]).args(which)
}
