//! The pages' side of the plugin, in TypeScript.
//!
//! Takes a Node.js that is not older than [`NODE_MIN`]. Where there is none its checks are skipped, and it is said so; with
//! `SYNC_ALL_TESTS` set that is a failure.

use std::{env, fs, path::Path, process::Command};

use crate::{
    setup,
    step::{Failed, ROOT, Step, announce},
};

/// The oldest major version that the tools run on.
const NODE_MIN: u32 = 20;

/// Types, lints, and the package that is built.
pub(crate) fn check() -> Result<(), Failed> {
    if !is_possible()? {
        return Ok(());
    }
    install()?;
    npm("guest-js: types and lints", &["run", "--silent", "check"])?;
    npm("guest-js: package", &["run", "--silent", "build"])
}

/// Its tests.
pub(crate) fn test() -> Result<(), Failed> {
    if !is_possible()? {
        return Ok(());
    }
    install()?;
    npm("guest-js: tests", &["run", "--silent", "test"])
}

fn is_possible() -> Result<bool, Failed> {
    if setup::installed("npm") && node_version().is_some_and(|version| version >= NODE_MIN) {
        return Ok(true);
    }
    let why = format!("guest-js takes npm and Node.js {NODE_MIN} or newer");
    if env::var_os("SYNC_ALL_TESTS").is_some() {
        return Err(Failed::Missing(why));
    }
    announce(&format!("  SKIPPED: {why}"));
    Ok(false)
}

fn node_version() -> Option<u32> {
    let output = Command::new("node").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// What the lock file says, unless it is here already.
fn install() -> Result<(), Failed> {
    let changed = |file: &str| fs::metadata(Path::new(ROOT).join(file)).and_then(|metadata| metadata.modified()).ok();
    if changed("node_modules/.package-lock.json") < changed("package-lock.json") {
        return npm("guest-js: packages", &["ci", "--no-audit", "--no-fund"]);
    }
    Ok(())
}

fn npm(name: &'static str, args: &[&str]) -> Result<(), Failed> {
    Step::new(name, "npm").args(&["--prefix", ROOT]).args(args).run()
}
