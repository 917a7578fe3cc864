//! What a person decides about the group: who is in it, and what devices are called.

use bytes::Bytes;
use sync_types::{DeviceId, ErrorCode, Kind};

use super::Engine;
use crate::{
    event::{Action, Event, Now, StoreOp},
    roster::{Change, JoinRequest, Renamed},
};

impl Engine {
    /// Publishes the entry of a device that a person let in.
    pub(super) fn admit(&mut self, now: Now, request: &JoinRequest) {
        let roster = &self.context.roster;
        let heads: Vec<_> = self.heeded.chosen.and_then(|chosen| chosen.head).into_iter().collect();
        let result = if roster.is_full() {
            Err(ErrorCode::GroupTooLarge)
        } else {
            let entry = request.admit(&roster.group_id(), self.context.identity.key(), now.wall_ms, &heads);
            self.publish(now, entry)
        };
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
        if self.context.am_removed() {
            return Err(ErrorCode::Removed);
        }
        let roster = &self.context.roster;
        let member = roster.member(&device).ok_or(ErrorCode::DeviceUnknown)?;
        let (group, count) = (roster.group_id(), roster.next_count(&device));
        let entry = Renamed::create(&group, self.context.identity.key(), device, name, count);
        let entry = entry.ok_or(ErrorCode::InvalidArgument)?;
        // A name it has already costs nobody anything.
        if Renamed::name_of(name) == member.profile.name() { Ok(()) } else { self.publish(now, entry) }
    }

    /// Gives again, in its own name, what a removed device called the members.
    pub(super) fn adopt_names(&mut self, now: Now) -> Result<(), ErrorCode> {
        for (device, name) in self.context.roster.orphaned_names() {
            let roster = &self.context.roster;
            let (group, count) = (roster.group_id(), roster.next_count(&device));
            let entry = Renamed::create(&group, self.context.identity.key(), device, &name, count);
            self.publish(now, entry.ok_or(ErrorCode::InvalidArgument)?)?;
        }
        self.duty = None;
        self.hurry(now);
        Ok(())
    }

    /// Publishes a roster entry of this device's making.
    pub(super) fn publish(&mut self, now: Now, entry: Bytes) -> Result<(), ErrorCode> {
        if self.context.am_removed() {
            return Err(ErrorCode::Removed);
        }
        if self.is_between() {
            return Err(ErrorCode::IdentityReused);
        }
        self.duty_may_be_due = true;
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
