//! The messages of a pairing, as bytes.
//!
//! ```text
//! 0  creator  version · element [33] for the code · element [33] for the link · commitment [32]
//! 1  joiner   version · form · element [33] · nonce [32] · MAC [32]     the joiner proves the password it was given
//! 2  creator  version · MAC [32] · Noise 1 {Invitation}                 so does the creator
//! 3  joiner   version · Noise 2 {Request}
//! 4  creator  version · channel {Reveal}                                now both can show the digits
//! 5  joiner   version · channel {Confirm}                               the joiner's person said yes
//! 6  creator  version · channel {Part}                                  so did the creator's
//! …                                                                     {More} and {Part} in turn, while there is
//! n  joiner   version · channel {Stored}
//! ```
//! In place of any word from 3 on its side may say {Refuse}. Words are a type byte and a MessagePack array.

use bytes::Bytes;
use serde_bytes::ByteArray;
use sync_types::{
    GroupId,
    envelope::SIGNATURE_LEN,
    invite::Form,
    wire::{decode_exact, message},
};
use zeroize::Zeroizing;

use super::{
    PairingError,
    pake::{ELEMENT_LEN, MAC_LEN},
};

/// The only version so far. It comes first in every message.
pub(super) const VERSION: u8 = 1;

/// Message 0.
pub(super) struct Opening {
    /// By the form of the password: [`Form::Code`] first.
    pub(super) elements: [[u8; ELEMENT_LEN]; 2],
    pub(super) commitment: [u8; 32],
}

/// Message 1.
pub(super) struct Answer {
    pub(super) form: Form,
    pub(super) element: [u8; ELEMENT_LEN],
    pub(super) nonce: [u8; 32],
    pub(super) confirmation: [u8; MAC_LEN],
}

impl Opening {
    pub(super) fn to_bytes(&self) -> Bytes {
        let [code, link] = &self.elements;
        [&[VERSION][..], code, link, &self.commitment].concat().into()
    }

    pub(super) fn read(message: &[u8]) -> Result<Self, PairingError> {
        let (code, rest) = fixed(versioned(message)?)?;
        let (link, rest) = fixed(rest)?;
        Ok(Self { elements: [code, link], commitment: last(rest)? })
    }

    /// The element to answer with a password of this form.
    pub(super) fn element(&self, form: Form) -> &[u8; ELEMENT_LEN] {
        &self.elements[form as usize]
    }
}

impl Answer {
    /// The bytes before the MAC, which it covers.
    pub(super) fn unconfirmed(form: Form, element: &[u8; ELEMENT_LEN], nonce: &[u8; 32]) -> Vec<u8> {
        [&[VERSION, form as u8][..], element, nonce].concat()
    }

    /// The answer, and the bytes before its MAC.
    pub(super) fn read(message: &[u8]) -> Result<(Self, &[u8]), PairingError> {
        let ([form], rest) = fixed(versioned(message)?)?;
        let form = Form::from_number(form).ok_or(PairingError::Broken)?;
        let (element, rest) = fixed(rest)?;
        let (nonce, rest) = fixed(rest)?;
        let confirmation = last(rest)?;
        Ok((Self { form, element, nonce, confirmation }, &message[..message.len() - MAC_LEN]))
    }
}

/// Message 2: the creator's MAC, and the first half of the Noise handshake.
pub(super) fn read_proof(message: &[u8]) -> Result<([u8; MAC_LEN], &[u8]), PairingError> {
    fixed(versioned(message)?)
}

/// A message with its version byte.
pub(super) fn versioned_with(parts: &[&[u8]]) -> Bytes {
    [&[&[VERSION][..]], parts].concat().concat().into()
}

/// A message without it.
pub(super) fn versioned(message: &[u8]) -> Result<&[u8], PairingError> {
    match message.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some(_) | None => Err(PairingError::Broken),
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), PairingError> {
    bytes.split_first_chunk().map(|(first, rest)| (*first, rest)).ok_or(PairingError::Broken)
}

fn last<const N: usize>(bytes: &[u8]) -> Result<[u8; N], PairingError> {
    bytes.try_into().map_err(|_| PairingError::Broken)
}

message! {
    /// Where the invite leads.
    pub(super) struct Invitation {
        pub(super) group: GroupId,
        pub(super) app_id: String,
    }
}

message! {
    /// The joiner's half of its roster entry.
    pub(super) struct Request {
        pub(super) signed: Bytes,
        pub(super) signature: ByteArray<SIGNATURE_LEN>,
    }
}

message! {
    /// What the creator committed to.
    pub(super) struct Reveal {
        pub(super) nonce: ByteArray<32>,
        pub(super) name: String,
        pub(super) platform: String,
    }
}

message! {
    /// This side ends it.
    struct Refuse {
        reason: u8,
    }
}

/// What is said with fields under Noise: one type, one number.
pub(super) trait Word: serde::Serialize + serde::de::DeserializeOwned {
    const TYPE: u8;
}

impl Word for Invitation {
    const TYPE: u8 = 1;
}

impl Word for Request {
    const TYPE: u8 = 2;
}

