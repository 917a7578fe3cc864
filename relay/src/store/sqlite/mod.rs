//! The log in one SQLite file.
//!
//! One task owns the only connection that writes (see [`writer`]); a few read-only connections serve pages. In
//! WAL mode neither waits for the other. `synchronous=FULL`: what was committed survives a power cut.

mod append;
mod groups;
mod sweep;
mod transaction;
mod writer;

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, PoisonError, RwLock,
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
    Appended, Bounds, ClockMark, Greeted, Greeting, GroupLog, Head, NewBlob, Span, Store, StoreError, StoredRow, Sweep,
    Swept, Totals, log::within,
};
use writer::{Write, Writer};

/// Connections that read.
const READERS: u32 = 4;
/// Rows a reader fetches ahead. Few, because each may be a mebibyte.
const READ_AHEAD: usize = 8;
/// Requests that may wait for the writer; whoever comes then waits to be queued.
const QUEUE: usize = 1_024;
/// What the write-ahead log is cut back to once it was longer.
const WAL_BYTES: u32 = 16 * 1024 * 1024;
/// How long it gets before it is folded into the file. Blob ids are random, so a commit into a long log changes a page
/// of their index a row: folding each of them in at once would write every page twice.
const WAL_PAGES: u32 = WAL_BYTES / 4_096;
/// What the writer keeps of the file in memory at most: the index of some hundred thousand blob ids.
const WRITER_CACHE_KIB: u32 = 16 * 1024;

/// See the [module](self).
pub(crate) struct SqliteStore {
    readers: SqlitePool,
    writer: mpsc::Sender<Write>,
    shared: Arc<Shared>,
    clock: Option<ClockMark>,
}

/// What the writer changes and everybody reads.
#[derive(Debug, Default)]
struct Shared {
    groups: RwLock<HashMap<RelayGroupId, Arc<GroupLog>>>,
    blobs: AtomicU64,
    db_bytes: AtomicU64,
}

