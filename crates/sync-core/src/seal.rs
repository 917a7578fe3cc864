//! Sealing a payload into an envelope, and opening one.
//!
//! The cipher binds the header and the group, the signature binds the sender. They are checked apart, because a
//! run of one sender's envelopes needs a single signature: each body names the envelope before it by hash.
//!
//! Invariant: nothing here decides by the header's epoch number. The key id alone selects the key.

use std::collections::BTreeMap;

use bytes::Bytes;
use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use ed25519_dalek::{Signature, VerifyingKey};
use rand_core::CryptoRng;
use sync_types::{
    BlobHash, Body, Codec, DeviceId, Envelope, GroupId, Header, Kind, PushId, Seq,
    envelope::{HEADER_LEN, NONCE_LEN, SIGNATURE_LEN, TAG_LEN, padded_len},
    limits::{BODY_LEN_MIN, MEMBERS_MAX, PAYLOAD_LEN_MAX},
    sign::{self, Purpose},
};

use crate::keys::{DeviceKey, EnvelopeKey, GroupKeys};

/// What a device seals: a payload, and its place among all that the device has sealed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What the payload is.
    pub kind: Kind,
    /// Seconds a relay should keep it; 0 for as long as the relay does.
    pub ttl_s: u32,
    /// One more than the last.
    pub seq: Seq,
    /// The hash of the last.
    pub prev: BlobHash,
    /// What the app knows it by.
    pub push_id: PushId,
    /// The clock, for people.
    pub time_ms: u64,
    /// At most [`PAYLOAD_LEN_MAX`] bytes.
    pub payload: Bytes,
    /// Whether to compress it. Lengths then tell something about content: where a stranger can choose a part of a
    /// payload, leave it off.
    pub compress: bool,
}

/// Why an envelope did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Sealed under an epoch this device does not know (yet): keep it until the key comes.
    #[error("the envelope's key is not known here")]
    UnknownKey,
    /// Altered, or of another group. A cipher can't tell the two apart, so neither do we.
    #[error("the envelope does not authenticate under its key")]
    NotAuthentic,
    /// A member sealed something that is not a body of this version: keep it, and show that it can't be read.
    #[error("the envelope opens, but its body is not well formed")]
    Malformed,
}

/// Why an opened body has no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// Packed by a newer build. After an update it may unpack.
    #[error("codec {codec} is unknown")]
    UnknownCodec {
        /// Its number.
        codec: u8,
    },
    /// Not what the codec says, or more than [`PAYLOAD_LEN_MAX`] of it.
    #[error("the payload does not unpack")]
    Malformed,
}

/// Seals under the group's current epoch and signs.
///
/// # Panics
/// If the payload is longer than [`PAYLOAD_LEN_MAX`], or the sequence number is 0.
pub fn seal(keys: &GroupKeys, device: &DeviceKey, draft: Draft, rng: &mut impl CryptoRng) -> Envelope {
    assert!(draft.payload.len() <= PAYLOAD_LEN_MAX, "the length of a payload is checked where it comes in");
    assert!(draft.seq > Seq::START, "sequence numbers count from 1");
    let epoch = keys.current();
    let mut nonce = [0; NONCE_LEN];
    rng.fill_bytes(&mut nonce);
    let header = Header {
        kind: draft.kind,
        epoch: epoch.number(),
        key_id: epoch.key_id(),
        sender: device.device_id(),
        ttl_s: draft.ttl_s,
        nonce,
    };
    let (codec, payload) = pack(draft.payload, draft.compress);
    let Draft { kind, seq, prev, push_id, time_ms, .. } = draft;
    let body = Body { seq, prev, push_id, time_ms, codec: codec as u8, payload };

    // One buffer from the start: header, body, tag, signature.
    let header = header.to_bytes();
    let mut bytes =
        Vec::with_capacity(HEADER_LEN + padded_len(body.payload.len() + BODY_FIELDS_LEN_MAX) + TAG_LEN + SIGNATURE_LEN);
    bytes.extend_from_slice(&header);
    body.write_padded(&mut bytes);
    let tag = cipher(epoch.envelope_key())
        .encrypt_inout_detached(
            &XNonce::from(nonce),
            &associated_data(&header, &keys.group_id()),
            (&mut bytes[HEADER_LEN..]).into(),
        )
        .expect("a body is far below the cipher's limit");
    bytes.extend_from_slice(&tag);
    let signature = device.sign(&signed_message(&keys.group_id(), kind, &bytes));
    bytes.extend_from_slice(&signature);
    Envelope::parse(bytes.into()).expect("what was just laid out parses")
}