impl Word for Reveal {
    const TYPE: u8 = 3;
}

impl Word for Refuse {
    const TYPE: u8 = 15;
}

/// What is said by a number alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Signal {
    /// The joiner's person confirmed.
    Confirm = 4,
    /// That part is here.
    More = 6,
    /// The grant is on the joiner's disk.
    Stored = 7,
}

/// A piece of the grant, as it is: `05 · whether it is the last · bytes`. It holds secrets, so nothing copies it.
const PART: u8 = 5;
/// Bytes a part adds to its piece.
pub(super) const PART_OVERHEAD: usize = 2;

pub(super) fn say<W: Word>(word: &W) -> Vec<u8> {
    let mut text = vec![W::TYPE];
    rmp_serde::encode::write(&mut text, word).expect("a word always encodes into memory");
    text
}

pub(super) fn say_signal(signal: Signal) -> [u8; 1] {
    [signal as u8]
}

pub(super) fn say_part(is_last: bool, piece: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(PART_OVERHEAD + piece.len()));
    text.extend_from_slice(&[PART, u8::from(is_last)]);
    text.extend_from_slice(piece);
    text
}

pub(super) fn say_refusal(error: PairingError) -> Vec<u8> {
    say(&Refuse { reason: error.reason() })
}

/// Reads the expected word. Another one fails the pairing; a refusal fails it with its reason.
pub(super) fn hear<W: Word>(text: &[u8]) -> Result<W, PairingError> {
    fields(W::TYPE, text).and_then(decode)
}

/// As [`hear`]. What a newer build appends is ignored.
pub(super) fn hear_signal(signal: Signal, text: &[u8]) -> Result<(), PairingError> {
    fields(signal as u8, text).map(|_| ())
}

/// As [`hear`]: the piece, and whether it is the last.
pub(super) fn hear_part(text: &[u8]) -> Result<(bool, &[u8]), PairingError> {
    match fields(PART, text)?.split_first() {
        Some((is_last @ (0 | 1), piece)) => Ok((*is_last == 1, piece)),
        Some(_) | None => Err(PairingError::Broken),
    }
}

fn fields(expected: u8, text: &[u8]) -> Result<&[u8], PairingError> {
    match text.split_first() {
        Some((&kind, fields)) if kind == expected => Ok(fields),
        Some((&Refuse::TYPE, fields)) => Err(PairingError::from_reason(decode::<Refuse>(fields)?.reason)),
        Some(_) | None => Err(PairingError::Broken),
    }
}

fn decode<W: Word>(fields: &[u8]) -> Result<W, PairingError> {
    decode_exact(fields).map_err(|_| PairingError::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_heard_only_as_itself() {
        let reveal = say(&Reveal { nonce: ByteArray::new([1; 32]), name: "a".into(), platform: "b".into() });
        assert!(hear::<Reveal>(&reveal).is_ok());
        assert!(hear::<Request>(&reveal).is_err());
        assert_eq!(hear_signal(Signal::More, &say_signal(Signal::More)), Ok(()));
        assert_eq!(hear_signal(Signal::Stored, &say_signal(Signal::More)), Err(PairingError::Broken));
        assert_eq!(hear_part(&say_part(true, b"secret")), Ok((true, &b"secret"[..])));
        assert_eq!(hear_part(&[PART, 2]), Err(PairingError::Broken));
        assert_eq!(hear_part(&[]), Err(PairingError::Broken));
    }

    #[test]
    fn a_refusal_is_heard_in_place_of_any_word() {
        for error in PairingError::ALL {
            let refusal = say_refusal(*error);
            let heard = hear::<Reveal>(&refusal).err();
            assert_eq!(heard, hear_signal(Signal::Confirm, &refusal).err());
            assert_eq!(heard, hear_part(&refusal).err());
            assert_eq!(heard, Some(PairingError::from_reason(error.reason())));
        }
        assert_eq!(hear_part(&say_refusal(PairingError::Denied)), Err(PairingError::Denied));
        assert_eq!(PairingError::from_reason(200), PairingError::Broken);
    }

    #[test]
    fn fixed_messages_are_read_whole_or_not_at_all() {
        let opening = Opening { elements: [[1; ELEMENT_LEN]; 2], commitment: [2; 32] }.to_bytes();
        let answer = [Answer::unconfirmed(Form::Link, &[3; ELEMENT_LEN], &[4; 32]), vec![5; MAC_LEN]].concat();
        assert!(Opening::read(&opening).is_ok() && Answer::read(&answer).is_ok());
        for len in 0..opening.len() {
            assert!(Opening::read(&opening[..len]).is_err());
        }
        for len in 0..answer.len() {
            assert!(Answer::read(&answer[..len]).is_err());
        }
        assert!(Opening::read(&[&opening[..], &[0]].concat()).is_err());
        assert!(Answer::read(&[&answer[..], &[0]].concat()).is_err());
        assert!(Opening::read(&[&[VERSION + 1], &opening[1..]].concat()).is_err());
        assert!(Answer::read(&[&[VERSION, 2], &answer[2..]].concat()).is_err(), "a form that is none");
    }
}
