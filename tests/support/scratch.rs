//! A folder for one story, kept for inspection if the story fails.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use tempfile::TempDir;

/// One story's folder.
#[derive(Debug)]
pub struct Scratch {
    folder: Option<TempDir>,
}

impl Scratch {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "it makes a folder, which a default should not")]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("0k-sync-").tempdir().expect("the temp folder is writable");
        Self { folder: Some(folder) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.as_ref().expect("it is there until it is dropped").path()
    }

    /// A file of this content in it.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).expect("the scratch folder is writable");
        path
    }
}

impl Drop for Scratch {
    #[expect(clippy::print_stderr, reason = "the reader of a failed test wants to look at what it left")]
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("kept for inspection: {}", folder.keep().display());
        }
    }
}
