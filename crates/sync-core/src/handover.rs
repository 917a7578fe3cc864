//! How secrets of an epoch are handed on: to the members that remain, from one epoch to the next, and, by a relay that
//! can't read them, to members who were away.
//!
//! ```text
//! box      HPKE (X-Wing, HKDF-SHA256, ChaCha20-Poly1305) to one member    the new epoch's secret
//! older    XChaCha20-Poly1305 under the new epoch                         a parent's secret
//! package  XChaCha20-Poly1305 under the old epoch                         commits, for holders of the old key
//! ```

use bytes::Bytes;
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305, kdf::HkdfSha256, kem::XWing};
use rand_core::CryptoRng;
use sync_types::{
    DeviceId, GroupId, KeyId,
    envelope::{NONCE_LEN, TAG_LEN},
    limits::{COMMITS_MAX, MOVED_BYTES_MAX},
    wire::{AtMost, decode_exact},
};
use zeroize::Zeroizing;

use crate::keys::{DeviceKem, Epoch, EpochSecret};

/// Bytes of a box: the encapsulated key, the secret and its tag.
pub(crate) const BOX_LEN: usize = 1120 + 32 + TAG_LEN;
/// Bytes of an older secret: nonce, secret, tag.
pub(crate) const OLDER_LEN: usize = NONCE_LEN + 32 + TAG_LEN;

/// What a box is bound to, besides its recipient's key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purpose<'a> {
    pub(crate) group: &'a GroupId,
    /// The hash of the commits that the new epoch follows.
    pub(crate) parents: &'a [u8; 32],
    /// The new epoch's.
    pub(crate) key_id: &'a KeyId,
}

impl Purpose<'_> {
    /// `info = group_id ‖ parents ‖ recipient ‖ key_id`
    fn info(&self, recipient: &DeviceId) -> Vec<u8> {
        [&self.group.as_bytes()[..], self.parents, recipient.as_bytes(), self.key_id.as_bytes()].concat()
    }

    /// A new epoch's secret for one member. None if its key is none that anything can be sealed to.
    pub(crate) fn seal(
        &self,
        secret: &EpochSecret,
        (recipient, kem_public): (&DeviceId, &[u8]),
        rng: &mut impl CryptoRng,
    ) -> Option<Bytes> {
        let public = <XWing as Kem>::PublicKey::from_bytes(kem_public).ok()?;
        let (key, sealed) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeS::Base,
            &public,
            &self.info(recipient),
            secret.as_bytes(),
            &[],
            rng,
        )
        .ok()?;
        Some([&key.to_bytes()[..], &sealed].concat().into())
    }

    /// The secret in a box, if it is the one that the key id names.
    pub(crate) fn open(&self, sealed: &[u8], (me, kem): (&DeviceId, &DeviceKem)) -> Option<EpochSecret> {
        let (key, sealed) = sealed.split_at_checked(BOX_LEN - 32 - TAG_LEN)?;
        let key = <XWing as Kem>::EncappedKey::from_bytes(key).ok()?;
        let private = <XWing as Kem>::PrivateKey::from_bytes(kem.as_bytes()).ok()?;
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeR::Base,
            &private,
            &key,
            &self.info(me),
            sealed,
            &[],
        );
        named(&Zeroizing::new(opened.ok()?), self.group, self.key_id)
    }
}

/// A parent's secret, sealed under the epoch that follows it.
pub(crate) fn seal_older(new: &EpochSecret, group: &GroupId, old: &Epoch, rng: &mut impl CryptoRng) -> Bytes {
    let mut nonce = [0; NONCE_LEN];
    rng.fill_bytes(&mut nonce);
    seal(&new.older_key(), nonce, &older_data(group, &old.key_id()), old.secret().as_bytes())
}

/// A parent's secret, if it is the one that the key id names.
pub(crate) fn open_older(new: &EpochSecret, group: &GroupId, key_id: &KeyId, sealed: &[u8]) -> Option<EpochSecret> {
    named(&open(&new.older_key(), &older_data(group, key_id), sealed)?, group, key_id)
}

fn older_data(group: &GroupId, key_id: &KeyId) -> Vec<u8> {
    [&group.as_bytes()[..], key_id.as_bytes()].concat()
}

/// Commits for whoever holds an old epoch's key. The same commits make the same package, whoever makes it, so that a
/// relay keeps one of them: the nonce is a keyed hash of what is sealed.
pub(crate) fn seal_package(old: &Epoch, group: &GroupId, commits: &[Bytes]) -> Bytes {
    let plain = rmp_serde::to_vec(commits).expect("byte strings always encode into memory");
    let hash = blake3::keyed_hash(&old.secret().package_nonce_key(), &plain);
    let nonce = *hash.as_bytes().first_chunk::<NONCE_LEN>().expect("a hash is longer");
    seal(&old.secret().package_key(), nonce, group.as_bytes(), &plain)
}

/// The commits in a package that holders of this epoch's key were left.
pub(crate) fn open_package(old: &Epoch, group: &GroupId, package: &[u8]) -> Option<Vec<Bytes>> {
    if package.len() > MOVED_BYTES_MAX {
        return None;
    }
    let plain = open(&old.secret().package_key(), group.as_bytes(), package)?;
    decode_exact::<AtMost<COMMITS_MAX, Bytes>>(&plain).ok().map(|commits| commits.0)
}

