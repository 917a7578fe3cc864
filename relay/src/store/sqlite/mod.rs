//! The log in one SQLite file.
//!
//! One task owns the only connection that writes (see [`writer`]); a few read-only connections serve pages. In
//! WAL mode neither waits for the other. `synchronous=FULL`: what was committed survives a power cut.

mod append;
mod groups;
mod ids;
mod mending;
mod moving;
mod packages;
mod place;
mod receipts;
mod snapshots;
mod sweep;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::{
    ConnectOptions as _, Row as _, SqliteConnection, SqlitePool,
    migrate::MigrateError,
    sqlite::{
        SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    },
};
use sync_types::{BlobId, DeviceId, ErrorCode, LogId, RelayCursor, RelayGroupId, Run};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::{
    Appended, Bounds, ClockMark, Greeted, Greeting, GroupLog, Head, Moved, Moving, NewBlob, NewPart, NewSnapshot, Span,
    Store, StoreError, StoredRow, Sweep, Swept, ToldReceipts, Totals, log::within,
};
use ids::Fresh;
use place::{cursor_at, place, places};
use writer::{Write, Writer};

/// Connections that read.
const READERS: u32 = 4;
/// Rows a reader fetches ahead: a page is bounded in bytes by its query, and fetching it row by row would pass each of
/// them from thread to thread.
const READ_AHEAD: usize = 256;
/// Requests that may wait for the writer; whoever comes then waits to be queued.
const QUEUE: usize = 1_024;
/// What the write-ahead log is cut back to once it was longer.
const WAL_BYTES: u32 = 4 * 1024 * 1024;
/// How long it gets before it is folded into the file: what is written again and again is then folded in once.
const WAL_PAGES: u32 = WAL_BYTES / 4_096;
/// Rows in one statement: few sizes, so that the statements stay prepared.
const CHUNKS: [usize; 4] = [256, 32, 4, 1];
/// What the writer keeps of the file in memory at most: the rows that are not in the index of blobs yet, and that.
const WRITER_CACHE_KIB: u32 = 16 * 1024;

/// See the [module](self).
pub(crate) struct SqliteStore {
    readers: SqlitePool,
    writer: mpsc::Sender<Write>,
    shared: Arc<Shared>,
    clock: Option<ClockMark>,
    /// Held by whoever has a log looked through: one at a time.
    mending: tokio::sync::Mutex<()>,
}

/// What the writer changes and everybody reads.
#[derive(Debug, Default)]
struct Shared {
    groups: RwLock<HashMap<RelayGroupId, Arc<GroupLog>>>,
    fresh: Mutex<Fresh>,
    blobs: AtomicU64,
    db_bytes: AtomicU64,
    damaged: AtomicU64,
}

impl Shared {
    fn group(&self, group: &RelayGroupId) -> Option<Arc<GroupLog>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).get(group).cloned()
    }

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_group(&self, log: Arc<GroupLog>) {
        self.groups.write().unwrap_or_else(PoisonError::into_inner).insert(log.group, log);
    }

    fn remove_group(&self, group: &RelayGroupId) {
        self.groups.write().unwrap_or_else(PoisonError::into_inner).remove(group);
    }

    /// Some logs are over, and another is in their place, if it is new. Nobody sees it halfway.
    fn replace_groups(&self, over: &[Arc<GroupLog>], with: Option<Arc<GroupLog>>) {
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        for log in over {
            log.end();
            groups.remove(&log.group);
        }
        groups.extend(with.map(|log| (log.group, log)));
    }

    fn all_groups(&self) -> Vec<Arc<GroupLog>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn group_count(&self) -> u64 {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).len() as u64
    }
}

impl SqliteStore {
    /// Opens the file, or makes it, and brings its schema up to date.
    pub(crate) async fn open(path: &Path, bounds: Bounds) -> Result<Self, StoreError> {
        let common =
            SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(5)).disable_statement_logging();
        let mut db = common
            .clone()
            .create_if_missing(true)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("journal_size_limit", WAL_BYTES.to_string())
            .pragma("wal_autocheckpoint", WAL_PAGES.to_string())
            .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
            // Only macOS needs to be told that a flush should reach the disk itself.
            .pragma("fullfsync", "ON")
            .connect()
            .await?;
        sqlx::migrate!("migrations/sqlite").run_direct(None, &mut db, false).await.map_err(migration_fault)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(common.read_only(true).row_buffer_size(READ_AHEAD))
            .await?;

