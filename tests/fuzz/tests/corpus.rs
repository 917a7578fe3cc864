//! What fuzzing has kept, tried again: every path that was found, and every input that once failed.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use sync_fuzz::{TARGETS, Target, target};

/// Few and small enough to lie among the sources.
const FILES_MAX: usize = 800;
const BYTES_MAX: usize = 1024 * 1024;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn inputs(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(folder().join(name)).unwrap_or_else(|error| panic!("no inputs for {name}: {error}"));
    let mut paths: Vec<_> = files.map(|file| file.expect("the folder is readable").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("a readable file"))).collect()
}

fn hold(name: &str) {
    let Target { run, .. } = target(name).expect("a target");
    let inputs = inputs(name);
    assert!(!inputs.is_empty(), "nothing is kept for {name}");
    for (path, bytes) in inputs {
        let tried = catch_unwind(AssertUnwindSafe(|| run(&bytes)));
        assert!(tried.is_ok(), "to try it alone: cargo run --package sync-fuzz -- {name} {}", path.display());
    }
}

#[test]
fn frames_are_cut_as_they_are_defined() {
    hold("frame");
}

#[test]
fn messages_mean_what_they_say() {
    hold("message");
}

#[test]
fn envelopes_open_as_what_was_sealed() {
    hold("envelope");
}

#[test]
fn codes_are_read_in_one_way() {
    hold("invite");
}

#[test]
fn configurations_are_taken_or_refused_whole() {
    hold("config");
}

#[test]
fn relays_are_believed_within_bounds() {
    hold("well_known");
}

#[test]
fn sessions_end_for_a_reason_and_keep_what_they_acknowledged() {
    hold("session");
}

#[test]
fn an_engine_says_what_is_so_whatever_relays_say() {
    hold("engine");
}

#[test]
fn every_target_has_its_folder_and_the_corpus_is_small() {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let folders = fs::read_dir(folder()).expect("the corpus is there");
    let folders: BTreeSet<String> =
        folders.map(|entry| entry.expect("readable").file_name().into_string().expect("a name")).collect();
    assert_eq!(folders, names);
    let all: Vec<_> = names.iter().flat_map(|name| inputs(name)).collect();
    let bytes: usize = all.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(all.len() <= FILES_MAX && bytes <= BYTES_MAX, "{} files, {bytes} bytes", all.len());
}
