//! What the disk has changed: how it is found, and how a log goes on without it.
//!
//! SQLite does not notice when a byte of a value becomes another. But a blob id is a hash of its envelope, and each run
//! of the run before it and of that id, so every row says whether it is what was written. It is asked when it is read from
//! the file, and by and by in any case.
//!
//! A log in which something is not what it was is over. Another one begins with all that is whole, in its order, and has
//! another id: devices take it for a log that has lost rows, read it, and push what they hold and do not find. Nothing else
//! would reach those who had read on, and who alone may have what is missing.

use std::sync::{Arc, atomic::Ordering};

use sqlx::{Row as _, sqlite::SqliteRow};
use sync_sqlite::Database;
use sync_types::{BlobHash, BlobId, DeviceId, LogId, RelayCursor, Run};
use tokio_stream::StreamExt as _;
use tracing::error;

use super::{
    SqliteStore, bytes_at, ids,
    moving::{Change, Kept, newest},
    place::{GROUP_MAX, group_at, place},
    snapshots, unsigned_at,
    writer::{Books, Write, Writer, measure},
};
use crate::store::{GroupLog, Head, StoreError, random_log_id};

/// Bytes of envelopes that are looked at in one go, so that readers come in between.
const STEP_BYTES: u64 = if cfg!(test) { 1_600 } else { 1024 * 1024 };

/// How far the file was looked through: up to which row, and up to which part of a snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inspected {
    place: i64,
    part: i64,
}

/// Whether these bytes are what the id is of.
pub(super) fn is_whole(blob_id: &BlobId, envelope: &[u8]) -> bool {
    BlobHash::of_bytes(envelope).blob_id() == *blob_id
}

/// Whether rows that follow one another are what was written: the columns `place, id_high, id_low, run, envelope`.
pub(super) fn are_sound(rows: &[SqliteRow]) -> Result<bool, StoreError> {
    let mut inspector = Inspector::default();
    for row in rows {
        inspector.look(row)?;
    }
    Ok(inspector.is_content())
}

/// Looks at rows in the order of their places.
#[derive(Debug, Default)]
struct Inspector {
    before: Option<(i64, Run)>,
    /// Places of rows whose envelopes are not theirs.
    damaged: Vec<i64>,
    /// A run does not follow from the one before, or a row is missing.
    is_broken: bool,
    bytes: u64,
}

impl Inspector {
    /// Begins behind a row, which is known.
    fn after(row: (i64, Run)) -> Self {
        Self { before: Some(row), ..Self::default() }
    }

    fn look(&mut self, row: &SqliteRow) -> Result<(), StoreError> {
        let (place, blob_id, run): (i64, _, _) =
            (row.try_get(0)?, ids::id_at(row, 1)?, Run::from_bytes(bytes_at(row, 3)?));
        let envelope: Option<&[u8]> = row.try_get(4)?;
        if envelope.is_some_and(|envelope| !is_whole(&blob_id, envelope)) {
            self.damaged.push(place);
        }
        self.is_broken |= self.before.is_some_and(|(before, run_before)| {
            group_at(before) == group_at(place) && (before + 1 != place || run_before.then(&blob_id) != run)
        });
        self.before = Some((place, run));
        self.bytes += envelope.map_or(0, <[u8]>::len) as u64;
        Ok(())
    }

    fn is_content(&self) -> bool {
        self.damaged.is_empty() && !self.is_broken
    }
}

impl SqliteStore {
    /// Something of a log is not what it was: another one begins. What whoever asked for it is told instead.
    pub(super) async fn mend(&self, log: &GroupLog) -> StoreError {
        match self.begin_another(log).await {
            Ok(()) if log.is_over() => StoreError::GroupMoved,
            // It was read wrong, or is about to be.
            Ok(()) => StoreError::Corrupt,
            Err(error) => error,
        }
    }

    async fn begin_another(&self, log: &GroupLog) -> Result<(), StoreError> {
        let _alone = self.mending.lock().await;
        let Some(log) = self.shared.group(&log.group).filter(|current| current.no == log.no) else { return Ok(()) };
        let inspector = self.look_at(log.no).await?;
        if inspector.is_content() {
            return Ok(());
        }
        error!(
            envelopes = inspector.damaged.len(),
            "the disk has changed a log, which begins anew with all that is whole"
        );
        let log_id = random_log_id().map_err(|error| StoreError::Database(error.to_string()))?;
        self.ask(|reply| Write::Mend(log, inspector.damaged, log_id, reply)).await
    }

