//! The data folder: whose it is, and who the relay is.
//!
//! The identity rests in a file of its own, apart from the database: a relay that lost its database is the same
//! relay with an empty log, which devices fill again; one with another identity is another relay, which people
//! have to accept. A lock file keeps a second process out of the folder.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read as _, Seek as _, Write as _},
    path::Path,
};

use data_encoding::HEXLOWER;
use iroh::SecretKey;

use crate::error::StartError;

const IDENTITY: &str = "identity.key";
const LOCK: &str = "relay.lock";

/// Makes the folder if need be and takes it, until the returned file is dropped.
pub(crate) fn take_folder(folder: &Path) -> Result<File, StartError> {
    create_private_folder(folder).map_err(StartError::DataDir)?;
    let mut lock = open_private(&folder.join(LOCK)).map_err(StartError::DataDir)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let read = lock.take(32).read_to_string(&mut holder);
            let holder = if read.is_ok() { holder.trim().to_owned() } else { "unknown".to_owned() };
            return Err(StartError::InUse { holder });
        }
        Err(TryLockError::Error(error)) => return Err(StartError::DataDir(error)),
    }
    let written = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
    written.map_err(StartError::DataDir)?;
    Ok(lock)
}

/// The relay's secret key, made at the first start.
pub(crate) fn identity(folder: &Path) -> Result<SecretKey, StartError> {
    let path = folder.join(IDENTITY);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let bytes = HEXLOWER.decode(text.trim().as_bytes()).map_err(|_| StartError::Identity)?;
            Ok(SecretKey::from_bytes(bytes.as_slice().try_into().map_err(|_| StartError::Identity)?))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = SecretKey::generate();
            write_private(folder, &path, &HEXLOWER.encode(&key.to_bytes())).map_err(StartError::DataDir)?;
            Ok(key)
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(StartError::Identity),
        Err(error) => Err(StartError::DataDir(error)),
    }
}

/// Opens a file, or makes it for its owner alone. What SQLite puts beside a database takes over its mode.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Writes a file that only its owner reads, whole or not at all.
fn write_private(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let _ = fs::remove_file(&unfinished);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let made = identity(folder.path()).expect("made");
        let read = identity(folder.path()).expect("read");
        assert_eq!(made.public(), read.public());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(folder.path().join(IDENTITY)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_identity_is_never_replaced() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for damage in [b"not hex".as_slice(), b"00ff", &[0xFF, 0xFE]] {
            fs::write(folder.path().join(IDENTITY), damage).expect("written");
            assert!(matches!(identity(folder.path()), Err(StartError::Identity)));
            assert_eq!(fs::read(folder.path().join(IDENTITY)).expect("there"), damage);
        }
    }

    #[test]
    fn a_folder_is_taken_once() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let lock = take_folder(folder.path()).expect("free");
        let error = take_folder(folder.path()).expect_err("taken").to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(lock);
        take_folder(folder.path()).expect("free again");
    }
}
