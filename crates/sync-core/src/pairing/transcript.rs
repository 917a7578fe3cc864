//! What was said so far, and the six digits that stand for it.

use hkdf::Hkdf;
use sha2::Sha256;
use std::fmt;

/// A running hash over the messages of one pairing, each with its length.
#[derive(Clone)]
pub(super) struct Transcript(blake3::Hasher);

impl Transcript {
    /// Nothing said yet.
    pub(super) fn new() -> Self {
        Self(blake3::Hasher::new_derive_key("0k-sync/1 pairing transcript"))
    }

    /// Adds a message.
    pub(super) fn add(&mut self, message: &[u8]) {
        let len = u64::try_from(message.len()).expect("a length fits 64 bits");
        self.0.update(&len.to_be_bytes()).update(message);
    }

    /// The hash, had this been said as well.
    pub(super) fn with(&self, part: &[u8]) -> [u8; 32] {
        let mut longer = self.clone();
        longer.add(part);
        longer.hash()
    }

    /// The hash of what was said.
    pub(super) fn hash(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// `commitment = BLAKE3-derive_key("0k-sync/1 pairing commitment", reveal)`. The reveal holds 32 random bytes, so the
/// commitment tells nothing about it.
pub(super) fn commitment(reveal: &[u8]) -> [u8; 32] {
    blake3::derive_key("0k-sync/1 pairing commitment", reveal)
}

/// Six digits for two people to compare: the same on both screens, but for one in a million, only if nobody sits in
/// between. They prove nothing to anybody else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digits(u32);

impl Digits {
    /// `HKDF-SHA256(handshake hash ‖ creator's nonce ‖ joiner's nonce, "0k-sync/1 pairing digits")`, as a 64-bit
    /// integer modulo a million
    pub(super) fn of(handshake_hash: &[u8; 32], creator_nonce: &[u8; 32], joiner_nonce: &[u8; 32]) -> Self {
        let ikm = [handshake_hash.as_slice(), creator_nonce, joiner_nonce].concat();
        let mut okm = [0; 8];
        Hkdf::<Sha256>::new(None, &ikm)
            .expand(b"0k-sync/1 pairing digits", &mut okm)
            .expect("8 bytes are far below HKDF's limit");
        let digits = u64::from_be_bytes(okm) % 1_000_000;
        Self(u32::try_from(digits).expect("below a million"))
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digits(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_knows_where_messages_end() {
        let of = |messages: &[&[u8]]| {
            let mut transcript = Transcript::new();
            messages.iter().for_each(|message| transcript.add(message));
            transcript.hash()
        };
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"abc"]), of(&[b"abc", b""]));
        let mut transcript = Transcript::new();
        transcript.add(b"ab");
        assert_eq!(transcript.with(b"c"), of(&[b"ab", b"c"]));
        assert_eq!(transcript.hash(), of(&[b"ab"]), "and is left as it was");
    }

    #[test]
    fn digits_are_six_and_depend_on_everything() {
        let digits = Digits::of(&[1; 32], &[2; 32], &[3; 32]);
        for other in [
            Digits::of(&[9; 32], &[2; 32], &[3; 32]),
            Digits::of(&[1; 32], &[9; 32], &[3; 32]),
            Digits::of(&[1; 32], &[2; 32], &[9; 32]),
        ] {
            assert_ne!(digits, other);
        }
        assert_eq!(Digits(42).to_string(), "000042");
        assert_eq!(format!("{digits:?}"), "Digits(..)");
    }
}
