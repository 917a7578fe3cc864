//! What a fresh machine lacks. Quick and silent where nothing is missing.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use crate::step::{Failed, Step, announce};

/// A program, or a library's development files, and the Debian package it is in.
struct Tool {
    program: &'static str,
    package: &'static str,
    why: &'static str,
    needed: bool,
}

const TOOLS: &[Tool] = &[
    Tool { program: "cc", package: "build-essential", why: "SQLite and ring are compiled from C", needed: true },
    Tool {
        program: "gnome-keyring-daemon",
        package: "gnome-keyring",
        why: "a keychain for the keychain's tests, which are skipped without",
        needed: false,
    },
    Tool {
        program: "dbus-run-session",
        package: "dbus-daemon",
        why: "a message bus for the keychain's tests, which are skipped without",
        needed: false,
    },
    Tool {
        program: "ip",
        package: "iproute2",
        why: "networks of their own for the tests of bad ones, which are skipped without",
        needed: false,
    },
    Tool {
        program: "iptables",
        package: "iptables",
        why: "packets that get lost for the tests of bad networks, which are skipped without",
        needed: false,
    },
    Tool {
        program: "faketime",
        package: "faketime",
        why: "clocks that jump for the tests of wrong clocks, which are skipped without",
        needed: false,
    },
];

/// What the Tauri plugin and the pages' side of it take.
const PLUGIN: &[Tool] = &[
    Tool { program: "pkg-config", package: "pkg-config", why: "it finds the next one", needed: true },
    Tool {
        program: WEBKIT,
        package: "libwebkit2gtk-4.1-dev",
        why: "a Tauri app's window, which the plugin is built against",
        needed: true,
    },
    Tool {
        program: "npm",
        package: "npm",
        why: "it builds the pages, whose checks and tests are skipped without",
        needed: false,
    },
    Tool { program: "Xvfb", package: "xvfb", why: IN_WINDOWS, needed: false },
    Tool { program: "WebKitWebDriver", package: "webkit2gtk-driver", why: IN_WINDOWS, needed: false },
    Tool { program: "import", package: "imagemagick", why: IN_WINDOWS, needed: false },
];

const IN_WINDOWS: &str = "the example's stories in real windows, which are skipped without";

/// A library, as pkg-config calls it.
const WEBKIT: &str = "webkit2gtk-4.1";

/// Where programs for administrators are, if a user's shell does not look there.
const ALSO: [&str; 2] = ["/usr/sbin", "/sbin"];

/// What the benchmark has beside us.
const COMPARED_WITH: &[Tool] = &[
    Tool { program: "redis-server", package: "redis-server", why: "a row of the table is left out", needed: false },
    Tool { program: "nats-server", package: "nats-server", why: "a row of the table is left out", needed: false },
];

/// Installs what is missing if it can, or says what to type.
///
/// # Errors
/// [`Failed`] if something is missing that nothing works without.
pub(crate) fn ensure() -> Result<(), Failed> {
    provide(TOOLS)
}

/// The same for the Tauri plugin, which is a part of the workspace, though not of what `cargo test` alone builds.
///
/// # Errors
/// As [`ensure`].
pub(crate) fn ensure_for_plugin() -> Result<(), Failed> {
    provide(TOOLS)?;
    provide(PLUGIN)
}

/// The same for what the benchmark has beside us.
///
/// # Errors
/// As [`ensure`].
pub(crate) fn ensure_to_compare_with() -> Result<(), Failed> {
    provide(COMPARED_WITH)
}

fn provide(tools: &[Tool]) -> Result<(), Failed> {
    let missing = || tools.iter().filter(|tool| cfg!(target_os = "linux") && !installed(tool.program));
    if missing().next().is_none() {
        return Ok(());
    }
    for tool in missing() {
        announce(&format!("  {} is not here: {}", tool.program, tool.why));
    }
    let packages: Vec<&str> = missing().map(|tool| tool.package).collect();
    let apt = [&["install", "--yes", "--no-install-recommends"][..], &packages].concat();
    match administrator() {
        Some((program, rest)) if installed("apt-get") => {
            let command = |args: &[&str]| {
                Step::new("packages", program)
                    .args(rest)
                    .args(&["DEBIAN_FRONTEND=noninteractive", "apt-get"])
                    .args(args)
            };
            // A package list that can't be refreshed may still be good enough to install from, and whether the
            // installation worked is looked at below.
            let _ = command(&["update", "--quiet"]).run();
            let _ = command(&apt).run();
        }
        Some(_) | None => announce(&format!("  to install: sudo apt-get {}", apt.join(" "))),
    }
    match missing().find(|tool| tool.needed) {
        Some(tool) => Err(Failed::Missing(format!("{} is needed: {}", tool.program, tool.why))),
        None => Ok(()),
    }
}

/// A program and its arguments that run what follows as root, if nobody has to be asked for a password.
fn administrator() -> Option<(&'static str, &'static [&'static str])> {
    let output = |program: &str, args: &[&str]| Command::new(program).args(args).stdin(Stdio::null()).output();
    if output("id", &["-u"]).is_ok_and(|output| output.stdout.trim_ascii() == b"0") {
        Some(("env", &[]))
    } else if output("sudo", &["-n", "true"]).is_ok_and(|output| output.status.success()) {
        Some(("sudo", &["-n", "env"]))
    } else {
        None
    }
}

/// Whether a program is here, or a library that pkg-config knows.
pub(crate) fn installed(program: &str) -> bool {
    if program == WEBKIT {
        return installed("pkg-config")
            && Command::new("pkg-config").args(["--exists", WEBKIT]).status().is_ok_and(|status| status.success());
    }
    let here = |folder: &Path| folder.join(program).is_file();
    let in_path = env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| here(&folder)));
    in_path || ALSO.iter().any(|folder| here(Path::new(folder)))
}
