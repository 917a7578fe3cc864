//! What a group keeps instead of the front of its log: the newest snapshots, and parts of those that are on their way.
//!
//! Each part and each manifest gets a transaction of its own: they are few and large.
//!
//! Invariant: of a group no more than [`SNAPSHOTS_KEPT`] are kept, the newer of which covers no less. All that they name is
//! there, and what none of them names waits for one that does, or was let go of. The log's list says the same as the file.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use sqlx::{Row as _, SqliteConnection, SqlitePool, sqlite::SqliteRow};
use sync_sqlite::Database;
use sync_types::{
    BlobId, ErrorCode, RelayCursor, Run,
    limits::{SNAPSHOT_PART_TTL_S, SNAPSHOTS_KEPT},
};
use tracing::error;

use super::{
    SqliteStore,
    append::footprint,
    bytes_at,
    mending::is_whole,
    place::place,
    signed,
    sweep::charge,
    unsigned_at,
    writer::{Books, Write, Writer, measure},
};
use crate::store::{GroupLog, NewPart, NewSnapshot, StoreError};

/// Parts that leave in one step: as many bytes as a large step of anything else.
const STEP_PARTS: i64 = 32;

/// The manifests that are kept of each group, the newest last.
pub(super) type Lists = HashMap<i64, Vec<BlobId>>;

/// Where a group's new snapshot left it.
struct Published {
    list: Vec<BlobId>,
    /// Bytes that came, and that left with what the oldest named alone.
    came: u64,
    left: u64,
}

impl Writer {
    /// Keeps a part, if there is room for it.
    pub(super) async fn keep_part(
        &mut self,
        log: &GroupLog,
        part: NewPart,
    ) -> Result<Result<(), ErrorCode>, StoreError> {
        if let Err(refused) = self.is_current(log) {
            return Ok(Err(refused));
        }
        let size = part.envelope.len() as u64;
        self.measure_for(size).await?;
        let keeping = self.db.transaction(async |db| {
            if is_there(db.connection().await?, log.no, &part.blob_id).await? {
                // Whoever says it again is about to name it.
                db.add("UPDATE snapshot_blobs SET waits_ms = MAX(waits_ms, ?) WHERE group_no = ? AND id = ?")
                    .bind(signed(part.now_ms))
                    .bind(log.no)
                    .bind(part.blob_id.as_bytes().as_slice());
                return Ok(Ok(0));
            }
            if let Err(refused) = room(&self.books, log.no, size) {
                return Ok(Err(refused));
            }
            insert(db, log.no, (&part.blob_id, &part.envelope), part.now_ms);
            charge(db.connection().await?, log.no, 0, size).await?;
            Ok::<_, StoreError>(Ok(size))
        });
        let kept = keeping.await?;
        Ok(kept.map(|came| self.count(log.no, came, 0)))
    }

    /// Makes a snapshot the newest, if its parts are there and it is of this log.
    pub(super) async fn publish_snapshot(
        &mut self,
        log: &Arc<GroupLog>,
        snapshot: NewSnapshot,
    ) -> Result<Result<(), ErrorCode>, StoreError> {
        if let Err(refused) = self.is_current(log) {
            return Ok(Err(refused));
        }
        self.measure_for(snapshot.envelope.len() as u64).await?;
        let publishing = self.db.transaction(async |db| publish(db, &self.books, log, &snapshot).await);
        let published = publishing.await?;
        Ok(published.map(|published| {
            if let Some(Published { list, came, left }) = published {
                self.count(log.no, came, left);
                log.snapshots.send_replace(list);
            }
        }))
    }

