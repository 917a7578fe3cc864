//! A snapshot of IOTA Stronghold, which is what `tauri-plugin-stronghold` keeps its secrets in.
//!
//! For apps that have it already. The snapshot's key is [`passphrase::key`] of the profile's id. What Stronghold calls a
//! vault gives nothing out again, so the secrets are in its store, which rests in the same encrypted snapshot.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use iota_stronghold::{Client, ClientError, KeyProvider, SnapshotPath, Stronghold, engine::snapshot};
use sync_core::passphrase::Passphrase;
use zeroize::Zeroizing;

use super::{STRONGHOLD_FILE_NAME, SecretStore, SecretsError, off_loop, passphrase};
use crate::private;

const CLIENT: &str = "0k-sync";
const RECORD: &[u8] = b"secrets";

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    path: PathBuf,
    profile_id: [u8; 16],
    passphrase: Option<Arc<Passphrase>>,
}

impl Snapshot {
    pub(super) fn new(dir: &Path, profile_id: [u8; 16], passphrase: Option<Arc<Passphrase>>) -> Self {
        Self { path: dir.join(STRONGHOLD_FILE_NAME), profile_id, passphrase }
    }

    fn key(&self) -> Result<KeyProvider, SecretsError> {
        let passphrase = self.passphrase.as_ref().ok_or(SecretsError::Passphrase)?;
        let key = Zeroizing::new(passphrase::key(passphrase, &self.profile_id)?.to_vec());
        // Stronghold would stretch it once more, for a minute in a debug build: that is done already.
        snapshot::try_set_encrypt_work_factor(0).map_err(|_| SecretsError::Unreadable)?;
        KeyProvider::try_from(key).map_err(|_| SecretsError::Unreadable)
    }

    /// Opens what is there, if anything is.
    fn open(&self, key: &KeyProvider) -> Result<Client, SecretsError> {
        let metadata = match self.path.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(SecretsError::Missing),
            Err(error) => return Err(SecretsError::File(error)),
        };
        if private::others_use(&metadata) {
            return Err(SecretsError::Exposed);
        }
        let stronghold = Stronghold::default();
        // A wrong passphrase and a damaged snapshot look the same here. Only the first is likely.
        stronghold
            .load_client_from_snapshot(CLIENT, key, &SnapshotPath::from_path(&self.path))
            .map_err(|_| SecretsError::Passphrase)
    }

    fn write(&self, secrets: &[u8]) -> Result<(), SecretsError> {
        let key = self.key()?;
        let failed = |_: ClientError| SecretsError::File(std::io::Error::other("stronghold"));
        let stronghold = Stronghold::default();
        let client = stronghold.create_client(CLIENT).map_err(failed)?;
        client.store().insert(RECORD.to_vec(), secrets.to_vec(), None).map_err(failed)?;
        let unfinished = self.path.with_extension("part");
        stronghold.commit_with_keyprovider(&SnapshotPath::from_path(&unfinished), &key).map_err(failed)?;
        // Whole or not at all, and for its owner alone, as every file of a profile is.
        let sealed = std::fs::read(&unfinished).map_err(SecretsError::File)?;
        private::write(&self.path, &sealed).map_err(SecretsError::File)?;
        std::fs::remove_file(unfinished).map_err(SecretsError::File)
    }

    fn read(&self) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
        let stored = self.open(&self.key()?)?.store().get(RECORD);
        stored.ok().flatten().map(Zeroizing::new).ok_or(SecretsError::Unreadable)
    }
}

#[async_trait]
impl SecretStore for Snapshot {
    async fn save(&self, secrets: Zeroizing<Vec<u8>>) -> Result<(), SecretsError> {
        let this = self.clone();
        off_loop(move || this.write(&secrets)).await
    }

    async fn load(&self) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
        let this = self.clone();
        off_loop(move || this.read()).await
    }

    async fn delete(&self) -> Result<(), SecretsError> {
        super::file::remove(self.path.clone()).await
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::contract::{keeps_secrets, secrets},
        *,
    };

    fn store(dir: &Path, passphrase: &str) -> Snapshot {
        Snapshot::new(dir, [1; 16], Passphrase::new(passphrase).ok().map(Arc::new))
    }

    #[tokio::test]
    async fn a_snapshot_keeps_secrets_and_opens_for_its_passphrase_alone() {
        let (dir, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        keeps_secrets(&store(dir.path(), "correct horse"), &store(other.path(), "correct horse")).await;
        store(dir.path(), "correct horse").save(secrets(7)).await.expect("saves");
        assert_eq!(store(dir.path(), "correct horse").load().await.expect("opens"), secrets(7));
        assert!(matches!(store(dir.path(), "battery staple").load().await, Err(SecretsError::Passphrase)));
        assert!(matches!(store(dir.path(), "").load().await, Err(SecretsError::Passphrase)));
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 1, "nothing unfinished is left");
    }
}
