//! Cores that do not go to sleep.
//!
//! What waits for one answer at a time leaves the cores idle, and a core of a virtual machine that sleeps takes longer to wake
//! than the program takes to answer. A machine with anything else to do has none that sleep; so has one on which this runs:
//! loops of the lowest priority, which make way for everything.

use std::process::Command;

use crate::{
    Failure,
    program::{self, Program},
};

/// Keeps all cores awake until it is dropped.
pub(crate) struct Awake {
    _loops: Vec<Program>,
    _folder: tempfile::TempDir,
}

impl Awake {
    /// None where there is no `chrt` to give them that priority.
    pub(crate) fn keep() -> Result<Option<Self>, Failure> {
        let Some(path) = program::installed("chrt") else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let cores = std::thread::available_parallelism()?.get();
        let spin = || {
            let mut command = Command::new(&path);
            command.args(["--idle", "0", "sh", "-c", "while :; do :; done"]);
            Program::spawn(&mut command, &folder.path().join("log"))
        };
        let loops = (0..cores).map(|_| spin()).collect::<Result<_, _>>()?;
        Ok(Some(Self { _loops: loops, _folder: folder }))
    }
}
