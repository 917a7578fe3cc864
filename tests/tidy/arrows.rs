//! Who may use whom, as ARCHITECTURE.md draws it.
//!
//! The relay links no code of ours that could decrypt, the core no clock, socket or source of randomness: said once
//! here, and checked against what cargo says.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde::Deserialize;
use sync_tests::workspace_root;

/// Each of our packages, what it may use of ours, and what its tests may use besides.
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    ("sync-types", &[], &[]),
    ("sync-core", &["sync-types"], &[]),
    ("sync-sqlite", &[], &[]),
    ("sync-client", &["sync-core", "sync-sqlite", "sync-types"], &["sync-relay"]),
    ("sync-bridge", &["sync-client"], &["sync-relay"]),
    ("sync-cli", &["sync-client"], &[]),
    ("sync-relay", &["sync-sqlite", "sync-types"], &[]),
    ("sync-tests", &[], &[]),
    ("sync-bench", &["sync-client", "sync-core", "sync-types"], &[]),
    ("sync-bench-app", &["tauri-plugin-sync"], &[]),
    ("sync-fuzz", &["sync-core", "sync-relay", "sync-types"], &[]),
    ("tauri-plugin-sync", &["sync-bridge"], &["sync-relay"]),
    ("example-app", &["tauri-plugin-sync"], &[]),
    ("xtask", &[], &[]),
];

/// Packages through which a state machine could reach the outside world.
const OUTSIDE: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "async-io",
    "smol",
    "getrandom",
    "iroh",
    "sqlx",
    "reqwest",
    "tracing",
    "chrono",
    "time",
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[test]
fn the_arrows_between_our_packages_are_those_of_the_architecture() {
    let metadata: Metadata =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])).expect("cargo's own format");
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let known: BTreeMap<&str, (&[&str], &[&str])> =
        ARROWS.iter().map(|(name, uses, tests_use)| (*name, (*uses, *tests_use))).collect();
    assert_eq!(ours, known.keys().copied().collect(), "a package has to be drawn before it is built");
    for package in &metadata.packages {
        let (uses, tests_use) = known[package.name.as_str()];
        for dependency in package.dependencies.iter().filter(|dependency| ours.contains(dependency.name.as_str())) {
            let name = dependency.name.as_str();
            let test_only = dependency.kind.as_deref() == Some("dev");
            let allowed = uses.contains(&name) || test_only && (tests_use.contains(&name) || name == package.name);
            assert!(allowed, "{} must not use {name}", package.name);
        }
    }
}

#[test]
fn the_core_and_the_types_reach_nothing_outside() {
    for package in ["sync-types", "sync-core"] {
        let tree = linked(package);
        assert!(tree.contains("blake3"), "the tree of {package} is read: {tree:?}");
        for outside in OUTSIDE {
            assert!(!tree.contains(*outside), "{package} links {outside}");
        }
    }
}

#[test]
fn what_is_shipped_links_one_tls_library_and_no_test_tools() {
    for package in ["sync-relay", "sync-cli", "tauri-plugin-sync"] {
        let tree = linked(package);
        assert!(tree.contains("rustls") && tree.contains("ring"), "the tree of {package} is read: {tree:?}");
        for unwanted in ["aws-lc-rs", "openssl", "native-tls", "tempfile", "trycmd"] {
            assert!(!tree.contains(unwanted), "{package} links {unwanted}");
        }
    }
}

/// Everything this package links, by name.
fn linked(package: &str) -> BTreeSet<String> {
    let tree = cargo(&["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(args).current_dir(workspace_root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo speaks UTF-8")
}