    /// Lets go of a manifest or a part that the disk has changed, and of the snapshots that are none without it: whoever has
    /// one of those publishes it again.
    pub(super) async fn drop_blob(&mut self, log: &Arc<GroupLog>, id: &BlobId) -> Result<(), StoreError> {
        if self.is_current(log).is_err() {
            return Ok(());
        }
        let dropping = self.db.transaction(async |db| {
            let tx = db.connection().await?;
            let kept = sqlx::query("SELECT envelope FROM snapshot_blobs WHERE group_no = ? AND id = ?")
                .bind(log.no)
                .bind(id.as_bytes().as_slice())
                .fetch_optional(&mut *tx)
                .await?;
            let Some(kept) = kept else { return Ok(None) };
            if is_whole(id, kept.try_get(0)?) {
                return Ok(None);
            }
            let broken = sqlx::query(
                "SELECT no FROM snapshots JOIN snapshot_names ON snapshot = no WHERE group_no = ? AND snapshot_names.id = ?",
            )
            .bind(log.no)
            .bind(id.as_bytes().as_slice())
            .fetch_all(&mut *tx)
            .await?;
            // Whatever is damaged waits for none any more, so that it goes with what only these named.
            sqlx::query("UPDATE snapshot_blobs SET waits_ms = NULL WHERE group_no = ? AND id = ?")
                .bind(log.no)
                .bind(id.as_bytes().as_slice())
                .execute(&mut *tx)
                .await?;
            let left = let_go(tx, log.no, &broken).await?;
            charge(tx, log.no, left, 0).await?;
            Ok::<_, StoreError>(Some((list(tx, log.no).await?, left)))
        });
        if let Some((list, left)) = dropping.await? {
            self.count(log.no, 0, left);
            self.books.shared.damaged.fetch_add(1, Ordering::Relaxed);
            log.snapshots.send_replace(list);
        }
        Ok(())
    }

    /// Whether something may be written to a log.
    pub(super) fn is_current(&self, log: &GroupLog) -> Result<(), ErrorCode> {
        if log.is_over() {
            return Err(ErrorCode::GroupMoved);
        }
        let current = self.books.shared.group(&log.group);
        if current.is_some_and(|current| current.no == log.no) { Ok(()) } else { Err(ErrorCode::NotFound) }
    }

    /// Measures the file, if so many bytes more might not fit.
    async fn measure_for(&mut self, size: u64) -> Result<(), StoreError> {
        if self.books.db_bytes + footprint(size) > self.books.bounds.db_bytes {
            self.books.db_bytes = measure(self.db.connection().await?, &self.books.shared).await?;
        }
        Ok(())
    }

    /// Notes what was committed. What left the file is counted when it is measured next.
    fn count(&mut self, group_no: i64, came: u64, left: u64) {
        let kept = self.books.group_bytes.entry(group_no).or_default();
        *kept = (*kept + came).saturating_sub(left);
        if came > 0 {
            self.books.db_bytes += footprint(came);
            self.books.shared.db_bytes.store(self.books.db_bytes, Ordering::Relaxed);
        }
    }
}

/// Whether a group and the database have room for so many bytes more.
fn room(books: &Books, group_no: i64, size: u64) -> Result<(), ErrorCode> {
    if books.group_bytes.get(&group_no).copied().unwrap_or(0) + size > books.bounds.group_bytes {
        return Err(ErrorCode::GroupFull);
    }
    if books.db_bytes + footprint(size) > books.bounds.db_bytes { Err(ErrorCode::StorageFull) } else { Ok(()) }
}

