//! What a profile keeps on disk, and what any place for it must promise.
//!
//! Everything the engine is opened from, the local log, and the few facts of the profile itself. Envelopes rest as
//! they travel, sealed; secrets don't rest here at all.
//!
//! Invariant: [`Store::commit`] is all or nothing, and durable when it returns. Every guarantee against crashes
//! rests on it.

#[cfg(test)]
mod contract;
#[cfg(test)]
mod memory;
mod sqlite;

use std::collections::BTreeMap;

use bytes::Bytes;
use sync_core::event::{HeldRow, Load, SenderRow, StoreOp, Stored};
use sync_types::{BlobHash, BlobId, DeviceId, ErrorCode, GroupId, LocalCursor, LocalLogId, PushId, RelayId, Seq};

use crate::secrets::SecretsChoice;

pub(crate) use sqlite::{Backup, FILE_NAME, Place, SqliteStore};

/// Why the database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room on the disk.
    #[error("{}", ErrorCode::LocalFull.text())]
    Full,
    /// The disk or the folder's permissions.
    #[error("{}", ErrorCode::LocalStorage.text())]
    Failed(#[source] sqlx::Error),
    /// It is not a database, or not a whole one, or holds what was never written.
    #[error("{}", ErrorCode::StoreCorrupt.text())]
    Corrupt,
    /// Written by a newer build.
    #[error("{}", ErrorCode::StoreTooNew.text())]
    TooNew,
}

impl StoreError {
    /// See [`crate::ClientError::code`].
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Full => ErrorCode::LocalFull,
            Self::Failed(_) => ErrorCode::LocalStorage,
            Self::Corrupt => ErrorCode::StoreCorrupt,
            Self::TooNew => ErrorCode::StoreTooNew,
        }
    }
}

/// The profile itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProfileRow {
    /// Random; names the profile's entry in the keychain.
    pub(crate) profile_id: [u8; 16],
    /// The log that local cursors count in.
    pub(crate) local_log_id: LocalLogId,
    /// What the device calls itself to other members.
    pub(crate) name: String,
    /// The app whose groups this profile may be in.
    pub(crate) app_id: String,
    /// Where its secrets rest.
    pub(crate) secrets: SecretsChoice,
    /// The group it is in, and as whom.
    pub(crate) membership: Option<Membership>,
}

/// A profile's place in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) group: GroupId,
    pub(crate) device: DeviceId,
}

/// A configured relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressRow {
    /// As configured, in its one spelling.
    pub(crate) address: String,
    /// Who answered there first, and where it listened when last asked.
    pub(crate) pin: Option<Pin>,
}

/// What an address led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) relay: RelayId,
    /// `host:port`, in the order to try them.
    pub(crate) hosts: Vec<String>,
}

/// How far a device says to have come with one sender's envelopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) sender: DeviceId,
    pub(crate) received: Seq,
    pub(crate) applied: Seq,
    /// First and last of what it gave up for lost.
    pub(crate) missing: Vec<(Seq, Seq)>,
}

/// A blob of the local log, by its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) cursor: LocalCursor,
    pub(crate) push_id: PushId,
    pub(crate) sender: DeviceId,
    pub(crate) seq: Seq,
}

/// What a device lacks of the local log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lacks {
    /// Blobs it did not say to have received, nor to have given up.
    pub(crate) unreceived: u64,
    /// The first of them.
    pub(crate) first_unreceived: Option<LocalCursor>,
    /// The first that it did not say to have applied.
    pub(crate) first_unapplied: Option<LocalCursor>,
    /// Blobs it gave up for lost.
    pub(crate) lost: u64,
}

/// An envelope that is held, and whose bytes are not those that were stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DamagedRow {
    pub(crate) sender: DeviceId,
    pub(crate) seq: Seq,
    pub(crate) hash: BlobHash,
    pub(crate) cursor: Option<LocalCursor>,
    pub(crate) push_id: PushId,
}

/// What the disk has changed of what was stored, in each of the places for envelopes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damaged {
    pub(crate) held: Vec<DamagedRow>,
    pub(crate) waiting: Vec<BlobHash>,
    pub(crate) parked: Vec<BlobId>,
    pub(crate) snapshots: Vec<BlobId>,
}

