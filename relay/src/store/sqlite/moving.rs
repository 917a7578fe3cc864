//! A group that is known by another id: its log is renamed, or its logs become one.
//!
//! A log that is renamed stays what it is: its number, its id, its rows and their cursors, so a member's position in it
//! stays true. Where there are several, the others' rows are appended behind it, as if they had been pushed again. In
//! memory a renamed log is another one all the same: whoever holds the old one came by an id that is over.
//!
//! Invariant: an id is in `groups` or in `moved`, never in both.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use sqlx::Row as _;
use sync_sqlite::Database;
use sync_types::{BlobId, DeviceId, Envelope, ErrorCode, RelayCursor, RelayGroupId, Run};

use super::{
    chunks,
    groups::{bound_devices, visited},
    ids, packages,
    place::{CURSOR_MAX, place, places},
    placeholders, receipts, signed, snapshots, unsigned_at,
    writer::{Books, Writer, measure},
};
use crate::store::{GroupLog, Head, Moved, Moving, Newest, StoreError};

/// Rows moved from one log to another at once.
const STEP_ROWS: i64 = 256;

/// What a transaction is about to change, in memory.
#[derive(Default)]
pub(super) struct Change {
    moved: Moved,
    /// The logs whose ids are over.
    over: Vec<Arc<GroupLog>>,
    /// The group's log from now on, if there is one.
    log: Option<Kept>,
    /// Envelopes that were in two logs.
    twice: u64,
    /// Bytes that what is left takes of the file at most.
    size: u64,
}

/// A log that goes on.
pub(super) struct Kept {
    pub(super) log: Arc<GroupLog>,
    pub(super) head: Head,
    pub(super) bytes: u64,
    /// Its snapshots.
    pub(super) list: Vec<BlobId>,
}

/// A row that comes into another log.
struct Coming {
    from: i64,
    to: RelayCursor,
    run: Run,
}

impl Writer {
    /// Performs a MOVE, or refuses it.
    pub(super) async fn move_group(&mut self, moving: Moving) -> Result<Result<Moved, ErrorCode>, StoreError> {
        if moving.over.iter().any(|(id, _)| *id == moving.group) {
            return Ok(Err(ErrorCode::GroupMoved));
        }
        let planned = self.db.transaction(async |db| plan(db, &self.books, &moving).await).await?;
        let change = match planned {
            Ok(change) => change,
            Err(refused) => return Ok(Err(refused)),
        };
        let moved = change.moved;
        if moved != Moved::default() {
            change.publish(&mut self.books, &moving.group);
            // Counted anew: what became of two logs is not to be told by adding up.
            if let Ok(db_bytes) = measure(self.db.connection().await?, &self.books.shared).await {
                self.books.db_bytes = db_bytes;
            }
            self.books.shared.db_bytes.store(self.books.db_bytes, Ordering::Relaxed);
        }
        Ok(Ok(moved))
    }
}

/// Decides and writes.
async fn plan(db: &mut Database, books: &Books, moving: &Moving) -> Result<Result<Change, ErrorCode>, StoreError> {
    let own = books.shared.group(&moving.group);
    // By an id that is over nothing is written, by way of another one neither. A member that is behind finds out where its
    // group went when it greets.
    if own.is_none() && packages::is_over(db, &moving.group).await? {
        return Ok(Err(ErrorCode::GroupMoved));
    }
    if let Some(log) = own.as_ref().filter(|_| moving.over.is_empty()) {
        forget_others(db, log.no, moving).await?;
    }
    let missing = packages::missing(db, &moving.over).await?;
    if missing.is_empty() {
        return Ok(Ok(Change::default()));
    }
    if !moving.may_add {
        return Ok(Err(ErrorCode::RateLimited));
    }
    let mut change = Change { size: packages::size(&missing), ..Change::default() };
    let ids: BTreeSet<_> = moving.over.iter().map(|(id, _)| id).collect();
    for (id, _) in &moving.over {
        change.over.extend(books.shared.group(id).filter(|log| !change.over.iter().any(|other| other.no == log.no)));
    }
    debug_assert!(!ids.contains(&moving.group), "an id that is over leads elsewhere");
    // Of logs of one length the first: `max_by_key` takes the last.
    let keeps = own.clone().or_else(|| change.over.iter().rev().max_by_key(|log| rows(&log.head())).cloned());
    match keeps {
        Some(log) => {
            let bytes = books.group_bytes.get(&log.no).copied().unwrap_or(0);
            let list = log.snapshots.borrow().clone();
            let mut kept = Kept { head: log.head(), log, bytes, list };
            let others: Vec<_> = change.over.iter().filter(|log| log.no != kept.log.no).cloned().collect();
            if others.iter().map(|log| rows(&log.head())).sum::<u64>() > CURSOR_MAX.get() - kept.head.cursor.get() {
                return Ok(Err(ErrorCode::GroupFull));
            }
            // Whatever is written is committed, so nothing is refused after this.
            if own.is_none() {
                rename(db, kept.log.no, moving).await?;
            }
            for other in &others {
                change.merge(db, books, other, &mut kept, &moving.remaining).await?;
            }
            if change.moved.merged > 0 {
                kept.head.newest = newest(db, kept.log.no, kept.head.cursor).await?;
            }
            visited(db, kept.log.no, moving.now_ms);
            change.log = Some(kept);
        }
        None if !has_room(db, books, change.size).await? => return Ok(Err(ErrorCode::StorageFull)),
        None => {}
    }
    packages::leave(db, &missing, &moving.group, moving.now_ms).await?;
    if change.log.is_none() {
        packages::bound_strays(db, books.bounds.groups).await?;
    }
    change.moved.packages = missing.len();
    change.moved.logs = change.over.len();
    Ok(Ok(change))
}

