//! Where logs rest: what the relay asks of a database, without saying which.
//!
//! A group's log is numbered from 1 without a gap, and each row is chained to the one before by its run. The
//! contract (its suite is `contract`): a row is readable only once it is on disk, and no reader sees row n+1
//! before row n; appending a blob again answers what the first time answered; a row whose time is over is never
//! served, due for removal or not.
//!
//! What the disk has changed is served to nobody. A log in which that is found is over, and another one begins with all
//! that is whole of it, so its devices notice and bring what it lacks.
//!
//! The store has no clock. Callers say what time it is, in the relay's retention time (see
//! [`crate::retention`]), which no jump of a wall clock can move far.

#[cfg(test)]
pub(crate) mod contract;
mod log;
pub(crate) mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sync_types::{BlobId, DeviceId, ErrorCode, Kind, LogId, RelayCursor, RelayGroupId, Run};

pub(crate) use log::{GroupLog, Head, Newest};

/// Why the store could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Written by a newer build. Update the relay; nothing was changed.
    #[error("the database was written by a newer version of the relay; update it")]
    TooNew,
    /// Not a database, or damaged. Restore the data folder from a backup; devices fill in what is newer.
    #[error("the database is damaged; restore it from a backup, or move it away to start empty")]
    Corrupt,
    /// No room on the disk.
    #[error("the disk is full; make room on the one of storage.data_dir")]
    DiskFull,
    /// As many groups as the relay takes, and none of them empty.
    #[error("the relay takes no more groups")]
    TooManyGroups,
    /// The group is known by another id: whoever still belongs to it is told by what MOVED answers.
    #[error("the group is known by another id")]
    GroupMoved,
    /// The relay is stopping.
    #[error("the store is closed")]
    Closed,
    /// Anything else the database says.
    #[error("the database failed: {0}")]
    Database(String),
}

/// What a store may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Envelope bytes a group may keep; control envelopes may go over by the reserve.
    pub(crate) group_bytes: u64,
    /// Bytes of the whole database; each group's control envelopes may go over by the reserve.
    pub(crate) db_bytes: u64,
    pub(crate) groups: u64,
}

/// A device enters its group's log, which is created if it is the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greeting {
    pub(crate) group: RelayGroupId,
    pub(crate) device: DeviceId,
    /// What the device says it has read durably, in the log it says it was.
    pub(crate) read: Option<(LogId, RelayCursor)>,
    /// The id of the log, should it have to be created.
    pub(crate) new_log_id: LogId,
    pub(crate) now_ms: u64,
}

/// A group is known by another id from now on.
#[derive(Clone, Debug)]
pub(crate) struct Moving {
    pub(crate) group: RelayGroupId,
    /// The ids that are over, and what is left there for those who hold the old keys.
    pub(crate) over: Vec<(RelayGroupId, Bytes)>,
    /// The devices that remain. The others are not waited for any more.
    pub(crate) remaining: Vec<DeviceId>,
    /// Whether something may be left that is not there yet.
    pub(crate) may_add: bool,
    pub(crate) now_ms: u64,
}

/// What a [`Moving`] changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Packages that were not there. None: then all was so already.
    pub(crate) packages: usize,
    /// Logs whose id is over.
    pub(crate) logs: usize,
    /// Rows that came behind those of another log.
    pub(crate) merged: u64,
}

/// An envelope to keep.
#[derive(Clone, Debug)]
pub(crate) struct NewBlob {
    pub(crate) blob_id: BlobId,
    pub(crate) kind: Kind,
    pub(crate) sender: DeviceId,
    pub(crate) envelope: Bytes,
    /// The wall clock at its arrival, for people.
    pub(crate) received_ms: u64,
    /// In retention time; `None` for as long as there is room.
    pub(crate) expires_ms: Option<u64>,
}

/// A part of a snapshot that is on its way.
#[derive(Clone, Debug)]
pub(crate) struct NewPart {
    pub(crate) blob_id: BlobId,
    pub(crate) envelope: Bytes,
    pub(crate) now_ms: u64,
}

