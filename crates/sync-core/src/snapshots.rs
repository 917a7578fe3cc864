//! What this device knows of snapshots: its own, those that relays keep, and the one that it is loading.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sync_types::{BlobId, DeviceId, LocalCursor, Seq, limits::SNAPSHOTS_KEPT};

use crate::{
    event::StoredSnapshot,
    heads::Head,
    keys::GroupKeys,
    snapshot::{Covered, Sealed},
};

/// Places of the local log that are remembered: an app makes its snapshot a moment after it has read.
const PLACES_MAX: usize = 64;
/// Manifests that are remembered, of all relays together.
const KNOWN_MAX: usize = 16 * SNAPSHOTS_KEPT;

/// How much is to be in no snapshot before the app is asked for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct After {
    pub(crate) envelopes: u64,
    pub(crate) bytes: u64,
}

impl After {
    /// None if nothing is said: then the app neither makes nor loads any.
    pub(crate) fn new(envelopes: Option<u64>, bytes: Option<u64>) -> Option<Self> {
        let or_never = |after: Option<u64>| after.map_or(u64::MAX, |after| after.max(1));
        (envelopes.or(bytes).is_some()).then(|| Self { envelopes: or_never(envelopes), bytes: or_never(bytes) })
    }

    /// Whether so much is enough.
    pub(crate) fn is_due(&self, envelopes: u64, bytes: u64) -> bool {
        envelopes >= self.envelopes || bytes >= self.bytes
    }
}

/// Where the local log stood at some moment, and what was in it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) cursor: LocalCursor,
    /// The newest blob of another device at that moment: the app has to have applied that.
    pub(crate) others: LocalCursor,
    pub(crate) covered: Vec<Covered>,
    pub(crate) heads: Vec<Head>,
    /// Bytes of the envelopes that were in it.
    pub(crate) bytes: u64,
}

/// A snapshot that is being fetched, or waits for the app.
#[derive(Debug)]
pub(crate) struct Loading {
    pub(crate) sealed: Sealed,
    /// The parts that are on this device's disk.
    pub(crate) have: BTreeSet<BlobId>,
    /// Nothing is read before it is loaded: this device has nothing yet.
    pub(crate) is_first: bool,
    /// The app was told that it is complete.
    pub(crate) told: bool,
    /// No relay in reach has offered it since then.
    pub(crate) alone_since_ms: Option<u64>,
}

impl Loading {
    pub(crate) fn is_complete(&self) -> bool {
        self.sealed.manifest.parts.0.iter().all(|part| self.have.contains(part))
    }

    /// Bytes of the app's that are here, of how many.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let manifest = &self.sealed.manifest;
        let here = manifest.content().iter().filter(|part| self.have.contains(part)).count() as u64;
        if self.is_complete() {
            (manifest.len, manifest.len)
        } else {
            (manifest.len.min(here * u64::from(manifest.piece)), manifest.len)
        }
    }

    /// Whether everything is here that says who belongs to the group.
    pub(crate) fn has_roster(&self) -> bool {
        self.sealed.manifest.roster().iter().all(|part| self.have.contains(part))
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// When the app wants to make one; none if it neither makes nor loads any.
    pub(crate) after: Option<After>,
    places: VecDeque<Place>,
    /// How far the logs were read when nothing of them was left that may count after all.
    pub(crate) complete: Vec<Head>,
    /// Since when that is so.
    pub(crate) complete_since_ms: Option<u64>,
    /// What was different when the last one was remembered: how often others' changed, and this device's newest.
    pub(crate) changes: (u64, Seq),
    /// This device's newest, which relays that lost it get again.
    pub(crate) own: Option<Sealed>,
    known: BTreeMap<BlobId, Sealed>,
    /// Of no use: the app has refused it, or a relay does not hold what it names.
    refused: BTreeSet<BlobId>,
    /// The app has taken it: it is not loaded again, and what it covers is in one.
    taken: BTreeSet<BlobId>,
    pub(crate) loading: Option<Loading>,
    /// Of the one that was loaded: rows of these logs need not be read.
    pub(crate) heads: Vec<Head>,
    /// A first one is waited for until then, unless more of it comes.
    pub(crate) patience_ms: Option<u64>,
    /// None came in time: this device reads the logs.
    pub(crate) gave_up: bool,
    /// It is looked again for one: something is missing that one may have.
    pub(crate) missed: bool,
    /// When the app is to be asked for one, if one is due.
    pub(crate) due_ms: Option<u64>,
    /// The same, if that is not yet.
    pub(crate) wake_ms: Option<u64>,
}