impl Damaged {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How much room a profile takes on its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the whole database.
    pub database: u64,
    /// Bytes of it that nothing is in just now; what comes next goes there first.
    pub free: u64,
    /// How many envelopes are held, own and others': the log, and who belongs to the group.
    pub envelopes: u64,
    /// Bytes of envelopes that wait for earlier ones.
    pub waiting: u64,
    /// Bytes of envelopes that can't be read here.
    pub parked: u64,
    /// Bytes of snapshots: this device's newest, and one that is being loaded.
    pub snapshots: u64,
}

/// Own envelopes before those that a relay may not have, whose hashes are read as well: by these a device that was copied
/// sees from where on it was.
const OWN_HASHES_SPARE: u64 = 256;

/// How far this device's own envelopes go once this one is stored: they have no holes.
fn newest_own(row: &HeldRow) -> SenderRow {
    SenderRow { sender: row.sender, seq: row.seq, hash: row.hash, holes: Vec::new(), expected: row.seq }
}

/// Where a profile is kept.
#[async_trait::async_trait]
pub(crate) trait Store: Send + Sync + 'static {
    /// The profile, if `init` got that far.
    async fn profile(&self) -> Result<Option<ProfileRow>, StoreError>;

    /// Makes the profile with its relays, and with the roster's entries of the group it is in from the start, if it is
    /// in one: all in one transaction.
    async fn create_profile(&self, profile: &ProfileRow, relays: &[String], roster: &[Bytes])
    -> Result<(), StoreError>;

    /// The configured relays in order of preference.
    async fn addresses(&self) -> Result<Vec<AddressRow>, StoreError>;

    /// Puts these relays in the place of the configured ones. What is known of those that stay is kept.
    async fn set_addresses(&self, relays: &[String]) -> Result<(), StoreError>;

    /// Adds relays behind the configured ones. Those that are configured already stay where they are.
    async fn add_addresses(&self, relays: &[String]) -> Result<(), StoreError>;

    /// Remembers what an address led to. An address that is not configured is none of its business.
    async fn pin(&self, address: &str, pin: &Pin) -> Result<(), StoreError>;

    /// Enters a group: the membership and the first facts of it, in one transaction.
    async fn enter_group(&self, membership: Membership, ops: &[StoreOp]) -> Result<(), StoreError>;

    /// Leaves the group: everything of it goes, and cursors count in another log from now on. The relays stay configured.
    async fn leave_group(&self, local_log_id: LocalLogId) -> Result<(), StoreError>;

    /// Everything an engine is opened from.
    async fn load(&self) -> Result<Stored, StoreError>;

    /// Makes changes durable, in order, all or none.
    async fn commit(&self, ops: &[StoreOp]) -> Result<(), StoreError>;

    /// Rows for the engine, and the position of the last of them; 0 without any.
    async fn read(&self, load: Load) -> Result<(Vec<HeldRow>, u64), StoreError>;

    /// The snapshot that is being loaded: its manifest, and the parts that are here.
    async fn snapshot(&self) -> Result<Option<(Bytes, BTreeMap<BlobId, Bytes>)>, StoreError>;

    /// Blobs of the local log after a cursor, in order: at most `rows`, and no more once `bytes` are reached.
    async fn log(&self, after: LocalCursor, rows: u32, bytes: usize) -> Result<Vec<HeldRow>, StoreError>;

    /// The blobs at these cursors, in the order of the question, without what they hold. What is none of the log's is left
    /// out.
    async fn placed(&self, cursors: &[LocalCursor]) -> Result<Vec<Placed>, StoreError>;

    /// The newest cursor given out, and what the app acknowledged.
    async fn cursors(&self) -> Result<(LocalCursor, LocalCursor), StoreError>;

    /// Looks whether all of it is as it was written: [`StoreError::Corrupt`] if it isn't.
    async fn check(&self) -> Result<(), StoreError>;

    /// The same more thoroughly, which takes as long as reading all of it.
    async fn check_all(&self) -> Result<(), StoreError>;

    /// Compares each envelope's bytes with the name that it is kept under. Reads all of them.
    async fn damaged(&self) -> Result<Damaged, StoreError>;

    /// What is kept takes so much room. Reads no log for it.
    async fn sizes(&self) -> Result<Sizes, StoreError>;

    /// What blobs of the local log a device lacks, going by what it says of each sender.
    async fn lacks(&self, device: &DeviceId, reached: &[Reach]) -> Result<Lacks, StoreError>;

    /// Closes the database. What was committed is there at the next opening without this, too.
    async fn close(&self);
}
