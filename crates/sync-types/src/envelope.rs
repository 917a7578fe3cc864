//! A sealed blob as it travels and rests: a header the relay reads, a body it can't, the sender's signature.
//!
//! ```text
//! version u8 · suite u8 · kind u8 · epoch u32 · key_id [16] · sender [32] · ttl_s u32 · nonce [24]    83 bytes
//! XChaCha20-Poly1305(u32 length ‖ MessagePack body ‖ zeros), tag included                    at least 272 bytes
//! signature [64]
//! ```
//! Integers are big endian. The whole header and the group id are the cipher's associated data.

use bytes::Bytes;

use crate::{
    cursor::Seq,
    id::{BlobHash, BlobId, DeviceId, KeyId, PushId},
    limits::{BODY_LEN_MIN, ENVELOPE_LEN_MAX, PAYLOAD_LEN_MAX},
    wire::{described, message},
};

/// Bytes of a header.
pub const HEADER_LEN: usize = 3 + 4 + 16 + 32 + 4 + NONCE_LEN;
/// Bytes of the cipher's nonce, random for every envelope.
pub const NONCE_LEN: usize = 24;
/// Bytes of the cipher's tag.
pub const TAG_LEN: usize = 16;
/// Bytes of the sender's signature.
pub const SIGNATURE_LEN: usize = 64;
/// The only version so far.
pub const VERSION: u8 = 1;
/// XChaCha20-Poly1305, Ed25519, BLAKE3: the only suite so far.
pub const SUITE: u8 = 1;

/// What an envelope holds. The relay sees it, because removal must work on a relay that is full of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A blob an app pushed.
    Data = 1,
    /// A roster entry. Never expires.
    Control = 2,
    /// A piece of an app's snapshot.
    Snapshot = 3,
    /// What a device has received and applied: see [`crate::message::Receipt`]. In no log, and in no order with the others.
    Receipt = 4,
    /// Where a payload too big for an envelope is found.
    ContentManifest = 5,
}

impl Kind {
    /// The kind of this number, if it is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Data,
            2 => Self::Control,
            3 => Self::Snapshot,
            4 => Self::Receipt,
            5 => Self::ContentManifest,
            _ => return None,
        })
    }
}

/// Why bytes are not an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Shorter than the smallest envelope there is.
    #[error("envelope is cut off")]
    Truncated,
    /// Over [`ENVELOPE_LEN_MAX`].
    #[error("envelope is larger than the protocol allows")]
    TooLarge,
    /// A kind this build has no word for.
    #[error("envelope kind {0} is unknown")]
    UnknownKind(u8),
    /// Made by a newer build. Devices keep it: after an update it may open.
    #[error("envelope version {version} suite {suite} is newer than this build understands")]
    TooNew {
        /// Its version.
        version: u8,
        /// Its cipher suite.
        suite: u8,
    },
}

described! {
    /// The part of an envelope that everybody on its way can read.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Header {
        /// What it holds.
        ///
        /// A relay needs it to keep room for roster entries when a group is full, and never to let one expire.
        pub kind: Kind,
        /// Which generation of the group's keys. For people and logs; [`Self::key_id`] decides.
        ///
        /// A relay needs it for nothing; a device reads it before it can open anything.
        pub epoch: u32,
        /// Names the epoch secret that opens it.
        ///
        /// A relay needs it for nothing so far; a device reads it before it can open anything.
        pub key_id: KeyId,
        /// Who sealed and signed it.
        ///
        /// A relay needs it to send a device its own envelopes as ids only, and to tell the others whose the news is.
        pub sender: DeviceId,
        /// Seconds a relay keeps it; 0 for as long as its operator lets it.
        ///
        /// A relay needs it to let go of it in time.
        pub ttl_s: u32,
        /// The cipher's nonce.
        ///
        /// A relay needs it for nothing; it is random, and who opens the envelope needs it first.
        pub nonce: [u8; NONCE_LEN],
    }
}

impl Header {
    /// The header's bytes, as they travel and as the cipher binds them.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = VERSION;
        bytes[1] = SUITE;
        bytes[2] = self.kind as u8;
        bytes[3..7].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[7..23].copy_from_slice(self.key_id.as_bytes());
        bytes[23..55].copy_from_slice(self.sender.as_bytes());
        bytes[55..59].copy_from_slice(&self.ttl_s.to_be_bytes());
        bytes[59..].copy_from_slice(&self.nonce);
        bytes
    }
}

/// Bytes that have the shape of an envelope. Says nothing about who made them: that takes a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    header: Header,
    bytes: Bytes,
}

