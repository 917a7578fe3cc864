//! The files of the workspace, as they lie on disk.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sync_tests::workspace_root;

/// A text file of the workspace.
pub(crate) struct Source {
    /// Its path from the workspace's root, with `/` on every system.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
}

/// Every text file of the workspace with one of these endings, in order.
pub(crate) fn sources(endings: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    walk(workspace_root(), &mut paths);
    paths.sort();
    let wanted = paths.into_iter().filter(|path| endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)));
    let sources: Vec<Source> = wanted.map(|path| read(&path)).collect();
    assert!(!sources.is_empty(), "nothing ends with {endings:?}");
    sources
}

fn read(path: &Path) -> Source {
    let relative = path.strip_prefix(workspace_root()).expect("it was found below the root");
    let path_text = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path_text}: {error}"));
    Source { path: path_text, text }
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("the workspace is readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            // What git and cargo keep here is not ours, nor is what a build writes. A target folder says so itself, whatever its
            // name.
            let built = [".git", "target", "node_modules", "dist", "dist-js", "gen"].contains(&&*name);
            if !built && !path.join("CACHEDIR.TAG").exists() {
                walk(&path, paths);
            }
        } else {
            paths.push(path);
        }
    }
}
