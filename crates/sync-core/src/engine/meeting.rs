//! The other devices, as far as this one can tell.

use std::collections::BTreeMap;

use sync_types::{DeviceId, RelayId, Seq};

use super::Engine;
use crate::{
    event::{Action, Event, Now},
    inbox::Seen,
    link::Link,
    protection::Protection,
    receipt::Reached,
    status::{DeviceStatus, Holders},
};

impl Engine {
    /// The group's devices, by id.
    pub fn devices(&self, now: Now) -> impl ExactSizeIterator<Item = DeviceStatus> {
        let connected = self.links.iter().any(Link::is_live);
        self.context.roster.members().map(move |member| {
            let this = member.device == self.context.me;
            let last_seen_ms = self.sightings.last_ms(&member.device, now);
            DeviceStatus {
                online: if this { connected } else { self.sightings.is_online(&member.device) },
                last_seen_ms: if this { Some(now.wall_ms) } else { last_seen_ms },
                copy_of: self.context.roster.copied(&member.device).map(|(former, _)| former),
                member: member.clone(),
                receipt: self.receipts.of(&member.device).map(|signed| signed.receipt.clone()),
                this,
            }
        })
    }

    /// Who has the envelope that a sender sealed as its `seq`th.
    pub fn holders(&self, sender: &DeviceId, seq: Seq) -> Holders {
        let mut holders = Holders::default();
        if *sender == self.context.me {
            let has = self.links.iter().filter(|link| link.has(seq));
            holders.relays = has.map(|link| link.relay).collect();
        }
        let others = self.context.roster.members().filter(|member| member.device != self.context.me);
        for device in others.map(|member| member.device) {
            let said = self.receipts.of(&device).and_then(|signed| signed.receipt.of_sender(sender));
            let sees = self.context.protections.hold(Protection::HoldersSeeHoles);
            let is_missing =
                |said: &&Reached| sees && said.missing.0.iter().any(|(first, last)| (*first..=*last).contains(&seq));
            if device == *sender {
                holders.received.push(device);
                holders.applied.push(device);
            } else if said.is_some_and(|said| seq <= said.received && is_missing(&said)) {
                holders.lost.push(device);
            } else if let Some(said) = said.filter(|said| seq <= said.received) {
                holders.received.push(device);
                holders.applied.extend((seq <= said.applied).then_some(device));
            }
        }
        holders
    }

    /// A relay says who is there. A stranger's is nobody's presence.
    pub(super) fn hear_who_is_there(&mut self, now: Now, relay: RelayId, devices: Vec<DeviceId>) {
        let me = self.context.me;
        let members = devices.into_iter().filter(|device| *device != me && self.context.roster.is_member(device));
        let changed = self.sightings.replace(relay, members.collect());
        let notes: Vec<_> = changed.iter().filter_map(|device| self.sightings.saw(*device, now.wall_ms)).collect();
        if !notes.is_empty() {
            self.actions.push(Action::Note(notes));
        }
        for device in changed {
            // That another relay says the same, or still does, is no news; what is told then is merely told again.
            let online = self.sightings.is_online(&device);
            self.actions.push(Action::Emit(Event::DevicePresence { device, online }));
        }
    }

    /// Envelopes of other devices came, each to its relay at that time by the relay's clock.
    pub(super) fn saw(&mut self, now: Now, seen: &[Seen], arrived_ms: &[u64]) {
        let mut newest: BTreeMap<DeviceId, u64> = BTreeMap::new();
        for seen in seen.iter().filter(|seen| self.context.roster.is_member(&seen.sender)) {
            let arrived_ms = arrived_ms.get(seen.index).copied().unwrap_or(0);
            let at_ms = seen.time_ms.min(arrived_ms).min(now.wall_ms);
            let newest = newest.entry(seen.sender).or_default();
            *newest = at_ms.max(*newest);
        }
        newest.remove(&self.context.me);
        let notes: Vec<_> = newest.into_iter().filter_map(|(id, at_ms)| self.sightings.saw(id, at_ms)).collect();
        if !notes.is_empty() {
            self.actions.push(Action::Note(notes));
        }
    }
}