        let shared = Arc::new(Shared::default());
        let bytes = load_groups(&mut db, &shared).await?;
        *shared.fresh() = ids::load(&mut db).await?;
        let clock = load_clock(&mut db).await?;
        let (writer, inbox) = mpsc::channel(QUEUE);
        let writer_task = Writer::new(db, Arc::clone(&shared), bounds, bytes).await?;
        tokio::spawn(writer_task.run(inbox));
        Ok(Self { readers, writer, shared, clock, mending: tokio::sync::Mutex::default() })
    }

    /// The rows of a span as they are, whether or not the log is over.
    async fn page(&self, log: &GroupLog, span: Span, now_ms: u64) -> Result<Option<Vec<StoredRow>>, StoreError> {
        if let Some(rows) = log.tail().read(span) {
            return Ok(Some(rows.into_iter().map(|row| row.at(now_ms)).collect()));
        }
        let rows = sqlx::query(
            // The running total cuts the page off before its envelopes are read.
            "WITH page AS (
                 SELECT place, SUM(IIF(envelope IS NULL OR expires_ms <= ?1, 16, size)) OVER (ORDER BY place) AS bytes
                 FROM (SELECT * FROM entries WHERE place > ?2 AND place <= ?3 ORDER BY place LIMIT ?4)
             )
             SELECT place, id_high, id_low, run, IIF(expires_ms <= ?1, NULL, envelope) AS envelope, received_ms, expires_ms
             FROM entries
             WHERE place > ?2 AND place <= (SELECT MAX(place) FROM page WHERE bytes <= ?5 OR place = ?2 + 1)
             ORDER BY place",
        )
        .bind(signed(now_ms))
        .bind(place(log.no, span.after))
        .bind(*places(log.no).end())
        .bind(signed(span.rows_max as u64))
        .bind(signed(span.bytes_max as u64))
        .fetch_all(&self.readers)
        .await?;
        if !mending::are_sound(&rows)? {
            return Err(self.mend(log).await);
        }
        let rows = rows.iter().map(row_of).collect::<Result<Vec<_>, _>>()?;
        let mut expected = span.after;
        for row in &rows {
            expected = expected.next();
            if row.cursor != expected {
                return Ok(None);
            }
        }
        Ok(Some(within(span, rows.into_iter())))
    }

    /// Hands something to the writer and waits for its answer.
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Write,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.writer.send(request(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn clock(&self) -> Option<ClockMark> {
        self.clock
    }

    fn knows(&self, group: &RelayGroupId) -> bool {
        self.shared.group(group).is_some()
    }

    async fn greet(&self, greeting: Greeting) -> Result<Greeted, StoreError> {
        self.ask(|reply| Write::Greet(greeting, reply)).await
    }

    async fn packages(&self, group: &RelayGroupId) -> Result<Option<Vec<Bytes>>, StoreError> {
        packages::of(&self.readers, group).await
    }

    async fn aside(&self, group: &RelayGroupId) -> Result<Vec<(RelayGroupId, Bytes)>, StoreError> {
        packages::aside(&self.readers, group).await
    }

    async fn ways_from(&self, ids: &[RelayGroupId], group: &RelayGroupId) -> Result<Vec<RelayGroupId>, StoreError> {
        packages::ways_from(&self.readers, ids, group).await
    }

    async fn move_group(&self, moving: Moving) -> Result<Result<Moved, ErrorCode>, StoreError> {
        self.ask(|reply| Write::Move(moving, reply)).await
    }

    async fn append(
        &self,
        log: &Arc<GroupLog>,
        blobs: Vec<NewBlob>,
    ) -> Result<Vec<Result<Appended, ErrorCode>>, StoreError> {
        self.ask(|reply| Write::Append(Arc::clone(log), blobs, reply)).await
    }

    async fn rows(&self, log: &GroupLog, span: Span, now_ms: u64) -> Result<Option<Vec<StoredRow>>, StoreError> {
        unless_over(log, self.page(log, span, now_ms).await?)
    }

    async fn run_at(&self, log: &GroupLog, cursor: RelayCursor) -> Result<Option<Run>, StoreError> {
        let head = log.head();
        if cursor == head.cursor {
            return unless_over(log, Some(head.run));
        }
        if cursor == head.floor_cursor {
            return unless_over(log, Some(head.floor_run));
        }
        let row = sqlx::query("SELECT run FROM entries WHERE place = ?")
            .bind(place(log.no, cursor))
            .fetch_optional(&self.readers)
            .await?;
        let run = row.map(|row| bytes_at(&row, 0)).transpose()?;
        unless_over(log, run.map(Run::from_bytes))
    }

    async fn get(&self, log: &GroupLog, blob_id: BlobId, now_ms: u64) -> Result<Option<Bytes>, StoreError> {
        // What leaves `fresh` while this waits for a connection is in the index by then.
        let fresh = self.shared.fresh().get(&(log.no, blob_id)).map(|cursor| place(log.no, *cursor));
        let (id_high, id_low) = ids::halves(&blob_id);
        let row = sqlx::query(
            "SELECT envelope FROM entries
             WHERE place IN (SELECT ?1 UNION ALL SELECT place FROM blob_ids WHERE id_high = ?2 AND place BETWEEN ?3 AND ?4)
               AND id_high = ?2 AND id_low = ?5 AND (expires_ms IS NULL OR expires_ms > ?6)",
        )
        .bind(fresh)
        .bind(id_high)
        .bind(*places(log.no).start())
        .bind(*places(log.no).end())
        .bind(id_low)
        .bind(signed(now_ms))
        .fetch_optional(&self.readers)
        .await?;
        let envelope = row.map(|row| row.try_get::<Option<Vec<u8>>, _>(0)).transpose()?.flatten();
        let envelope = match envelope {
            Some(envelope) if mending::is_whole(&blob_id, &envelope) => Some(envelope.into()),
            Some(_) => return Err(self.mend(log).await),
            None => self.get_of_snapshot(log, blob_id).await?,
        };
        unless_over(log, envelope)
    }

    fn acked(&self, log: &GroupLog, device: DeviceId, cursor: RelayCursor, now_ms: u64) {
        // A full queue drops it: the device's next ACK, or its next HELLO, says the same and more.
        let _ = self.writer.try_send(Write::Acked { group_no: log.no, device, cursor, now_ms });
    }

    async fn keep_receipt(
        &self,
        log: &Arc<GroupLog>,
        device: DeviceId,
        envelope: Bytes,
    ) -> Result<Result<(), ErrorCode>, StoreError> {
        self.ask(|reply| Write::Receipt(Arc::clone(log), device, envelope, reply)).await
    }

    async fn receipts(&self, log: &GroupLog, device: &DeviceId, told: u64) -> Result<ToldReceipts, StoreError> {
        unless_over(log, receipts::after(&self.readers, log, (device, told)).await?)
    }

    async fn keep_part(&self, log: &Arc<GroupLog>, part: NewPart) -> Result<Result<(), ErrorCode>, StoreError> {
        self.ask(|reply| Write::Part(Arc::clone(log), part, reply)).await
    }

    async fn publish_snapshot(
        &self,
        log: &Arc<GroupLog>,
        snapshot: NewSnapshot,
    ) -> Result<Result<(), ErrorCode>, StoreError> {
        self.ask(|reply| Write::Snapshot(Arc::clone(log), snapshot, reply)).await
    }

    async fn sweep(&self, sweep: Sweep) -> Result<Swept, StoreError> {
        self.ask(|reply| Write::Sweep(sweep, reply)).await
    }

    async fn inspect(&self, bytes_max: u64) -> Result<(), StoreError> {
        self.look_through(bytes_max).await
    }

    fn totals(&self) -> Totals {
        Totals {
            groups: self.shared.group_count(),
            blobs: self.shared.blobs.load(Ordering::Relaxed),
            damaged: self.shared.damaged.load(Ordering::Relaxed),
            db_bytes: self.shared.db_bytes.load(Ordering::Relaxed),
        }
    }

    async fn close(&self) {
        // Readers first: the last connection to close is the writer's, which then folds the WAL into the file.
        self.readers.close().await;
        let _ = self.ask(Write::Close).await;
    }
}

/// What was read of a log, unless that is over. Looked at after the reading: whatever a key's holder may not see any more
/// was written after the log was over.
fn unless_over<T>(log: &GroupLog, read: T) -> Result<T, StoreError> {
    if log.is_over() { Err(StoreError::GroupMoved) } else { Ok(read) }
}

/// Reads all groups into `shared`; returns the bytes each keeps.
async fn load_groups(db: &mut SqliteConnection, shared: &Shared) -> Result<HashMap<i64, u64>, StoreError> {
    let rows = sqlx::query("SELECT no, id, log_id, head_cursor, head_run, floor_cursor, floor_run, bytes FROM groups")
        .fetch_all(&mut *db)
        .await?;
    let mut bytes = HashMap::with_capacity(rows.len());
    let mut lists = snapshots::lists(&mut *db).await?;
    for row in rows {
        let no = row.try_get(0)?;
        let head = Head {
            cursor: RelayCursor::new(unsigned_at(&row, 3)?),
            run: Run::from_bytes(bytes_at(&row, 4)?),
            floor_cursor: RelayCursor::new(unsigned_at(&row, 5)?),
            floor_run: Run::from_bytes(bytes_at(&row, 6)?),
            newest: None,
        };
        let (group, log_id) = (RelayGroupId::from_bytes(bytes_at(&row, 1)?), LogId::from_bytes(bytes_at(&row, 2)?));
        let log = GroupLog::new(no, group, log_id, head);
        log.snapshots.send_replace(lists.remove(&no).unwrap_or_default());
        shared.add_group(Arc::new(log));
        bytes.insert(no, unsigned_at(&row, 7)?);
    }
    let blobs = sqlx::query("SELECT COUNT(*) FROM entries WHERE envelope IS NOT NULL").fetch_one(&mut *db).await?;
    shared.blobs.store(unsigned_at(&blobs, 0)?, Ordering::Relaxed);
    Ok(bytes)
}

async fn load_clock(db: &mut SqliteConnection) -> Result<Option<ClockMark>, StoreError> {
    let row = sqlx::query("SELECT time_ms, wall_ms FROM clock").fetch_optional(db).await?;
    row.map(|row| Ok(ClockMark { time_ms: unsigned_at(&row, 0)?, wall_ms: unsigned_at(&row, 1)? })).transpose()
}

fn row_of(row: &SqliteRow) -> Result<StoredRow, StoreError> {
    Ok(StoredRow {
        cursor: cursor_at(row.try_get(0)?),
        blob_id: ids::id_at(row, 1)?,
        envelope: row.try_get::<Option<Vec<u8>>, _>(4)?.map(Bytes::from),
        received_ms: unsigned_at(row, 5)?,
        expires_ms: row.try_get::<Option<i64>, _>(6)?.map(i64::cast_unsigned),
    })
}

/// SQLite's integers are signed. Cursors and times never come near the difference.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Cuts a list into pieces of the lengths in [`CHUNKS`], largest first.
fn chunks<T>(mut list: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let len = CHUNKS.into_iter().find(|len| *len <= list.len())?;
        let (chunk, rest) = list.split_at(len);
        list = rest;
        Some(chunk)
    })
}

