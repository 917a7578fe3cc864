//! How a group begins, and who comes into it.

use std::sync::Arc;

use super::{
    check::Violation,
    world::{Happening, World, fresh_device},
};
use crate::{
    event::Input,
    roster::{EntryHash, Genesis, JoinRequest, Profile, without_boxes},
};

impl World {
    pub(super) fn profile(device: usize) -> Profile {
        Profile::new(&format!("device {device}"), "sim", "org.example.sim").expect("short enough")
    }

    /// The first device makes a group, and the others are going to join.
    pub(super) fn found(&mut self) {
        let founder = &mut self.devices[0];
        let genesis = Genesis::create(&self.keys.group_id(), (&founder.key, &founder.kem), &Self::profile(0), 0);
        founder.disk = super::disk::Disk::new(founder.id, vec![genesis]);
        founder.joined = true;
        self.later(0, Happening::Start { device: 0 });
        let late = usize::from(self.plan.late_joiner);
        for device in 1..self.devices.len() - late {
            let delay = device as u64 * 10;
            self.later(delay, Happening::Join { device });
        }
        if self.plan.late_joiner {
            let at = self.dice.range(self.plan.duration_ms / 4, self.plan.duration_ms);
            self.later(at, Happening::Join { device: self.devices.len() - 1 });
        }
    }

    /// A device more, outside the group.
    pub(super) fn add_device(&mut self) -> usize {
        let first = Arc::new(self.keys.share());
        self.devices.push(fresh_device(&mut self.dice, &first));
        self.devices.len() - 1
    }

    /// What pairing comes to: a member vouches, hands the entries over, and publishes its own.
    pub(super) fn join(&mut self, device: usize) -> Result<(), Violation> {
        let Some(inviter) = self.survivors().into_iter().find(|inviter| self.devices[*inviter].engine.is_some()) else {
            self.later(1_000, Happening::Join { device });
            return Ok(());
        };
        let joiner = &self.devices[device];
        let group = self.keys.group_id();
        let described = (&*joiner.key, &*joiner.kem);
        let request = JoinRequest::create(&group, described, &Self::profile(device), self.dice.bytes());
        let boot = self.devices[inviter].boot;
        self.feed(inviter, Input::Admit { request })?;
        let id = self.devices[device].id;
        let granted = self.devices[inviter].engine.as_ref().filter(|_| self.is_boot(inviter, boot));
        let Some(engine) = granted.filter(|engine| engine.roster().is_member(&id)) else {
            // The inviter crashed over it, or may not any more: the persons try again.
            self.later(1_000, Happening::Join { device });
            return Ok(());
        };
        // All commits but the newest without their boxes, as a grant has them.
        let newest = |hash: &EntryHash| engine.roster().history().is_head(hash);
        let entries = engine.roster().entries();
        let roster =
            entries.map(|(hash, entry)| if newest(hash) { entry.clone() } else { without_boxes(entry) }).collect();
        let keys = Arc::clone(engine.keys());
        let state = &mut self.devices[device];
        state.disk = super::disk::Disk::new(id, roster);
        state.keys = keys;
        state.joined = true;
        state.inviter = Some(inviter);
        self.start(device)
    }
}