/// A snapshot whose parts should be there.
#[derive(Clone, Debug)]
pub(crate) struct NewSnapshot {
    pub(crate) blob_id: BlobId,
    /// Its manifest.
    pub(crate) envelope: Bytes,
    pub(crate) parts: Vec<BlobId>,
    /// Whoever loads it needs no row up to here.
    pub(crate) covers: RelayCursor,
    /// The run up to and with that row, as its device knows it.
    pub(crate) run: Run,
    pub(crate) now_ms: u64,
}

/// Where an envelope stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) cursor: RelayCursor,
    pub(crate) run: Run,
    pub(crate) received_ms: u64,
}

/// A row as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRow {
    pub(crate) cursor: RelayCursor,
    pub(crate) blob_id: BlobId,
    pub(crate) received_ms: u64,
    /// In retention time.
    pub(crate) expires_ms: Option<u64>,
    /// `None` once its time is over.
    pub(crate) envelope: Option<Bytes>,
}

impl StoredRow {
    /// The row as it may be served at `now_ms`: without its envelope if its time is over.
    pub(crate) fn at(mut self, now_ms: u64) -> Self {
        if self.expires_ms.is_some_and(|expires| expires <= now_ms) {
            self.envelope = None;
        }
        self
    }

    /// What it adds to a page.
    pub(crate) fn len(&self) -> usize {
        self.envelope.as_ref().map_or(BlobId::LEN, Bytes::len)
    }
}

/// Which rows, and how many at most. One always fits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) after: RelayCursor,
    pub(crate) rows_max: usize,
    pub(crate) bytes_max: usize,
}

/// One bounded step of cleaning up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweep {
    /// The retention clock; kept, so that the next start goes on from it.
    pub(crate) clock: ClockMark,
    /// Devices last seen before this are forgotten, and groups last visited before it with all they hold.
    pub(crate) devices_before_ms: u64,
    /// Whether to give freed pages back to the file system.
    pub(crate) vacuum: bool,
}

/// What a [`Sweep`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) expired: u64,
    pub(crate) dropped: u64,
    /// How many of those had not expired, but were covered by snapshots.
    pub(crate) covered: u64,
    /// Parts that no snapshot came for.
    pub(crate) parts: u64,
    pub(crate) devices: u64,
    pub(crate) groups: u64,
    /// Packages of ids that are over.
    pub(crate) packages: u64,
    /// Whether there was more than fits one step.
    pub(crate) more: bool,
}

/// Where retention time stood at a moment of the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClockMark {
    pub(crate) time_ms: u64,
    pub(crate) wall_ms: u64,
}

/// An id for a log that begins.
pub(crate) fn random_log_id() -> Result<LogId, getrandom::Error> {
    let mut bytes = [0; LogId::LEN];
    getrandom::fill(&mut bytes)?;
    Ok(LogId::from_bytes(bytes))
}

/// What the store holds, for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) groups: u64,
    /// Envelopes in logs, expired ones not counted.
    pub(crate) blobs: u64,
    /// Envelopes that the disk had changed, since the start.
    pub(crate) damaged: u64,
    /// Bytes of the database in use.
    pub(crate) db_bytes: u64,
}

/// Receipts that a session is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ToldReceipts {
    /// The number of the last of them.
    pub(crate) told: u64,
    pub(crate) envelopes: Vec<Bytes>,
}

/// A device that has entered.
#[derive(Debug)]
pub(crate) struct Greeted {
    pub(crate) log: Arc<GroupLog>,
    /// Where the log ends, from now on. A log that is watched is never collected.
    pub(crate) head: tokio::sync::watch::Receiver<Head>,
}

