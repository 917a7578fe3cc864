//! Where the programs under test are.
//!
//! Cargo names a binary's path only to tests of its own package, so they are found beside this test's own
//! executable, after one `cargo build` that is a no-op when they are fresh. `SYNC_BIN_DIR` names a folder of
//! programs to test instead, such as an installed release.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// A program under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `sync-relay`
    Relay,
    /// `sync-cli`
    Cli,
    /// The example app. It is built only where somebody has built it: `SYNC_BIN_DIR` has to be set.
    Example,
}

impl Binary {
    const fn name(self) -> &'static str {
        match self {
            Self::Relay => "sync-relay",
            Self::Cli => "sync-cli",
            Self::Example => "example-app",
        }
    }

    /// A command that runs it.
    pub fn command(self) -> Command {
        self.command_within(&[])
    }

    /// A command that runs it by way of another, whose words these are.
    pub fn command_within(self, entrance: &[String]) -> Command {
        let program = folder().join(self.name()).with_extension(env::consts::EXE_EXTENSION);
        let Some((first, rest)) = entrance.split_first() else { return Command::new(program) };
        let mut command = Command::new(first);
        command.args(rest).arg(program);
        command
    }
}

/// The folder of the workspace's `Cargo.toml`.
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is a folder of the workspace")
}

/// Where the programs under test are, built if need be.
pub(crate) fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| env::var_os("SYNC_BIN_DIR").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let test = env::current_exe().expect("a running test has an executable");
    let folder = test.ancestors().nth(2).expect("cargo puts tests at <target>/<profile>/deps");
    let target = folder.parent().expect("cargo puts tests at <target>/<profile>/deps");
    let done = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", Binary::Relay.name(), "--package", Binary::Cli.name()])
        .args(if folder.ends_with("release") { &["--release"][..] } else { &[] })
        .arg("--target-dir")
        .arg(target)
        .current_dir(workspace_root())
        .status()
        .expect("cargo runs");
    assert!(done.success(), "the programs under test do not build");
    folder.to_owned()
}