/// `nonce ‖ sealed ‖ tag`
fn seal(key: &Zeroizing<[u8; 32]>, nonce: [u8; NONCE_LEN], data: &[u8], plain: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(NONCE_LEN + plain.len() + TAG_LEN);
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(plain);
    let tag = XChaCha20Poly1305::new((&**key).into())
        .encrypt_inout_detached(&XNonce::from(nonce), data, (&mut bytes[NONCE_LEN..]).into())
        .expect("far below the cipher's limit");
    bytes.extend_from_slice(&tag);
    bytes.into()
}

fn open(key: &Zeroizing<[u8; 32]>, data: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let (body, tag) = rest.split_last_chunk::<TAG_LEN>()?;
    let mut plain = Zeroizing::new(body.to_vec());
    XChaCha20Poly1305::new((&**key).into())
        .decrypt_inout_detached(&XNonce::from(*nonce), data, plain.as_mut_slice().into(), &(*tag).into())
        .ok()?;
    Some(plain)
}

fn named(secret: &[u8], group: &GroupId, key_id: &KeyId) -> Option<EpochSecret> {
    let secret = EpochSecret::from_bytes(secret.try_into().ok()?);
    (secret.key_id(group) == *key_id).then_some(secret)
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;
    use crate::keys::{GroupKeys, GroupRoot};

    const GROUP: GroupId = GroupId::from_bytes([7; 32]);

    fn rng() -> chacha20::ChaCha20Rng {
        chacha20::ChaCha20Rng::from_seed([3; 32])
    }

    fn epoch(byte: u8) -> GroupKeys {
        GroupKeys::new(GroupRoot::from_bytes(&[1; 32]), 0, EpochSecret::from_bytes(&[byte; 32]))
    }

    #[test]
    fn a_box_opens_for_its_recipient_and_purpose_alone() {
        let (kem, other) = (DeviceKem::from_bytes(&[1; 32]), DeviceKem::from_bytes(&[2; 32]));
        let (me, them) = (DeviceId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32]));
        let secret = EpochSecret::from_bytes(&[9; 32]);
        let (key_id, parents) = (secret.key_id(&GROUP), [4; 32]);
        let purpose = Purpose { group: &GROUP, parents: &parents, key_id: &key_id };
        let sealed = purpose.seal(&secret, (&me, &kem.public()), &mut rng()).expect("a key");
        assert_eq!(sealed.len(), BOX_LEN);
        assert_eq!(purpose.open(&sealed, (&me, &kem)).expect("opens").as_bytes(), secret.as_bytes());

        assert!(purpose.open(&sealed, (&me, &other)).is_none());
        assert!(purpose.open(&sealed, (&them, &kem)).is_none());
        assert!(Purpose { parents: &[5; 32], ..purpose }.open(&sealed, (&me, &kem)).is_none());
        let elsewhere = GroupId::from_bytes([8; 32]);
        assert!(Purpose { group: &elsewhere, ..purpose }.open(&sealed, (&me, &kem)).is_none());
        assert!(purpose.seal(&secret, (&me, &[0; 7]), &mut rng()).is_none());
    }

    #[test]
    fn what_a_box_holds_has_to_be_what_its_key_id_names() {
        let (kem, me) = (DeviceKem::from_bytes(&[1; 32]), DeviceId::from_bytes([1; 32]));
        let (secret, other) = (EpochSecret::from_bytes(&[9; 32]), EpochSecret::from_bytes(&[8; 32]));
        let key_id = secret.key_id(&GROUP);
        let purpose = Purpose { group: &GROUP, parents: &[4; 32], key_id: &key_id };
        let sealed = purpose.seal(&other, (&me, &kem.public()), &mut rng()).expect("a key");
        assert!(purpose.open(&sealed, (&me, &kem)).is_none());
    }

    #[test]
    fn an_older_secret_opens_under_the_epoch_that_follows() {
        let (old, new) = (epoch(1), EpochSecret::from_bytes(&[2; 32]));
        let group = old.group_id();
        let sealed = seal_older(&new, &group, old.current(), &mut rng());
        assert_eq!(sealed.len(), OLDER_LEN);
        let key_id = old.current().key_id();
        assert!(open_older(&new, &group, &key_id, &sealed).is_some());
        assert!(open_older(old.current().secret(), &group, &key_id, &sealed).is_none());
        assert!(open_older(&new, &group, &new.key_id(&group), &sealed).is_none());
    }

    #[test]
    fn a_package_is_the_same_whoever_makes_it_and_opens_under_its_epoch_alone() {
        let (old, other) = (epoch(1), epoch(2));
        let group = old.group_id();
        let commits = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        let package = seal_package(old.current(), &group, &commits);
        assert_eq!(package, seal_package(old.current(), &group, &commits));
        assert_ne!(package[..NONCE_LEN], seal_package(old.current(), &group, &commits[..1])[..NONCE_LEN]);
        assert_eq!(open_package(old.current(), &group, &package).expect("opens"), commits);
        assert!(open_package(other.current(), &group, &package).is_none());
        let mut altered = package.to_vec();
        altered[NONCE_LEN] ^= 1;
        assert!(open_package(old.current(), &group, &altered).is_none());
    }
}
