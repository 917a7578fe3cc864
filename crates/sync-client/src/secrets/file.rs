//! A file that only its owner can read.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{SecretStore, SecretsError, off_loop};
use crate::private;

pub(super) const FILE_NAME: &str = "secrets.key";

/// See the [module](self).
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    pub(super) fn new(dir: &Path) -> Self {
        Self { path: dir.join(FILE_NAME) }
    }
}

#[async_trait]
impl SecretStore for KeyFile {
    async fn save(&self, secrets: Zeroizing<Vec<u8>>) -> Result<(), SecretsError> {
        let path = self.path.clone();
        off_loop(move || private::write(&path, &secrets)).await.map_err(SecretsError::File)
    }

    async fn load(&self) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
        let path = self.path.clone();
        off_loop(move || read(&path)).await
    }

    async fn delete(&self) -> Result<(), SecretsError> {
        remove(self.path.clone()).await
    }
}

/// A key file's content, if nobody else can have seen or changed it.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(SecretsError::Missing),
        Err(error) => return Err(SecretsError::File(error)),
    };
    let metadata = file.metadata().map_err(SecretsError::File)?;
    if private::others_use(&metadata) {
        return Err(SecretsError::Exposed);
    }
    let mut secrets = Zeroizing::new(Vec::new());
    file.read_to_end(&mut secrets).map_err(SecretsError::File)?;
    Ok(secrets)
}

/// Removes a key file, if it is there.
pub(super) async fn remove(path: PathBuf) -> Result<(), SecretsError> {
    match off_loop(move || std::fs::remove_file(path)).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(SecretsError::File(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{
        super::contract::{keeps_secrets, secrets},
        *,
    };

    #[tokio::test]
    async fn a_key_file_is_for_its_owner_alone() {
        let (dir, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let ours = KeyFile::new(dir.path());
        keeps_secrets(&ours, &KeyFile::new(other.path())).await;
        ours.save(secrets(3)).await.expect("saves");
        let file = std::fs::metadata(dir.path().join(FILE_NAME)).expect("is there");
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 1, "nothing unfinished is left");

        let shared = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(dir.path().join(FILE_NAME), shared).expect("ours");
        assert!(matches!(ours.load().await, Err(SecretsError::Exposed)));
        assert!(matches!(ours.probe().await, Err(SecretsError::Exposed)), "nor is a profile made around it");
    }
}
