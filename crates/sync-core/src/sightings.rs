//! Who is there, and who was there when.
//!
//! A device is online while a relay says so. When it was last seen is the latest of two things: the last time a relay
//! said so, and the newest envelope of its that came, which is dated by whichever is earliest of the sender's clock, the
//! relay's at its arrival there and this device's: no clock that is ahead makes a device look more alive than it is.
//!
//! Invariant: no time told is ahead of this device's own clock.

use std::collections::{BTreeMap, BTreeSet};

use sync_types::{DeviceId, RelayId};

use crate::event::{Now, StoreOp};

/// What is on the disk may be older than what is known by this much.
const NOTE_MS: u64 = 60_000;

#[derive(Clone, Copy, Debug, Default)]
struct Last {
    at_ms: u64,
    noted_ms: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    there: BTreeMap<RelayId, BTreeSet<DeviceId>>,
    last: BTreeMap<DeviceId, Last>,
}

impl Sightings {
    pub(crate) fn open(seen: Vec<(DeviceId, u64)>) -> Self {
        let last = seen.into_iter().map(|(device, at_ms)| (device, Last { at_ms, noted_ms: at_ms })).collect();
        Self { there: BTreeMap::new(), last }
    }

    pub(crate) fn is_online(&self, device: &DeviceId) -> bool {
        self.there.values().any(|there| there.contains(device))
    }

    /// When the device was last seen, if it ever was.
    pub(crate) fn last_ms(&self, device: &DeviceId, now: Now) -> Option<u64> {
        if self.is_online(device) {
            return Some(now.wall_ms);
        }
        self.last.get(device).map(|last| last.at_ms.min(now.wall_ms))
    }

    /// A relay says who is there; nobody, if the connection is gone. Returns those it names and those it no longer does.
    pub(crate) fn replace(&mut self, relay: RelayId, devices: BTreeSet<DeviceId>) -> BTreeSet<DeviceId> {
        let before =
            if devices.is_empty() { self.there.remove(&relay) } else { self.there.insert(relay, devices.clone()) };
        before.unwrap_or_default().symmetric_difference(&devices).copied().collect()
    }

    /// The device was there at that time. What is to be stored of that, now and then.
    pub(crate) fn saw(&mut self, device: DeviceId, at_ms: u64) -> Option<StoreOp> {
        let last = self.last.entry(device).or_default();
        last.at_ms = last.at_ms.max(at_ms);
        if last.at_ms < last.noted_ms.saturating_add(NOTE_MS) {
            return None;
        }
        last.noted_ms = last.at_ms;
        Some(StoreOp::Seen { device, at_ms: last.at_ms })
    }
}
