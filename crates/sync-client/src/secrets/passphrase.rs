//! The key that a passphrase makes for a file of secrets.

use std::io;

use argon2::{Algorithm, Argon2, Params, Version};
use sync_core::passphrase::Passphrase;
use zeroize::Zeroizing;

use super::SecretsError;

/// Argon2id as RFC 9106 recommends it where memory is short: 64 MiB, three passes, four lanes.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;

/// `key = Argon2id(passphrase, salt, 64 MiB, t = 3, p = 4)`, 32 bytes. Takes a good part of a second, on purpose.
pub(super) fn key(passphrase: &Passphrase, salt: &[u8; 16]) -> Result<Zeroizing<[u8; 32]>, SecretsError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).expect("within Argon2's bounds");
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_str().as_bytes(), salt, &mut *key)
        .map_err(|_| SecretsError::File(io::ErrorKind::OutOfMemory.into()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_depends_on_passphrase_and_salt_alone() {
        let key =
            |text: &str, salt| key(&Passphrase::new(text).expect("something"), &[salt; 16]).expect("there is memory");
        assert_eq!(key("correct horse", 1), key("correct horse", 1));
        assert_ne!(key("correct horse", 1), key("correct horse", 2));
        assert_ne!(key("correct horse", 1), key("battery staple", 1));
    }
}
