//! What a person remembers, and the key that is made of it.

use std::{fmt, io, sync::Arc};

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::SecretsError;

/// Argon2id as RFC 9106 recommends it where memory is short: 64 MiB, three passes, four lanes.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;

/// A passphrase for secrets that rest in a file. Clones share it; it zeroizes with the last, and does not print.
#[derive(Clone)]
pub struct Passphrase(Arc<Zeroizing<String>>);

impl Passphrase {
    /// Wraps it. None if nothing was typed, which opens nothing and protects nothing.
    pub fn new(text: String) -> Option<Self> {
        let text = Zeroizing::new(text);
        (!text.is_empty()).then(|| Self(Arc::new(text)))
    }

    /// `key = Argon2id(passphrase, salt, 64 MiB, t = 3, p = 4)`, 32 bytes. Takes a good part of a second, on purpose.
    pub(super) fn key(&self, salt: &[u8; 16]) -> Result<Zeroizing<[u8; 32]>, SecretsError> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).expect("within Argon2's bounds");
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(self.0.as_bytes(), salt, &mut *key)
            .map_err(|_| SecretsError::File(io::ErrorKind::OutOfMemory.into()))?;
        Ok(key)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_does_not_print_and_must_be_something() {
        let passphrase = Passphrase::new("correct horse".to_owned()).expect("something");
        assert_eq!(format!("{passphrase:?}"), "Passphrase(..)");
        assert!(Passphrase::new(String::new()).is_none());
    }

    #[test]
    fn the_key_depends_on_passphrase_and_salt_alone() {
        let passphrase = |text: &str| Passphrase::new(text.to_owned()).expect("something");
        let key = |text: &str, salt| passphrase(text).key(&[salt; 16]).expect("there is memory");
        assert_eq!(key("correct horse", 1), key("correct horse", 1));
        assert_ne!(key("correct horse", 1), key("correct horse", 2));
        assert_ne!(key("correct horse", 1), key("battery staple", 1));
    }
}