impl Snapshots {
    pub(crate) fn open(after: Option<After>, stored: Vec<StoredSnapshot>, is_first: bool, keys: &GroupKeys) -> Self {
        let mut snapshots = Self { after, missed: true, ..Self::default() };
        for row in stored {
            let Some(sealed) = Sealed::open(keys, row.manifest) else { continue };
            if row.own {
                snapshots.own = Some(sealed);
            } else if after.is_some() {
                let have = row.parts.into_iter().collect();
                let loading = Loading { sealed, have, is_first, told: false, alone_since_ms: None };
                snapshots.loading = Some(loading);
            }
        }
        snapshots
    }

    /// Remembers where the local log stands.
    pub(crate) fn stand(&mut self, place: Place) {
        if self.places.back().is_some_and(|last| last.cursor == place.cursor) {
            self.places.pop_back();
        } else if self.places.len() >= PLACES_MAX {
            self.places.pop_front();
        }
        self.places.push_back(place);
    }

    /// What was there when the local log ended at this cursor, if that is remembered.
    pub(crate) fn place(&self, cursor: LocalCursor) -> Option<&Place> {
        self.places.iter().rev().find(|place| place.cursor == cursor)
    }

    pub(crate) fn last_place(&self) -> Option<&Place> {
        self.places.back()
    }

    /// Learns of one that a relay keeps. Its signature was verified.
    pub(crate) fn learn(&mut self, sealed: Sealed) {
        if self.known.len() < KNOWN_MAX {
            self.known.insert(sealed.id, sealed);
        }
    }

    /// Forgets what no relay offers any more.
    pub(crate) fn forget(&mut self, is_offered: impl Fn(&BlobId) -> bool) {
        self.known.retain(|id, _| is_offered(id));
        self.refused.retain(|id| is_offered(id));
        self.taken.retain(|id| is_offered(id));
    }

    pub(crate) fn refuse(&mut self, id: BlobId) {
        self.known.remove(&id);
        self.refused.insert(id);
    }

    pub(crate) fn take(&mut self, id: BlobId) {
        self.taken.insert(id);
    }

    /// Whether the app has taken it.
    pub(crate) fn is_taken(&self, id: &BlobId) -> bool {
        self.taken.contains(id)
    }

    /// Whether it is to be asked for: it is neither known nor refused.
    pub(crate) fn is_news(&self, id: &BlobId) -> bool {
        !self.known.contains_key(id) && !self.refused.contains(id)
    }

    /// Those that a member sealed, or whom the roster in them may show to be one.
    pub(crate) fn known(&self) -> impl Iterator<Item = &Sealed> {
        self.known.values()
    }

    pub(crate) fn get(&self, id: &BlobId) -> Option<&Sealed> {
        let own = self.own.as_ref().filter(|own| own.id == *id);
        own.or_else(|| self.known.get(id))
    }

    /// The most of this that this device's own or any of a member's covers, and how many bytes that says to stand for.
    pub(crate) fn most(&self, known: &[Covered], is_member: impl Fn(&DeviceId) -> bool) -> (u64, u64) {
        let usable = self.known.values().chain(&self.own).filter(|sealed| is_member(&sealed.sender()));
        usable.map(|sealed| (sealed.manifest.worth(known), sealed.manifest.bytes)).max().unwrap_or_default()
    }
}

/// A part of this device's own that a relay is sent, or the whole of it once those are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// What a manifest covers.
    Manifest(BlobId),
    /// A part of the one that is loaded.
    Part(BlobId),
    /// Keep a part of this one.
    Keep(BlobId),
    /// Keep all of it.
    Publish(BlobId),
}
