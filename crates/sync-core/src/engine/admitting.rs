//! What a person decides about the group: who is in it, and what devices are called.

use bytes::Bytes;
use sync_types::{DeviceId, ErrorCode, Kind};

use super::Engine;
use crate::{
    event::{Action, Event, Now, StoreOp},
    roster::{Change, Renamed},
};

impl Engine {
    /// Publishes the entry of a device that a person let in.
    pub(super) fn admit(&mut self, now: Now, entry: Bytes) {
        let is_full = self.context.roster.is_full();
        let result = if is_full { Err(ErrorCode::GroupTooLarge) } else { self.publish(now, entry) };
        self.actions.push(Action::Admitted { result });
        self.pump(now);
    }

    /// Gives a device another name, on all devices alike.
    pub(super) fn rename(&mut self, now: Now, device: DeviceId, name: &str) {
        let result = self.try_rename(now, device, name);
        self.actions.push(Action::Admitted { result });
        self.hurry(now);
        self.pump(now);
    }

    fn try_rename(&mut self, now: Now, device: DeviceId, name: &str) -> Result<(), ErrorCode> {
        let roster = &self.context.roster;
        let member = roster.member(&device).ok_or(ErrorCode::DeviceUnknown)?;
        let (group, count) = (roster.group_id(), roster.next_count(&device));
        let entry = Renamed::create(&group, &self.context.device_key, device, name, count);
        let entry = entry.ok_or(ErrorCode::InvalidArgument)?;
        // A name it has already costs nobody anything.
        if Renamed::name_of(name) == member.profile.name() { Ok(()) } else { self.publish(now, entry) }
    }

    /// Publishes a roster entry of this device's making.
    fn publish(&mut self, now: Now, entry: Bytes) -> Result<(), ErrorCode> {
        if self.identity_reused {
            return Err(ErrorCode::IdentityReused);
        }
        let change = self.context.roster.apply(entry.clone()).map_err(|error| error.code())?;
        let names = self.context.roster.take_names_changed();
        let row = self.outbox.seal(&mut self.context, now, Kind::Control, 0, entry.clone());
        let mut ops = vec![StoreOp::Roster { entry }];
        ops.extend(names.superseded.into_iter().map(|entry| StoreOp::Superseded { entry }));
        self.store_own(row, ops);
        let joined = if let Change::Added(joined) = change { joined } else { Vec::new() };
        let joined = joined.into_iter().map(|device| Event::DeviceJoined { device });
        let renamed = names.renamed.into_iter().map(|device| Event::DeviceRenamed { device });
        self.actions.extend(joined.chain(renamed).map(Action::Emit));
        Ok(())
    }
}
