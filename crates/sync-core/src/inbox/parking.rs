//! What a member signed and can't be read here: put aside, shown, and tried again.

use std::collections::BTreeMap;

use sync_types::{
    BlobHash, BlobId,
    limits::{PARKED_BYTES_MAX, PARKED_MAX},
};

use super::Inbox;
use crate::{
    context::{Context, Effects},
    event::{Event, Now, ParkReason, ParkedRow, StoreOp, WaitingRow},
    examine::{Authentic, Candidate, Examined, Unreadable, examine},
};

impl Inbox {
    /// Tries parked envelopes again: this build, or this device's keys, may be newer than when they were parked.
    /// Returns the last one by id, if there was any.
    pub(crate) fn retry_parked(
        &mut self,
        context: &mut Context,
        now: Now,
        envelopes: Vec<Candidate>,
        effects: &mut Effects,
    ) -> Option<BlobId> {
        let named = envelopes.into_iter().map(|envelope| (envelope.blob_id(), envelope));
        let named: BTreeMap<_, _> = named.collect();
        let last = named.last_key_value().map(|(blob_id, _)| *blob_id);
        self.forget_forks(context, &named, effects);
        // Any other fork stays one. The others' places are free until it is known what became of them.
        let is_fork = |blob_id: &BlobId| self.parked.get(blob_id) == Some(&ParkReason::Forked);
        let (tried, envelopes): (Vec<_>, Vec<_>) = named.into_iter().filter(|(blob_id, _)| !is_fork(blob_id)).unzip();
        let bytes: u64 = envelopes.iter().map(|envelope| envelope.len() as u64).sum();
        self.parked_bytes = self.parked_bytes.saturating_sub(bytes);
        let before: BTreeMap<_, _> =
            tried.into_iter().filter_map(|blob_id| self.parked.remove_entry(&blob_id)).collect();
        let mut again = Effects::default();
        self.receive(context, now, envelopes, &mut again);
        // What is as unreadable as before keeps its row, and is not told again.
        let known = |blob_id: &BlobId, reason: &ParkReason| before.get(blob_id) == Some(reason);
        again.events.retain(|event| !matches!(event, Event::Parked { blob_id, reason } if known(blob_id, reason)));
        again.ops.retain(|op| !matches!(op, StoreOp::Park(row) if known(&row.blob_id, &row.reason)));
        let gone = before.keys().filter(|blob_id| !self.parked.contains_key(*blob_id));
        again.ops.extend(gone.map(|blob_id| StoreOp::Unpark { blob_id: *blob_id }));
        effects.append(again);
        last
    }

    /// Lets go of forks whose content is here by now, under the identity that their maker took.
    fn forget_forks(&mut self, context: &mut Context, parked: &BTreeMap<BlobId, Candidate>, effects: &mut Effects) {
        if self.copies.is_empty() {
            return;
        }
        let forks = parked.iter().filter(|(blob_id, _)| self.parked.get(*blob_id) == Some(&ParkReason::Forked));
        let forks: Vec<_> = forks.map(|(blob_id, fork)| (*blob_id, fork.clone())).collect();
        let (blob_ids, forks): (Vec<_>, Vec<_>) = forks.into_iter().unzip();
        for (blob_id, fork) in blob_ids.into_iter().zip(examine(context, forks)) {
            let Examined::Authentic(fork) = fork else { continue };
            if self.copies.has(&fork.sender, fork.seq, fork.push_id) {
                self.parked.remove(&blob_id);
                self.parked_bytes = self.parked_bytes.saturating_sub(fork.bytes.len() as u64);
                effects.ops.push(StoreOp::Unpark { blob_id });
            }
        }
    }

    /// The disk has changed these: they are let go of, and taken again should they come. What waits is at hand as it was,
    /// where it was read before that.
    pub(crate) fn let_go_of(&mut self, waiting: &[BlobHash], parked: &[BlobId], effects: &mut Effects) {
        effects.ops.extend(waiting.iter().map(|hash| StoreOp::Unwait { hash: *hash }));
        let at_hand =
            self.senders.iter().flat_map(|(sender, known)| known.waiting.values().map(move |it| (*sender, it)));
        effects.ops.extend(
            at_hand
                .filter(|(_, it)| waiting.contains(&it.hash))
                .map(|(sender, it)| StoreOp::Wait(WaitingRow { sender, hash: it.hash, envelope: it.bytes.clone() })),
        );
        for blob_id in parked {
            self.parked.remove(blob_id);
            effects.ops.push(StoreOp::Unpark { blob_id: *blob_id });
        }
    }

    pub(crate) fn parked(&self) -> impl Iterator<Item = (BlobId, ParkReason)> + '_ {
        self.parked.iter().map(|(blob_id, reason)| (*blob_id, *reason))
    }

    /// Everything is readable, in its place, and nothing was thrown away for want of room.
    pub(crate) fn is_clean(&self) -> bool {
        self.parked.is_empty() && self.dropped.parked_overflow == 0
    }

    /// Whether what is parked may be here by now under another identity. Asking takes the answer back.
    pub(crate) fn take_retry_due(&mut self) -> bool {
        std::mem::take(&mut self.retry_due) && self.parked.values().any(|reason| *reason == ParkReason::Forked)
    }

    /// A second envelope for one place. A removed device's own history is nobody's concern any more.
    pub(super) fn park_fork(&mut self, context: &Context, envelope: &Authentic, effects: &mut Effects) {
        if self.copies.has(&envelope.sender, envelope.seq, envelope.push_id) {
            self.dropped.repeated += 1;
        } else if context.roster.is_member(&envelope.sender) {
            self.park(Unreadable::forked(envelope), effects);
        } else {
            self.dropped.from_removed += 1;
        }
    }

    pub(super) fn park(&mut self, unreadable: Unreadable, effects: &mut Effects) {
        let Unreadable { blob_id, reason, bytes } = unreadable;
        if self.parked.contains_key(&blob_id) {
            self.dropped.repeated += 1;
        } else if self.parked.len() >= PARKED_MAX || self.parked_bytes + bytes.len() as u64 > PARKED_BYTES_MAX {
            self.dropped.parked_overflow += 1;
        } else {
            self.parked.insert(blob_id, reason);
            self.parked_bytes += bytes.len() as u64;
            effects.ops.push(StoreOp::Park(ParkedRow { blob_id, reason, envelope: bytes }));
            effects.events.push(Event::Parked { blob_id, reason });
        }
    }
}