/// What a body adds to its payload before padding: length, array head, and five fields of at most 9, 34, 18, 9 and 1
/// bytes, and the payload's own head.
const BODY_FIELDS_LEN_MAX: usize = 4 + 1 + 9 + 34 + 18 + 9 + 1 + 5;

/// Decrypts the body. Says that a member sealed it, not which: that takes [`Verifier::verify`] or a successor's hash.
///
/// # Errors
/// [`OpenError`].
pub fn open(keys: &GroupKeys, envelope: &Envelope) -> Result<Body, OpenError> {
    let epoch = keys.get(&envelope.header().key_id).ok_or(OpenError::UnknownKey)?;
    let (sealed, tag) = envelope.sealed_body().split_last_chunk::<TAG_LEN>().ok_or(OpenError::NotAuthentic)?;
    let header = envelope.header_bytes().first_chunk::<HEADER_LEN>().ok_or(OpenError::NotAuthentic)?;
    let mut body = sealed.to_vec();
    cipher(epoch.envelope_key())
        .decrypt_inout_detached(
            &XNonce::from(envelope.header().nonce),
            &associated_data(header, &keys.group_id()),
            body.as_mut_slice().into(),
            &Tag::from(*tag),
        )
        .map_err(|_| OpenError::NotAuthentic)?;
    Body::from_padded(&body).map_err(|_| OpenError::Malformed)
}

/// The app's bytes in an opened body.
///
/// # Errors
/// [`UnpackError`].
pub fn unpack(body: &Body) -> Result<Bytes, UnpackError> {
    match Codec::from_number(body.codec).ok_or(UnpackError::UnknownCodec { codec: body.codec })? {
        Codec::None => Ok(body.payload.clone()),
        Codec::Zstd => decompress(&body.payload),
    }
}

/// Below this, padding swallows whatever compression saves.
const COMPRESS_LEN_MIN: usize = BODY_LEN_MIN;
/// Zstandard's own default: past it, time grows faster than blobs shrink.
const COMPRESS_LEVEL: i32 = 3;

fn pack(payload: Bytes, compress: bool) -> (Codec, Bytes) {
    if !compress || payload.len() < COMPRESS_LEN_MIN {
        return (Codec::None, payload);
    }
    match zstd::bulk::compress(&payload, COMPRESS_LEVEL) {
        Ok(packed) if packed.len() < payload.len() => (Codec::Zstd, packed.into()),
        Ok(_) | Err(_) => (Codec::None, payload),
    }
}

/// The frame has to say its content's size, so that what is allocated is what comes out.
fn decompress(packed: &[u8]) -> Result<Bytes, UnpackError> {
    let len = zstd::zstd_safe::get_frame_content_size(packed).ok().flatten().ok_or(UnpackError::Malformed)?;
    let len = usize::try_from(len).ok().filter(|len| *len <= PAYLOAD_LEN_MAX).ok_or(UnpackError::Malformed)?;
    zstd::bulk::decompress(packed, len).map(Bytes::from).map_err(|_| UnpackError::Malformed)
}

fn cipher(key: &EnvelopeKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.as_bytes().into())
}

/// `header ‖ group_id`
fn associated_data(header: &[u8; HEADER_LEN], group: &GroupId) -> [u8; HEADER_LEN + GroupId::LEN] {
    let mut data = [0; HEADER_LEN + GroupId::LEN];
    data[..HEADER_LEN].copy_from_slice(header);
    data[HEADER_LEN..].copy_from_slice(group.as_bytes());
    data
}

/// What is in a log and what is not are signed for different purposes, so neither can be passed off as the other.
fn signed_message(group: &GroupId, kind: Kind, bytes: &[u8]) -> Vec<u8> {
    let purpose = match kind {
        Kind::Receipt => Purpose::Receipt,
        Kind::Snapshot => Purpose::Snapshot,
        Kind::Data | Kind::Control | Kind::ContentManifest => Purpose::Envelope,
    };
    sign::message(purpose, group.as_bytes(), &[bytes])
}

