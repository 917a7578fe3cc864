//! Installations that are copied: the same device twice, with one disk's content, until one of them notices.

use std::collections::BTreeSet;

use sync_types::PushId;

use super::{
    check::{Violation, is_short_lived},
    device::Device,
    world::{Happening, World},
};
use crate::keys::{DeviceKem, DeviceKey};

/// Installations that a run begins, at most.
const COPIES_MAX: usize = 2;

impl World {
    /// The same device once more, with a copy of its disk. It is offline until somebody starts it.
    pub(super) fn copy_device(&mut self, device: usize) -> usize {
        let original = &self.devices[device];
        let (key, kem) = (DeviceKey::from_seed(original.key.seed()), DeviceKem::from_bytes(original.kem.as_bytes()));
        let mut copy = Device::new(key, kem, std::sync::Arc::clone(&original.keys));
        copy.id = original.disk.me();
        copy.disk = original.disk.clone();
        copy.app = original.app.clone();
        copy.joined = true;
        copy.online = false;
        self.truth.copied.insert(copy.id);
        self.devices.push(copy);
        self.devices.len() - 1
    }

    /// A device's profile is copied, and the copy used as well: at once or later, and pushed to. Or the profile is restored
    /// elsewhere, and the device is never seen again.
    pub(super) fn copy_some_device(&mut self, device: usize) {
        let copies = self.devices.len() - self.plan.devices;
        if copies >= COPIES_MAX || !self.devices[device].joined || self.devices[device].dead {
            return;
        }
        let copy = self.copy_device(device);
        self.devices[copy].online = true;
        if device > 0 && self.relays.len() == 1 && self.dice.chance(200) {
            self.crash(device);
            self.devices[device].dead = true;
        }
        let start = self.dice.range(0, 20_000);
        self.later(start, Happening::Start { device: copy });
        for _ in 0..self.dice.range(0, 8) {
            // Both at once, or the one after the other.
            let at = if self.dice.chance(500) { start + self.dice.range(0, 200) } else { self.dice.range(0, 60_000) };
            let who = if self.dice.chance(700) { copy } else { device };
            self.later(at, Happening::Push { device: who });
        }
        self.later(start + 1_000, Happening::Read { device: copy });
    }
}

/// At rest every blob whose push resolved is with everybody, in whichever installation's name; and nothing is left of
/// there having been two.
pub(super) fn everybody_has_everything(world: &World) -> Result<(), Violation> {
    if world.truth.copied.is_empty() {
        return Ok(());
    }
    for survivor in world.survivors() {
        let disk = &world.devices[survivor].disk;
        let names: BTreeSet<PushId> = disk.log.iter().map(|index| disk.held[*index].push_id).collect();
        for (token, (device, pushed)) in world.truth.confirmed() {
            let state = &world.devices[*device];
            let lasts = state.disk.at(pushed.cursor).is_some_and(|row| !is_short_lived(row));
            if lasts && !state.dead && !names.contains(&pushed.push_id) {
                let what = format!("device {survivor} never got push {token} of device {device}");
                return Err(Violation::new("1 no loss", what));
            }
        }
        let has_dead = world.devices.iter().any(|device| device.dead);
        if disk.holds_unreadable() && !has_dead {
            return Err(Violation::new("comes to rest", format!("device {survivor} has a fork put aside")));
        }
    }
    Ok(())
}
