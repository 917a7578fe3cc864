//! The newest receipt of each device, and when this one owes the others another.
//!
//! A receipt is worth little and is never in a hurry: one goes when things have been quiet for a moment, and not more
//! often than once in half a minute, unless so much came that it is one in a hundred bytes of that, with all the devices
//! it goes to. Nothing waits for it, nothing is answered by it, and none leads to another.
//!
//! Invariant: of a device nothing older is believed than what was believed before.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use sync_types::{DeviceId, LocalCursor, Seq, limits::UNKNOWN_SENDERS_MAX};

use crate::{
    keys::GroupKeys,
    ranges::Ranges,
    receipt::{Reach, Receipt, Signed},
    timing::{RECEIPT_OWN_MS, RECEIPT_QUIET_MS, RECEIPT_SPACE_MS},
};

/// One in so many bytes.
const SHARE: u64 = 100;
/// Places in the local log that are remembered together with what was held there.
const PLACES_MAX: usize = 16;

/// What a device held of each sender, as far as matters for what its app has applied.
type Held = BTreeMap<DeviceId, (Seq, Ranges)>;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    own: Option<Signed>,
    others: BTreeMap<DeviceId, Signed>,
    /// Those that can't be read yet: their senders, or their keys, are still to become known.
    unread: BTreeMap<DeviceId, Bytes>,
    /// What everybody knew when those were last tried.
    tried: (usize, usize),

    // When the next one is due. Times are monotonic milliseconds.
    changed_ms: Option<(u64, u64)>,
    own_changed_ms: Option<u64>,
    sealed_ms: Option<u64>,
    /// Bytes that came since then, on an average of all relays.
    traffic: u64,

    // What the app has applied.
    applied: Held,
    places: VecDeque<(LocalCursor, Held)>,
}

impl Receipts {
    /// Goes on from what is stored. What does not open any more is as good as none.
    pub(crate) fn open(me: &DeviceId, keys: &GroupKeys, stored: Vec<Bytes>) -> Self {
        let mut receipts = Self::default();
        for signed in stored.into_iter().filter_map(|bytes| Signed::open(keys, bytes)) {
            let sender = signed.envelope.header().sender;
            if sender == *me {
                // What it says is applied was so, of what was held then.
                let said = signed.receipt.reached.0.iter();
                let held = |holes: &[(Seq, Seq)]| Ranges::from_runs(holes);
                receipts.applied = said.map(|said| (said.sender, (said.applied, held(&said.missing.0)))).collect();
                receipts.own = Some(signed);
            } else {
                receipts.others.insert(sender, signed);
            }
        }
        receipts
    }

    /// The newest of this device's.
    pub(crate) fn own(&self) -> Option<&Signed> {
        self.own.as_ref()
    }

    /// Whether the newest of this device's says just this, and is sealed under the current key.
    pub(crate) fn says(&self, receipt: &Receipt, keys: &GroupKeys) -> bool {
        let current = keys.current().key_id();
        self.own.as_ref().is_some_and(|own| own.receipt == *receipt && own.envelope.header().key_id == current)
    }

    /// The newest of everybody else.
    pub(crate) fn others(&self) -> impl Iterator<Item = (&DeviceId, &Receipt)> {
        self.others.iter().map(|(device, signed)| (device, &signed.receipt))
    }

    /// The newest of another device.
    pub(crate) fn of(&self, device: &DeviceId) -> Option<&Signed> {
        self.others.get(device)
    }

    // ── Others' ──

    /// This is its sender's newest from now on. Whether it says anything new.
    pub(crate) fn take(&mut self, signed: Signed) -> bool {
        let receipt = signed.receipt.clone();
        let before = self.others.insert(signed.envelope.header().sender, signed);
        before.is_none_or(|before| before.receipt != receipt)
    }

    /// One that can't be read here yet.
    pub(crate) fn keep_unread(&mut self, sender: DeviceId, bytes: Bytes) {
        if self.unread.len() < UNKNOWN_SENDERS_MAX || self.unread.contains_key(&sender) {
            self.unread.insert(sender, bytes);
        }
    }

