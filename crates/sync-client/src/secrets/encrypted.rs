//! A file that is sealed with a passphrase.
//!
//! `version [1] ‖ salt [16] ‖ nonce [24] ‖ XChaCha20-Poly1305(key, secrets)`, where `key` is [`passphrase::key`] of the
//! salt, and what comes before the ciphertext is bound to it together with the profile's id. Salt and nonce are new each
//! time. The cost of the key is the version's, never the file's to say.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use sync_core::passphrase::Passphrase;
use zeroize::Zeroizing;

use super::{SecretStore, SecretsError, file, off_loop, passphrase};
use crate::{private, random::random};

pub(super) const FILE_NAME: &str = "secrets.sealed";
const VERSION: u8 = 1;
const SALT: usize = 16;
const NONCE: usize = 24;
const HEADER: usize = 1 + SALT + NONCE;

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct EncryptedFile {
    path: PathBuf,
    profile_id: [u8; 16],
    passphrase: Option<Arc<Passphrase>>,
}

impl EncryptedFile {
    pub(super) fn new(dir: &Path, profile_id: [u8; 16], passphrase: Option<Arc<Passphrase>>) -> Self {
        Self { path: dir.join(FILE_NAME), profile_id, passphrase }
    }

    fn seal(&self, mut secrets: Zeroizing<Vec<u8>>) -> Result<Vec<u8>, SecretsError> {
        let passphrase = self.passphrase.as_ref().ok_or(SecretsError::Passphrase)?;
        let (salt, nonce): ([u8; SALT], [u8; NONCE]) = (random(), random());
        let mut sealed = [&[VERSION][..], &salt, &nonce].concat();
        let tag = XChaCha20Poly1305::new((&*passphrase::key(passphrase, &salt)?).into())
            .encrypt_inout_detached(&XNonce::from(nonce), &self.bound(&sealed), (&mut **secrets).into())
            .expect("secrets are shorter than 256 GiB");
        sealed.extend_from_slice(&secrets);
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
        let (header, rest) = sealed.split_at_checked(HEADER).ok_or(SecretsError::Unreadable)?;
        let (body, tag) = rest.split_last_chunk::<16>().ok_or(SecretsError::Unreadable)?;
        let (version, salt, nonce) = (header[0], &header[1..=SALT], &header[1 + SALT..]);
        if version != VERSION {
            return Err(SecretsError::Unreadable);
        }
        let passphrase = self.passphrase.as_ref().ok_or(SecretsError::Passphrase)?;
        let salt = salt.try_into().expect("cut to this length");
        let nonce: [u8; NONCE] = nonce.try_into().expect("cut to this length");
        let mut secrets = Zeroizing::new(body.to_vec());
        // A wrong passphrase and altered bytes look the same here. Only the first is likely.
        XChaCha20Poly1305::new((&*passphrase::key(passphrase, salt)?).into())
            .decrypt_inout_detached(&XNonce::from(nonce), &self.bound(header), (&mut **secrets).into(), &(*tag).into())
            .map_err(|_| SecretsError::Passphrase)?;
        Ok(secrets)
    }

    fn bound(&self, header: &[u8]) -> Vec<u8> {
        [b"0k-sync/1 secrets", &self.profile_id[..], header].concat()
    }
}

#[async_trait]
impl SecretStore for EncryptedFile {
    async fn save(&self, secrets: Zeroizing<Vec<u8>>) -> Result<(), SecretsError> {
        let this = self.clone();
        off_loop(move || private::write(&this.path, &this.seal(secrets)?).map_err(SecretsError::File)).await
    }

    async fn load(&self) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
        let this = self.clone();
        off_loop(move || this.open(&file::read(&this.path)?)).await
    }

    async fn probe(&self) -> Result<(), SecretsError> {
        self.passphrase.as_ref().ok_or(SecretsError::Passphrase)?;
        match self.load().await {
            Ok(_) | Err(SecretsError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self) -> Result<(), SecretsError> {
        file::remove(self.path.clone()).await
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::contract::{keeps_secrets, secrets},
        *,
    };

    fn store(dir: &Path, id: u8, passphrase: &str) -> EncryptedFile {
        EncryptedFile::new(dir, [id; 16], Passphrase::new(passphrase).ok().map(Arc::new))
    }

    #[tokio::test]
    async fn an_encrypted_file_keeps_secrets() {
        let (dir, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        keeps_secrets(&store(dir.path(), 1, "correct horse"), &store(other.path(), 1, "correct horse")).await;
    }

    #[tokio::test]
    async fn only_the_passphrase_opens_it_and_only_for_its_profile() {
        let dir = tempfile::tempdir().expect("a folder");
        store(dir.path(), 1, "correct horse").save(secrets(7)).await.expect("saves");
        assert_eq!(store(dir.path(), 1, "correct horse").load().await.expect("opens"), secrets(7));
        for (id, passphrase) in [(1, "battery staple"), (1, ""), (2, "correct horse")] {
            let failed = store(dir.path(), id, passphrase).load().await;
            assert!(matches!(failed, Err(SecretsError::Passphrase)), "{id} {passphrase}: {failed:?}");
        }
        assert!(matches!(store(dir.path(), 1, "").probe().await, Err(SecretsError::Passphrase)));
    }

    #[tokio::test]
    async fn no_byte_of_it_is_readable_or_can_be_changed() {
        let dir = tempfile::tempdir().expect("a folder");
        let ours = store(dir.path(), 1, "correct horse");
        ours.save(secrets(7)).await.expect("saves");
        let whole = std::fs::read(dir.path().join(FILE_NAME)).expect("readable");
        assert!(!whole.windows(4).any(|window| window == [7; 4]));
        // The version, the salt, the nonce, the ciphertext and the tag.
        for place in [0, 1, 1 + SALT, HEADER, whole.len() - 1] {
            let mut altered = whole.clone();
            altered[place] ^= 1;
            private::write(&dir.path().join(FILE_NAME), &altered).expect("writable");
            let failed = ours.load().await;
            assert!(matches!(failed, Err(SecretsError::Passphrase | SecretsError::Unreadable)), "{place}: {failed:?}");
        }
        private::write(&dir.path().join(FILE_NAME), &whole[..HEADER]).expect("writable");
        assert!(matches!(ours.load().await, Err(SecretsError::Unreadable)));
    }
}
