//! Disks that change what is on them, persons who have that mended, and copies of disks that outlive their devices.

use bytes::Bytes;
use sync_types::LocalCursor;

use super::{
    kits::Paper,
    story::{DeviceIndex, RelayIndex, Story},
};
use crate::event::{Damage, Input};

impl Story {
    /// A device's disk changes a byte of the blob at this place of its log.
    pub fn damage(&mut self, device: DeviceIndex, cursor: u64) {
        self.world().devices[device].disk.damage(LocalCursor::new(cursor));
    }

    /// How many envelopes on a device's disk are not what they were.
    pub fn damaged(&mut self, device: DeviceIndex) -> usize {
        self.world().devices[device].disk.damaged().len()
    }

    /// A person has a device looked through, and mended.
    pub fn repair(&mut self, device: DeviceIndex) {
        let world = self.world();
        let damage = Damage { held: world.devices[device].disk.damaged(), ..Damage::default() };
        world.feed(device, Input::Repair { damage }).unwrap_or_else(|violation| panic!("{violation}"));
    }

    /// How many envelopes each relay was offered by the last repair; none of one that is not compared to its end.
    pub fn compared(&mut self, device: DeviceIndex) -> Vec<Option<u64>> {
        let engine = self.world().devices[device].engine.as_ref().expect("the device runs");
        engine.compared().map(|(_, offered)| offered).collect()
    }

    /// A person with a kit has a copy of this device's disk as well, whatever became of it.
    ///
    /// # Errors
    /// As [`Story::import_kit`].
    pub fn import_kit_with(
        &mut self,
        paper: &Paper,
        relays: &[RelayIndex],
        of: DeviceIndex,
    ) -> Result<DeviceIndex, sync_types::ErrorCode> {
        let copied = self.world().devices[of].disk.copied();
        let device = self.import(paper, relays, Some(copied))?;
        self.take_backup(device, of);
        Ok(device)
    }

    /// A device is given what is on a copy of another's disk.
    pub fn take_backup(&mut self, device: DeviceIndex, of: DeviceIndex) {
        let (_, envelopes) = self.world().devices[of].disk.copied();
        let taken = Input::TakeBackup { envelopes, last: true };
        self.world().feed(device, taken).unwrap_or_else(|violation| panic!("{violation}"));
    }
}

/// The roster's entries and the envelopes of a disk.
pub(super) type Copied = (Vec<Bytes>, Vec<Bytes>);
