//! A clock of its own for some programs, that can be wrong, and that can be set while they run.
//!
//! It is libfaketime's: a library that answers when a program asks for the time. Only the wall clock is changed. The
//! clock that measures how long something took goes on as it is, as it does when a real machine's time is set.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Scratch, skipped};

const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// A clock that is set as a story likes.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// A clock that is right. Where libfaketime is not installed, says so and gives none.
    pub fn new(scratch: &Scratch, name: &str) -> Option<Self> {
        let Some(library) = library() else {
            skipped("libfaketime is not installed (apt-get install faketime)");
            return None;
        };
        let clock = Self { library, file: scratch.path().join(format!("{name}.clock")) };
        clock.set(0);
        Some(clock)
    }

    /// It is off by so many seconds from now on, ahead or behind.
    pub fn set(&self, offset_s: i64) {
        // Replaced in one step: a program may be asking.
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{offset_s:+}")).expect("the scratch folder is writable");
        fs::rename(&next, &self.file).expect("the scratch folder is writable");
    }

    /// The words that start a program under this clock; the program comes after them.
    pub fn entrance(&self) -> Vec<String> {
        let file = |name: &str, path: &Path| format!("{name}={}", path.display());
        vec![
            "env".to_owned(),
            file("LD_PRELOAD", &self.library),
            file("FAKETIME_TIMESTAMP_FILE", &self.file),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "NO_FAKE_STAT=1".to_owned(),
        ]
    }
}

/// Debian has it in a folder for the machine's kind, others directly.
fn library() -> Option<PathBuf> {
    let kinds = fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    [PathBuf::from("/usr/lib")].into_iter().chain(kinds).map(|folder| folder.join(LIBRARY)).find(|path| path.is_file())
}
