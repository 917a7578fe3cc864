//! Files that a build writes and that are kept: the plugin's permissions and their reference, and its functions for pages
//! without a bundler. What is kept must be what is written.

use std::{collections::BTreeMap, fs, path::Path};

use crate::step::{Failed, ROOT, announce};

const PLACES: [&str; 2] = ["permissions", "api-iife.js"];

/// What they hold.
pub(crate) struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    /// Now.
    pub(crate) fn now() -> Self {
        let mut files = BTreeMap::new();
        PLACES.iter().for_each(|place| read(&Path::new(ROOT).join(place), &mut files));
        Self(files)
    }

    /// Fails if they hold something else by now.
    ///
    /// # Errors
    /// [`Failed::Step`].
    pub(crate) fn unchanged(&self) -> Result<(), Failed> {
        let now = Self::now().0;
        let all = self.0.keys().chain(now.keys());
        let changed: Vec<_> = all.filter(|file| self.0.get(*file) != now.get(*file)).collect();
        if changed.is_empty() {
            return Ok(());
        }
        announce(&format!("  written anew, look at them and commit them: {changed:?}"));
        Err(Failed::Step("generated files"))
    }
}

fn read(path: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    if let Ok(folder) = fs::read_dir(path) {
        folder.flatten().for_each(|entry| read(&entry.path(), files));
    } else if let Ok(bytes) = fs::read(path) {
        files.insert(path.display().to_string(), bytes);
    }
}
