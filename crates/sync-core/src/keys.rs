//! Every key a device holds, and how each is derived: one small function a key, its formula as its doc.
//!
//! ```text
//! GroupRoot ── group_id
//! EpochSecret ─┬─ key_id          in every envelope: which key opens it is decided by this alone
//!              ├─ EnvelopeKey     seals envelopes
//!              ├─ older, package  hand secrets on, see [`crate::handover`]
//!              └─ RelayAuthKey    one for each relay; its public half is all that a relay knows of a group
//! DeviceKey, DeviceKem            made by one device for one group; others follow from them, see [`crate::identity`]
//! ```
//! A derived key tells nothing about its secret nor about its siblings, so a relay that sees one relay's key
//! knows no other's.

use std::{collections::BTreeMap, sync::Arc};

use ed25519_dalek::{Signer, SigningKey};
use hkdf::Hkdf;
use hpke::{Deserializable, Kem, Serializable, kem::XWing};
use rand_core::CryptoRng;
use sha2::Sha256;
use sync_types::{AuthPublic, DeviceId, GroupId, KeyId, RelayGroupId, RelayId, limits::EPOCHS_MAX, sign};
use zeroize::Zeroizing;

use crate::{identity::Nonce, secret::secret};

/// Bytes of a device's public X-Wing key (ML-KEM-768 and X25519).
pub const KEM_PUBLIC_LEN: usize = 1216;

secret! {
    /// What a group is: thirty-two random bytes that every member holds and that never change.
    GroupRoot
}
secret! {
    /// One generation of a group's keys.
    EpochSecret
}
secret! {
    /// Seals and opens the envelopes of one epoch.
    EnvelopeKey
}
secret! {
    /// The seed of a device's X-Wing key: what others seal new epoch secrets to.
    DeviceKem
}

/// The key a device signs with, made for one group. Its public half is the device's id, in the group and on the
/// network.
pub struct DeviceKey(SigningKey);

/// The key every member proves membership with on one relay.
pub struct RelayAuthKey(SigningKey);

/// `okm = HKDF-SHA256(ikm, no salt, info = label ‖ context)`
pub(crate) fn derive<const N: usize>(ikm: &[u8; 32], label: &str, context: &[u8]) -> Zeroizing<[u8; N]> {
    let mut okm = Zeroizing::new([0; N]);
    Hkdf::<Sha256>::new(None, ikm)
        .expand_multi_info(&[label.as_bytes(), context], okm.as_mut_slice())
        .expect("a few dozen bytes are far below HKDF's limit");
    okm
}

fn random(rng: &mut impl CryptoRng) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut_slice());
    bytes
}

impl GroupRoot {
    /// A new group.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self::from_bytes(&random(rng))
    }

    /// `group_id = HKDF(group_root, "0k-sync/1 group id")`
    pub fn group_id(&self) -> GroupId {
        GroupId::from_bytes(*derive(self.as_bytes(), "0k-sync/1 group id", &[]))
    }
}

impl EpochSecret {
    /// A new generation.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self::from_bytes(&random(rng))
    }

    /// `key_id = HKDF(epoch_secret, "0k-sync/1 key id" ‖ group_id)`, 16 bytes
    pub fn key_id(&self, group: &GroupId) -> KeyId {
        KeyId::from_bytes(*derive(self.as_bytes(), "0k-sync/1 key id", group.as_bytes()))
    }

    /// `envelope_key = HKDF(epoch_secret, "0k-sync/1 envelope")`
    pub fn envelope_key(&self) -> EnvelopeKey {
        EnvelopeKey::from_bytes(&derive(self.as_bytes(), "0k-sync/1 envelope", &[]))
    }

    /// `older_key = HKDF(epoch_secret, "0k-sync/1 older")`
    pub(crate) fn older_key(&self) -> Zeroizing<[u8; 32]> {
        derive(self.as_bytes(), "0k-sync/1 older", &[])
    }

    /// `package_key = HKDF(epoch_secret, "0k-sync/1 package")`
    pub(crate) fn package_key(&self) -> Zeroizing<[u8; 32]> {
        derive(self.as_bytes(), "0k-sync/1 package", &[])
    }

    /// `package_nonce_key = HKDF(epoch_secret, "0k-sync/1 package nonce")`
    pub(crate) fn package_nonce_key(&self) -> Zeroizing<[u8; 32]> {
        derive(self.as_bytes(), "0k-sync/1 package nonce", &[])
    }

    /// `relay_auth[relay] = Ed25519 from seed HKDF(epoch_secret, "0k-sync/1 relay auth" ‖ relay_id)`
    pub fn relay_auth(&self, relay: &RelayId) -> RelayAuthKey {
        let seed = derive(self.as_bytes(), "0k-sync/1 relay auth", relay.as_bytes());
        RelayAuthKey(SigningKey::from_bytes(&seed))
    }
}