/// Decides and writes; nothing to publish if it is kept already.
async fn publish(
    db: &mut Database,
    books: &Books,
    log: &GroupLog,
    snapshot: &NewSnapshot,
) -> Result<Result<Option<Published>, ErrorCode>, StoreError> {
    let tx = db.connection().await?;
    let (no, covers) = (log.no, snapshot.covers);
    let kept = sqlx::query("SELECT id, covers FROM snapshots WHERE group_no = ? ORDER BY covers DESC, no DESC")
        .bind(no)
        .fetch_all(&mut *tx)
        .await?;
    for row in &kept {
        if id_at(row)? == snapshot.blob_id {
            return Ok(Ok(None));
        }
    }
    // Looked at before the run: where its row has left, this is the reason.
    if let Some(newest) = kept.first()
        && covers.get() < unsigned_at(newest, 1)?
    {
        return Ok(Err(ErrorCode::SnapshotOutdone));
    }
    if covers > RelayCursor::START && run_at(tx, log, covers).await? != Some(snapshot.run) {
        return Ok(Err(ErrorCode::LogForked));
    }
    let parts: BTreeSet<_> = snapshot.parts.iter().collect();
    for part in &parts {
        if !is_there(tx, no, part).await? {
            return Ok(Err(ErrorCode::NotFound));
        }
    }
    // It may have come as a part before.
    let new = !is_there(tx, no, &snapshot.blob_id).await?;
    let came = if new { snapshot.envelope.len() as u64 } else { 0 };
    if let Err(refused) = room(books, no, came) {
        return Ok(Err(refused));
    }
    if new {
        insert(db, no, (&snapshot.blob_id, &snapshot.envelope), snapshot.now_ms);
    }
    let tx = db.connection().await?;
    let row = sqlx::query("INSERT INTO snapshots (group_no, id, covers) VALUES (?, ?, ?) RETURNING no")
        .bind(no)
        .bind(snapshot.blob_id.as_bytes().as_slice())
        .bind(signed(covers.get()))
        .fetch_one(tx)
        .await?;
    let snapshot_no: i64 = row.try_get(0)?;
    for id in parts.into_iter().chain([&snapshot.blob_id]).collect::<BTreeSet<_>>() {
        db.add("INSERT INTO snapshot_names (snapshot, id) VALUES (?, ?)")
            .bind(snapshot_no)
            .bind(id.as_bytes().as_slice());
    }
    let tx = db.connection().await?;
    take_named(tx, no).await?;
    let left = keep_newest(tx, no, SNAPSHOTS_KEPT).await?;
    charge(tx, no, left, came).await?;
    Ok(Ok(Some(Published { list: list(tx, no).await?, came, left })))
}

/// The run up to and with a row, if the row is there or is the last that has left.
async fn run_at(db: &mut SqliteConnection, log: &GroupLog, cursor: RelayCursor) -> Result<Option<Run>, StoreError> {
    let head = log.head();
    if cursor == head.floor_cursor {
        return Ok(Some(head.floor_run));
    }
    if cursor > head.cursor {
        return Ok(None);
    }
    let row =
        sqlx::query("SELECT run FROM entries WHERE place = ?").bind(place(log.no, cursor)).fetch_optional(db).await?;
    row.map(|row| Ok(Run::from_bytes(bytes_at(&row, 0)?))).transpose()
}

async fn is_there(db: &mut SqliteConnection, group_no: i64, id: &BlobId) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT 1 FROM snapshot_blobs WHERE group_no = ? AND id = ?")
        .bind(group_no)
        .bind(id.as_bytes().as_slice())
        .fetch_optional(db)
        .await?;
    Ok(row.is_some())
}

fn insert(db: &mut Database, group_no: i64, (id, envelope): (&BlobId, &Bytes), now_ms: u64) {
    db.add("INSERT INTO snapshot_blobs (group_no, id, waits_ms, size, envelope) VALUES (?, ?, ?, ?, ?)")
        .bind(group_no)
        .bind(id.as_bytes().as_slice())
        .bind(signed(now_ms))
        .bind(signed(envelope.len() as u64))
        .bind(&**envelope);
}

/// The ids that a group's snapshots name.
const NAMED: &str = "SELECT snapshot_names.id FROM snapshots JOIN snapshot_names ON snapshot = no WHERE group_no = ?1";

/// What a group's snapshots name waits for none any more.
async fn take_named(db: &mut SqliteConnection, group_no: i64) -> Result<(), StoreError> {
    let take = format!("UPDATE snapshot_blobs SET waits_ms = NULL WHERE group_no = ?1 AND id IN ({NAMED})");
    sqlx::query(sqlx::AssertSqlSafe(take)).bind(group_no).execute(db).await?;
    Ok(())
}

