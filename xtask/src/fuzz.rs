//! The fuzzers: libFuzzer on the stable compiler, which is told to allow what its flags need.
//!
//! Our crates and the parsers below them are built to report the paths they take, and everything to notice what it
//! does to memory. All of that is built apart, in `target/fuzz`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::step::{Failed, Step, announce, cargo};

/// Those whose paths lead the search. None may have a build script, which would be built to report its paths too.
const WATCHED: &[&str] =
    &["sync-types", "sync-core", "sync-relay", "sync-fuzz", "rmp", "rmp-serde", "toml", "toml_parser"];

/// What makes the compiler report them.
const WATCH: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// What one input may take: an allocation, all of memory, time on a busy machine.
const BOUNDS: &[&str] = &["-malloc_limit_mb=64", "-rss_limit_mb=2048", "-timeout=120", "-detect_leaks=0"];

/// Longest input that is kept, in bytes. What needs more is found in `target/fuzz`.
const KEPT_LEN_MAX: &str = "-max_len=2048";

/// The kept inputs, a folder for each target.
const KEPT: &str = "tests/fuzz/corpus";
const BUILT: &str = "target/fuzz";

/// `SECONDS [--only TARGET]`, or `--keep [--only TARGET]`.
pub(crate) fn run(args: &[&str], usage: &'static str) -> Result<(), Failed> {
    let (first, only) = match args {
        [first] => (*first, None),
        [first, "--only", target] => (*first, Some(*target)),
        _ => return Err(Failed::Usage(usage)),
    };
    let seconds = first.parse::<u64>().ok().filter(|seconds| *seconds > 0);
    if seconds.is_none() && first != "--keep" {
        return Err(Failed::Usage(usage));
    }
    let targets: Vec<String> = targets().into_iter().filter(|target| only.is_none_or(|only| target == only)).collect();
    if targets.is_empty() {
        return Err(Failed::Missing(format!("a folder of that name in {KEPT}")));
    }
    let fuzzer = build()?;
    for target in &targets {
        announce(&format!("  {target}"));
        match seconds {
            Some(seconds) => search(&fuzzer, target, (seconds / targets.len() as u64).max(1))?,
            None => keep(&fuzzer, target)?,
        }
    }
    Ok(())
}

/// The targets, by their folders. A test sees to it that these are all.
fn targets() -> Vec<String> {
    let folders = fs::read_dir(root().join(KEPT)).into_iter().flatten().flatten();
    let mut names: Vec<_> = folders.filter_map(|folder| folder.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn build() -> Result<PathBuf, Failed> {
    let host = host()?;
    let mut step = cargo("build the fuzzer", &["build", "-Zprofile-rustflags", "--profile", "fuzz"])
        .args(&["--package", "sync-fuzz", "--bin", "fuzz", "--target", &host, "--target-dir", BUILT])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "--cfg fuzzing -Zsanitizer=address");
    let watch = WATCH.iter().map(|flag| format!("{flag:?}")).collect::<Vec<_>>().join(",");
    for package in WATCHED {
        step = step.args(&["--config", &format!("profile.fuzz.package.{package}.rustflags=[{watch}]")]);
    }
    step.run()?;
    Ok(root().join(BUILT).join(host).join("fuzz/fuzz"))
}

/// Looks for new paths, from all that is kept and all that was found before.
fn search(fuzzer: &Path, target: &str, seconds: u64) -> Result<(), Failed> {
    let (found, failures) = (found(target), root().join(BUILT).join("failed"));
    for folder in [&found, &failures] {
        fs::create_dir_all(folder).map_err(|_| Failed::Step("make a folder for what is found"))?;
    }
    fuzz("fuzz", fuzzer, target)
        .args(&["-use_value_profile=1", "-print_final_stats=1", &format!("-max_total_time={seconds}")])
        .args(&[&format!("-artifact_prefix={}/{target}-", failures.display())])
        .args(&[&found.display().to_string(), &kept(target).display().to_string()])
        .run()
}

/// Makes the kept inputs those few that take all the paths that are known by now.
fn keep(fuzzer: &Path, target: &str) -> Result<(), Failed> {
    let failed = |_| Failed::Step("exchange the kept inputs");
    let (kept, new) = (kept(target), root().join(BUILT).join("kept").join(target));
    let _ = fs::remove_dir_all(&new);
    for folder in [&new, &found(target)] {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let folders = [&new, &kept, &found(target)].map(|folder| folder.display().to_string());
    let mut step = fuzz("choose what to keep", fuzzer, target).args(&["-set_cover_merge=1", KEPT_LEN_MAX]);
    for folder in &folders {
        step = step.args(&[folder]);
    }
    step.run()?;
    // What has a name of its own once failed, and stays whatever paths it takes.
    let chosen = |name: &str| name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    for file in fs::read_dir(&kept).map_err(failed)?.flatten() {
        if file.file_name().to_str().is_some_and(chosen) {
            fs::remove_file(file.path()).map_err(failed)?;
        }
    }
    for file in fs::read_dir(&new).map_err(failed)?.flatten() {
        fs::copy(file.path(), kept.join(file.file_name())).map_err(failed)?;
    }
    Ok(())
}

fn fuzz(name: &'static str, fuzzer: &Path, target: &str) -> Step {
    Step::new(name, fuzzer).args(BOUNDS).env("FUZZ_TARGET", target)
}

fn kept(target: &str) -> PathBuf {
    root().join(KEPT).join(target)
}

fn found(target: &str) -> PathBuf {
    root().join(BUILT).join("found").join(target)
}

/// The machine's own target: to name it keeps the flags from what runs during the build.
fn host() -> Result<String, Failed> {
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failed::Missing("rustc is needed".to_owned()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace").to_owned()
}
