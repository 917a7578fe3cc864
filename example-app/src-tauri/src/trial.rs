//! A second device on one machine, to try sync out with: `NOTES_TRIAL_DIR=/tmp/laptop` in a development build.
//!
//! It has its notes, its profile and its keys in that folder, in a file that is not sealed, and knows nothing of the app that
//! runs beside it. In a release build the variable means nothing.

use std::path::{Path, PathBuf};

/// See the [module](self).
pub(crate) struct Trial(Option<PathBuf>);

impl Trial {
    /// As the environment says.
    pub(crate) fn of_environment() -> Self {
        let dir = std::env::var_os("NOTES_TRIAL_DIR").filter(|dir| cfg!(debug_assertions) && !dir.is_empty());
        Self(dir.map(PathBuf::from))
    }

    /// Its folder, if this is one.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.0.as_deref()
    }
}
