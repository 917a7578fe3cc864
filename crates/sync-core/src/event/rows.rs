//! What the engine keeps on the disk: changes, rows, and what it is opened from.

use bytes::Bytes;
use sync_types::{BlobHash, BlobId, DeviceId, Kind, LocalCursor, LogId, PushId, RelayCursor, RelayId, Run, Seq};

use super::ParkReason;
use crate::{heads::Contradiction, identity::Nonce, roster::EntryHash};

/// One durable change. Those of one [`super::Action::Store`] belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// An own envelope: into the held rows, and it is the newest of this device's.
    PutOwn(HeldRow),
    /// An own envelope that nobody was offered is sealed again under new keys: it takes the place of the one before.
    Reseal(HeldRow),
    /// Another device's envelope: into the held rows.
    Take(HeldRow),
    /// An envelope that is held and was damaged on the disk: these are its bytes, and all else of its row stays.
    Mend {
        /// Whose it is.
        sender: DeviceId,
        /// Its place among its sender's.
        seq: Seq,
        /// It, as it was written once.
        envelope: Bytes,
    },
    /// How far a sender is held. Replaces what was known of it.
    Sender(SenderRow),
    /// An envelope that can't be handed out yet: its predecessor or its sender's roster entry is missing.
    Wait(WaitingRow),
    /// It waits no longer.
    Unwait {
        /// Which.
        hash: BlobHash,
    },
    /// An envelope that can't be read here.
    Park(ParkedRow),
    /// It is parked no longer.
    Unpark {
        /// Which.
        blob_id: BlobId,
    },
    /// What is known of a relay's log. Replaces what was known of that relay.
    Relay {
        /// Which.
        relay: RelayId,
        /// What.
        state: RelayState,
    },
    /// Own envelopes up to here were offered to somebody, so they are never sealed again.
    Offered {
        /// The last of them.
        through: Seq,
    },
    /// The app has applied everything up to here.
    AppAck {
        /// The last blob of that.
        cursor: LocalCursor,
    },
    /// Another installation uses this device's identity, and there is no room for one more device. It seals nothing any
    /// more.
    IdentityReused,
    /// This device is another one from now on: none of its envelopes was offered to anybody, nor is on any relay, and
    /// what it said as the one before it has not said. Nothing follows in the same transaction.
    Identity {
        /// Who it is now.
        device: DeviceId,
        /// Who it was.
        former: DeviceId,
        /// What its keys follow from.
        nonce: Nonce,
    },
    /// An own envelope of the identity before is one of this one: it takes the place of that, under the same cursor.
    Adopt {
        /// Who sealed it before.
        former: DeviceId,
        /// Its place there.
        seq: Seq,
        /// As it is now, the newest of this device's.
        row: HeldRow,
    },
    /// A roster entry that was taken, be it as one that waits for its inviter's.
    Roster {
        /// Its bytes.
        entry: Bytes,
    },
    /// When a device was last seen. Replaces what was known of it.
    Seen {
        /// Which.
        device: DeviceId,
        /// In Unix milliseconds.
        at_ms: u64,
    },
    /// The newest receipt of a device, its own or another's. Replaces the one before.
    Receipt {
        /// Whose.
        device: DeviceId,
        /// It, as it travels.
        envelope: Bytes,
    },
    /// A snapshot: this device's own, in the place of the one before, or one that is being loaded, likewise.
    Snapshot {
        /// By its manifest's id.
        snapshot: BlobId,
        /// It is this device's.
        own: bool,
        /// The manifest, as it travels.
        manifest: Bytes,
        /// The parts that are here, as they travel.
        parts: Vec<(BlobId, Bytes)>,
    },
    /// One more part of a snapshot that is being loaded.
    SnapshotPart {
        /// Of which.
        snapshot: BlobId,
        /// Which.
        part: BlobId,
        /// It, as it travels.
        envelope: Bytes,
    },
    /// A snapshot is not needed any more, nor are its parts.
    SnapshotOver {
        /// Which.
        snapshot: BlobId,
    },
    /// What the app took by a snapshot counts among what is held: so many bytes of envelopes at least, before what
    /// follows.
    HeldBytes {
        /// In all.
        at_least: u64,
    },
    /// Nobody needs these envelopes any more: their rows stay, and say where they belong, without them.
    LetGo {
        /// Whose.
        sender: DeviceId,
        /// The first.
        first: Seq,
        /// The last: all of this sender's between them.
        last: Seq,
        /// How long they are together.
        bytes: u64,
    },
    /// A roster entry that was taken and is over: a newer name has its place.
    Superseded {
        /// Its bytes.
        entry: Bytes,
    },
}

