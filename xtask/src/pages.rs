//! What runs in web views: the plugin's package for pages, and the example app's pages, in TypeScript.
//!
//! Takes a Node.js that is not older than [`NODE_MIN`]. Where there is none it is skipped, and it is said so; with
//! `SYNC_ALL_TESTS` set that is a failure.

use std::{env, fs, path::Path, process::Command};

use crate::{
    setup,
    step::{Failed, ROOT, Step, announce},
};

/// The oldest major version that the tools run on.
const NODE_MIN: u32 = 20;

/// A folder with a `package.json`.
#[derive(Clone, Copy)]
struct Package {
    /// From the repository's root.
    folder: &'static str,
    packages: &'static str,
    check: &'static str,
    build: &'static str,
    test: &'static str,
}

/// In the order in which they need each other.
const PACKAGES: [Package; 2] = [
    Package {
        folder: ".",
        packages: "guest-js: packages",
        check: "guest-js: types and lints",
        build: "guest-js: package",
        test: "guest-js: tests",
    },
    Package {
        folder: EXAMPLE,
        packages: "example: packages",
        check: "example: types and lints",
        build: "example: pages",
        test: "example: tests",
    },
];

/// The example app.
pub(crate) const EXAMPLE: &str = "example-app";

/// Whether they can be built here.
///
/// # Errors
/// [`Failed::Missing`] if not, and nothing may be skipped.
pub(crate) fn possible() -> Result<bool, Failed> {
    if setup::installed("npm") && node_version().is_some_and(|version| version >= NODE_MIN) {
        return Ok(true);
    }
    skipped(&format!("pages take npm and Node.js {NODE_MIN} or newer"))
}

/// Says what is skipped and why, where something may be.
///
/// # Errors
/// [`Failed::Missing`] if it may not.
pub(crate) fn skipped(why: &str) -> Result<bool, Failed> {
    if env::var_os("SYNC_ALL_TESTS").is_some() {
        return Err(Failed::Missing(why.to_owned()));
    }
    announce(&format!("  SKIPPED: {why}"));
    Ok(false)
}

/// Builds them: the plugin's package, and the pages that become a part of the example's program.
///
/// # Errors
/// [`Failed::Step`].
pub(crate) fn build() -> Result<(), Failed> {
    each(|package| npm(package.build, package.folder, &["run", "--silent", "build"]))
}

/// Types and lints.
///
/// # Errors
/// [`Failed::Step`].
pub(crate) fn check() -> Result<(), Failed> {
    each(|package| npm(package.check, package.folder, &["run", "--silent", "check"]))
}

/// Their tests.
///
/// # Errors
/// [`Failed::Step`].
pub(crate) fn test() -> Result<(), Failed> {
    each(|package| npm(package.test, package.folder, &["run", "--silent", "test"]))
}

fn each(act: impl Fn(Package) -> Result<(), Failed>) -> Result<(), Failed> {
    if !possible()? {
        return Ok(());
    }
    PACKAGES.into_iter().try_for_each(|package| {
        install(package)?;
        act(package)
    })
}

fn node_version() -> Option<u32> {
    let output = Command::new("node").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// What the lock file says, unless it is here already.
fn install(package: Package) -> Result<(), Failed> {
    let folder = Path::new(ROOT).join(package.folder);
    let changed = |file: &str| fs::metadata(folder.join(file)).and_then(|metadata| metadata.modified()).ok();
    if changed("node_modules/.package-lock.json") < changed("package-lock.json") {
        return npm(package.packages, package.folder, &["ci", "--no-audit", "--no-fund"]);
    }
    Ok(())
}

fn npm(name: &'static str, folder: &str, args: &[&str]) -> Result<(), Failed> {
    Step::new(name, "npm").within(&Path::new(ROOT).join(folder)).args(args).run()
}
