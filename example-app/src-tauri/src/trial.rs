//! A second device on one machine, to try sync out with: `NOTES_TRIAL_DIR=/tmp/laptop` in a development build.
//!
//! It has its notes, its profile and its keys in that folder, in a file that is not sealed, and knows nothing of the app that
//! runs beside it. `NOTES_TRIAL_CAMERA=1` gives the pages a camera, on Linux; `NOTES_TRIAL_SNAPSHOT_AFTER=5` has all notes
//! given for devices that join later after so few changes. In a release build none of them means anything.

use std::path::{Path, PathBuf};

/// See the head of this file.
pub(crate) struct Trial {
    dir: Option<PathBuf>,
    snapshot_after: Option<u64>,
    #[cfg(target_os = "linux")]
    camera: bool,
}

impl Trial {
    /// As the environment says.
    pub(crate) fn of_environment() -> Self {
        let said = |name| std::env::var_os(name).filter(|value| cfg!(debug_assertions) && !value.is_empty());
        Self {
            dir: said("NOTES_TRIAL_DIR").map(PathBuf::from),
            snapshot_after: said("NOTES_TRIAL_SNAPSHOT_AFTER").and_then(|blobs| blobs.to_str()?.parse().ok()),
            #[cfg(target_os = "linux")]
            camera: said("NOTES_TRIAL_CAMERA").is_some(),
        }
    }

    /// Its folder, if this is one.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// Another number than the configuration's, if one is said.
    pub(crate) fn snapshot_after(&self) -> Option<u64> {
        self.snapshot_after
    }

    /// The pages get a camera that the web view draws itself.
    #[cfg(target_os = "linux")]
    pub(crate) fn camera(&self) -> bool {
        self.camera
    }
}