/// A database of logs.
#[async_trait]
pub(crate) trait Store: Send + Sync + 'static {
    /// The clock as the last sweep kept it.
    fn clock(&self) -> Option<ClockMark>;

    /// Whether the group has a log here.
    fn knows(&self, group: &RelayGroupId) -> bool;

    /// Enters a device, creating its group's log if there is none; not if the group is known by another id.
    async fn greet(&self, greeting: Greeting) -> Result<Greeted, StoreError>;

    /// What is left, the oldest first, for whoever knows a group by an id that is over; `None` for any other id.
    async fn packages(&self, group: &RelayGroupId) -> Result<Option<Vec<Bytes>>, StoreError>;

    /// What was left at ids that this group went on from by those who went another way: the newest first, no more than
    /// one answer takes.
    async fn aside(&self, group: &RelayGroupId) -> Result<Vec<(RelayGroupId, Bytes)>, StoreError>;

    /// Where others went from these ids than to this group.
    async fn ways_from(&self, ids: &[RelayGroupId], group: &RelayGroupId) -> Result<Vec<RelayGroupId>, StoreError>;

    /// Makes the logs of ids that are over the group's, all or nothing, and leaves a package at each of them. A refusal
    /// is `group_moved` if the group's own id is over, `rate_limited` if nothing may be added and something would be,
    /// `storage_full` or `group_full`. Once this resolves it is on disk, and nobody reads or writes by the old ids.
    async fn move_group(&self, moving: Moving) -> Result<Result<Moved, ErrorCode>, StoreError>;

    /// Appends blobs in their order. Each is answered by itself: one that finds no room is `group_full` or
    /// `storage_full`, and those after it may still fit. All are `group_moved` for a log that is over. Resolves once they
    /// are on disk.
    async fn append(
        &self,
        log: &Arc<GroupLog>,
        blobs: Vec<NewBlob>,
    ) -> Result<Vec<Result<Appended, ErrorCode>>, StoreError>;

    /// The rows after `span.after`, contiguous from the next one. `None` if that one has left the log. Reading a log that
    /// is over is [`StoreError::GroupMoved`], also below.
    async fn rows(&self, log: &GroupLog, span: Span, now_ms: u64) -> Result<Option<Vec<StoredRow>>, StoreError>;

    /// The run up to and with a row, if the row is there.
    async fn run_at(&self, log: &GroupLog, cursor: RelayCursor) -> Result<Option<Run>, StoreError>;

    /// One envelope, if it is there and its time is not over: a row's, or a snapshot's.
    async fn get(&self, log: &GroupLog, blob_id: BlobId, now_ms: u64) -> Result<Option<Bytes>, StoreError>;

    /// Notes how far a device has read. Not awaited: it is on disk within seconds.
    fn acked(&self, log: &GroupLog, device: DeviceId, cursor: RelayCursor, now_ms: u64);

    /// Keeps a device's receipt in the place of the one before; `storage_full` if there is no room. It is on disk, and those
    /// who listen to the log's `receipts` hear of it, within seconds: nobody has to wait for that.
    async fn keep_receipt(
        &self,
        log: &Arc<GroupLog>,
        device: DeviceId,
        envelope: Bytes,
    ) -> Result<Result<(), ErrorCode>, StoreError>;

    /// Receipts of other devices than this one, those that came after the last that was told; as many as fit a message.
    async fn receipts(&self, log: &GroupLog, device: &DeviceId, told: u64) -> Result<ToldReceipts, StoreError>;

    /// Keeps a part of a snapshot until one names it, or for a while; `group_full` or `storage_full` if there is no room.
    /// Resolves once it is on disk.
    async fn keep_part(&self, log: &Arc<GroupLog>, part: NewPart) -> Result<Result<(), ErrorCode>, StoreError>;

    /// Makes a snapshot the group's newest, and lets go of the oldest if they are more than are kept; the log's `snapshots`
    /// say so. `not_found` if a part is not there, `log_forked` if the row that it covers up to is not there or has another
    /// run, `snapshot_outdone` if the newest covers more, `group_full` or `storage_full`. Resolves once it is on disk.
    async fn publish_snapshot(
        &self,
        log: &Arc<GroupLog>,
        snapshot: NewSnapshot,
    ) -> Result<Result<(), ErrorCode>, StoreError>;

    /// Cleans up, one bounded step.
    async fn sweep(&self, sweep: Sweep) -> Result<Swept, StoreError>;

    /// Looks through about so many bytes of what is kept, from where it stopped the last time, be it before a restart, and
    /// up to the end at most. What the disk has changed is dealt with as when it is read.
    async fn inspect(&self, bytes_max: u64) -> Result<(), StoreError>;

    /// What it holds.
    fn totals(&self) -> Totals;

    /// Finishes what was begun and closes the files.
    async fn close(&self);
}