impl RelayAuthKey {
    /// The public half, as HELLO carries it.
    pub fn public(&self) -> AuthPublic {
        AuthPublic::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// The name the relay knows the group by: certified by the key, so there is nothing to squat.
    pub fn relay_group_id(&self) -> RelayGroupId {
        RelayGroupId::of(&self.public())
    }

    /// HELLO's signature, over both ends of the connection it is sent on.
    pub fn sign_hello(&self, device: &DeviceId, relay: &RelayId, exporter: &[u8; 32]) -> [u8; 64] {
        self.0.sign(&sign::hello(&self.relay_group_id(), device, relay, exporter)).to_bytes()
    }

    /// MOVE's signature, over both ends of the connection it is sent on, the new id, and the package that is left.
    pub fn sign_move(
        &self,
        (device, relay, exporter): (&DeviceId, &RelayId, &[u8; 32]),
        new: &RelayGroupId,
        package: &[u8],
    ) -> [u8; 64] {
        self.0.sign(&sign::moved(&self.relay_group_id(), (device, relay, exporter), new, package)).to_bytes()
    }
}

impl std::fmt::Debug for RelayAuthKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RelayAuthKey(..)")
    }
}

impl DeviceKey {
    /// A new device.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self::from_seed(&random(rng))
    }

    /// The device of this Ed25519 seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// What this device signs with once it knows that it was copied: see [`crate::identity`].
    pub(crate) fn copied(&self, nonce: &Nonce) -> Self {
        Self::from_seed(&derive(self.seed(), "0k-sync/1 copied device", nonce.as_bytes()))
    }

    /// The seed, for the transport: a device's endpoint on the network is the device.
    pub fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public half.
    pub fn device_id(&self) -> DeviceId {
        DeviceId::from_bytes(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceKey(..)")
    }
}

impl DeviceKem {
    /// A new key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self::from_bytes(&random(rng))
    }

    /// What others seal to this device with once it knows that it was copied: see [`crate::identity`].
    pub(crate) fn copied(&self, nonce: &Nonce) -> Self {
        Self::from_bytes(&derive(self.as_bytes(), "0k-sync/1 copied kem", nonce.as_bytes()))
    }

    /// The public half, as the roster carries it.
    pub fn public(&self) -> [u8; KEM_PUBLIC_LEN] {
        let private = <XWing as Kem>::PrivateKey::from_bytes(self.as_bytes()).expect("any 32 bytes are a seed");
        let mut public = [0; KEM_PUBLIC_LEN];
        XWing::sk_to_pk(&private).write_exact(&mut public);
        public
    }
}

/// Whether the bytes are a public X-Wing key that something can be sealed to.
pub(crate) fn is_kem_public(bytes: &[u8]) -> bool {
    <XWing as Kem>::PublicKey::from_bytes(bytes).is_ok()
}

/// One epoch's keys, derived once.
#[derive(Debug)]
pub struct Epoch {
    number: u32,
    secret: EpochSecret,
    key_id: KeyId,
    envelope_key: EnvelopeKey,
}

impl Epoch {
    /// Which generation, from 0. Concurrent rotations may give one number to two.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What envelopes name it by.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// What opens its envelopes.
    pub fn envelope_key(&self) -> &EnvelopeKey {
        &self.envelope_key
    }

    /// The secret all of it derives from.
    pub fn secret(&self) -> &EpochSecret {
        &self.secret
    }
}

/// Everything that makes a device a member: the group's root and every epoch it has seen.
#[derive(Debug)]
pub struct GroupKeys {
    group_id: GroupId,
    root: Arc<GroupRoot>,
    epochs: BTreeMap<KeyId, Arc<Epoch>>,
    current: KeyId,
}

