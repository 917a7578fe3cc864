//! Taking devices out of the group, this one too, and giving the group new keys.

use std::time::Duration;

use sync_core::{Badge, Input};
use sync_types::{DeviceId, ErrorCode};

use crate::{client::SyncClient, error::ClientError};

/// How long a device that leaves tries to tell a relay so.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// What becomes of the group's keys when a device is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rekey {
    /// The group gets new ones, which the device is not given: it reads nothing that is sealed by whoever knows of the
    /// removal.
    #[default]
    New,
    /// They stay. The others take nothing more from the device and it takes itself for removed; but with the keys that
    /// it has it could read what the others push, if it came by that.
    Keep,
}

impl SyncClient {
    /// Removes a device from the group. What it pushed until now stays, what it has it keeps, and it can come back by
    /// pairing only. Returns when that is safe on this device's disk; relays and the other devices hear of it as soon as
    /// they can be reached.
    ///
    /// # Errors
    /// `device_unknown`, `invalid_argument` for this device itself (see [`Self::leave_group`]), `removed`,
    /// `identity_reused`, `group_too_large`, `no_group`, `local_storage`, `closed`.
    pub async fn remove_device(&self, device: DeviceId, rekey: Rekey) -> Result<(), ClientError> {
        let group = self.in_group()?;
        if device == group.device_id() {
            return Err(ClientError::InvalidArgument("a device does not remove itself; it leaves the group"));
        }
        group.decide(Input::Remove { device, rekey: rekey == Rekey::New }).await
    }

    /// Gives the group new keys. Nobody is removed. Returns as [`Self::remove_device`] does.
    ///
    /// # Errors
    /// `removed`, `identity_reused`, `group_too_large`, `no_group`, `local_storage`, `closed`.
    pub async fn rotate_key(&self) -> Result<(), ClientError> {
        self.in_group()?.decide(Input::Rotate).await
    }

    /// Takes this device out of its group and deletes what the profile has of it: keys, blobs, who the others are. The
    /// profile itself and its relays stay, and can pair again. The others are told, if a relay answers within a few
    /// seconds; the next of them gives the group new keys.
    ///
    /// Refuses while something here is on no relay yet, or while nobody else is in the group, for that would be lost;
    /// `force` leaves all the same. A device that was removed always may.
    ///
    /// # Errors
    /// `not_safe_to_leave`, `no_group`, `local_storage`, `keychain_unavailable`, `closed`.
    pub async fn leave_group(&self, force: bool) -> Result<(), ClientError> {
        let group = self.in_group()?;
        if !self.status().removed {
            // A kit holds nothing, and nobody may have it any more.
            let alone = self.devices().await?.iter().filter(|device| !device.kit).count() < 2;
            if !force && (alone || !self.is_synced().await) {
                return Err(ClientError::Refused(ErrorCode::NotSafeToLeave));
            }
            // Who forces it has said that it may be lost.
            if group.decide(Input::Leave).await.is_ok() {
                let _ = self.sync(FAREWELL_MAX).await;
            }
        }
        self.forget_group().await
    }

    async fn is_synced(&self) -> bool {
        self.sync(FAREWELL_MAX).await.is_ok() && self.status().badge == Badge::Synced
    }
}