/// What the disk has changed: bytes that are not those of the name they are kept under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Envelopes that are held: whose, where among its sender's, and under which hash.
    pub held: Vec<(DeviceId, Seq, BlobHash)>,
    /// Envelopes that wait.
    pub waiting: Vec<BlobHash>,
    /// Envelopes that are parked.
    pub parked: Vec<BlobId>,
    /// Snapshots of which the manifest or a part is.
    pub snapshots: Vec<BlobId>,
}

/// An envelope this device holds, own or taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// Who sealed it.
    pub sender: DeviceId,
    /// Its place among its sender's.
    pub seq: Seq,
    /// Its hash.
    pub hash: BlobHash,
    /// What it holds.
    pub kind: Kind,
    /// Its place in the local log, if it is a blob that is not there already, as one of a copied device's.
    pub cursor: Option<LocalCursor>,
    /// Its name.
    pub push_id: PushId,
    /// The sender's clock at sealing, in Unix milliseconds.
    pub time_ms: u64,
    /// Unix milliseconds when it came to rest here, for its age.
    pub held_ms: u64,
    /// It came after a gap had been reported in its place.
    pub late: bool,
    /// The envelope; nothing once it was [let go](StoreOp::LetGo).
    pub envelope: Bytes,
}

impl HeldRow {
    /// What answers [`Load::Parked`]: the envelope, and nothing that is known of it, since it could not be read.
    pub fn unread(envelope: Bytes) -> Self {
        Self {
            sender: DeviceId::from_bytes([0; 32]),
            seq: Seq::START,
            hash: BlobHash::ZERO,
            kind: Kind::Data,
            cursor: None,
            push_id: PushId::from_bytes([0; 16]),
            time_ms: 0,
            held_ms: 0,
            late: false,
            envelope,
        }
    }
}

/// How far a sender is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderRow {
    /// Whose.
    pub sender: DeviceId,
    /// Everything up to here is held, but for `holes`.
    pub seq: Seq,
    /// The hash of that one.
    pub hash: BlobHash,
    /// Reported as missing: first and last of each run, ascending, all below `seq`.
    pub holes: Vec<(Seq, Seq)>,
    /// Somebody trustworthy said that there is at least this much.
    pub expected: Seq,
}

/// An envelope that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingRow {
    /// Who sealed it.
    pub sender: DeviceId,
    /// Its hash.
    pub hash: BlobHash,
    /// The envelope.
    pub envelope: Bytes,
}

/// An envelope that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedRow {
    /// The relay's name for it.
    pub blob_id: BlobId,
    /// Why.
    pub reason: ParkReason,
    /// The bytes, which may not even be an envelope this build can parse.
    pub envelope: Bytes,
}

/// What a device knows of one relay's log. Keyed by the relay's id, and void on another log id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayState {
    /// The log it is about.
    pub log_id: LogId,
    /// Every row up to here is on this device's disk.
    pub pulled: RelayCursor,
    /// The log's run up to and with it.
    pub run: Run,
    /// Own envelopes up to here are on the relay's disk.
    pub acked: Seq,
    /// The highest row the relay ever confirmed a push with, and the run it named: it may not lose that.
    pub mark: Option<(RelayCursor, Run)>,
    /// The relay lost rows: held rows from this position on are still to be offered again.
    pub refill: Option<u64>,
    /// It lost nothing, and is compared with what is held all the same: read from its start, and given what it lacks.
    pub compares: bool,
    /// The largest payload it takes, as it last said: a larger one is refused at its push, online or not.
    pub blob_len_max: Option<u64>,
    /// What it was told of commits: where the group went, and what was left for those who were away. None for nothing.
    pub paved: Option<Paved>,
    /// What others have read of this log and is not what is shown here: of each device the newest.
    pub contradictions: Vec<Contradiction>,
}