/// Lets go of all but the newest so many of a group's snapshots, with what they alone named; says how many bytes that was.
async fn keep_newest(db: &mut SqliteConnection, group_no: i64, kept: usize) -> Result<u64, StoreError> {
    let older =
        sqlx::query("SELECT no FROM snapshots WHERE group_no = ? ORDER BY covers DESC, no DESC LIMIT -1 OFFSET ?")
            .bind(group_no)
            .bind(signed(kept as u64))
            .fetch_all(&mut *db)
            .await?;
    if older.is_empty() { Ok(0) } else { let_go(db, group_no, &older).await }
}

/// Lets go of snapshots, by their numbers, with what they alone named; says how many bytes that was.
async fn let_go(db: &mut SqliteConnection, group_no: i64, snapshots: &[SqliteRow]) -> Result<u64, StoreError> {
    for row in snapshots {
        let no: i64 = row.try_get(0)?;
        for delete in ["DELETE FROM snapshot_names WHERE snapshot = ?", "DELETE FROM snapshots WHERE no = ?"] {
            sqlx::query(delete).bind(no).execute(&mut *db).await?;
        }
    }
    let unnamed = format!(
        "DELETE FROM snapshot_blobs WHERE group_no = ?1 AND waits_ms IS NULL AND id NOT IN ({NAMED}) RETURNING size"
    );
    sum(&sqlx::query(sqlx::AssertSqlSafe(unnamed)).bind(group_no).fetch_all(db).await?)
}

fn sum(sizes: &[SqliteRow]) -> Result<u64, StoreError> {
    sizes.iter().map(|row| unsigned_at(row, 0)).sum()
}

fn id_at(row: &SqliteRow) -> Result<BlobId, StoreError> {
    Ok(BlobId::from_bytes(bytes_at(row, 0)?))
}

/// A group's manifests, the newest last.
pub(super) async fn list(db: &mut SqliteConnection, group_no: i64) -> Result<Vec<BlobId>, StoreError> {
    let rows = sqlx::query("SELECT id FROM snapshots WHERE group_no = ? ORDER BY covers, no")
        .bind(group_no)
        .fetch_all(db)
        .await?;
    rows.iter().map(id_at).collect()
}

/// All groups'.
pub(super) async fn lists(db: &mut SqliteConnection) -> Result<Lists, StoreError> {
    let rows = sqlx::query("SELECT id, group_no FROM snapshots ORDER BY group_no, covers, no").fetch_all(db).await?;
    let mut lists = Lists::new();
    for row in &rows {
        lists.entry(row.try_get(1)?).or_default().push(id_at(row)?);
    }
    Ok(lists)
}

impl SqliteStore {
    /// A manifest or a part. One that the disk has changed is none.
    pub(super) async fn get_of_snapshot(&self, log: &GroupLog, id: BlobId) -> Result<Option<Bytes>, StoreError> {
        let kept = get(&self.readers, log, &id).await?;
        if kept.as_ref().is_some_and(|envelope| !is_whole(&id, envelope)) {
            if let Some(log) = self.shared.group(&log.group) {
                self.let_go_of_part(log, id).await?;
            }
            return Ok(None);
        }
        Ok(kept)
    }

    /// One that the disk has changed goes, with the snapshots that name it.
    pub(super) async fn let_go_of_part(&self, log: Arc<GroupLog>, id: BlobId) -> Result<(), StoreError> {
        error!("the disk has changed a part of a snapshot, which is let go of");
        self.ask(|reply| Write::DropBlob(log, id, reply)).await
    }
}

/// A manifest or a part, as the file has it.
async fn get(readers: &SqlitePool, log: &GroupLog, id: &BlobId) -> Result<Option<Bytes>, StoreError> {
    let row = sqlx::query("SELECT envelope FROM snapshot_blobs WHERE group_no = ? AND id = ?")
        .bind(log.no)
        .bind(id.as_bytes().as_slice())
        .fetch_optional(readers)
        .await?;
    row.map(|row| Ok(Bytes::from(row.try_get::<Vec<u8>, _>(0)?))).transpose()
}