/// `(?,?,..)`
fn placeholders(count: usize) -> String {
    format!("({})", vec!["?"; count].join(","))
}

fn unsigned_at(row: &SqliteRow, index: usize) -> Result<u64, StoreError> {
    let number: i64 = row.try_get(index)?;
    u64::try_from(number).map_err(|_| corrupt())
}

fn bytes_at<const N: usize>(row: &SqliteRow, index: usize) -> Result<[u8; N], StoreError> {
    let bytes: &[u8] = row.try_get(index)?;
    bytes.try_into().map_err(|_| corrupt())
}

fn migration_fault(error: MigrateError) -> StoreError {
    if let MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) = error {
        return StoreError::TooNew;
    }
    if let MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) = error {
        return error.into();
    }
    StoreError::Database(error.to_string())
}

impl From<sqlx::Error> for StoreError {
    /// What the database's own error means here. The operator is told of it now: a device only hears that it was no
    /// fault of its own.
    fn from(error: sqlx::Error) -> Self {
        // Primary result codes, https://www.sqlite.org/rescode.html
        const CORRUPT: i64 = 11;
        const FULL: i64 = 13;
        const NOT_A_DATABASE: i64 = 26;
        let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<i64>().ok());
        if let sqlx::Error::PoolClosed = error {
            return Self::Closed;
        }
        error!(%error, "the database failed");
        match code.map(|code| code & 0xFF) {
            Some(CORRUPT | NOT_A_DATABASE) => Self::Corrupt,
            Some(FULL) => Self::DiskFull,
            _ => Self::Database(error.to_string()),
        }
    }
}

/// A column holds what this relay never writes.
fn corrupt() -> StoreError {
    error!("the database holds a value of the wrong size");
    StoreError::Corrupt
}
