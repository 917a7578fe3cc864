//! A snapshot: an app's state at one place of its log, sealed for whoever joins later.
//!
//! ```text
//! manifest   envelope of kind 3: what is covered, how far each relay's log was read, the parts by their ids
//! parts      envelopes of kind 3: first the roster's entries, then the app's bytes in pieces
//! ```
//! All are signed for a purpose of their own and are in no log. The manifest names its parts by hash, so its signature is
//! theirs. The roster comes along because whoever loads a snapshot skips the rows that held its entries; those prove
//! themselves.
//!
//! Invariant: what a manifest covers is what was in the app's state that its bytes are of, not more and not less.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand_core::CryptoRng;
use sync_types::{
    BlobHash, BlobId, DeviceId, Envelope, Kind, PushId, Seq,
    limits::{
        HOLES_PER_SENDER_MAX, PAYLOAD_LEN_MAX, RELAYS_MAX, ROSTER_ENTRIES_MAX, SNAPSHOT_HOLES_MAX, SNAPSHOT_LEN_MAX,
        SNAPSHOT_PARTS_MAX,
    },
    wire::{AtMost, decode_exact, message},
};

use crate::{
    event::Now,
    heads::Head,
    keys::{DeviceKey, GroupKeys},
    ranges::Ranges,
    roster::{Roster, without_boxes},
    seal,
};

message! {
    /// How much of one sender's is in a snapshot.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Covered {
        /// Whose.
        pub sender: DeviceId,
        /// Everything up to here, but for `missing`.
        pub seq: Seq,
        /// The hash of that one; zeros where it is not known, or may still change.
        pub hash: BlobHash,
        /// First and last of each run, ascending.
        pub missing: AtMost<HOLES_PER_SENDER_MAX, (Seq, Seq)>,
    }
}

message! {
    /// What a snapshot covers, and what it is made of.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Manifest {
        /// Each sender once.
        pub covered: AtMost<ROSTER_ENTRIES_MAX, Covered>,
        /// Every row of these logs up to there is covered.
        pub heads: AtMost<RELAYS_MAX, Head>,
        /// So many of the parts, the first, are the roster's.
        pub roster_parts: u32,
        /// Bytes of the app's in each of the others, but for the last.
        pub piece: u32,
        /// Bytes of the app's in all.
        pub len: u64,
        /// The parts.
        pub parts: AtMost<SNAPSHOT_PARTS_MAX, BlobId>,
        /// Bytes of all envelopes that it stands for, as they travel: whoever has more knows how much is in none.
        pub bytes: u64,
    }
}

impl Covered {
    /// How many of the envelopes up to a place are in it.
    fn len_up_to(&self, seq: Seq) -> u64 {
        let through = self.seq.min(seq).get();
        let missing = self.missing.0.iter().filter(|(first, _)| first.get() <= through);
        let missing = missing.map(|(first, last)| last.get().min(through) - first.get() + 1);
        through.saturating_sub(missing.fold(0, u64::saturating_add))
    }
}

/// How many envelopes that is in all.
pub(crate) fn count(all: &[Covered]) -> u64 {
    all.iter().map(|covered| covered.len_up_to(covered.seq)).fold(0, u64::saturating_add)
}

impl Manifest {
    /// The parts that hold the roster.
    pub(crate) fn roster(&self) -> &[BlobId] {
        &self.parts.0[..self.roster_parts as usize]
    }

    /// The parts that hold the app's bytes, in order.
    pub(crate) fn content(&self) -> &[BlobId] {
        &self.parts.0[self.roster_parts as usize..]
    }

    /// How much of one sender's is in it.
    pub(crate) fn of_sender(&self, sender: &DeviceId) -> Option<&Covered> {
        self.covered.0.iter().find(|covered| covered.sender == *sender)
    }

    /// Whether an envelope is in it.
    pub(crate) fn covers(&self, sender: &DeviceId, seq: Seq) -> bool {
        let is_missing =
            |covered: &&Covered| covered.missing.0.iter().any(|(first, last)| (*first..=*last).contains(&seq));
        self.of_sender(sender).is_some_and(|covered| seq <= covered.seq && !is_missing(&covered))
    }

    /// Bytes of the app's in this part, if it is one of those.
    fn len_of(&self, part: &BlobId) -> Option<u64> {
        let place = self.content().iter().position(|known| known == part)? as u64;
        Some((self.len - place * u64::from(self.piece)).min(u64::from(self.piece)))
    }

