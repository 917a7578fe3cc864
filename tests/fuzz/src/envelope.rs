//! A sealed envelope: parsed, opened with a key that is always the same, and altered.
//!
//! The cipher would turn every guess away, so what is inside is sealed here with the group's own key: the reader of
//! bodies meets bytes that only a member could have made, and members are not to be trusted with it either.

use bytes::Bytes;
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sync_core::{
    keys::{DeviceKey, EpochSecret, GroupKeys, GroupRoot},
    seal::{self, Draft, OpenError, Verifier},
};
use sync_types::{
    BlobHash, Body, Codec, Envelope, Header, Kind, PushId, Seq,
    envelope::{HEADER_LEN, NONCE_LEN, SIGNATURE_LEN, padded_len},
    limits::{ENVELOPE_LEN_MAX, PAYLOAD_LEN_MAX},
};

use crate::msgpack::Value;

/// The first byte chooses what the rest is.
pub(crate) fn run(data: &[u8]) {
    let Some((what, rest)) = data.split_first() else { return };
    match what % 4 {
        0 => parse(rest),
        1 => open_body(rest),
        2 => open_body(&padded(rest)),
        _ => alter(rest),
    }
}

fn keys() -> GroupKeys {
    GroupKeys::new(GroupRoot::from_bytes(&[1; 32]), 0, EpochSecret::from_bytes(&[2; 32]))
}

/// Bytes of anybody's. What parses keeps every byte, and does not open.
fn parse(bytes: &[u8]) {
    let Ok(envelope) = Envelope::parse(Bytes::copy_from_slice(bytes)) else { return };
    assert!(bytes.len() <= ENVELOPE_LEN_MAX);
    assert_eq!(envelope.as_bytes(), bytes);
    assert_eq!(envelope.header().to_bytes(), envelope.header_bytes(), "the header says what the bytes say");
    let parts = [envelope.header_bytes(), envelope.sealed_body(), &envelope.signature()].concat();
    assert_eq!(parts, bytes, "the parts are the whole");
    assert_eq!(envelope.signed_bytes().len() + SIGNATURE_LEN, bytes.len());
    let keys = keys();
    assert!(seal::open(&keys, &envelope).is_err() && !Verifier::default().verify(&keys.group_id(), &envelope));
}

/// `u32 length ‖ encoded ‖ zeros`, as a body is laid out.
fn padded(encoded: &[u8]) -> Vec<u8> {
    let len = u32::try_from(encoded.len()).expect("a fuzzer's inputs are short");
    let mut padded = [&len.to_be_bytes(), encoded].concat();
    padded.resize(padded_len(padded.len()), 0);
    padded
}

/// Any bytes, sealed as a member would. They open exactly if they are a body, and as that body.
fn open_body(plain: &[u8]) {
    let keys = keys();
    let header = Header {
        kind: Kind::Data,
        epoch: 0,
        key_id: keys.current().key_id(),
        sender: DeviceKey::from_seed(&[3; 32]).device_id(),
        ttl_s: 0,
        nonce: [4; NONCE_LEN],
    };
    let header = header.to_bytes();
    let mut sealed = plain.to_vec();
    let data = [header.as_slice(), keys.group_id().as_bytes()].concat();
    let tag = XChaCha20Poly1305::new(keys.current().envelope_key().as_bytes().into())
        .encrypt_inout_detached(&XNonce::from([4; NONCE_LEN]), &data, sealed.as_mut_slice().into())
        .expect("a fuzzer's inputs are short");
    let bytes = [header.as_slice(), &sealed, &tag, &[0; SIGNATURE_LEN]].concat();
    let Ok(envelope) = Envelope::parse(bytes.into()) else { return };
    match seal::open(&keys, &envelope) {
        Ok(body) => read(plain, &body),
        Err(error) => assert_eq!((error, Body::from_padded(plain).is_err()), (OpenError::Malformed, true)),
    }
}

/// A body that opened: within its bounds, made of nothing but its bytes, and the same when it is written again.
fn read(plain: &[u8], body: &Body) {
    assert!(body.seq > Seq::START && body.payload.len() <= PAYLOAD_LEN_MAX);
    let written = body.to_padded();
    assert_eq!(Body::from_padded(&written).as_ref(), Ok(body), "written again");
    let value = |padded: &[u8]| {
        let (len, rest) = padded.split_first_chunk::<4>().expect("it was read");
        Value::read(&rest[..u32::from_be_bytes(*len) as usize]).expect("it was read")
    };
    assert!(value(&written).is_said_by(&value(plain)), "{body:?} is made up");
    match seal::unpack(body) {
        Ok(payload) if body.codec == Codec::None as u8 => assert_eq!(payload, body.payload),
        Ok(payload) => assert!(payload.len() <= PAYLOAD_LEN_MAX),
        Err(_) => assert_ne!(body.codec, Codec::None as u8),
    }
}

/// An envelope as this build seals it, and the same with one bit changed: only the first is its sender's.
fn alter(data: &[u8]) {
    let [a, b, flags, ttl_s, payload @ ..] = data else { return };
    let (keys, device) = (keys(), DeviceKey::from_seed(&[3; 32]));
    let draft = Draft {
        kind: Kind::from_number(flags & 7).unwrap_or(Kind::Data),
        ttl_s: u32::from(*ttl_s) << (flags >> 3),
        seq: Seq::new(1),
        prev: BlobHash::ZERO,
        push_id: PushId::from_bytes([5; 16]),
        time_ms: u64::MAX,
        payload: Bytes::copy_from_slice(payload),
        compress: flags & 8 == 8,
    };
    let envelope = seal::seal(&keys, &device, draft, &mut ChaCha20Rng::from_seed([6; 32]));
    let mut verifier = Verifier::default();
    assert!(verifier.verify(&keys.group_id(), &envelope));
    let body = seal::open(&keys, &envelope).expect("its own");
    assert_eq!(seal::unpack(&body).expect("its own"), payload);

    // A header is short enough to try each of its bytes.
    for byte in 0..HEADER_LEN {
        let mut bytes = envelope.as_bytes().to_vec();
        bytes[byte] ^= 1 << (flags & 7);
        let Ok(altered) = Envelope::parse(bytes.into()) else { continue };
        assert!(seal::open(&keys, &altered).is_err(), "byte {byte} of the header is not sealed");
    }

    let mut bytes = envelope.as_bytes().to_vec();
    let bit = usize::from(u16::from_be_bytes([*a, *b])) % (8 * bytes.len());
    bytes[bit / 8] ^= 1 << (bit % 8);
    let Ok(altered) = Envelope::parse(bytes.into()) else { return };
    assert!(!verifier.verify(&keys.group_id(), &altered), "bit {bit} is not signed");
    let opens = seal::open(&keys, &altered).is_ok();
    assert!(!opens || bit / 8 >= altered.signed_bytes().len(), "bit {bit} is not sealed");
}