/// What a relay was told of a group's commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paved {
    /// The one that the group was moved to.
    pub head: EntryHash,
    /// A hash of all that were known then.
    pub known: [u8; 32],
}

/// What a row without its envelope counts among the bytes that a [`Load`] asks for.
pub const GONE_BYTES: usize = 128;

/// Rows to read from what is held. An envelope that was let go counts as [`GONE_BYTES`], so that there is an end to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Own envelopes in their order, from this one on, until `bytes` are exceeded; at least one, if there is one.
    Own {
        /// The first.
        from: Seq,
        /// When to stop.
        bytes: usize,
    },
    /// Envelopes of one sender in their order, from this one on, until `bytes` are exceeded; at least one, if there is one.
    Of {
        /// Whose.
        sender: DeviceId,
        /// The first.
        from: Seq,
        /// When to stop.
        bytes: usize,
    },
    /// Everything held, own or taken, in the order it came to rest, after this position, until `bytes` are
    /// exceeded; at least one, if there is one. Positions are counted from 1 by the store.
    Held {
        /// On whose behalf.
        relay: RelayId,
        /// The position before the first.
        after: u64,
        /// When to stop.
        bytes: usize,
    },
    /// As [`Self::Held`], without what was let go.
    Front {
        /// The position before the first.
        after: u64,
        /// When to stop.
        bytes: usize,
    },
    /// What is parked, ascending by blob id after this one, until `bytes` are exceeded; at least one, if there is
    /// one. They come as [`HeldRow::unread`].
    Parked {
        /// The last one that was read.
        after: Option<BlobId>,
        /// When to stop.
        bytes: usize,
    },
    /// One part of a snapshot. It comes as [`HeldRow::unread`].
    SnapshotPart {
        /// On whose behalf.
        relay: RelayId,
        /// Of which.
        snapshot: BlobId,
        /// Which.
        part: BlobId,
    },
}

/// A snapshot that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// It is this device's.
    pub own: bool,
    /// The manifest, as it travels.
    pub manifest: Bytes,
    /// The parts that are here.
    pub parts: Vec<BlobId>,
}

/// Everything an engine is opened from.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The newest place given out in the local log.
    pub head_cursor: LocalCursor,
    /// What the app has applied.
    pub app_acked: LocalCursor,
    /// Bytes of all envelopes that were ever taken in or sealed, and see [`StoreOp::HeldBytes`].
    pub held_bytes: u64,
    /// Bytes of those that were not let go.
    pub kept_bytes: u64,
    /// The last of this device's own that was let go.
    pub own_gone: Seq,
    /// Own envelopes up to here were offered to somebody.
    pub offered: Seq,
    /// How far each sender is held, this device among them.
    pub senders: Vec<SenderRow>,
    /// What waits.
    pub waiting: Vec<WaitingRow>,
    /// The newest own envelopes, ascending: at least those that some relay in `relays` may not have, as far back as
    /// [`crate::OWN_HASHES_MAX`] go.
    pub own: Vec<(Seq, BlobHash)>,
    /// Another installation uses this device's identity, and there was no room for one more device.
    pub identity_reused: bool,
    /// What this device's keys follow from, as often as it found that it was copied: the oldest first.
    pub nonces: Vec<Nonce>,
    /// What is parked, and why.
    pub parked: Vec<(BlobId, ParkReason)>,
    /// The length of all that, in bytes.
    pub parked_bytes: u64,
    /// What is known of relays.
    pub relays: Vec<(RelayId, RelayState)>,
    /// Roster entries, in the order they were taken.
    pub roster: Vec<Bytes>,
    /// When devices were last seen.
    pub seen: Vec<(DeviceId, u64)>,
    /// The newest receipt of each device, this one's among them.
    pub receipts: Vec<Bytes>,
    /// This device's snapshot, and the one that is being loaded.
    pub snapshots: Vec<StoredSnapshot>,
}