    /// Whether a part is what it should be, as far as it says itself.
    pub(crate) fn fits(&self, keys: &GroupKeys, part: &BlobId, envelope: &Bytes) -> bool {
        let opened = open_part(keys, envelope).map(|bytes| bytes.len() as u64);
        self.len_of(part).is_none_or(|len| opened == Some(len))
    }

    /// How many envelopes are in it, of each sender no more than there are as far as is known.
    pub(crate) fn worth(&self, known: &[Covered]) -> u64 {
        let known =
            |covered: &Covered| known.iter().find(|known| known.sender == covered.sender).map(|known| known.seq);
        let capped = |covered: &Covered| covered.len_up_to(known(covered).unwrap_or_default());
        self.covered.0.iter().map(capped).fold(0, u64::saturating_add)
    }

    /// How many envelopes are in it, by what it says.
    pub(crate) fn envelopes(&self) -> u64 {
        count(&self.covered.0)
    }

    fn is_sound(&self) -> bool {
        let runs = self.covered.0.iter().map(|covered| covered.missing.0.len()).sum::<usize>();
        let in_order = |covered: &Covered| {
            let ends = covered
                .missing
                .0
                .iter()
                .all(|(first, last)| Seq::START < *first && first <= last && *last <= covered.seq);
            ends && covered.missing.0.windows(2).all(|pair| pair[0].1 < pair[1].0)
        };
        let pieces = (self.parts.0.len() as u64).checked_sub(u64::from(self.roster_parts));
        runs <= SNAPSHOT_HOLES_MAX
            && self.covered.0.iter().all(in_order)
            && self.len <= SNAPSHOT_LEN_MAX as u64
            && self.roster_parts > 0
            && (1..=PAYLOAD_LEN_MAX).contains(&(self.piece as usize))
            && pieces == Some(self.len.div_ceil(u64::from(self.piece)))
    }
}

/// A manifest that a device sealed. Says whose it is only once its signature is verified.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) id: BlobId,
    pub(crate) manifest: Manifest,
    pub(crate) envelope: Envelope,
}

impl Sealed {
    /// Opens one.
    pub(crate) fn open(keys: &GroupKeys, bytes: Bytes) -> Option<Self> {
        let envelope = Envelope::parse(bytes).ok().filter(|envelope| envelope.header().kind == Kind::Snapshot)?;
        let body = seal::open(keys, &envelope).ok()?;
        let manifest: Manifest = decode_exact(&seal::unpack(&body).ok()?).ok()?;
        manifest.is_sound().then(|| Self { id: envelope.hash().blob_id(), manifest, envelope })
    }

    /// Who says to have sealed it.
    pub(crate) fn sender(&self) -> DeviceId {
        self.envelope.header().sender
    }
}

/// What a snapshot is made from.
pub(crate) struct Content {
    pub(crate) covered: Vec<Covered>,
    pub(crate) heads: Vec<Head>,
    /// Of the envelopes that it stands for.
    pub(crate) held_bytes: u64,
    /// The app's bytes.
    pub(crate) bytes: Bytes,
    /// Bytes of that in one part, at most [`PAYLOAD_LEN_MAX`].
    pub(crate) piece: usize,
}

impl Content {
    /// Seals it all: the manifest, and the parts in its order. None if it is more than a snapshot may be.
    pub(crate) fn seal(
        self,
        (keys, device): (&GroupKeys, &DeviceKey),
        roster: &Roster,
        now: Now,
        rng: &mut impl CryptoRng,
    ) -> Option<(Sealed, Vec<Envelope>)> {
        let mut seal_one = |seq: u64, payload: Bytes| {
            let draft = seal::Draft {
                kind: Kind::Snapshot,
                ttl_s: 0,
                seq: Seq::new(seq),
                prev: BlobHash::ZERO,
                push_id: PushId::from_bytes([0; PushId::LEN]),
                time_ms: now.wall_ms,
                payload,
                compress: false,
            };
            seal::seal(keys, device, draft, rng)
        };
        let Self { covered, heads, held_bytes, bytes, piece } = self;
        let of_roster = roster_pieces(roster, piece)?;
        let roster_parts = of_roster.len();
        let pieces = (0..bytes.len()).step_by(piece).map(|from| bytes.slice(from..bytes.len().min(from + piece)));
        if bytes.len() > SNAPSHOT_LEN_MAX || roster_parts + bytes.len().div_ceil(piece) > SNAPSHOT_PARTS_MAX {
            return None;
        }
        let parts: Vec<_> =
            (2..).zip(of_roster.into_iter().chain(pieces)).map(|(seq, piece)| seal_one(seq, piece)).collect();
        let manifest = Manifest {
            covered: covered.into(),
            heads: heads.into(),
            roster_parts: u32::try_from(roster_parts).ok()?,
            piece: u32::try_from(piece).ok()?,
            len: bytes.len() as u64,
            parts: parts.iter().map(|part| part.hash().blob_id()).collect::<Vec<_>>().into(),
            bytes: held_bytes,
        };
        let payload = rmp_serde::to_vec(&manifest).expect("a manifest always encodes into memory");
        if payload.len() > piece || !manifest.is_sound() {
            return None;
        }
        let envelope = seal_one(1, payload.into());
        Some((Sealed { id: envelope.hash().blob_id(), manifest, envelope }, parts))
    }
}