    /// Those that could not be read when less was known.
    pub(crate) fn take_unread(&mut self, known: (usize, usize)) -> Vec<Bytes> {
        if std::mem::replace(&mut self.tried, known) == known {
            return Vec::new();
        }
        std::mem::take(&mut self.unread).into_values().collect()
    }

    // ── When ──

    /// What this device holds, or has applied, has changed.
    pub(crate) fn changed(&mut self, now_ms: u64) {
        let (first_ms, _) = *self.changed_ms.get_or_insert((now_ms, now_ms));
        self.changed_ms = Some((first_ms, now_ms));
    }

    /// More of its own is on every relay.
    pub(crate) fn own_changed(&mut self, now_ms: u64) {
        self.own_changed_ms.get_or_insert(now_ms);
    }

    /// So many bytes came, on an average of all relays.
    pub(crate) fn came(&mut self, bytes: u64) {
        self.traffic = self.traffic.saturating_add(bytes);
    }

    /// When the next one is due, if there is anything to say.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let quiet = self.changed_ms.map(|(first, last)| (last + RECEIPT_QUIET_MS).min(first + RECEIPT_SPACE_MS));
        let own = self.own_changed_ms.map(|since| since + RECEIPT_OWN_MS);
        let due = [quiet, own].into_iter().flatten().min()?;
        let len = self.own.as_ref().map_or(0, |own| own.envelope.as_bytes().len() as u64);
        // It goes to a relay, and from there to everybody else.
        let carried = len * (self.others.len() as u64 + 1);
        let spaced = self.sealed_ms.filter(|_| self.traffic < SHARE * carried).map_or(0, |at| at + RECEIPT_SPACE_MS);
        Some(due.max(spaced))
    }

    /// Whether something of others has changed since the last one.
    pub(crate) fn has_news(&self) -> bool {
        self.changed_ms.is_some()
    }

    /// What there is to say is said.
    pub(crate) fn settle(&mut self) {
        (self.changed_ms, self.own_changed_ms) = (None, None);
    }

    /// This is the newest from now on.
    pub(crate) fn sealed(&mut self, now_ms: u64, signed: Signed) {
        self.own = Some(signed);
        self.sealed_ms = Some(now_ms);
        self.traffic = 0;
        self.settle();
    }

    // ── What the app has applied ──

    /// The app has applied the log up to `acked`; up to `head` it holds what is `reached`.
    pub(crate) fn note_applied(
        &mut self,
        (acked, head): (LocalCursor, LocalCursor),
        reached: &BTreeMap<DeviceId, Reach>,
    ) {
        if acked >= head {
            self.applied = held(reached);
            self.places.clear();
            return;
        }
        while self.places.front().is_some_and(|(place, _)| *place <= acked) {
            self.applied = self.places.pop_front().map(|(_, held)| held).unwrap_or_default();
        }
    }

    /// Remembers what is held where the log ends now: once the app is there, it has applied that.
    pub(crate) fn remember_place(&mut self, head: LocalCursor, reached: &BTreeMap<DeviceId, Reach>) {
        if self.places.back().is_none_or(|(place, _)| *place < head) {
            self.places.push_back((head, held(reached)));
            if self.places.len() > PLACES_MAX {
                // The ends say most.
                self.places.remove(PLACES_MAX / 2);
            }
        }
    }

    /// Up to where everything is applied that is held of each sender: what came late since is not.
    pub(crate) fn applied(&self, reached: &BTreeMap<DeviceId, Reach>) -> BTreeMap<DeviceId, Seq> {
        let nothing = Ranges::default();
        let applied = self.applied.iter().map(|(sender, (seq, holes))| {
            let late = holes.first_beyond(reached.get(sender).map_or(&nothing, |reach| &reach.holes));
            let before_late = late.map_or(Seq::new(u64::MAX), |late| Seq::new(late.get().saturating_sub(1)));
            (*sender, (*seq).min(before_late))
        });
        applied.collect()
    }
}

fn held(reached: &BTreeMap<DeviceId, Reach>) -> Held {
    reached.iter().map(|(sender, reach)| (*sender, (reach.seq, reach.holes.clone()))).collect()
}
