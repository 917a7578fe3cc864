//! What receipts may say, and that everybody hears them in the end.

use std::collections::BTreeSet;

use bytes::Bytes;
use sync_types::{DeviceId, RelayId, Seq};

use super::{
    check::{Violation, is_short_lived, is_withheld},
    device::Device,
    world::World,
};
use crate::{
    event::{HeldRow, StoreOp},
    ranges::Ranges,
    receipt::{Receipt, Signed},
};

/// A receipt is on its way to a relay: it is on the device's disk, and what it claims is too.
pub(super) fn is_true(world: &World, device: usize, envelope: &Bytes) -> Result<(), Violation> {
    let disk = &world.devices[device].disk;
    let me = world.devices[device].id;
    let lie = |what: String| Err(Violation::new("receipts claim what is held", format!("device {device}: {what}")));
    if disk.receipts.get(&me) != Some(envelope) {
        return lie("its receipt is not stored".to_owned());
    }
    let Some(Signed { receipt, .. }) = Signed::open(&world.keys, envelope.clone()) else {
        return lie("it does not open".to_owned());
    };
    for reached in &receipt.reached.0 {
        let missing = Ranges::from_runs(&reached.missing.0);
        let claimed = (1..=reached.received.get()).map(Seq::new).filter(|seq| !missing.contains(*seq));
        if let Some(seq) = claimed.into_iter().find(|seq| !disk.holds(&reached.sender, *seq)) {
            return lie(format!("{:?} {seq} is claimed and not held", reached.sender));
        }
        // What it names as missing may have come since it was sealed: of that it claims nothing.
        let is_applied = |row: &&HeldRow| row.cursor.is_none_or(|cursor| cursor <= disk.app_acked());
        let theirs = disk.held.iter().filter(|row| row.sender == reached.sender && row.sender != me);
        let theirs = theirs.filter(|row| !missing.contains(row.seq));
        if let Some(row) = theirs.filter(|row| row.seq <= reached.applied).find(|row| !is_applied(row)) {
            return lie(format!("{:?} {} is not applied", reached.sender, row.seq));
        }
    }
    Ok(())
}

/// Who a device says has an envelope has it, or had: looked at for the newest of each sender, which changes most, and for
/// those that somebody is missing.
pub(super) fn holders_are_true(world: &World, device: usize) -> Result<(), Violation> {
    let state = &world.devices[device];
    let Some(engine) = &state.engine else { return Ok(()) };
    let holes = world.devices.iter().flat_map(|other| other.disk.senders.values());
    let holes = holes.flat_map(|row| row.holes.iter().map(|(first, _)| (row.sender, *first)));
    let newest = state.disk.senders.values().map(|row| (row.sender, row.seq)).filter(|(_, seq)| *seq > Seq::START);
    for (sender, seq) in newest.chain(holes) {
        let lie = |what: &str, who: String| {
            let what = format!("device {device}: {sender:?} {seq} is not {what} {who}");
            Err(Violation::new("3 honest status", what))
        };
        let holders = engine.holders(&sender, seq);
        let row = state.disk.held.iter().find(|row| (row.sender, row.seq) == (sender, seq));
        if let Some(blob_id) = row.map(|row| row.hash.blob_id()).filter(|_| sender == state.id) {
            let has = |id: &RelayId| world.relays.iter().any(|relay| relay.id == *id && relay.ever_stored(&blob_id));
            if let Some(relay) = holders.relays.iter().find(|relay| !has(relay)) {
                return lie("on", format!("{relay:?}"));
            }
        }
        // Of those with two installations, or who make up what they like, nobody knows.
        let is_known = |id: &&DeviceId| world.truth.is_one(id) && **id != sender;
        let others = |id: &DeviceId| world.devices.iter().find(|other| other.id == *id);
        for (id, other) in holders.received.iter().filter(is_known).filter_map(|id| Some((id, others(id)?))) {
            if !other.disk.holds(&sender, seq) && !other.disk.covers(&sender, seq) {
                return lie("held by", format!("{id:?}"));
            }
        }
        for (id, other) in holders.applied.iter().filter(is_known).filter_map(|id| Some((id, others(id)?))) {
            let at = other.disk.held.iter().find(|row| (row.sender, row.seq) == (sender, seq));
            if at.and_then(|row| row.cursor).is_some_and(|cursor| cursor > other.disk.app_acked()) {
                return lie("applied by", format!("{id:?}"));
            }
        }
    }
    Ok(())
}

/// Another device's receipt is noted: nothing older is ever believed than what is believed, or stored.
pub(super) fn newest_wins(world: &mut World, device: usize, ops: &[StoreOp]) -> Result<(), Violation> {
    let state = &world.devices[device];
    for op in ops {
        let StoreOp::Receipt { device: other, envelope } = op else { continue };
        let count = |bytes: &Bytes| Signed::open(&world.keys, bytes.clone()).map(|signed| signed.count);
        let Some(noted) = count(envelope) else { continue };
        let believed = world.truth.counts.insert((device, state.boot, *other), noted);
        let before = believed.max(state.disk.receipts.get(other).and_then(count));
        if before.is_some_and(|before| before >= noted) {
            let what = format!("device {device} goes back to receipt {noted} of {other:?} from {before:?}");
            return Err(Violation::new("the newest receipt wins", what));
        }
    }
    Ok(())
}

/// At rest everybody has heard of everybody who is left that it holds what the one who hears holds.
pub(super) fn everybody_knows(world: &World) -> Result<(), Violation> {
    if world.relays.iter().any(|relay| relay.old) {
        return Ok(());
    }
    let survivors = world.survivors();
    let alive: BTreeSet<_> = survivors.iter().map(|device| world.devices[*device].id).collect();
    for device in &survivors {
        let state = &world.devices[*device];
        let Some(engine) = &state.engine else { continue };
        // What two installations say under one identity nobody can tell apart.
        let is_one = |other: &&Device| other.id != state.id && !world.truth.copied.contains(&other.id);
        for other in survivors.iter().map(|other| &world.devices[*other]).filter(is_one) {
            let now = state.now(world.now_ms);
            let said =
                engine.devices(now).find(|known| known.member.device == other.id).and_then(|known| known.receipt);
            let said = said.unwrap_or_default();
            let members = engine.roster();
            let owed = state.disk.held.iter().filter(|row| row.sender != other.id && members.is_member(&row.sender));
            // Where two installations sealed under one identity, others may have the one's or the other's.
            let owed = owed.filter(|row| !world.truth.copied.contains(&row.sender));
            // That something has expired only its sender can tell.
            let tellable = |row: &&HeldRow| !is_short_lived(row) || alive.contains(&row.sender);
            let owed = owed.filter(|row| !is_withheld(world, &survivors, other.id, row));
            if let Some(row) = owed.filter(tellable).find(|row| !says(&said, row)) {
                let what = format!("device {device} never heard that {:?} has {:?} {}", other.id, row.sender, row.seq);
                return Err(Violation::new("receipts reach everybody", what));
            }
        }
    }
    Ok(())
}

fn says(receipt: &Receipt, row: &HeldRow) -> bool {
    receipt.of_sender(&row.sender).is_some_and(|reached| row.seq <= reached.received)
}