/// Rows of a log.
fn rows(head: &Head) -> u64 {
    head.cursor.get() - head.floor_cursor.get()
}

/// Whether the database may grow by so much.
async fn has_room(db: &mut Database, books: &Books, size: u64) -> Result<bool, StoreError> {
    Ok(books.db_bytes + size <= books.bounds.db_bytes
        || measure(db.connection().await?, &books.shared).await? + size <= books.bounds.db_bytes)
}

/// Gives a log the new id.
async fn rename(db: &mut Database, no: i64, moving: &Moving) -> Result<(), StoreError> {
    db.add("UPDATE groups SET id = ? WHERE no = ?").bind(moving.group.as_bytes().as_slice()).bind(no);
    // Sealed under keys that are over: whoever remains says it anew.
    receipts::forget(db, no);
    forget_others(db, no, moving).await
}

/// Forgets the devices that don't remain: nothing is kept any longer for their sake.
async fn forget_others(db: &mut Database, no: i64, moving: &Moving) -> Result<(), StoreError> {
    let others = format!("DELETE FROM devices WHERE group_no = ? AND device NOT IN {}", among(&moving.remaining));
    db.add(&others).bind(no);
    bind_all(db, &moving.remaining);
    let others = format!("DELETE FROM receipts WHERE group_no = ? AND device NOT IN {}", among(&moving.remaining));
    db.add(&others).bind(no);
    bind_all(db, &moving.remaining);
    db.flush().await?;
    Ok(())
}

fn among(devices: &[DeviceId]) -> String {
    placeholders(devices.len())
}

fn bind_all(db: &mut Database, devices: &[DeviceId]) {
    for device in devices {
        db.bind(device.as_bytes().as_slice());
    }
}

impl Change {
    /// Appends what is left of a log to another, and lets go of it.
    pub(super) async fn merge(
        &mut self,
        db: &mut Database,
        books: &Books,
        from: &GroupLog,
        into: &mut Kept,
        remaining: &[DeviceId],
    ) -> Result<(), StoreError> {
        let (first, last) = places(from.no).into_inner();
        ids::forget(db.connection().await?, first, last).await?;
        let mut after = first;
        loop {
            let read = sqlx::query(
                "SELECT place, id_high, id_low, size, envelope IS NOT NULL FROM entries
                 WHERE place > ? AND place <= ? ORDER BY place LIMIT ?",
            )
            .bind(after)
            .bind(last)
            .bind(STEP_ROWS)
            .fetch_all(db.connection().await?)
            .await?;
            let Some(end) = read.last() else { break };
            after = end.try_get(0)?;
            let mut living = Vec::with_capacity(read.len());
            for row in read {
                if row.try_get(4)? {
                    living.push((row.try_get::<i64, _>(0)?, ids::id_at(&row, 1)?, unsigned_at(&row, 3)?));
                }
            }
            self.append(db, books, living, into).await?;
        }
        leave_behind(db, from.no, into, remaining).await
    }