    /// Looks at a whole log, as it is at one moment.
    async fn look_at(&self, no: i64) -> Result<Inspector, StoreError> {
        let mut tx = self.readers.begin().await?;
        let ends = sqlx::query("SELECT floor_cursor, floor_run, head_cursor, head_run FROM groups WHERE no = ?")
            .bind(no)
            .fetch_one(&mut *tx)
            .await?;
        let end = |cursor, run| -> Result<_, StoreError> {
            Ok((place(no, RelayCursor::new(unsigned_at(&ends, cursor)?)), Run::from_bytes(bytes_at(&ends, run)?)))
        };
        let (floor, head) = (end(0, 1)?, end(2, 3)?);
        let mut inspector = Inspector::after(floor);
        {
            let mut rows = sqlx::query(
                "SELECT place, id_high, id_low, run, envelope FROM entries WHERE place > ? AND place <= ? ORDER BY place",
            )
            .bind(floor.0)
            .bind(head.0)
            .fetch(&mut *tx);
            while let Some(row) = rows.try_next().await? {
                inspector.look(&row)?;
            }
        }
        inspector.is_broken |= inspector.before != Some(head);
        Ok(inspector)
    }

    /// Goes on with what was looked through the last time.
    pub(super) async fn look_through(&self, bytes_max: u64) -> Result<(), StoreError> {
        let row = sqlx::query("SELECT place, part FROM inspection").fetch_one(&self.readers).await?;
        let mut inspected = Inspected { place: row.try_get(0)?, part: row.try_get(1)? };
        let mut left = bytes_max;
        while left > 0 {
            let bytes;
            (inspected.place, bytes) = self.look_at_rows(inspected.place).await?;
            left = if inspected.place == 0 { 0 } else { left.saturating_sub(bytes) };
        }
        left = bytes_max;
        while left > 0 {
            let bytes;
            (inspected.part, bytes) = self.look_at_parts(inspected.part).await?;
            left = if inspected.part == 0 { 0 } else { left.saturating_sub(bytes) };
        }
        self.ask(|reply| Write::Inspected(inspected, reply)).await
    }

    /// Looks at some rows from this place on, of whatever logs. Where to go on, 0 for the beginning, and how many bytes it was.
    async fn look_at_rows(&self, from: i64) -> Result<(i64, u64), StoreError> {
        let (mut inspector, mut suspects, mut next) = (Inspector::default(), Vec::new(), 0);
        {
            // The one looked at last is what the next has to follow.
            let mut rows = sqlx::query(
                "SELECT place, id_high, id_low, run, envelope FROM entries WHERE place >= ? ORDER BY place",
            )
            .bind(from)
            .fetch(&self.readers);
            while let Some(row) = rows.try_next().await? {
                inspector.look(&row)?;
                let place: i64 = row.try_get(0)?;
                if !inspector.is_content() {
                    suspects.push(group_at(place));
                    (inspector.damaged, inspector.is_broken) = (Vec::new(), false);
                }
                if inspector.bytes >= STEP_BYTES && place > from {
                    next = place;
                    break;
                }
            }
        }
        suspects.dedup();
        for log in self.shared.all_groups().iter().filter(|log| suspects.contains(&log.no)) {
            // The others are looked at all the same.
            if let Err(error) = self.begin_another(log).await {
                error!(%error, "a log that the disk has changed did not begin anew");
            }
        }
        Ok((next, inspector.bytes))
    }

    /// The same of what snapshots are made of, after this number.
    async fn look_at_parts(&self, after: i64) -> Result<(i64, u64), StoreError> {
        let (mut broken, mut next, mut bytes) = (Vec::new(), 0, 0);
        {
            let mut rows =
                sqlx::query("SELECT no, group_no, id, envelope FROM snapshot_blobs WHERE no > ? ORDER BY no")
                    .bind(after)
                    .fetch(&self.readers);
            while let Some(row) = rows.try_next().await? {
                let (group_no, id): (i64, _) = (row.try_get(1)?, BlobId::from_bytes(bytes_at(&row, 2)?));
                let envelope: &[u8] = row.try_get(3)?;
                if !is_whole(&id, envelope) {
                    broken.push((group_no, id));
                }
                bytes += envelope.len() as u64;
                if bytes >= STEP_BYTES {
                    next = row.try_get(0)?;
                    break;
                }
            }
        }
        for (group_no, id) in broken {
            if let Some(log) = self.shared.all_groups().into_iter().find(|log| log.no == group_no) {
                self.let_go_of_part(log, id).await?;
            }
        }
        Ok((next, bytes))
    }
}

