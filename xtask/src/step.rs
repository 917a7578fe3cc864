//! One command of a developer command: announced, run, timed.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// The repository's root.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Why a developer command did not succeed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It isn't one: here are those that are.
    Usage(&'static str),
    /// This step did not succeed. What it printed says why.
    Step(&'static str),
    /// A program that is needed is missing and can't be installed from here.
    Missing(String),
}

/// A command with a name for people.
#[derive(Debug)]
pub(crate) struct Step {
    name: &'static str,
    command: Command,
}

/// A cargo command, by the cargo that runs this, but without what that one says of this package: build scripts look at
/// it, and would build half of what there is once more after every command that was typed by hand.
pub(crate) fn cargo(name: &'static str, args: &[&str]) -> Step {
    let mut step = Step::new(name, env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).args(args);
    for (variable, _) in env::vars_os() {
        if variable.to_str().is_some_and(|name| OF_THIS_PACKAGE.iter().any(|prefix| name.starts_with(prefix))) {
            step.command.env_remove(variable);
        }
    }
    step
}

const OF_THIS_PACKAGE: [&str; 4] = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_"];

/// Where cargo puts the programs it builds: beside this one.
pub(crate) fn built_programs() -> PathBuf {
    let this = env::current_exe().expect("a running program has a file");
    this.parent().expect("a file is in a folder").to_owned()
}

impl Step {
    /// A command, not run yet.
    pub(crate) fn new(name: &'static str, program: impl AsRef<OsStr>) -> Self {
        Self { name, command: Command::new(program) }
    }

    /// With these arguments too.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// In that folder.
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// With this in its environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// [`Failed::Step`] if it can't be run or does not succeed.
    pub(crate) fn run(mut self) -> Result<(), Failed> {
        announce(&format!("▸ {}", self.name));
        let start = Instant::now();
        let succeeded = self.command.status().is_ok_and(|status| status.success());
        if !succeeded {
            return Err(Failed::Step(self.name));
        }
        announce(&format!("  {} in {:.1} s", self.name, start.elapsed().as_secs_f32()));
        Ok(())
    }
}

/// Says why a command failed.
#[expect(clippy::print_stderr, reason = "this is a program for a terminal")]
pub(crate) fn complain(failed: &Failed) {
    match failed {
        Failed::Usage(usage) => eprint!("{usage}"),
        Failed::Step(name) => eprintln!("✗ {name} failed"),
        Failed::Missing(what) => eprintln!("✗ {what}"),
    }
}

#[expect(clippy::print_stderr, reason = "this is a program for a terminal")]
pub(crate) fn announce(line: &str) {
    eprintln!("{line}");
}
