//! A device's secrets as its keychain keeps them.
//!
//! `version u8 ‖ MessagePack [device seed, kem seed, group or nil, check]`, a group being
//! `[root, [[number, secret], …]]` and the check eight bytes of a hash of the three before it: any other 32 bytes are
//! a key too, and a device with one that went bad on its disk would work on, alone, in a group of nobody's.
//! Trailing fields are ignored, so a newer build may append its own and an older one still starts; what it can't
//! read without harm gets another version.

use sync_types::{
    limits::EPOCHS_MAX,
    wire::{AtMost, decode_exact, message},
};
use zeroize::Zeroizing;

use crate::{
    keys::{DeviceKem, DeviceKey, EpochSecret, GroupKeys, GroupRoot},
    secret::SecretBytes,
};

const VERSION: u8 = 1;
/// Of the check.
const CHECK_LEN: usize = 8;
/// The version and the head of the array.
const HEAD_LEN: usize = 2;
/// The head of the check, and the check.
const TAIL_LEN: usize = 2 + CHECK_LEN;

/// What a device must keep secret, all of it: whoever has this is the device.
#[derive(Debug)]
pub struct Secrets {
    /// What it signs with.
    pub device: DeviceKey,
    /// What others seal to it with.
    pub kem: DeviceKem,
    /// What makes it a member, once it is one.
    pub group: Option<GroupKeys>,
}

/// Why bytes are not a device's secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// Written by a newer build: update this one.
    #[error("stored secrets have version {version}, which this build does not know")]
    TooNew {
        /// Theirs.
        version: u8,
    },
    /// Cut off or overwritten.
    #[error("stored secrets are damaged")]
    Damaged,
}

impl Secrets {
    /// The bytes for the keychain.
    pub fn to_stored(&self) -> Zeroizing<Vec<u8>> {
        let stored = StoredSecrets {
            device: SecretBytes(*self.device.seed()),
            kem: SecretBytes(*self.kem.as_bytes()),
            group: self.group.as_ref().map(StoredGroup::of),
            check: Check([0; CHECK_LEN]),
        };
        // Large enough from the start: a vector that grows leaves its old bytes behind.
        let epochs = self.group.as_ref().map_or(0, |group| group.epochs().len());
        let mut bytes = Zeroizing::new(Vec::with_capacity(128 + StoredEpoch::LEN_MAX * epochs));
        bytes.push(VERSION);
        rmp_serde::encode::write(&mut *bytes, &stored).expect("secrets always encode into memory");
        let place = bytes.len() - CHECK_LEN;
        let check = check_of(&bytes);
        bytes[place..].copy_from_slice(&check);
        bytes
    }

    /// Reads what [`Self::to_stored`] wrote.
    ///
    /// # Errors
    /// [`StoredError`], if it is anything else.
    pub fn from_stored(bytes: &[u8]) -> Result<Self, StoredError> {
        let (version, encoded) = bytes.split_first().ok_or(StoredError::Damaged)?;
        if *version != VERSION {
            return Err(StoredError::TooNew { version: *version });
        }
        let (stored, check) = match decode_exact::<StoredSecrets>(encoded) {
            Ok(stored) => {
                let Check(check) = stored.check;
                (UncheckedSecrets { device: stored.device, kem: stored.kem, group: stored.group }, Some(check))
            }
            Err(_) => (decode_exact(encoded).map_err(|_| StoredError::Damaged)?, None),
        };
        let group = stored.group.map(|group| group.into_keys().ok_or(StoredError::Damaged)).transpose()?;
        let secrets =
            Self { device: DeviceKey::from_seed(&stored.device.0), kem: DeviceKem::from_bytes(&stored.kem.0), group };
        if check.is_some_and(|check| check != check_of(&secrets.to_stored())) {
            return Err(StoredError::Damaged);
        }
        Ok(secrets)
    }
}

/// What belongs at the end of these bytes, whatever is there now.
fn check_of(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let checked = &bytes[HEAD_LEN..bytes.len() - TAIL_LEN];
    let hash = blake3::derive_key("0k-sync/1 stored secrets", checked);
    *hash.first_chunk().expect("a hash is longer")
}

message! {
    struct StoredSecrets {
        device: SecretBytes,
        kem: SecretBytes,
        group: Option<StoredGroup>,
        check: Check,
    }
}

message! {
    /// As they were stored before there was a check.
    struct UncheckedSecrets {
        device: SecretBytes,
        kem: SecretBytes,
        group: Option<StoredGroup>,
    }
}

/// See the [module](self).
struct Check([u8; CHECK_LEN]);