impl GroupKeys {
    /// A new group, from random bytes.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self::new(GroupRoot::generate(rng), 0, EpochSecret::generate(rng))
    }

    /// The keys of a device that knows one epoch.
    pub fn new(root: GroupRoot, number: u32, secret: EpochSecret) -> Self {
        let group_id = root.group_id();
        let current = secret.key_id(&group_id);
        let mut keys = Self { group_id, root: Arc::new(root), epochs: BTreeMap::new(), current };
        keys.insert(number, secret);
        keys
    }

    /// The same keys once more. No secret is copied: both share them.
    #[must_use]
    pub fn share(&self) -> Self {
        let Self { group_id, root, epochs, current } = self;
        Self { group_id: *group_id, root: Arc::clone(root), epochs: epochs.clone(), current: *current }
    }

    /// Learns an epoch, and says whether there was room for it: [`EPOCHS_MAX`] are kept. The one with the highest
    /// number is the current one until [`Self::choose`] says otherwise; between two with the same number, the higher
    /// key id, on every device alike.
    pub fn insert(&mut self, number: u32, secret: EpochSecret) -> bool {
        let key_id = secret.key_id(&self.group_id);
        if self.epochs.len() == EPOCHS_MAX && !self.epochs.contains_key(&key_id) {
            return false;
        }
        let envelope_key = secret.envelope_key();
        self.epochs.insert(key_id, Arc::new(Epoch { number, secret, key_id, envelope_key }));
        self.current =
            self.epochs.values().max_by_key(|epoch| (epoch.number, epoch.key_id)).expect("one was inserted").key_id;
        true
    }

    /// New envelopes are sealed under this epoch from now on, if it is known.
    pub fn choose(&mut self, key_id: KeyId) {
        if self.epochs.contains_key(&key_id) {
            self.current = key_id;
        }
    }

    /// Which group.
    pub fn group_id(&self) -> GroupId {
        self.group_id
    }

    /// The group's root.
    pub fn root(&self) -> &GroupRoot {
        &self.root
    }

    /// The epoch new envelopes are sealed under.
    pub fn current(&self) -> &Epoch {
        &self.epochs[&self.current]
    }

    /// The epoch that an envelope names, if this device knows it.
    pub fn get(&self, key_id: &KeyId) -> Option<&Epoch> {
        self.epochs.get(key_id).map(|epoch| &**epoch)
    }

    /// All of them.
    pub fn epochs(&self) -> impl ExactSizeIterator<Item = &Epoch> {
        self.epochs.values().map(|epoch| &**epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_print_as_their_names() {
        let keys = GroupKeys::new(GroupRoot::from_bytes(&[0x5a; 32]), 0, EpochSecret::from_bytes(&[0xa5; 32]));
        let device = (DeviceKey::from_seed(&[0x5a; 32]), DeviceKem::from_bytes(&[0xa5; 32]));
        let relay = keys.current().secret().relay_auth(&RelayId::from_bytes([7; 32]));
        let printed = format!("{keys:?} {device:?} {relay:?}");
        for name in ["GroupRoot(..)", "EpochSecret(..)", "EnvelopeKey(..)", "DeviceKey(..)", "DeviceKem(..)"] {
            assert!(printed.contains(name), "{printed}");
        }
        for bytes in ["90, 90", "165, 165", "5a5a", "a5a5"] {
            assert!(!printed.contains(bytes), "{printed}");
        }
    }

    #[test]
    fn every_key_depends_on_all_of_its_formula() {
        let (a, b) = (EpochSecret::from_bytes(&[1; 32]), EpochSecret::from_bytes(&[2; 32]));
        let (group, other) = (GroupId::from_bytes([3; 32]), GroupId::from_bytes([4; 32]));
        let (relay, elsewhere) = (RelayId::from_bytes([5; 32]), RelayId::from_bytes([6; 32]));
        assert_ne!(a.key_id(&group), b.key_id(&group));
        assert_ne!(a.key_id(&group), a.key_id(&other));
        assert_ne!(a.envelope_key().as_bytes(), b.envelope_key().as_bytes());
        assert_ne!(a.relay_auth(&relay).relay_group_id(), a.relay_auth(&elsewhere).relay_group_id());
        assert_ne!(a.relay_auth(&relay).relay_group_id(), b.relay_auth(&relay).relay_group_id());
    }

    #[test]
    fn the_current_epoch_is_the_same_in_whatever_order_epochs_are_learnt() {
        let secrets = [(0, [1; 32]), (2, [2; 32]), (2, [3; 32]), (1, [4; 32])];
        let mut currents = Vec::new();
        for first in 0..secrets.len() {
            let (number, bytes) = secrets[first];
            let mut keys = GroupKeys::new(GroupRoot::from_bytes(&[0; 32]), number, EpochSecret::from_bytes(&bytes));
            for offset in 1..secrets.len() {
                let (number, bytes) = secrets[(first + offset) % secrets.len()];
                assert!(keys.insert(number, EpochSecret::from_bytes(&bytes)));
            }
            assert_eq!(keys.epochs().len(), secrets.len());
            currents.push(keys.current().key_id());
        }
        assert!(currents.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn epochs_are_bounded() {
        let mut keys = GroupKeys::new(GroupRoot::from_bytes(&[0; 32]), 0, EpochSecret::from_bytes(&[0xff; 32]));
        let secret = |number: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            EpochSecret::from_bytes(&bytes)
        };
        let max = u32::try_from(EPOCHS_MAX).unwrap();
        assert!((1..max).all(|number| keys.insert(number, secret(number))));
        assert!(!keys.insert(max, secret(max)));
        assert!(keys.insert(1, secret(1)), "one that is known needs no room");
    }
}