impl Shared {
    fn group(&self, group: &RelayGroupId) -> Option<Arc<GroupLog>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).get(group).cloned()
    }

    fn add_group(&self, log: Arc<GroupLog>) {
        self.groups.write().unwrap_or_else(PoisonError::into_inner).insert(log.group, log);
    }

    fn remove_group(&self, group: &RelayGroupId) {
        self.groups.write().unwrap_or_else(PoisonError::into_inner).remove(group);
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
            .await
            .map_err(fault)?;
        sqlx::migrate!("migrations/sqlite").run_direct(None, &mut db, false).await.map_err(migration_fault)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(common.read_only(true).row_buffer_size(READ_AHEAD))
            .await
            .map_err(fault)?;

        let shared = Arc::new(Shared::default());
        let bytes = load_groups(&mut db, &shared).await?;
        let clock = load_clock(&mut db).await?;
        let (writer, inbox) = mpsc::channel(QUEUE);
        let writer_task = Writer::new(db, Arc::clone(&shared), bounds, bytes).await?;
        tokio::spawn(writer_task.run(inbox));
        Ok(Self { readers, writer, shared, clock })
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

    async fn append(
        &self,
        log: &Arc<GroupLog>,
        blobs: Vec<NewBlob>,
    ) -> Result<Vec<Result<Appended, ErrorCode>>, StoreError> {
        self.ask(|reply| Write::Append(Arc::clone(log), blobs, reply)).await
    }

    async fn rows(&self, log: &GroupLog, span: Span, now_ms: u64) -> Result<Option<Vec<StoredRow>>, StoreError> {
        if let Some(rows) = log.tail().read(span) {
            return Ok(Some(rows.into_iter().map(|row| row.at(now_ms)).collect()));
        }
        let rows = sqlx::query(
            // The running total cuts the page off before its envelopes are read.
            "WITH page AS (
                 SELECT cursor, SUM(IIF(envelope IS NULL OR expires_ms <= ?1, 16, size)) OVER (ORDER BY cursor) AS bytes
                 FROM (SELECT * FROM entries WHERE group_no = ?2 AND cursor > ?3 ORDER BY cursor LIMIT ?4)
             )
             SELECT cursor, blob_id, sender, received_ms, expires_ms,
                    IIF(expires_ms <= ?1, NULL, envelope) AS envelope
             FROM entries
             WHERE group_no = ?2 AND cursor > ?3
               AND cursor <= (SELECT MAX(cursor) FROM page WHERE bytes <= ?5 OR cursor = ?3 + 1)
             ORDER BY cursor",
        )
        .bind(signed(now_ms))
        .bind(log.no)
        .bind(signed(span.after.get()))
        .bind(signed(span.rows_max as u64))
        .bind(signed(span.bytes_max as u64))
        .fetch_all(&self.readers)
        .await
        .map_err(fault)?;
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

    async fn run_at(&self, log: &GroupLog, cursor: RelayCursor) -> Result<Option<Run>, StoreError> {
        let head = log.head();
        if cursor == head.cursor {
            return Ok(Some(head.run));
        }
        if cursor == head.floor_cursor {
            return Ok(Some(head.floor_run));
        }
        let row = sqlx::query("SELECT run FROM entries WHERE group_no = ? AND cursor = ?")
            .bind(log.no)
            .bind(signed(cursor.get()))
            .fetch_optional(&self.readers)
            .await
            .map_err(fault)?;
        row.map(|row| Ok(Run::from_bytes(bytes_at(&row, 0)?))).transpose()
    }

    async fn get(&self, log: &GroupLog, blob_id: BlobId, now_ms: u64) -> Result<Option<Bytes>, StoreError> {
        let row = sqlx::query(
            "SELECT envelope FROM entries
             WHERE group_no = ? AND blob_id = ? AND (expires_ms IS NULL OR expires_ms > ?)",
        )
        .bind(log.no)
        .bind(blob_id.as_bytes().as_slice())
        .bind(signed(now_ms))
        .fetch_optional(&self.readers)
        .await
        .map_err(fault)?;
        let Some(row) = row else { return Ok(None) };
        Ok(row.try_get::<Option<Vec<u8>>, _>(0).map_err(fault)?.map(Bytes::from))
    }

    fn acked(&self, log: &GroupLog, device: DeviceId, cursor: RelayCursor, now_ms: u64) {
        // A full queue drops it: the device's next ACK, or its next HELLO, says the same and more.
        let _ = self.writer.try_send(Write::Acked { group_no: log.no, device, cursor, now_ms });
    }

    async fn sweep(&self, sweep: Sweep) -> Result<Swept, StoreError> {
        self.ask(|reply| Write::Sweep(sweep, reply)).await
    }

    fn totals(&self) -> Totals {
        Totals {
            groups: self.shared.group_count(),
            blobs: self.shared.blobs.load(Ordering::Relaxed),
            db_bytes: self.shared.db_bytes.load(Ordering::Relaxed),
        }
    }

    async fn close(&self) {
        // Readers first: the last connection to close is the writer's, which then folds the WAL into the file.
        self.readers.close().await;
        let _ = self.ask(Write::Close).await;
    }
}

