//! Bytes that must not get out: each kind its own type, so that none is used in another's place.
//!
//! All of them zeroize when dropped and print as their name alone. None can be cloned or serialised by itself:
//! the two places that write secrets out ([`crate::stored`] and the pairing grant) say so by going through
//! [`SecretBytes`].

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Defines a secret of thirty-two bytes.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps a copy of the bytes. The caller wipes its own.
            pub const fn from_bytes(bytes: &[u8; 32]) -> Self {
                Self(*bytes)
            }

            /// The bytes themselves.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}
pub(crate) use secret;

/// Thirty-two secret bytes on their way into or out of a message that is itself a secret.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct SecretBytes(pub(crate) [u8; 32]);

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Borrowed, so that no copy is left behind in a buffer nobody wipes.
        let bytes = <&serde_bytes::Bytes>::deserialize(deserializer)?;
        let bytes: &[u8; 32] = (**bytes).try_into().map_err(|_| de::Error::invalid_length(bytes.len(), &"32 bytes"))?;
        Ok(Self(*bytes))
    }
}
