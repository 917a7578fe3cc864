//! Apps that make snapshots of their state, and newcomers who begin with one.
//!
//! An app's state is the numbers of all blobs that it has read, and of those that were in the snapshots it has loaded. So
//! what a snapshot covers is held to what is in it, blob by blob.

use std::collections::BTreeSet;

use bytes::Bytes;
use sync_types::{BlobId, DeviceId, Envelope, Kind, LocalCursor};

use super::{
    check::Violation,
    device::{App, Device},
    disk::Disk,
    world::{Happening, World},
};
use crate::{
    event::{Event, HeldRow, Input, Token},
    keys::GroupKeys,
    roster::Standing,
    seal, snapshot,
};

/// The number of a blob, which is its payload.
pub(super) fn number_of(keys: &GroupKeys, envelope: &Bytes) -> Option<Token> {
    let body = seal::open(keys, &Envelope::parse(envelope.clone()).ok()?).ok()?;
    seal::unpack(&body).ok()?.as_ref().try_into().map(Token::from_be_bytes).ok()
}

/// Whether a device has what another holds: itself, or in a snapshot that covers it.
pub(super) fn has(keys: &GroupKeys, device: &Device, row: &HeldRow) -> bool {
    // Of a device that was removed no snapshot decides how much counts, and rows that it covers are not read.
    let standing = device.engine.as_ref().map(|engine| engine.roster().standing(&row.sender));
    if !device.app.taken.is_empty() && matches!(standing, Some(Standing::Removed(_))) {
        return true;
    }
    if !device.disk.covers(&row.sender, row.seq) {
        return device.disk.holds(&row.sender, row.seq);
    }
    row.kind != Kind::Data || number_of(keys, &row.envelope).is_some_and(|number| device.app.taken.contains(&number))
}

impl App {
    /// Everything in it.
    fn state(&self, keys: &GroupKeys) -> BTreeSet<Token> {
        let read = self.names.values().filter_map(|(_, envelope)| number_of(keys, envelope));
        read.chain(self.taken.iter().copied()).collect()
    }
}

impl World {
    /// What an app does about what it is told of snapshots.
    pub(super) fn heed_snapshots(&mut self, device: usize, event: &Event) {
        if let Event::SnapshotNeeded { .. } = event {
            let delay = self.dice.range(0, 2_000);
            self.later(delay, Happening::Snapshot { device });
        }
        if let Event::SnapshotReady { snapshot, .. } = event {
            let (delay, boot, snapshot) = (self.dice.range(0, 3_000), self.devices[device].boot, *snapshot);
            self.later(delay, Happening::LoadSnapshot { device, boot, snapshot });
        }
    }

    /// Apps that make snapshots read on at rest, too: whoever lacks something for good may be waiting for one.
    pub(super) fn apps_read_on(&mut self) -> Result<(), Violation> {
        if self.plan.snapshot_after.is_none() && self.plan.snapshot_after_bytes.is_none() {
            return Ok(());
        }
        for device in self.survivors() {
            let Device { app, disk, .. } = &mut self.devices[device];
            app.read(disk, usize::MAX)?;
            let cursor = app.cursor;
            if cursor > disk.app_acked() {
                self.feed(device, Input::AppAck { cursor })?;
            }
        }
        Ok(())
    }

    /// An app reads all there is, says so, and gives its state.
    pub(super) fn make_snapshot(&mut self, device: usize) -> Result<(), Violation> {
        let boot = self.devices[device].boot;
        let Device { app, disk, .. } = &mut self.devices[device];
        app.read(disk, usize::MAX)?;
        let cursor = app.cursor;
        self.feed(device, Input::AppAck { cursor })?;
        if !self.is_boot(device, boot) {
            return Ok(());
        }
        let state = self.devices[device].app.state(&self.keys);
        let bytes: Vec<u8> = state.into_iter().flat_map(Token::to_be_bytes).collect();
        self.feed(device, Input::PublishSnapshot { up_to: cursor, bytes: bytes.into() })
    }

    /// An app makes a snapshot a part of its state, or finds that it can't.
    pub(super) fn load_snapshot(&mut self, device: usize, boot: u64, snapshot: BlobId) -> Result<(), Violation> {
        if !self.is_boot(device, boot) {
            return Ok(());
        }
        // With both refused there would be none left; and what it has it can use. Where relays lose the other one, and devices
        // have let go of what was in it, there may be none besides.
        let may_refuse = self.plan.newcomers > 0 && self.dice.chance(150) && !self.plan.only_snapshots_are_left;
        let app = &mut self.devices[device].app;
        app.refuses |= may_refuse && !app.has_refused && app.taken.is_empty();
        let refuses = std::mem::take(&mut app.refuses);
        app.has_refused |= refuses;
        let taken = !refuses;
        if taken {
            let Some(bytes) = self.devices[device].disk.snapshot(&snapshot, &self.keys) else { return Ok(()) };
            let log_len = self.devices[device].disk.log.len() as u64;
            let app = &mut self.devices[device].app;
            app.taken.extend(bytes.chunks_exact(8).filter_map(|it| it.try_into().ok()).map(Token::from_be_bytes));
            // What is in the log by now it has twice, if that is in the snapshot: an app merges.
            app.taken_at = LocalCursor::new(log_len);
            self.report.snapshots += 1;
        }
        self.feed(device, Input::SnapshotLoaded { snapshot, taken })
    }
}

impl Disk {
    /// The app's bytes of a snapshot, if all of it is here.
    fn snapshot(&self, id: &BlobId, keys: &GroupKeys) -> Option<Vec<u8>> {
        let (manifest, parts) = self.stored_snapshot(id)?;
        Some(snapshot::open(keys, manifest.clone(), parts)?.bytes.to_vec())
    }
}

/// What an app has read since it loaded a snapshot was not in that. Of a device that was removed it may be, if more of that
/// one's turned out to count.
pub(super) fn nothing_twice(
    world: &World,
    app: &App,
    cursor: LocalCursor,
    (sender, number): (DeviceId, Token),
) -> bool {
    let gone = || !world.survivors().into_iter().any(|device| world.devices[device].id == sender);
    cursor <= app.taken_at || !app.taken.contains(&number) || gone()
}
