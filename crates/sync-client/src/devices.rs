//! The group's devices, as a person sees them.

use sync_core::{Input, status::DeviceStatus};
use sync_types::{DeviceId, ErrorCode};
use tokio::sync::oneshot;

use crate::{client::SyncClient, driver::Command, error::ClientError};

/// A device of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub device_id: DeviceId,
    /// What it is called by now. Chosen by people: text to show, not to trust.
    pub name: String,
    /// What kind of machine it says it is.
    pub platform: String,
    /// Who let it in; none for the device that made the group.
    pub joined_by: Option<DeviceId>,
    /// When, by the inviter's clock in Unix milliseconds.
    pub joined_at_ms: u64,
    /// A relay that this device is connected to says that it is there. Of this device: it is connected to a relay.
    pub online: bool,
    /// When it was last seen, in Unix milliseconds by this device's clock, to the minute across a restart; none if it
    /// never was.
    pub last_seen_ms: Option<u64>,
    /// It is this one.
    pub this: bool,
}

impl SyncClient {
    /// The group's devices, in the order of their ids.
    ///
    /// # Errors
    /// `no_group`, `local_storage`, `closed`.
    pub async fn devices(&self) -> Result<Vec<Device>, ClientError> {
        let group = self.in_group()?;
        let (answer, answered) = oneshot::channel();
        group.send(Command::Devices { answer }).await?;
        let devices = answered.await.map_err(|_| ClientError::Closed)?.map_err(ClientError::Refused)?;
        let device = |DeviceStatus { member, online, last_seen_ms, this }| Device {
            device_id: member.device,
            name: member.profile.name().to_owned(),
            platform: member.profile.platform().to_owned(),
            joined_by: member.inviter,
            joined_at_ms: member.since_ms,
            online,
            last_seen_ms,
            this,
        };
        Ok(devices.into_iter().map(device).collect())
    }

    /// Gives a device of the group another name, on all devices: its own name or another's, whoever is asked. If two
    /// do so at once, all devices settle on the same one of the two. Returns when that is safe here.
    ///
    /// # Errors
    /// `device_unknown`, `invalid_argument` if nothing can be seen of the name, `identity_reused`, `no_group`,
    /// `local_storage`, `closed`.
    pub async fn rename_device(&self, device: DeviceId, name: &str) -> Result<(), ClientError> {
        let group = self.in_group()?;
        let renamed = group.decide(Input::Rename { device, name: name.to_owned() }).await;
        renamed.map_err(|error| match error.code() == ErrorCode::InvalidArgument {
            true => ClientError::InvalidArgument("a name needs something that can be seen"),
            false => error,
        })
    }
}