impl serde::Serialize for Check {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Check {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_bytes::ByteArray::deserialize(deserializer).map(|bytes| Self(bytes.into_array()))
    }
}

message! {
    /// A group's keys, as the keychain keeps them and as a member hands them to a joiner.
    pub(crate) struct StoredGroup {
        root: SecretBytes,
        epochs: AtMost<EPOCHS_MAX, StoredEpoch>,
    }
}

message! {
    struct StoredEpoch {
        number: u32,
        secret: SecretBytes,
    }
}

impl StoredEpoch {
    /// Array head, number, byte string of 32.
    pub(crate) const LEN_MAX: usize = 1 + 5 + 2 + 32;
}

impl StoredGroup {
    pub(crate) fn of(keys: &GroupKeys) -> Self {
        let epochs = keys
            .epochs()
            .map(|epoch| StoredEpoch { number: epoch.number(), secret: SecretBytes(*epoch.secret().as_bytes()) })
            .collect();
        Self { root: SecretBytes(*keys.root().as_bytes()), epochs: AtMost(epochs) }
    }

    /// The keys; none if there is no epoch among them.
    pub(crate) fn into_keys(self) -> Option<GroupKeys> {
        let mut epochs = self.epochs.0.iter();
        let first = epochs.next()?;
        let root = GroupRoot::from_bytes(&self.root.0);
        let mut keys = GroupKeys::new(root, first.number, EpochSecret::from_bytes(&first.secret.0));
        for epoch in epochs {
            keys.insert(epoch.number, EpochSecret::from_bytes(&epoch.secret.0));
        }
        Some(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(epochs: u8) -> Secrets {
        let group = (epochs > 0).then(|| {
            let mut keys = GroupKeys::new(GroupRoot::from_bytes(&[1; 32]), 0, EpochSecret::from_bytes(&[100; 32]));
            for number in 1..epochs {
                assert!(keys.insert(number.into(), EpochSecret::from_bytes(&[100 + number; 32])));
            }
            keys
        });
        Secrets { device: DeviceKey::from_seed(&[2; 32]), kem: DeviceKem::from_bytes(&[3; 32]), group }
    }

    #[test]
    fn secrets_come_back_whole() {
        for epochs in [0, 1, 5] {
            let before = secrets(epochs);
            let stored = before.to_stored();
            let after = Secrets::from_stored(&stored).expect("reads back");
            assert_eq!(after.to_stored(), stored);
            assert_eq!(after.device.device_id(), before.device.device_id());
            assert_eq!(after.kem.public(), before.kem.public());
            assert_eq!(after.group.as_ref().map(GroupKeys::group_id), before.group.as_ref().map(GroupKeys::group_id));
            if let (Some(before), Some(after)) = (&before.group, &after.group) {
                assert_eq!(after.current().key_id(), before.current().key_id());
                assert_eq!(after.epochs().len(), usize::from(epochs));
            }
        }
    }

    #[test]
    fn the_buffer_never_grows() {
        let stored = secrets(100).to_stored();
        assert!(stored.len() <= 128 + 100 * StoredEpoch::LEN_MAX);
    }

    #[test]
    fn a_field_of_a_newer_build_is_ignored_and_a_newer_version_is_not() {
        let mut stored = secrets(1).to_stored();
        assert_eq!(stored[1], 0x94, "an array of four");
        stored[1] = 0x95;
        stored.push(0xc3);
        assert!(Secrets::from_stored(&stored).is_ok());
        stored[0] = 2;
        assert_eq!(Secrets::from_stored(&stored).err(), Some(StoredError::TooNew { version: 2 }));
    }

    #[test]
    fn damage_is_an_error_at_every_bit() {
        let stored = secrets(2).to_stored();
        for (place, bit) in (1..stored.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
            let mut damaged = stored.clone();
            damaged[place] ^= 1 << bit;
            assert_eq!(Secrets::from_stored(&damaged).err(), Some(StoredError::Damaged), "bit {bit} of byte {place}");
        }
    }

    #[test]
    fn what_was_stored_before_there_was_a_check_is_read() {
        let whole = secrets(2).to_stored();
        let mut stored = whole[..whole.len() - TAIL_LEN].to_vec();
        stored[1] = 0x93;
        assert_eq!(Secrets::from_stored(&stored).expect("reads back").to_stored(), whole);
    }

    #[test]
    fn damage_is_an_error_at_every_byte_lost() {
        let stored = secrets(2).to_stored();
        for len in 0..stored.len() {
            assert_eq!(Secrets::from_stored(&stored[..len]).err(), Some(StoredError::Damaged), "{len}");
        }
    }
}