/// The entries of a roster, in pieces; none if one does not fit. Of the commits only the newest have their boxes: what
/// came before is handed on by those.
fn roster_pieces(roster: &Roster, piece: usize) -> Option<Vec<Bytes>> {
    let mut pieces = vec![Vec::new()];
    let mut room = piece;
    for (hash, entry) in roster.entries() {
        let entry = if roster.history().is_head(hash) { entry.clone() } else { without_boxes(entry) };
        let len = entry.len() + ENTRY_OVERHEAD;
        if len > room {
            pieces.push(Vec::new());
            room = piece;
        }
        room = room.checked_sub(len)?;
        pieces.last_mut().expect("there is one").push(entry);
    }
    let encode = |entries: Vec<Bytes>| -> Bytes {
        rmp_serde::to_vec(&entries).expect("entries always encode into memory").into()
    };
    Some(pieces.into_iter().filter(|entries| !entries.is_empty()).map(encode).collect())
}

/// What an entry adds to its own length in a piece, and the piece's own head shared by all.
const ENTRY_OVERHEAD: usize = 10;

/// A snapshot, put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its manifest's id.
    pub id: BlobId,
    /// Who made it.
    pub sender: DeviceId,
    /// When, by its maker's clock in Unix milliseconds.
    pub time_ms: u64,
    /// The app's bytes.
    pub bytes: Bytes,
}

/// Puts a snapshot together of what is stored of it. None if not all of it is there.
pub fn open(keys: &GroupKeys, manifest: Bytes, parts: &BTreeMap<BlobId, Bytes>) -> Option<Opened> {
    let Sealed { id, manifest, envelope } = Sealed::open(keys, manifest)?;
    let time_ms = seal::open(keys, &envelope).ok()?.time_ms;
    let mut bytes = Vec::with_capacity(usize::try_from(manifest.len).ok()?);
    for part in manifest.content() {
        bytes.extend_from_slice(&open_part(keys, parts.get(part)?)?);
    }
    let whole = bytes.len() as u64 == manifest.len;
    whole.then(|| Opened { id, sender: envelope.header().sender, time_ms, bytes: bytes.into() })
}

/// Opens a part that a manifest names.
fn open_part(keys: &GroupKeys, part: &Bytes) -> Option<Bytes> {
    let envelope = Envelope::parse(part.clone()).ok().filter(|envelope| envelope.header().kind == Kind::Snapshot)?;
    seal::unpack(&seal::open(keys, &envelope).ok()?).ok()
}

/// The entries in a part of the roster's.
pub(crate) fn open_roster_part(keys: &GroupKeys, part: &Bytes) -> Option<Vec<Bytes>> {
    let entries: AtMost<{ 4 * ROSTER_ENTRIES_MAX }, Bytes> = decode_exact(&open_part(keys, part)?).ok()?;
    Some(entries.0)
}

/// What is covered of a sender of whom so much is held, as far as there is room to name what is missing.
pub(crate) fn covered(sender: DeviceId, (seq, hash): (Seq, BlobHash), holes: &Ranges, room: &mut usize) -> Covered {
    let runs = holes.to_runs();
    let named = runs.len().min(*room);
    *room -= named;
    let (seq, hash) = match runs.get(named) {
        Some((first, _)) => (Seq::new(first.get().saturating_sub(1)), BlobHash::ZERO),
        None => (seq, hash),
    };
    Covered { sender, seq, hash, missing: runs[..named].to_vec().into() }
}