impl Writer {
    /// Keeps how far the file was looked through.
    pub(super) async fn inspected(&mut self, inspected: Inspected) -> Result<(), StoreError> {
        let keeping = self.db.transaction(async |db| {
            db.add("UPDATE inspection SET place = ?, part = ?").bind(inspected.place).bind(inspected.part);
            Ok(())
        });
        keeping.await
    }

    /// Begins another log with a log's rows, but for those at these places.
    pub(super) async fn mend(&mut self, log: &Arc<GroupLog>, damaged: &[i64], log_id: LogId) -> Result<(), StoreError> {
        if self.is_current(log).is_err() {
            return Ok(());
        }
        let begun = self.db.transaction(async |db| begin(db, &self.books, log, damaged, log_id).await).await?;
        let Some((Kept { log: new, head, bytes, list }, lost)) = begun else { return Ok(()) };
        self.books.group_bytes.remove(&log.no);
        self.books.group_bytes.insert(new.no, bytes);
        new.head.send_replace(head);
        new.snapshots.send_replace(list);
        self.books.shared.fresh().retain(|(no, _), _| *no != log.no);
        self.books.shared.replace_groups(&[Arc::clone(log)], Some(new));
        log.tail().clear();
        self.books.shared.blobs.fetch_sub(lost, Ordering::Relaxed);
        self.books.shared.damaged.fetch_add(lost, Ordering::Relaxed);
        if let Ok(db_bytes) = measure(self.db.connection().await?, &self.books.shared).await {
            self.books.db_bytes = db_bytes;
            self.books.shared.db_bytes.store(db_bytes, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Writes it: the log that begins, and how many envelopes are not in it.
async fn begin(
    db: &mut Database,
    books: &Books,
    log: &GroupLog,
    damaged: &[i64],
    log_id: LogId,
) -> Result<Option<(Kept, u64)>, StoreError> {
    let mut lost = 0;
    for place in damaged {
        let tx = db.connection().await?;
        ids::forget(tx, *place, *place).await?;
        let gone = sqlx::query("DELETE FROM entries WHERE place = ? RETURNING envelope IS NOT NULL")
            .bind(*place)
            .fetch_optional(tx)
            .await?;
        lost += u64::from(gone.map(|row| row.try_get::<bool, _>(0)).transpose()? == Some(true));
    }
    let tx = db.connection().await?;
    // Two rows have no id in common, and this one goes in the same transaction.
    sqlx::query("UPDATE groups SET id = x'' WHERE no = ?").bind(log.no).execute(&mut *tx).await?;
    let row = sqlx::query(
        "INSERT INTO groups (id, log_id, head_run, floor_run, visited_ms)
         SELECT ?1, ?2, ?3, ?3, visited_ms FROM groups WHERE no = ?4 RETURNING no",
    )
    .bind(log.group.as_bytes().as_slice())
    .bind(log_id.as_bytes().as_slice())
    .bind(Run::START.as_bytes().as_slice())
    .bind(log.no)
    .fetch_one(&mut *tx)
    .await?;
    let no: i64 = row.try_get(0)?;
    if no > GROUP_MAX {
        return Err(StoreError::TooManyGroups);
    }
    let bytes = snapshots::hand_over(tx, log.no, no).await?;
    let devices = sqlx::query("SELECT device FROM devices WHERE group_no = ?").bind(log.no).fetch_all(tx).await?;
    let devices: Vec<_> =
        devices.iter().map(|row| bytes_at(row, 0).map(DeviceId::from_bytes)).collect::<Result<_, _>>()?;
    let mut kept = Kept {
        log: Arc::new(GroupLog::new(no, log.group, log_id, Head::START)),
        head: Head::START,
        bytes,
        list: Vec::new(),
    };
    Change::default().merge(db, books, log, &mut kept, &devices).await?;
    kept.head.newest = newest(db, no, kept.head.cursor).await?;
    Ok(Some((kept, lost)))
}