/// Reads all groups into `shared`; returns the bytes each keeps.
async fn load_groups(db: &mut SqliteConnection, shared: &Shared) -> Result<HashMap<i64, u64>, StoreError> {
    let rows = sqlx::query("SELECT no, id, log_id, head_cursor, head_run, floor_cursor, floor_run, bytes FROM groups")
        .fetch_all(&mut *db)
        .await
        .map_err(fault)?;
    let mut bytes = HashMap::with_capacity(rows.len());
    for row in rows {
        let no = row.try_get(0).map_err(fault)?;
        let head = Head {
            cursor: RelayCursor::new(unsigned_at(&row, 3)?),
            run: Run::from_bytes(bytes_at(&row, 4)?),
            floor_cursor: RelayCursor::new(unsigned_at(&row, 5)?),
            floor_run: Run::from_bytes(bytes_at(&row, 6)?),
            newest: None,
        };
        let (group, log_id) = (RelayGroupId::from_bytes(bytes_at(&row, 1)?), LogId::from_bytes(bytes_at(&row, 2)?));
        shared.add_group(Arc::new(GroupLog::new(no, group, log_id, head)));
        bytes.insert(no, unsigned_at(&row, 7)?);
    }
    let blobs = sqlx::query("SELECT COUNT(*) FROM entries WHERE envelope IS NOT NULL")
        .fetch_one(&mut *db)
        .await
        .map_err(fault)?;
    shared.blobs.store(unsigned_at(&blobs, 0)?, Ordering::Relaxed);
    Ok(bytes)
}

async fn load_clock(db: &mut SqliteConnection) -> Result<Option<ClockMark>, StoreError> {
    let row = sqlx::query("SELECT time_ms, wall_ms FROM clock").fetch_optional(db).await.map_err(fault)?;
    row.map(|row| Ok(ClockMark { time_ms: unsigned_at(&row, 0)?, wall_ms: unsigned_at(&row, 1)? })).transpose()
}

fn row_of(row: &SqliteRow) -> Result<StoredRow, StoreError> {
    Ok(StoredRow {
        cursor: RelayCursor::new(unsigned_at(row, 0)?),
        blob_id: BlobId::from_bytes(bytes_at(row, 1)?),
        sender: DeviceId::from_bytes(bytes_at(row, 2)?),
        received_ms: unsigned_at(row, 3)?,
        expires_ms: row.try_get::<Option<i64>, _>(4).map_err(fault)?.map(i64::cast_unsigned),
        envelope: row.try_get::<Option<Vec<u8>>, _>(5).map_err(fault)?.map(Bytes::from),
    })
}

/// SQLite's integers are signed. Cursors and times never come near the difference.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned_at(row: &SqliteRow, index: usize) -> Result<u64, StoreError> {
    let number: i64 = row.try_get(index).map_err(fault)?;
    u64::try_from(number).map_err(|_| corrupt())
}

fn bytes_at<const N: usize>(row: &SqliteRow, index: usize) -> Result<[u8; N], StoreError> {
    let bytes: &[u8] = row.try_get(index).map_err(fault)?;
    bytes.try_into().map_err(|_| corrupt())
}

fn migration_fault(error: MigrateError) -> StoreError {
    if let MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) = error {
        return StoreError::TooNew;
    }
    if let MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) = error {
        return fault(error);
    }
    StoreError::Database(error.to_string())
}

/// What the database's own error means here. The operator is told of it now: a device only hears that it was no
/// fault of its own.
fn fault(error: sqlx::Error) -> StoreError {
    // Primary result codes, https://www.sqlite.org/rescode.html
    const CORRUPT: i64 = 11;
    const FULL: i64 = 13;
    const NOT_A_DATABASE: i64 = 26;
    let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<i64>().ok());
    if let sqlx::Error::PoolClosed = error {
        return StoreError::Closed;
    }
    error!(%error, "the database failed");
    match code.map(|code| code & 0xFF) {
        Some(CORRUPT | NOT_A_DATABASE) => StoreError::Corrupt,
        Some(FULL) => StoreError::DiskFull,
        _ => StoreError::Database(error.to_string()),
    }
}

/// A column holds what this relay never writes.
fn corrupt() -> StoreError {
    error!("the database holds a value of the wrong size");
    StoreError::Corrupt
}

#[cfg(test)]
mod tests {
    use sync_types::{KeyId, Kind};

    use super::*;
    use crate::store::contract;

