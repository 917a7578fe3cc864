//! Where a profile's secrets rest.
//!
//! What is stored is one opaque run of bytes that sync-core wrote. Where it rests is said once, when the profile is made:
//! in the system's keychain, or, only where a person asked for it, in a file: one that is sealed with a passphrase, one
//! that only its owner can read, or one that IOTA Stronghold keeps. Secrets never rest in the profile's database, so a
//! copied database opens nothing.

mod encrypted;
mod file;
mod keychain;
mod passphrase;
#[cfg(feature = "stronghold")]
mod stronghold;

use std::{fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use sync_core::passphrase::Passphrase;
use sync_types::ErrorCode;
use zeroize::Zeroizing;

/// The files in a profile's folder in which secrets rest, where they rest in one.
pub(crate) const FILE_NAMES: [&str; 3] = [file::FILE_NAME, encrypted::FILE_NAME, STRONGHOLD_FILE_NAME];
/// The last of them, known to builds without the feature as well.
const STRONGHOLD_FILE_NAME: &str = "secrets.stronghold";

/// Where a profile keeps its secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretsChoice {
    /// In the system's keychain.
    #[default]
    Keychain,
    /// In a file of the profile's folder that is sealed with a passphrase. For machines without a keychain.
    EncryptedFile,
    /// In a file of the profile's folder that only its owner can read. For trying things out: whoever can copy the
    /// folder can then read the group.
    File,
    /// In a snapshot of IOTA Stronghold in the profile's folder, under a passphrase. For apps that use it already; takes
    /// the feature `stronghold`.
    Stronghold,
}

impl SecretsChoice {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Keychain, Self::EncryptedFile, Self::File, Self::Stronghold];

    /// What scripts and the profile's database call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keychain => "keychain",
            Self::EncryptedFile => "encrypted_file",
            Self::File => "file",
            Self::Stronghold => "stronghold",
        }
    }

    /// The choice of this name, if it is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.name() == name)
    }
}

/// Why secrets could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// There are none for this profile: it was copied from elsewhere, or the keychain was emptied.
    #[error("{}", ErrorCode::KeyMissing.text())]
    Missing,
    /// What is there was not written by this program, or by a newer one.
    #[error(
        "this profile's keys are damaged, or of a newer version; restore them from a backup, update, or pair this device as a new one"
    )]
    Unreadable,
    /// The keychain is not there, is locked, or does not answer.
    #[error("{}", ErrorCode::KeychainUnavailable.text())]
    Keychain(#[source] Option<keyring_core::Error>),
    /// Others may read the key file, or change it. What is in it may have become known: make it private again if it
    /// can't have, or pair this device as a new one.
    #[error("other users of this machine can use this profile's key file; take that right away from them")]
    Exposed,
    /// The key file can't be written or read.
    #[error("the key file can't be read or written; check the disk and the folder's permissions")]
    File(#[source] std::io::Error),
    /// There is no passphrase, or another one than the secrets were sealed with. Ask for it.
    #[error("{}", ErrorCode::WrongPassphrase.text())]
    Passphrase,
    /// The secrets rest where this build can't look.
    #[error("this profile's keys are kept by Stronghold, which this program was built without")]
    NotBuilt,
}

impl SecretsError {
    /// See [`crate::ClientError::code`].
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Missing | Self::Unreadable | Self::Exposed => ErrorCode::KeyMissing,
            Self::Keychain(_) => ErrorCode::KeychainUnavailable,
            Self::File(_) => ErrorCode::LocalStorage,
            Self::Passphrase => ErrorCode::WrongPassphrase,
            Self::NotBuilt => ErrorCode::InvalidArgument,
        }
    }
}

/// One profile's place for secrets.
///
/// Invariant: [`Self::save`] replaces whole or not at all, and is durable when it returns.
#[async_trait]
pub(crate) trait SecretStore: fmt::Debug + Send + Sync + 'static {
    /// Replaces what is stored.
    async fn save(&self, secrets: Zeroizing<Vec<u8>>) -> Result<(), SecretsError>;

    /// What is stored; [`SecretsError::Missing`] if nothing is.
    async fn load(&self) -> Result<Zeroizing<Vec<u8>>, SecretsError>;

    /// Removes what is stored, if anything is.
    async fn delete(&self) -> Result<(), SecretsError>;

    /// Fails where saving could not succeed, before anything depends on it.
    async fn probe(&self) -> Result<(), SecretsError> {
        match self.load().await {
            Ok(_) | Err(SecretsError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The place that a profile names.
pub(crate) fn place(
    choice: SecretsChoice,
    dir: &Path,
    profile_id: [u8; 16],
    passphrase: Option<Arc<Passphrase>>,
) -> Arc<dyn SecretStore> {
    match choice {
        SecretsChoice::Keychain => Arc::new(keychain::Keychain::new(profile_id)),
        SecretsChoice::EncryptedFile => Arc::new(encrypted::EncryptedFile::new(dir, profile_id, passphrase)),
        SecretsChoice::File => Arc::new(file::KeyFile::new(dir)),
        #[cfg(feature = "stronghold")]
        SecretsChoice::Stronghold => Arc::new(stronghold::Snapshot::new(dir, profile_id, passphrase)),
        #[cfg(not(feature = "stronghold"))]
        SecretsChoice::Stronghold => Arc::new(NotBuilt),
    }
}

/// The place of a profile that another build made.
#[cfg(not(feature = "stronghold"))]
#[derive(Debug)]
struct NotBuilt;

#[cfg(not(feature = "stronghold"))]
#[async_trait]
impl SecretStore for NotBuilt {
    async fn save(&self, _: Zeroizing<Vec<u8>>) -> Result<(), SecretsError> {
        Err(SecretsError::NotBuilt)
    }

    async fn load(&self) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
        Err(SecretsError::NotBuilt)
    }

    async fn delete(&self) -> Result<(), SecretsError> {
        Err(SecretsError::NotBuilt)
    }
}

/// Does what blocks where it holds nothing up.
async fn off_loop<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("keychains and files report failure, they don't panic")
}

#[cfg(test)]
mod contract {
    //! What every place for secrets does.

    use super::*;

    pub(super) fn secrets(byte: u8) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(vec![byte; 100])
    }

    pub(super) async fn keeps_secrets(ours: &dyn SecretStore, others: &dyn SecretStore) {
        ours.probe().await.expect("usable");
        assert!(matches!(ours.load().await, Err(SecretsError::Missing)));
        ours.save(secrets(1)).await.expect("saves");
        ours.save(secrets(2)).await.expect("replaces");
        assert_eq!(ours.load().await.expect("is there"), secrets(2));
        assert!(matches!(others.load().await, Err(SecretsError::Missing)), "another profile's are its own");
        ours.delete().await.expect("deletes");
        ours.delete().await.expect("nothing to delete is fine");
        assert!(matches!(ours.load().await, Err(SecretsError::Missing)));
    }

    #[test]
    fn every_choice_has_a_name_that_leads_back() {
        for choice in SecretsChoice::ALL {
            assert_eq!(SecretsChoice::from_name(choice.name()), Some(choice));
        }
        assert_eq!(SecretsChoice::from_name("elsewhere"), None);
    }
}