impl Envelope {
    /// Reads the header and checks the lengths.
    ///
    /// # Errors
    /// [`EnvelopeError`], if the bytes can't be an envelope of this version.
    pub fn parse(bytes: Bytes) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_LEN_MAX {
            return Err(EnvelopeError::TooLarge);
        }
        if bytes.len() < HEADER_LEN + BODY_LEN_MIN + TAG_LEN + SIGNATURE_LEN {
            return Err(EnvelopeError::Truncated);
        }
        let (version, suite) = (bytes[0], bytes[1]);
        if version != VERSION || suite != SUITE {
            return Err(EnvelopeError::TooNew { version, suite });
        }
        let kind = Kind::from_number(bytes[2]).ok_or(EnvelopeError::UnknownKind(bytes[2]))?;
        let header = Header {
            kind,
            epoch: u32::from_be_bytes(array(&bytes[3..7])),
            key_id: KeyId::from_bytes(array(&bytes[7..23])),
            sender: DeviceId::from_bytes(array(&bytes[23..55])),
            ttl_s: u32::from_be_bytes(array(&bytes[55..59])),
            nonce: array(&bytes[59..HEADER_LEN]),
        };
        Ok(Self { header, bytes })
    }

    /// What everybody may read.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The whole envelope.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The header as it travels.
    pub fn header_bytes(&self) -> &[u8] {
        &self.bytes[..HEADER_LEN]
    }

    /// The encrypted body with its tag.
    pub fn sealed_body(&self) -> &[u8] {
        &self.bytes[HEADER_LEN..self.bytes.len() - SIGNATURE_LEN]
    }

    /// Everything the signature covers: all before it.
    pub fn signed_bytes(&self) -> &[u8] {
        &self.bytes[..self.bytes.len() - SIGNATURE_LEN]
    }

    /// The sender's signature.
    pub fn signature(&self) -> [u8; SIGNATURE_LEN] {
        array(&self.bytes[self.bytes.len() - SIGNATURE_LEN..])
    }

    /// The hash that names this envelope among all of its sender's.
    pub fn hash(&self) -> BlobHash {
        BlobHash::of(self)
    }

    /// The id a relay knows it by.
    pub fn blob_id(&self) -> BlobId {
        self.hash().blob_id()
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("callers slice exactly N bytes")
}

/// How a payload was packed before sealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// As it is.
    None = 0,
    /// One Zstandard frame.
    Zstd = 1,
}

impl Codec {
    /// The codec of this number, if it is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::Zstd,
            _ => return None,
        })
    }
}

message! {
    /// What is sealed: the payload, and its place among its sender's envelopes.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Body {
        /// Its place among all that this sender sealed, from 1.
        pub seq: Seq,
        /// The hash of the sender's previous envelope; zeros for the first.
        pub prev: BlobHash,
        /// What `push` returned for it.
        pub push_id: PushId,
        /// The sender's clock in Unix milliseconds, for people. Nothing is decided by it.
        pub time_ms: u64,
        /// How the payload is packed, a [`Codec`] number.
        pub codec: u8,
        /// The app's bytes, packed.
        pub payload: Bytes,
    }
}

/// Why an opened body is not one. Only a member could have sealed it, so it is parked and shown, not dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("envelope opens, but its body is not well formed")]
pub struct BodyError;

impl Body {
    /// `u32 length ‖ MessagePack ‖ zeros`, padded to [`padded_len`].
    pub fn to_padded(&self) -> Vec<u8> {
        let mut padded = Vec::new();
        self.write_padded(&mut padded);
        padded
    }

    /// [`Self::to_padded`], after what is already in `out`: a large payload is copied once.
    pub fn write_padded(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        rmp_serde::encode::write(out, self).expect("a body always encodes into memory");
        let len = out.len() - start;
        let encoded_len = u32::try_from(len - 4).expect("a payload is far below 4 GiB");
        out[start..start + 4].copy_from_slice(&encoded_len.to_be_bytes());
        out.resize(start + padded_len(len), 0);
    }

    /// Reads what [`Self::to_padded`] wrote. The padding must be zeros and of the right length, so that nothing
    /// can be hidden in it.
    ///
    /// # Errors
    /// [`BodyError`], if it is anything else.
    pub fn from_padded(padded: &[u8]) -> Result<Self, BodyError> {
        let (len, rest) = padded.split_first_chunk::<4>().ok_or(BodyError)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| BodyError)?;
        if len > rest.len() || padded_len(len + 4) != padded.len() {
            return Err(BodyError);
        }
        let (encoded, zeros) = rest.split_at(len);
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(BodyError);
        }
        let body: Self = crate::wire::decode_exact(encoded).map_err(|_| BodyError)?;
        if body.payload.len() > PAYLOAD_LEN_MAX || body.seq == Seq::START {
            return Err(BodyError);
        }
        Ok(body)
    }
}

/// Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019)
/// with a floor of [`BODY_LEN_MIN`]: leaks O(log log n) bits of a length for at most 12 % more bytes.
pub fn padded_len(len: usize) -> usize {
    if len <= BODY_LEN_MIN {
        return BODY_LEN_MIN;
    }
    let exponent = len.ilog2();
    let mantissa_bits = exponent.ilog2() + 1;
    let mask = (1usize << (exponent - mantissa_bits)) - 1;
    (len + mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_payload_fits_the_largest_envelope() {
        let body = Body {
            seq: Seq::new(u64::MAX),
            prev: BlobHash::ZERO,
            push_id: PushId::from_bytes([9; 16]),
            time_ms: u64::MAX,
            codec: 0,
            payload: vec![7; PAYLOAD_LEN_MAX].into(),
        };
        let padded = body.to_padded();
        assert!(HEADER_LEN + padded.len() + TAG_LEN + SIGNATURE_LEN <= ENVELOPE_LEN_MAX);
        assert_eq!(Body::from_padded(&padded).expect("reads back"), body);
    }

    #[test]
    fn padding_grows_with_the_length_and_never_shrinks() {
        let mut last = 0;
        for len in 0..70_000 {
            let padded = padded_len(len);
            assert!(padded >= len.max(BODY_LEN_MIN) && padded >= last);
            assert!(len < 1_000 || padded <= len + len / 8);
            last = padded;
        }
    }

    #[test]
    fn nothing_hides_in_the_padding() {
        let body = Body {
            seq: Seq::new(1),
            prev: BlobHash::ZERO,
            push_id: PushId::from_bytes([9; 16]),
            time_ms: 0,
            codec: 0,
            payload: Bytes::new(),
        };
        let mut padded = body.to_padded();
        *padded.last_mut().expect("not empty") = 1;
        assert_eq!(Body::from_padded(&padded), Err(BodyError));
        padded.pop();
        assert_eq!(Body::from_padded(&padded), Err(BodyError));
    }
}
