//! One process a profile.
//!
//! The operating system's advisory lock on `profile.lock` decides, so a crash frees it at once and no stale file
//! locks anybody out. The file's text is the holder's process id, for the person who is told.

use std::{
    fs::{File, TryLockError},
    io::{Read, Seek, Write},
    path::Path,
    time::Duration,
};

use crate::{error::ClientError, private};

const FILE_NAME: &str = "profile.lock";
/// How long to wait for a holder that is just leaving: commands follow one another closely in scripts.
const PATIENCE: Duration = Duration::from_secs(1);
const RETRY_EVERY: Duration = Duration::from_millis(50);

/// The right to use a profile, for as long as this lives.
#[derive(Debug)]
pub(crate) struct ProfileLock {
    _file: File,
}

impl ProfileLock {
    /// Takes the lock of the profile in `dir`, which must exist.
    pub(crate) async fn take(dir: &Path) -> Result<Self, ClientError> {
        let mut file = private::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(FILE_NAME))
            .map_err(ClientError::folder)?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if waited < PATIENCE => {
                    tokio::time::sleep(RETRY_EVERY).await;
                    waited += RETRY_EVERY;
                }
                Err(TryLockError::WouldBlock) => return Err(ClientError::ProfileInUse { pid: holder(&mut file) }),
                Err(TryLockError::Error(error)) => return Err(ClientError::folder(error)),
            }
        }
        sign(&mut file).map_err(ClientError::folder)?;
        Ok(Self { _file: file })
    }
}

/// Writes this process's id for others to read.
fn sign(file: &mut File) -> std::io::Result<()> {
    file.rewind()?;
    file.set_len(0)?;
    write!(file, "{}", std::process::id())
}

/// The holder's process id. Where locks are mandatory the text can't be read, and nobody is named.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn a_second_holder_is_told_who_the_first_is_and_gets_in_when_that_one_leaves() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let first = ProfileLock::take(dir.path()).await.expect("nobody has it");
        let started = std::time::Instant::now();
        let error = ProfileLock::take(dir.path()).await.expect_err("it is taken");
        assert!(matches!(error, ClientError::ProfileInUse { pid: Some(pid) } if pid == std::process::id()));
        assert!(started.elapsed() < Duration::from_secs(2));
        drop(first);
        ProfileLock::take(dir.path()).await.expect("it is free again");
    }

    /// The part a child process plays: it holds the lock until it is killed.
    #[tokio::test]
    async fn as_a_child_hold_the_lock() {
        let Some(dir) = std::env::var_os("SYNC_TEST_HOLD_LOCK") else { return };
        let _lock = ProfileLock::take(Path::new(&dir)).await.expect("nobody has it");
        std::thread::sleep(Duration::from_secs(60));
    }

    #[tokio::test]
    async fn another_process_is_named_and_its_death_frees_the_lock() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "lock::tests::as_a_child_hold_the_lock"])
            .env("SYNC_TEST_HOLD_LOCK", dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let signed = || std::fs::read_to_string(dir.path().join(FILE_NAME)).is_ok_and(|text| !text.is_empty());
        for _ in 0..200 {
            if signed() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let error = ProfileLock::take(dir.path()).await.expect_err("the child has it");
        assert!(matches!(error, ClientError::ProfileInUse { pid: Some(pid) } if pid == child.id()), "{error:?}");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        ProfileLock::take(dir.path()).await.expect("a dead holder holds nothing");
    }
}
