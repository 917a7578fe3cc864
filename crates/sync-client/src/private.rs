//! Files and folders that are for their owner alone.
//!
//! A profile's secrets, its database and its lock are found by name in its folder, so whoever can write there decides
//! what is found. The folder is made for its owner alone, and one that others can write to is not used.
//!
//! Only Unix says in a file's mode who may do what. Elsewhere a folder has the rights of the one it is in.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::Path,
};

/// Makes a folder, and those it is in. One that is there stays as it is.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// How a file is opened that, should it have to be made, is made for its owner alone.
pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Writes a file, whole or not at all. What is in its place is replaced and neither followed nor written to.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = options().write(true).create_new(true).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    #[cfg(unix)]
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// Whether somebody but the owner may change this file, or what is in this folder.
pub(crate) fn others_write(metadata: &Metadata) -> bool {
    has_any(metadata, 0o022)
}

/// Whether somebody but the owner may do anything with it.
pub(crate) fn others_use(metadata: &Metadata) -> bool {
    has_any(metadata, 0o077)
}

#[cfg(unix)]
fn has_any(metadata: &Metadata, bits: u32) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & bits != 0
}

#[cfg(not(unix))]
fn has_any(_: &Metadata, _: u32) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("is there").permissions().mode() & 0o777
    }

    #[test]
    fn a_planted_link_is_not_followed_and_a_planted_files_mode_is_not_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, unfinished, elsewhere) =
            (dir.path().join("file"), dir.path().join("file.new"), dir.path().join("elsewhere"));
        fs::write(&elsewhere, "theirs").expect("writable");
        symlink(&elsewhere, &unfinished).expect("links");
        write(&path, b"first").expect("writes");
        assert_eq!(fs::read(&elsewhere).expect("readable"), b"theirs");
        assert!(fs::symlink_metadata(&path).expect("is there").is_file());

        fs::write(&unfinished, "planted").expect("writable");
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o666)).expect("ours");
        write(&path, b"second").expect("writes");
        assert_eq!((fs::read(&path).expect("readable").as_slice(), mode(&path)), (b"second".as_slice(), 0o600));
    }

    #[test]
    fn a_folder_is_made_for_its_owner_alone_and_one_that_is_there_is_looked_at() {
        let dir = tempfile::tempdir().expect("a folder");
        let made = dir.path().join("a/b");
        make_dir(&made).expect("makes both");
        assert_eq!((mode(&made), mode(&dir.path().join("a"))), (0o700, 0o700));
        for (shared, writable, usable) in
            [(0o700, false, false), (0o755, false, true), (0o720, true, true), (0o777, true, true)]
        {
            fs::set_permissions(&made, fs::Permissions::from_mode(shared)).expect("ours");
            let metadata = fs::metadata(&made).expect("is there");
            assert_eq!((others_write(&metadata), others_use(&metadata)), (writable, usable), "{shared:o}");
        }
    }
}
