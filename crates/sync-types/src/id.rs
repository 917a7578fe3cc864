//! Names for things. Each is its own type, so that a blob can't be mistaken for a push, nor a log for a group.
//!
//! All print as lower-case hex, parse from it, and travel as MessagePack byte strings.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::envelope::Envelope;

/// Text that is not the lower- or upper-case hex form of an id of the expected length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hex digits")]
pub struct ParseIdError {
    /// How many hex digits this kind of id has.
    pub expected: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Wraps the raw bytes.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Wraps a slice, if it has the right length.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:02x}{:02x}{:02x}{:02x}..)"), self.0[0], self.0[1], self.0[2], self.0[3])
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
                bytes.and_then(|bytes| Self::from_slice(&bytes)).ok_or(ParseIdError { expected: $len * 2 })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "{} bytes, or twice as many hex digits", $len)
                    }
                    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<$name, E> {
                        $name::from_slice(bytes).ok_or_else(|| E::invalid_length(bytes.len(), &self))
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(Visitor)
                } else {
                    deserializer.deserialize_bytes(Visitor)
                }
            }
        }
    };
}

id! {
    /// One installation in one group: its Ed25519 public key, which is also its iroh endpoint id.
    DeviceId, 32
}
id! {
    /// The devices that share keys, for one app. Bound into everything they seal and sign; no relay sees it.
    GroupId, 32
}
id! {
    /// A relay: its Ed25519 public key, which is also its iroh endpoint id.
    RelayId, 32
}
id! {
    /// What one relay calls a group in one epoch: a hash of the key that authenticates to it, so nobody can
    /// squat it, and two relays can't tell that they serve the same group.
    RelayGroupId, 32
}
id! {
    /// Public half of the Ed25519 key that authenticates a group to one relay.
    AuthPublic, 32
}
id! {
    /// Names one epoch's secret, in the clear in every envelope. Which key opens it is decided by this alone.
    KeyId, 16
}
id! {
    /// What `push` returns, and what "once" means to an app. Chosen at random, inside the sealed body.
    PushId, 16
}
id! {
    /// Names one sealed envelope on a relay: the first half of its [`BlobHash`].
    BlobId, 16
}
id! {
    /// The hash of a whole envelope, signature included. The next envelope of the same sender names it.
    BlobHash, 32
}
id! {
    /// One relay's log of one group, random at its making. A wiped log comes back under another id.
    LogId, 16
}
id! {
    /// One profile's local log. A local cursor means nothing outside the log it was counted in.
    LocalLogId, 16
}
id! {
    /// A running hash over a relay's log: equal runs at a cursor mean equal logs up to it.
    Run, 32
}

impl BlobHash {
    /// What an envelope without a predecessor names as its predecessor.
    pub const ZERO: Self = Self([0; 32]);

    /// `hash = BLAKE3-derive_key("0k-sync/1 blob", envelope)`, over every byte of it.
    pub fn of(envelope: &Envelope) -> Self {
        Self::of_bytes(envelope.as_bytes())
    }

    /// The same over bytes that may be an envelope of a newer build, or none at all.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(blake3::derive_key("0k-sync/1 blob", bytes))
    }

    /// The id a relay knows this envelope by.
    pub fn blob_id(&self) -> BlobId {
        let mut id = [0; 16];
        id.copy_from_slice(&self.0[..16]);
        BlobId(id)
    }
}

impl Default for BlobHash {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Run {
    /// The run of an empty log.
    pub const START: Self = Self([0; 32]);

    /// `run[c] = BLAKE3(run[c-1] ‖ blob_id)`.
    #[must_use]
    pub fn then(&self, blob: &BlobId) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(&blob.0);
        Self(*hasher.finalize().as_bytes())
    }
}

impl RelayGroupId {
    /// `relay_group_id = BLAKE3-derive_key("0k-sync/1 relay group", auth_public)`.
    pub fn of(auth_public: &AuthPublic) -> Self {
        Self(blake3::derive_key("0k-sync/1 relay group", &auth_public.0))
    }
}

/// Ties a reply to its request on one connection. Chosen by the requester, not reused while unanswered.
pub type RequestId = u32;
