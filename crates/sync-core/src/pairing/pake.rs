//! The password-authenticated key exchange: SPAKE2 between the code's two halves, with what the crate leaves out.
//!
//! Whoever doesn't know the password learns nothing from an exchange but whether one guess was right. The `spake2`
//! crate takes any point for the other side's and confirms nothing; so a point outside the prime-order group is
//! refused here, and each side proves the key by a MAC before anything is done with it.

use ed25519_dalek::VerifyingKey;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use spake2::{Ed25519Group, Identity, Password, Spake2};
use sync_types::invite::{Form, MailboxName};
use zeroize::Zeroizing;

use super::{
    rng::{Seed, Seeded},
    weakness::{self, Weakness},
};

/// Bytes of one side's message: which side, and a point.
pub(super) const ELEMENT_LEN: usize = 33;
/// Bytes of a confirmation.
pub(super) const MAC_LEN: usize = 32;

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Creator,
    Joiner,
}

/// The other side did not say what an honest one can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadElement;

/// One side, between its own message and the other's.
pub(super) struct Pake {
    exchange: Spake2<Ed25519Group>,
    #[cfg(any(test, feature = "test-utils"))]
    plain: PakeKey,
}

impl Pake {
    /// Starts, and says what to send. Both sides name the mailbox and the password's form, so an exchange can't be moved
    /// to another.
    pub(super) fn start(
        side: Side,
        mailbox: &MailboxName,
        (form, password): (Form, &[u8]),
        seed: Seed,
    ) -> (Self, [u8; ELEMENT_LEN]) {
        let form = form.name();
        let identity = |role: &str| Identity::new(format!("0k-sync/1 pairing {role} {form} {mailbox}").as_bytes());
        let (creator, joiner) = (identity("creator"), identity("joiner"));
        #[cfg(any(test, feature = "test-utils"))]
        let plain = PakeKey::plain(password);
        let password = Password::new(password);
        let seed = if weakness::has(Weakness::FixedScalar) { Seed::default() } else { seed };
        let (state, message) = match side {
            Side::Creator => Spake2::start_a_with_rng(&password, &creator, &joiner, Seeded::new(seed)),
            Side::Joiner => Spake2::start_b_with_rng(&password, &creator, &joiner, Seeded::new(seed)),
        };
        let pake = Self {
            exchange: state,
            #[cfg(any(test, feature = "test-utils"))]
            plain,
        };
        (pake, message.try_into().expect("a side byte and a point"))
    }

    /// The shared key: the same on both sides if they had the same password.
    pub(super) fn finish(self, theirs: &[u8; ELEMENT_LEN]) -> Result<PakeKey, BadElement> {
        let point = theirs.last_chunk::<32>().ok_or(BadElement)?;
        let point = VerifyingKey::from_bytes(point).map_err(|_| BadElement)?.to_edwards();
        if point.is_small_order() || !point.is_torsion_free() {
            return Err(BadElement);
        }
        #[cfg(any(test, feature = "test-utils"))]
        if weakness::has(Weakness::PlainKey) {
            return Ok(self.plain);
        }
        let key = Zeroizing::new(self.exchange.finish(theirs).map_err(|_| BadElement)?);
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(&key);
        Ok(PakeKey(bytes))
    }
}

/// What an exchange came to. Worth nothing until the other side has confirmed it.
pub(super) struct PakeKey(Zeroizing<[u8; 32]>);

impl PakeKey {
    /// What there would be without an exchange.
    #[cfg(any(test, feature = "test-utils"))]
    pub(super) fn plain(password: &[u8]) -> Self {
        Self(Zeroizing::new(blake3::derive_key("a key that is a password", password)))
    }

    /// `psk = HKDF-SHA256(key, "0k-sync/1 pairing psk")`
    pub(super) fn psk(&self) -> Zeroizing<[u8; 32]> {
        self.derive("0k-sync/1 pairing psk")
    }

    /// `HMAC-SHA256(HKDF-SHA256(key, "0k-sync/1 pairing confirm <side>"), transcript)`
    pub(super) fn confirmation(&self, side: Side, transcript: &[u8; 32]) -> [u8; MAC_LEN] {
        self.mac(side, transcript).finalize().into_bytes().into()
    }

