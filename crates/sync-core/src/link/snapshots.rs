//! What a relay says of the snapshots that it keeps, and what it is asked of them.

use std::collections::BTreeSet;

use sync_types::{BlobId, RequestId, message::features};

use super::Link;
use crate::{event::Now, snapshots::Asked};

/// Answers that are waited for at once: each may be as large as the largest envelope.
const ASKED_MAX: usize = 4;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// By the ids of their manifests, the newest last. None before it has said so.
    manifests: Option<Vec<BlobId>>,
    /// Those that it named and does not hold.
    missing: BTreeSet<BlobId>,
    asked: Vec<(RequestId, Asked)>,
    /// It is sent this device's own: the next part, and whether that is being read from the disk.
    sending: Option<(usize, bool)>,
    /// Its log has not got the place that this one is of, or not any more.
    placeless: Option<BlobId>,
    /// It does not take this one, or not before then.
    refused: Option<(BlobId, Option<u64>)>,
}

impl Link {
    /// Whether the relay keeps snapshots at all.
    pub(crate) fn keeps_snapshots(&self) -> bool {
        self.is_live() && self.features & features::SNAPSHOTS != 0
    }

    /// It has said which it keeps, and all that it was asked of those has been answered.
    pub(crate) fn has_shown_snapshots(&self) -> bool {
        let asked = |(_, asked): &(RequestId, Asked)| matches!(asked, Asked::Manifest(_));
        self.keeps_snapshots() && self.kept.manifests.is_some() && !self.kept.asked.iter().any(asked)
    }

    /// What it keeps, as far as it is known to.
    pub(crate) fn snapshots(&self) -> impl Iterator<Item = &BlobId> {
        self.kept.manifests.iter().flatten().filter(|id| self.keeps_snapshots() && !self.kept.missing.contains(*id))
    }

    pub(crate) fn has_snapshot(&self, id: &BlobId) -> bool {
        self.snapshots().any(|kept| kept == id)
    }

    /// It says which it keeps.
    pub(crate) fn show_snapshots(&mut self, manifests: Vec<BlobId>) {
        self.kept.missing.retain(|id| manifests.contains(id));
        self.kept.manifests = Some(manifests);
    }

    /// It does not hold what it named.
    pub(crate) fn lacks_snapshot(&mut self, id: BlobId) {
        self.kept.missing.insert(id);
    }

    /// Notes that something is asked, if there is room for it.
    pub(crate) fn ask(&mut self, now: Now, what: Asked) -> Option<RequestId> {
        let is_full = matches!(what, Asked::Part(_) | Asked::Manifest(_)) && self.kept.asked.len() >= ASKED_MAX;
        if is_full || self.kept.asked.iter().any(|(_, asked)| *asked == what) {
            return None;
        }
        let id = self.next_id();
        self.kept.asked.push((id, what));
        self.owed_since_ms.get_or_insert(now.mono_ms);
        Some(id)
    }

    /// What was asked by this request.
    pub(crate) fn asked(&mut self, id: RequestId) -> Option<Asked> {
        let index = self.kept.asked.iter().position(|(asked, _)| *asked == id)?;
        Some(self.kept.asked.swap_remove(index).1)
    }

    /// It owes an answer, or its first word.
    pub(crate) fn is_asked(&self) -> bool {
        !self.kept.asked.is_empty() || (self.keeps_snapshots() && self.kept.manifests.is_none())
    }

    /// Whether it is asked for this part now.
    pub(crate) fn is_asked_for(&self, part: &BlobId) -> bool {
        self.kept.asked.iter().any(|(_, asked)| *asked == Asked::Part(*part))
    }

    // ── Sending it this device's own ──

    /// It may be asked again, if it is time.
    pub(crate) fn wait_for_room(&mut self, now: Now) {
        let waits = |(_, again_ms): &(BlobId, Option<u64>)| again_ms.is_none_or(|again_ms| now.mono_ms < again_ms);
        self.kept.refused = self.kept.refused.filter(waits);
    }

    /// The part to send next, which is to be read from the disk first. None while one is on its way.
    pub(crate) fn next_part(&mut self, own: &BlobId) -> Option<usize> {
        let waits = self.kept.refused.is_some_and(|(id, again_ms)| id == *own || again_ms.is_some());
        let shown = self.keeps_snapshots() && self.kept.manifests.is_some();
        if waits || !shown || self.has_snapshot(own) || !self.is_caught_up() {
            return None;
        }
        let (part, busy) = self.kept.sending.get_or_insert((0, false));
        (!std::mem::replace(busy, true)).then_some(*part)
    }

    /// That part of it is there.
    pub(crate) fn part_kept(&mut self) {
        self.kept.sending = self.kept.sending.map(|(part, _)| (part + 1, false));
    }

    /// It is sent no more of it; once more from the start after a while, if that may help.
    pub(crate) fn stop_sending(&mut self, own: BlobId, again_ms: Option<u64>) {
        self.kept.sending = None;
        self.kept.refused = Some((own, again_ms));
    }

    /// It does not know the place in its log that this one names: it gets it without one. Whether that is new.
    pub(crate) fn publish_without_place(&mut self, own: BlobId) -> bool {
        self.kept.sending = self.kept.sending.map(|(part, _)| (part, false));
        self.kept.placeless.replace(own) != Some(own)
    }

    /// Whether it is sent this one without a place.
    pub(crate) fn lacks_place(&self, own: &BlobId) -> bool {
        self.kept.placeless == Some(*own)
    }

    /// It keeps this device's own from now on.
    pub(crate) fn published(&mut self, own: BlobId) {
        self.kept.sending = None;
        self.kept.refused = None;
        self.kept.manifests.get_or_insert_default().push(own);
    }

    /// There is another one to send.
    pub(crate) fn send_anew(&mut self) {
        self.kept.sending = None;
        self.kept.refused = None;
    }

    /// When it may be asked again.
    pub(crate) fn send_again_ms(&self) -> Option<u64> {
        self.kept.refused.and_then(|(_, again_ms)| again_ms).filter(|_| self.keeps_snapshots())
    }

    pub(super) fn forget_snapshots(&mut self) {
        self.kept = Kept::default();
    }
}
