//! The example app in real windows: driven by WebDriver, on displays that nobody sees.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::{
    pages::{self, EXAMPLE},
    setup,
    step::{Failed, ROOT, Step, announce, built_programs, cargo},
};

/// The programs that give a story a computer of its own.
const TAKES: [&str; 5] = ["Xvfb", "WebKitWebDriver", "import", "dbus-daemon", "gnome-keyring-daemon"];

/// Newer ones are for Tauri 3.
const DRIVER_VERSION: &str = "2.1.0";

/// Runs the stories. The app, its pages and the relay have to be built.
///
/// # Errors
/// [`Failed`].
pub(crate) fn test() -> Result<(), Failed> {
    stories(&[], &[])
}

/// The same for some of them, with this in their environment.
///
/// # Errors
/// [`Failed`].
pub(crate) fn stories(env: &[(&str, &Path)], only: &[&str]) -> Result<(), Failed> {
    if !pages::possible()? {
        return Ok(());
    }
    if let Some(missing) = TAKES.iter().find(|program| !setup::installed(program)) {
        return pages::skipped(&format!("windows take {missing}")).map(drop);
    }
    let driver = driver()?;
    let step = Step::new("windows", "npm")
        .within(&Path::new(ROOT).join(EXAMPLE))
        .args(&["run", "--silent", "e2e", "--"])
        .args(only)
        .env("SYNC_BIN_DIR", built_programs())
        .env("TAURI_DRIVER", driver);
    env.iter().fold(step, |step, (name, value)| step.env(name, value)).run()
}

/// Shows the app in two windows, in step, until both are closed.
///
/// # Errors
/// [`Failed`].
pub(crate) fn demo() -> Result<(), Failed> {
    let display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| env::var_os(name).is_some_and(|it| !it.is_empty()));
    if cfg!(target_os = "linux") && !display {
        announce("  There is no display here: the example app in two windows is left out.");
        return Ok(());
    }
    setup::ensure_for_plugin()?;
    if !pages::possible()? {
        return Ok(());
    }
    pages::build()?;
    cargo("build the example app", &["build", "--package", "example-app", "--features", "custom-protocol"]).run()?;
    cargo("two windows", &["run", "--quiet", "--package", "sync-tests", "--example", "demo-windows"])
        .env("SYNC_BIN_DIR", built_programs())
        .run()
}

/// The program between WebDriver and the web view's own. Built once.
fn driver() -> Result<PathBuf, Failed> {
    let tools = built_programs().join("../tools");
    let driver = tools.join("bin/tauri-driver");
    if !driver.is_file() {
        let root = tools.to_string_lossy();
        cargo("tauri-driver", &["install", "tauri-driver", "--version", DRIVER_VERSION, "--locked", "--quiet"])
            .args(&["--root", &root])
            .run()?;
    }
    Ok(driver)
}
