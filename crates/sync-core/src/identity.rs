//! Who a device is: its keys, and those it had before it found that another installation uses them as well.
//!
//! An installation that was copied is the same device twice until one of the two notices. That one derives other keys
//! from those it has and a random nonce, which is stored with everything else. What is in the keychain stays as it is, so
//! there is no moment in which the two disagree; and whoever copied the folder before has not got the nonce.
//!
//! ```text
//! device key n+1 = Ed25519 from seed HKDF(seed of device key n, "0k-sync/1 copied device" ‖ nonce n)
//! KEM key n+1    = X-Wing from seed HKDF(seed of KEM key n, "0k-sync/1 copied kem" ‖ nonce n)
//! ```

use std::sync::Arc;

use rand_core::CryptoRng;
use sync_types::DeviceId;

use crate::keys::{DeviceKem, DeviceKey};

/// What other keys are derived with. No secret by itself, and of no use to anybody without the keys; but the other
/// installation has those, so nobody is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; Self::LEN]);

impl Nonce {
    /// Bytes of one.
    pub const LEN: usize = 32;

    /// Wraps the raw bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    pub(crate) fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; Self::LEN];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }
}

impl std::fmt::Debug for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonce(..)")
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Identity {
    key: Arc<DeviceKey>,
    kem: Arc<DeviceKem>,
    /// Who it was before: what was sealed to that device it still opens.
    former: Vec<(DeviceId, Arc<DeviceKem>)>,
}

impl Identity {
    /// Of the keys that a device was given when it was made, and all nonces since, the oldest first.
    pub fn new(key: Arc<DeviceKey>, kem: Arc<DeviceKem>, nonces: &[Nonce]) -> Self {
        let first = Self { key, kem, former: Vec::new() };
        nonces.iter().fold(first, |before, nonce| before.next(nonce))
    }

    /// Who it is after this nonce.
    #[must_use]
    pub(crate) fn next(mut self, nonce: &Nonce) -> Self {
        let (key, kem) = (self.key.copied(nonce), self.kem.copied(nonce));
        self.former.push((self.key.device_id(), std::mem::replace(&mut self.kem, Arc::new(kem))));
        self.key = Arc::new(key);
        self
    }

    /// What it signs with.
    pub fn key(&self) -> &Arc<DeviceKey> {
        &self.key
    }

    /// What others seal new keys to it with.
    pub fn kem(&self) -> &Arc<DeviceKem> {
        &self.kem
    }

    /// The device it is now.
    pub fn device_id(&self) -> DeviceId {
        self.key.device_id()
    }

    /// The devices whose boxes it opens, with what: itself first.
    pub(crate) fn recipients(&self) -> impl Iterator<Item = (DeviceId, &DeviceKem)> {
        let former = self.former.iter().rev().map(|(device, kem)| (*device, &**kem));
        std::iter::once((self.device_id(), &*self.kem)).chain(former)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nonce_makes_another_device_that_still_opens_what_the_one_before_did() {
        let (key, kem) = (Arc::new(DeviceKey::from_seed(&[1; 32])), Arc::new(DeviceKem::from_bytes(&[2; 32])));
        let nonces = [Nonce::from_bytes([3; 32]), Nonce::from_bytes([4; 32])];
        let identities = [0, 1, 2].map(|count| Identity::new(key.clone(), kem.clone(), &nonces[..count]));
        let ids = identities.each_ref().map(Identity::device_id);
        assert_eq!(ids[0], key.device_id());
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        let opens: Vec<_> = identities[2].recipients().map(|(device, _)| device).collect();
        assert_eq!(opens, [ids[2], ids[1], ids[0]]);
        let other = Identity::new(key.clone(), kem.clone(), &nonces[1..]);
        assert_ne!(other.device_id(), ids[1], "another nonce makes another device");
        assert_ne!(other.kem().as_bytes(), identities[1].kem().as_bytes());
        assert_ne!(other.kem().as_bytes(), other.key().seed(), "the two are derived apart");
    }
}
