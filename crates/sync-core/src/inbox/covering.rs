//! What a snapshot covers, of what is here and for what is not.

use bytes::Bytes;
use sync_types::{BlobHash, DeviceId, Seq};

use super::Inbox;
use crate::{
    context::{Context, Effects},
    event::{Event, Now, ParkReason},
    ranges::Ranges,
    roster::{Roster, Standing},
    snapshot::{Covered, Manifest, covered},
};

impl Inbox {
    /// Everything that came is taken: nothing of anybody who counts waits, and nothing is kept that may be read later.
    pub(crate) fn is_settled(&self, roster: &Roster) -> bool {
        let may_open = |reason: ParkReason| matches!(reason, ParkReason::KeyMissing | ParkReason::TooNew);
        self.waiting(roster) == 0 && !self.parked().any(|(_, reason)| may_open(reason))
    }

    /// Whether envelopes were dropped of somebody who may become a member, or wait for that.
    pub(crate) fn may_have_refused(&self, roster: &Roster) -> bool {
        let is_stranger = |id: &DeviceId| roster.standing(id) == Standing::Stranger;
        let waits = self.senders.iter().any(|(id, sender)| !sender.waiting.is_empty() && is_stranger(id));
        self.reread_wanted || self.reread_due || waits
    }

    /// How much is held of everybody who counts, for as many holes as there is room.
    pub(crate) fn covered(&self, roster: &Roster, room: &mut usize) -> Vec<Covered> {
        let counts = self
            .senders
            .iter()
            .filter(|(id, sender)| sender.seq > Seq::START && roster.standing(id) != Standing::Stranger);
        counts.map(|(id, sender)| covered(*id, (sender.seq, sender.hash), &sender.holes, room)).collect()
    }

    /// Whether a snapshot has something that was given up for lost here.
    pub(crate) fn lacks_of(&self, manifest: &Manifest) -> bool {
        self.senders.iter().any(|(id, sender)| {
            let covered = manifest.of_sender(id).filter(|_| !sender.holes.is_empty());
            covered.is_some_and(|covered| left_by(covered, &sender.holes) != sender.holes)
        })
    }

    /// Learns a roster entry that came by another way than an envelope. One that is none is nobody's loss.
    pub(crate) fn learn_entry(&mut self, context: &mut Context, now: Now, entry: &Bytes, effects: &mut Effects) {
        let _ = self.apply_entry(context, now, entry, effects);
        self.flush(effects);
    }

    /// Counts as held what the app has taken by a snapshot. What waited for it is taken.
    pub(crate) fn cover(&mut self, context: &mut Context, now: Now, all: &[Covered], effects: &mut Effects) {
        let me = context.me;
        for covered in all.iter().filter(|covered| covered.sender != me) {
            let id = covered.sender;
            let mut place = (covered.seq, covered.hash);
            match context.roster.standing(&id) {
                Standing::Stranger => continue,
                // How far it counts no snapshot decides: whoever made this one may be that very device.
                Standing::Removed(cutoff) if cutoff.seq < covered.seq => place = (cutoff.seq, cutoff.hash),
                Standing::Removed(_) | Standing::Member => {}
            }
            let sender = self.senders.entry(id).or_default();
            let new = missing_of(covered).both(&Ranges::run(sender.seq.next(), place.0));
            sender.holes = left_by(covered, &sender.holes).either(&new);
            let gaps = new.to_runs().into_iter().map(|(first, last)| Event::Gap { sender: id, first, last });
            effects.events.extend(gaps);
            if place.0 > sender.seq {
                (sender.seq, sender.hash) = place;
            }
            if sender.holes.contains(sender.seq) {
                sender.hash = BlobHash::ZERO;
            }
            sender.stalled_since_ms = None;
            self.changed.insert(id);
            self.drain(context, now, id, effects);
        }
        self.flush(effects);
    }
}

fn missing_of(covered: &Covered) -> Ranges {
    Ranges::from_runs(&covered.missing.0)
}

/// What is still missing of what was, once this is covered.
fn left_by(covered: &Covered, holes: &Ranges) -> Ranges {
    let beyond = Ranges::run(covered.seq.next(), Seq::new(u64::MAX));
    holes.both(&missing_of(covered).either(&beyond))
}