/// Checks signatures, and keeps the senders' keys unpacked between two of them.
#[derive(Debug, Default)]
pub struct Verifier {
    keys: BTreeMap<DeviceId, VerifyingKey>,
}

impl Verifier {
    /// Whether the envelope's sender signed it, for this group.
    pub fn verify(&mut self, group: &GroupId, envelope: &Envelope) -> bool {
        let sender = envelope.header().sender;
        let cached = self.keys.get(&sender).copied();
        let Some(key) = cached.or_else(|| VerifyingKey::from_bytes(sender.as_bytes()).ok()) else { return false };
        let signature = Signature::from_bytes(&envelope.signature());
        let message = signed_message(group, envelope.header().kind, envelope.signed_bytes());
        let holds = key.verify_strict(&message, &signature).is_ok();
        if holds && cached.is_none() {
            if self.keys.len() >= KEYS_MAX {
                self.keys.pop_first();
            }
            self.keys.insert(sender, key);
        }
        holds
    }
}

/// Strangers sign with as many keys as they like; only so many are remembered.
const KEYS_MAX: usize = 2 * MEMBERS_MAX;

/// Whether a signature by `signer` holds. For single checks; runs of envelopes go through a [`Verifier`].
pub(crate) fn signature_holds(signer: &DeviceId, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
    VerifyingKey::from_bytes(signer.as_bytes())
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};

    use super::*;
    use crate::keys::{EpochSecret, GroupRoot};

    struct Group {
        keys: GroupKeys,
        device: DeviceKey,
        rng: ChaCha20Rng,
    }

    impl Group {
        fn new(seed: u8) -> Self {
            let mut rng = ChaCha20Rng::from_seed([seed; 32]);
            Self { keys: GroupKeys::generate(&mut rng), device: DeviceKey::generate(&mut rng), rng }
        }

        fn seal(&mut self, payload: &[u8], compress: bool) -> Envelope {
            let draft = Draft {
                kind: Kind::Data,
                ttl_s: 60,
                seq: Seq::new(7),
                prev: BlobHash::from_bytes([7; 32]),
                push_id: PushId::from_bytes([8; 16]),
                time_ms: 9,
                payload: Bytes::copy_from_slice(payload),
                compress,
            };
            seal(&self.keys, &self.device, draft, &mut self.rng)
        }

        fn verify(&self, envelope: &Envelope) -> bool {
            Verifier::default().verify(&self.keys.group_id(), envelope)
        }
    }

    fn altered(envelope: &Envelope, index: usize) -> Envelope {
        let mut bytes = envelope.as_bytes().to_vec();
        bytes[index] ^= 1;
        Envelope::parse(bytes.into()).expect("still has the shape")
    }

    #[test]
    fn what_is_sealed_opens_and_verifies() {
        let mut group = Group::new(1);
        for payload in [vec![], b"note".to_vec(), vec![0x5a; 3_000], vec![0x5a; PAYLOAD_LEN_MAX]] {
            for compress in [false, true] {
                let envelope = group.seal(&payload, compress);
                let body = open(&group.keys, &envelope).expect("opens");
                assert_eq!(unpack(&body).expect("unpacks"), payload);
                assert_eq!((body.seq, body.time_ms), (Seq::new(7), 9));
                assert_eq!(body.codec, u8::from(compress && payload.len() >= COMPRESS_LEN_MIN));
                assert_eq!(envelope.header().sender, group.device.device_id());
                assert!(group.verify(&envelope));
            }
        }
    }

    #[test]
    fn the_largest_payload_needs_no_more_room_than_was_made() {
        let mut payload = vec![0; PAYLOAD_LEN_MAX];
        let mut group = Group::new(1);
        group.rng.fill_bytes(&mut payload);
        let envelope = group.seal(&payload, true);
        let body = open(&group.keys, &envelope).expect("opens");
        assert_eq!(body.codec, Codec::None as u8, "random bytes don't compress");
        let full = Body { seq: Seq::new(u64::MAX), time_ms: u64::MAX, ..body };
        let mut encoded = Vec::new();
        rmp_serde::encode::write(&mut encoded, &full).unwrap();
        assert_eq!(4 + encoded.len(), PAYLOAD_LEN_MAX + BODY_FIELDS_LEN_MAX);
    }

    #[test]
    fn no_byte_can_be_changed() {
        let mut group = Group::new(2);
        let envelope = group.seal(b"note", false);
        for index in 3..envelope.as_bytes().len() {
            let altered = altered(&envelope, index);
            assert!(!group.verify(&altered), "{index}");
            let opened = open(&group.keys, &altered);
            if (7..23).contains(&index) {
                assert_eq!(opened, Err(OpenError::UnknownKey), "{index}");
            } else if index < altered.as_bytes().len() - SIGNATURE_LEN {
                assert_eq!(opened, Err(OpenError::NotAuthentic), "{index}");
            }
        }
    }

    #[test]
    fn an_envelope_belongs_to_one_group_even_under_one_epoch_secret() {
        let mut ours = Group::new(3);
        let root = GroupRoot::from_bytes(&[9; 32]);
        let theirs = GroupKeys::new(root, 0, EpochSecret::from_bytes(ours.keys.current().secret().as_bytes()));
        let envelope = ours.seal(b"note", false);
        assert_eq!(open(&theirs, &envelope), Err(OpenError::UnknownKey));
        assert!(!Verifier::default().verify(&theirs.group_id(), &envelope));
    }

    #[test]
    fn an_older_epoch_still_opens() {
        let mut group = Group::new(4);
        let old = group.seal(b"old", false);
        assert!(group.keys.insert(1, EpochSecret::from_bytes(&[1; 32])));
        let new = group.seal(b"new", false);
        assert_ne!(old.header().key_id, new.header().key_id);
        assert_eq!(open(&group.keys, &old).unwrap().payload, b"old"[..]);
        assert_eq!(open(&group.keys, &new).unwrap().payload, b"new"[..]);
    }

    #[test]
    fn two_seals_share_no_nonce() {
        let mut group = Group::new(5);
        assert_ne!(group.seal(b"x", false).header().nonce, group.seal(b"x", false).header().nonce);
    }

    #[test]
    fn a_small_key_signs_nothing() {
        // The identity point as a sender: a lax check takes such a signature for any message.
        let mut group = Group::new(6);
        let mut bytes = group.seal(b"note", false).as_bytes().to_vec();
        let mut identity = [0; 32];
        identity[0] = 1;
        bytes[23..55].copy_from_slice(&identity);
        let at = bytes.len() - SIGNATURE_LEN;
        bytes[at..].fill(0);
        bytes[at] = 1;
        assert!(!group.verify(&Envelope::parse(bytes.into()).unwrap()));
    }

    #[test]
    fn a_verifier_remembers_keys_up_to_a_bound_and_stays_right() {
        let mut group = Group::new(7);
        let id = group.keys.group_id();
        let mut verifier = Verifier::default();
        let first = group.seal(b"note", false);
        assert!(verifier.verify(&id, &first));
        for seed in 0..KEYS_MAX + 8 {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_be_bytes());
            group.device = DeviceKey::from_seed(&bytes);
            let envelope = group.seal(b"note", false);
            assert!(verifier.verify(&id, &envelope));
            assert!(!verifier.verify(&id, &altered(&envelope, 100)));
            assert!(verifier.keys.len() <= KEYS_MAX);
        }
        assert!(verifier.verify(&id, &first));
    }

    #[test]
    fn a_payload_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() {
        let body = |codec, payload: Vec<u8>| Body {
            seq: Seq::new(1),
            prev: BlobHash::ZERO,
            push_id: PushId::from_bytes([0; 16]),
            time_ms: 0,
            codec,
            payload: payload.into(),
        };
        let bomb = zstd::bulk::compress(&vec![0; PAYLOAD_LEN_MAX + 1], 3).unwrap();
        assert_eq!(unpack(&body(1, bomb)), Err(UnpackError::Malformed));
        let two = [zstd::bulk::compress(b"one", 3).unwrap(), zstd::bulk::compress(b"two", 3).unwrap()].concat();
        assert_eq!(unpack(&body(1, two)), Err(UnpackError::Malformed));
        assert_eq!(unpack(&body(1, b"no frame".to_vec())), Err(UnpackError::Malformed));
        assert_eq!(unpack(&body(9, vec![])), Err(UnpackError::UnknownCodec { codec: 9 }));
    }
}
