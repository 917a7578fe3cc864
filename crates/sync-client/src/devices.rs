//! The group's devices, as a person sees them.

use sync_core::{Input, receipt::Receipt, status::DeviceStatus};
use sync_types::{DeviceId, ErrorCode, LocalCursor, Seq};
use tokio::sync::oneshot;

use crate::{
    client::SyncClient,
    driver::Command,
    error::ClientError,
    store::{Lacks, Reach},
};

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
    /// It is another installation of what this device was: somebody copied its profile, or restored a backup of it.
    pub copy_of: Option<DeviceId>,
    /// When, by the inviter's clock in Unix milliseconds.
    pub joined_at_ms: u64,
    /// A relay that this device is connected to says that it is there. Of this device: it is connected to a relay.
    pub online: bool,
    /// When it was last seen, in Unix milliseconds by this device's clock, to the minute across a restart; none if it
    /// never was.
    pub last_seen_ms: Option<u64>,
    /// Every blob of this device's log up to here it says to have, but for those in `lost`; none if it never said. Of
    /// this device: the end of the log.
    pub received_up_to: Option<LocalCursor>,
    /// Every one of those up to here its app has applied; none if it never said. Of this device: what its app has.
    pub applied_up_to: Option<LocalCursor>,
    /// Blobs of this device's log that it is still to receive; none if it never said.
    pub behind: Option<u64>,
    /// Blobs of this device's log that it has given up for lost: they expired before it came, or came to no relay.
    pub lost: u64,
    /// It is a recovery kit: on paper, and never online. Nobody waits for it, and removing it revokes it.
    pub kit: bool,
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
        let store = &self.inner.store;
        let (head, applied) = store.cursors().await?;
        let members: Vec<_> = devices.iter().map(|device| device.member.device).collect();
        let mut told = Vec::with_capacity(devices.len());
        for DeviceStatus { member, online, last_seen_ms, copy_of, receipt, this } in devices {
            let lacks = match receipt {
                Some(receipt) => Some(store.lacks(&member.device, &reach(&members, &receipt)).await?),
                None => None,
            };
            let up_to = |first: Option<LocalCursor>| first.map_or(head, |first| LocalCursor::new(first.get() - 1));
            let others = |of: fn(Lacks) -> Option<LocalCursor>| lacks.map(|lacks| up_to(of(lacks)));
            told.push(Device {
                device_id: member.device,
                name: member.profile.name().to_owned(),
                platform: member.profile.platform().to_owned(),
                joined_by: member.inviter,
                copy_of,
                joined_at_ms: member.since_ms,
                online,
                last_seen_ms,
                received_up_to: if this { Some(head) } else { others(|lacks| lacks.first_unreceived) },
                applied_up_to: if this { Some(applied) } else { others(|lacks| lacks.first_unapplied) },
                behind: if this { Some(0) } else { lacks.map(|lacks| lacks.unreceived) },
                lost: lacks.map_or(0, |lacks| lacks.lost),
                kit: member.is_kit,
                this,
            });
        }
        Ok(told)
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

/// What a device says of each member. Of one that it does not mention it has nothing; whoever is no member any more is
/// not asked for.
fn reach(members: &[DeviceId], receipt: &Receipt) -> Vec<Reach> {
    let of = |sender: &DeviceId| match receipt.of_sender(sender) {
        Some(said) => {
            Reach { sender: *sender, received: said.received, applied: said.applied, missing: said.missing.0.clone() }
        }
        None => Reach { sender: *sender, received: Seq::START, applied: Seq::START, missing: Vec::new() },
    };
    members.iter().map(of).collect()
}