/// Lets go of parts that no snapshot came for; says how many bytes that was in each group, and how many parts.
pub(super) async fn expire(db: &mut SqliteConnection, now_ms: u64) -> Result<(HashMap<i64, u64>, u64), StoreError> {
    let due = sqlx::query(
        "DELETE FROM snapshot_blobs WHERE no IN
             (SELECT no FROM snapshot_blobs WHERE waits_ms IS NOT NULL AND waits_ms < ? ORDER BY waits_ms LIMIT ?)
         RETURNING size, group_no",
    )
    .bind(signed(now_ms.saturating_sub(SNAPSHOT_PART_TTL_S * 1_000)))
    .bind(STEP_PARTS)
    .fetch_all(&mut *db)
    .await?;
    let mut freed = HashMap::<i64, u64>::new();
    for row in &due {
        *freed.entry(row.try_get(1)?).or_default() += unsigned_at(row, 0)?;
    }
    for (group_no, bytes) in &freed {
        charge(db, *group_no, *bytes, 0).await?;
    }
    Ok((freed, due.len() as u64))
}

/// Whether a step of [`expire`] that let go of so many may have left some.
pub(super) fn may_be_more(parts: u64) -> bool {
    parts >= STEP_PARTS.cast_unsigned()
}

/// Forgets a log's, because nobody asks for it any more.
pub(super) async fn forget(db: &mut SqliteConnection, group_no: i64) -> Result<(), StoreError> {
    for delete in [
        "DELETE FROM snapshot_names WHERE snapshot IN (SELECT no FROM snapshots WHERE group_no = ?)",
        "DELETE FROM snapshots WHERE group_no = ?",
        "DELETE FROM snapshot_blobs WHERE group_no = ?",
    ] {
        sqlx::query(delete).bind(group_no).execute(&mut *db).await?;
    }
    Ok(())
}

/// Takes over all there is of a log that begins anew; says how many bytes that is. What the snapshots cover was counted in
/// rows that may have other numbers now, so they cover nothing.
pub(super) async fn hand_over(db: &mut SqliteConnection, from: i64, into: i64) -> Result<u64, StoreError> {
    sqlx::query("UPDATE snapshots SET group_no = ?, covers = 0 WHERE group_no = ?")
        .bind(into)
        .bind(from)
        .execute(&mut *db)
        .await?;
    let blobs = "UPDATE snapshot_blobs SET group_no = ? WHERE group_no = ? RETURNING size";
    sum(&sqlx::query(blobs).bind(into).bind(from).fetch_all(db).await?)
}

/// Takes over the newest of a log whose rows come behind another's; says how many bytes came, and how many left.
///
/// It may be all there is of that log's front, so it is not let go of for the other's sake: the newest of each stays. What
/// it covers is counted in rows that stand elsewhere now, so it covers nothing.
pub(super) async fn take_over(db: &mut SqliteConnection, from: i64, into: i64) -> Result<(u64, u64), StoreError> {
    let (mut came, mut left) = (0, 0);
    if !list(db, from).await?.is_empty() {
        keep_newest(db, from, 1).await?;
        left = keep_newest(db, into, 1).await?;
        // One that both have stays what it is.
        sqlx::query("UPDATE OR IGNORE snapshots SET group_no = ?, covers = 0 WHERE group_no = ?")
            .bind(into)
            .bind(from)
            .execute(&mut *db)
            .await?;
        let coming = sqlx::query(
            "UPDATE OR IGNORE snapshot_blobs SET group_no = ? WHERE group_no = ? AND waits_ms IS NULL RETURNING size",
        )
        .bind(into)
        .bind(from)
        .fetch_all(&mut *db)
        .await?;
        came = sum(&coming)?;
        take_named(db, into).await?;
    }
    forget(db, from).await?;
    Ok((came, left))
}