    async fn open(folder: &Path) -> SqliteStore {
        SqliteStore::open(&folder.join("relay.db"), contract::BOUNDS).await.expect("opens")
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        let folder = tempfile::tempdir().expect("temporary folder");
        contract::check(async || {
            let store = open(folder.path()).await;
            Arc::new(store) as Arc<dyn Store>
        })
        .await;
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("relay.db"), [7; 8_192]).expect("written");
        let opened = SqliteStore::open(&folder.path().join("relay.db"), contract::BOUNDS).await;
        assert_eq!(opened.err(), Some(StoreError::Corrupt));
    }

    #[tokio::test]
    async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("temporary folder");
        open(folder.path()).await.close().await;
        let path = folder.path().join("relay.db");
        let mut db = SqliteConnectOptions::new().filename(&path).connect().await.expect("opens");
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'later', 1, x'00', 0)",
        )
        .execute(&mut db)
        .await
        .expect("written");
        drop(db);
        let opened = SqliteStore::open(&path, contract::BOUNDS).await;
        assert_eq!(opened.err(), Some(StoreError::TooNew));
    }

    fn greeting(n: u8) -> Greeting {
        let (group, device) = (RelayGroupId::from_bytes([n; 32]), DeviceId::from_bytes([n; 32]));
        Greeting { group, device, read: None, new_log_id: LogId::from_bytes([n; 16]), now_ms: 0 }
    }

    fn blob(n: u8) -> NewBlob {
        NewBlob {
            blob_id: BlobId::from_bytes([n; 16]),
            kind: Kind::Data,
            key_id: KeyId::from_bytes([1; 16]),
            sender: DeviceId::from_bytes([n; 32]),
            envelope: Bytes::from(vec![n; 400]),
            received_ms: 0,
            expires_ms: None,
        }
    }

    #[tokio::test]
    async fn what_comes_late_for_a_forgotten_group_meets_no_other_log() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let bounds = Bounds { groups: 1, ..contract::BOUNDS };
        let store = SqliteStore::open(&folder.path().join("relay.db"), bounds).await.expect("opens");
        let gone = store.greet(greeting(1)).await.expect("room").log;
        // Its session is over. Its push waits for the writer with the greeting that takes the group's place.
        let late = [blob(7)].into();
        let (pushed, entered) = tokio::join!(store.append(&gone, late), store.greet(greeting(2)));
        assert_eq!(pushed, Ok(vec![Err(ErrorCode::NotFound)]));
        let entered = entered.expect("room");
        assert_ne!(entered.log.no, gone.no);
        let span = Span { after: RelayCursor::START, rows_max: 9, bytes_max: 9_000 };
        assert_eq!(store.rows(&entered.log, span, 0).await, Ok(Some(Vec::new())));
        let first = store.append(&entered.log, vec![blob(9)]).await.expect("works").remove(0);
        assert_eq!(first.expect("room").cursor, RelayCursor::new(1));
    }

    #[tokio::test]
    async fn a_group_whose_rows_cannot_be_written_fails_alone() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = open(folder.path()).await;
        let [damaged, sound] = [1, 2].map(greeting).map(|greeting| store.greet(greeting));
        let (damaged, sound) = (damaged.await.expect("room"), sound.await.expect("room"));
        let other = SqliteConnectOptions::new().filename(folder.path().join("relay.db"));
        sqlx::query(
            "INSERT INTO entries (group_no, cursor, blob_id, kind, key_id, sender, run, size, received_ms)
             VALUES (?, 1, x'00', 1, x'00', x'00', x'00', 0, 0)",
        )
        .bind(damaged.log.no)
        .execute(&mut other.connect().await.expect("opens"))
        .await
        .expect("written");
        let (one, two) = ([blob(1)].into(), [blob(2)].into());
        let (failed, appended) = tokio::join!(store.append(&damaged.log, one), store.append(&sound.log, two));
        assert!(matches!(failed, Err(StoreError::Database(_))), "{failed:?}");
        assert_eq!(appended.expect("works")[0].expect("room").cursor, RelayCursor::new(1));
    }
}