    /// Whether a confirmation is that side's. Takes the same time for any that isn't.
    pub(super) fn is_confirmed(&self, side: Side, transcript: &[u8; 32], confirmation: &[u8; MAC_LEN]) -> bool {
        self.mac(side, transcript).verify(confirmation.into()).is_ok()
    }

    fn mac(&self, side: Side, transcript: &[u8; 32]) -> Hmac<Sha256> {
        let key = match side {
            Side::Creator => self.derive("0k-sync/1 pairing confirm creator"),
            Side::Joiner => self.derive("0k-sync/1 pairing confirm joiner"),
        };
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(key.as_slice()).expect("HMAC takes a key of any length");
        mac.update(transcript);
        mac
    }

    fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let mut okm = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, self.0.as_slice())
            .expand(label.as_bytes(), okm.as_mut_slice())
            .expect("32 bytes are far below HKDF's limit");
        okm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(side: Side, mailbox: &str, password: &[u8]) -> (Pake, [u8; ELEMENT_LEN]) {
        let mailbox = mailbox.parse().expect("a name");
        Pake::start(side, &mailbox, (Form::Code, password), Zeroizing::new([side as u8 + 1; 32]))
    }

    /// Whether both sides confirm each other.
    fn agree(creator: (&str, &[u8]), joiner: (&str, &[u8])) -> bool {
        let (creator, to_joiner) = start(Side::Creator, creator.0, creator.1);
        let (joiner, to_creator) = start(Side::Joiner, joiner.0, joiner.1);
        let creator = creator.finish(&to_creator).expect("an honest point");
        let joiner = joiner.finish(&to_joiner).expect("an honest point");
        let confirmed = |from: &PakeKey, to: &PakeKey, side| {
            let confirmation = from.confirmation(side, &[7; 32]);
            assert!(!to.is_confirmed(side, &[8; 32], &confirmation), "over another transcript");
            let other = if side == Side::Creator { Side::Joiner } else { Side::Creator };
            assert!(!to.is_confirmed(other, &[7; 32], &confirmation), "reflected");
            to.is_confirmed(side, &[7; 32], &confirmation)
        };
        let both = (confirmed(&creator, &joiner, Side::Creator), confirmed(&joiner, &creator, Side::Joiner));
        assert_eq!(both.0, both.1);
        assert_eq!(both.0, creator.psk() == joiner.psk());
        both.0
    }

    #[test]
    fn the_same_code_agrees_and_nothing_else_does() {
        assert!(agree(("AAAA-BBBB", b"password"), ("AAAA-BBBB", b"password")));
        assert!(!agree(("AAAA-BBBB", b"password"), ("AAAA-BBBB", b"Password")));
        assert!(!agree(("AAAA-BBBB", b"password"), ("AAAA-BBBC", b"password")));
    }

    #[test]
    fn only_points_of_the_prime_order_group_are_taken() {
        // The eight points of small order, in their canonical forms: 1, -1, ±sqrt(-1) and the four of order eight.
        let small = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        ];
        for point in small {
            let mut element = [b'B'; ELEMENT_LEN];
            let byte = |index| u8::from_str_radix(&point[2 * index..2 * index + 2], 16).expect("hex");
            element[1..].copy_from_slice(&std::array::from_fn::<_, 32, _>(byte));
            let (creator, _) = start(Side::Creator, "AAAA-BBBB", b"password");
            assert!(creator.finish(&element).is_err(), "{point}");
        }
        // An honest point plus one of order two: not small, but not in the group either.
        let (_, mut mixed) = start(Side::Joiner, "AAAA-BBBB", b"password");
        let honest = VerifyingKey::from_bytes(mixed.last_chunk().expect("33 bytes")).expect("a point").to_edwards();
        let mut order_two = [0xff; 32];
        (order_two[0], order_two[31]) = (0xec, 0x7f);
        let order_two = VerifyingKey::from_bytes(&order_two).expect("a point").to_edwards();
        mixed[1..].copy_from_slice((honest + order_two).compress().as_bytes());
        let (creator, _) = start(Side::Creator, "AAAA-BBBB", b"password");
        assert!(creator.finish(&mixed).is_err());
    }

    #[test]
    fn a_message_of_the_own_side_is_refused() {
        let (creator, own) = start(Side::Creator, "AAAA-BBBB", b"password");
        assert!(creator.finish(&own).is_err());
    }
}