    /// Appends rows, given by their place, blob and size, but for those whose blob is there already.
    async fn append(
        &mut self,
        db: &mut Database,
        books: &Books,
        rows: Vec<(i64, BlobId, u64)>,
        into: &mut Kept,
    ) -> Result<(), StoreError> {
        let no = into.log.no;
        let ids: Vec<_> = rows.iter().map(|(_, blob_id, _)| (no, *blob_id)).collect();
        let known = ids::find(db, &books.shared, &ids).await?;
        let mut coming = Vec::with_capacity(rows.len());
        for (from, blob_id, size) in rows {
            if known.contains_key(&(no, blob_id)) {
                self.twice += 1;
                continue;
            }
            into.head.cursor = into.head.cursor.next();
            into.head.run = into.head.run.then(&blob_id);
            into.bytes += size;
            coming.push(Coming { from, to: into.head.cursor, run: into.head.run });
        }
        self.moved.merged += coming.len() as u64;
        for rows in chunks(&coming) {
            db.add(&format!(
                "WITH coming (was, place, run) AS (VALUES {})
                 UPDATE entries SET place = coming.place, run = coming.run FROM coming WHERE entries.place = coming.was",
                vec![placeholders(3); rows.len()].join(",")
            ));
            for row in rows {
                db.bind(row.from).bind(place(no, row.to)).bind(row.run.as_bytes().as_slice());
            }
            db.flush().await?;
        }
        Ok(())
    }

    /// Shows everybody what was committed.
    fn publish(self, books: &mut Books, group: &RelayGroupId) {
        let mut renamed = None;
        if let Some(kept) = self.log {
            books.group_bytes.insert(kept.log.no, kept.bytes);
            if kept.log.group == *group {
                if *kept.log.snapshots.borrow() != kept.list {
                    kept.log.snapshots.send_replace(kept.list);
                }
                if self.moved.merged > 0 {
                    // What follows on from it was not read into it.
                    kept.log.tail().clear();
                    kept.log.head.send_replace(kept.head);
                }
            } else {
                let log = GroupLog::new(kept.log.no, *group, kept.log.log_id, kept.head);
                log.snapshots.send_replace(kept.list);
                renamed = Some(Arc::new(log));
            }
            let gone: BTreeSet<_> = self.over.iter().map(|log| log.no).filter(|no| *no != kept.log.no).collect();
            for no in &gone {
                books.group_bytes.remove(no);
            }
            if !gone.is_empty() {
                let mut fresh = books.shared.fresh();
                fresh.retain(|(no, _), _| *no != kept.log.no && !gone.contains(no));
            }
        }
        books.shared.replace_groups(&self.over, renamed);
        for log in &self.over {
            log.tail().clear();
        }
        books.shared.blobs.fetch_sub(self.twice, Ordering::Relaxed);
        books.db_bytes += self.size;
    }
}

/// What a merged log has besides its rows: its newest snapshot comes along, and devices that remain are known in the other
/// one, as having read nothing there.
async fn leave_behind(db: &mut Database, from: i64, into: &mut Kept, remaining: &[DeviceId]) -> Result<(), StoreError> {
    let no = into.log.no;
    let (first, last) = places(from).into_inner();
    db.add("DELETE FROM entries WHERE place BETWEEN ? AND ?").bind(first).bind(last);
    db.add(&format!(
        "INSERT INTO devices (group_no, device, acked, seen_ms)
         SELECT ?, device, 0, seen_ms FROM devices WHERE group_no = ? AND device IN {}
         ON CONFLICT DO UPDATE SET seen_ms = MAX(seen_ms, excluded.seen_ms)",
        among(remaining)
    ))
    .bind(no)
    .bind(from);
    bind_all(db, remaining);
    bound_devices(db, no);
    db.add("DELETE FROM devices WHERE group_no = ?").bind(from);
    receipts::forget(db, from);
    let tx = db.connection().await?;
    let (came, left) = snapshots::take_over(tx, from, no).await?;
    into.bytes = (into.bytes + came).saturating_sub(left);
    into.list = snapshots::list(tx, no).await?;
    db.add("DELETE FROM groups WHERE no = ?").bind(from);
    db.add("UPDATE groups SET head_cursor = ?, head_run = ?, bytes = ? WHERE no = ?")
        .bind(signed(into.head.cursor.get()))
        .bind(into.head.run.as_bytes().as_slice())
        .bind(signed(into.bytes))
        .bind(no);
    ids::index_group(db, no);
    db.flush().await?;
    Ok(())
}

/// What is said of the last row.
pub(super) async fn newest(db: &mut Database, no: i64, cursor: RelayCursor) -> Result<Option<Newest>, StoreError> {
    let row = sqlx::query(
        "SELECT id_high, id_low, received_ms, envelope FROM entries WHERE place = ? AND envelope IS NOT NULL",
    )
    .bind(place(no, cursor))
    .fetch_optional(db.connection().await?)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let Ok(envelope) = Envelope::parse(row.try_get::<Vec<u8>, _>(3)?.into()) else { return Ok(None) };
    Ok(Some(Newest {
        blob_id: ids::id_at(&row, 0)?,
        sender: envelope.header().sender,
        size: u32::try_from(envelope.as_bytes().len()).unwrap_or(u32::MAX),
        received_ms: unsigned_at(&row, 2)?,
    }))
}
