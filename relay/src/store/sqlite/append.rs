//! Appending: which blobs are new, whether there is room for them, and their rows.
//!
//! A batch is decided from what the writer knows plus one question (which of these ids are here already?), and
//! written with as few statements as possible, because a statement costs more than a row.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use sync_sqlite::Database;
use sync_types::{ErrorCode, Kind, Run, limits::relay_defaults::CONTROL_RESERVE};

use super::{
    chunks, ids,
    place::{CURSOR_MAX, place, places},
    placeholders, signed, unsigned_at,
    writer::{Answers, Books, Request, measure},
};
use crate::store::{Appended, GroupLog, Head, NewBlob, Newest, StoreError, StoredRow};

/// Columns of a row.
const COLUMNS: usize = 9;
/// From this many rows on an INSERT goes by itself: together with what comes before and after it, it would rarely be
/// the same text again.
const LONG: usize = 32;

/// What a transaction is about to change, in memory.
#[derive(Default)]
pub(super) struct Batch {
    logs: HashMap<i64, Extended>,
    db_bytes: u64,
}

/// One log as it will be.
struct Extended {
    log: Arc<GroupLog>,
    head: Head,
    bytes: u64,
    rows: Vec<(Run, NewBlob, StoredRow)>,
}

impl Batch {
    /// Decides and writes; answers each request's blobs in their order.
    pub(super) async fn append(
        &mut self,
        db: &mut Database,
        books: &Books,
        requests: Vec<Request>,
    ) -> Result<Vec<Answers>, StoreError> {
        self.db_bytes = books.db_bytes;
        let ids: Vec<_> =
            requests.iter().flat_map(|(log, blobs)| blobs.iter().map(|blob| (log.no, blob.blob_id))).collect();
        let mut known = ids::find(db, &books.shared, &ids).await?;
        let mut answers = Vec::with_capacity(requests.len());
        for (log, blobs) in requests {
            if log.is_over() {
                // By its old id nothing is written any more, or it would be in nobody's log.
                answers.push(vec![Err(ErrorCode::GroupMoved); blobs.len()]);
                continue;
            }
            if books.shared.group(&log.group).is_none_or(|current| current.no != log.no) {
                // It was forgotten with its last session. Nobody waits for this answer any more.
                answers.push(vec![Err(ErrorCode::NotFound); blobs.len()]);
                continue;
            }
            let mut request = Vec::with_capacity(blobs.len());
            for blob in blobs {
                let id = (log.no, blob.blob_id);
                let answer = match known.get(&id) {
                    Some(appended) => Ok(*appended),
                    None => self.admit(db, books, &log, blob).await?,
                };
                if let Ok(appended) = answer {
                    known.insert(id, appended);
                }
                request.push(answer);
            }
            answers.push(request);
        }
        for extended in self.logs.values() {
            extended.write(db).await?;
        }
        Ok(answers)
    }

    /// Gives a new blob its place, if there is room.
    async fn admit(
        &mut self,
        db: &mut Database,
        books: &Books,
        log: &Arc<GroupLog>,
        blob: NewBlob,
    ) -> Result<Result<Appended, ErrorCode>, StoreError> {
        let size = blob.envelope.len() as u64;
        let kept = books.group_bytes.get(&log.no).copied().unwrap_or(0);
        let group_bytes = self.logs.get(&log.no).map_or(kept, |extended| extended.bytes);
        let reserve = if blob.kind == Kind::Control { CONTROL_RESERVE } else { 0 };
        let head_cursor = self.logs.get(&log.no).map_or_else(|| log.head().cursor, |extended| extended.head.cursor);
        if group_bytes + size > books.bounds.group_bytes.saturating_add(reserve) || head_cursor >= CURSOR_MAX {
            return Ok(Err(ErrorCode::GroupFull));
        }
        if self.db_bytes + footprint(size) > books.bounds.db_bytes {
            let coming = self.logs.values().map(Extended::footprint).sum::<u64>();
            self.db_bytes = measure(db.connection().await?, &books.shared).await? + coming;
            // Removing a device must work on a relay that others have filled, and filled with such as well.
            let full = self.db_bytes + footprint(size) > books.bounds.db_bytes;
            if full && (blob.kind != Kind::Control || self.control(db, log.no).await? + size > CONTROL_RESERVE) {
                return Ok(Err(ErrorCode::StorageFull));
            }
        }
        let extended = self.logs.entry(log.no).or_insert_with(|| Extended {
            log: Arc::clone(log),
            head: log.head(),
            bytes: group_bytes,
            rows: Vec::new(),
        });
        self.db_bytes += footprint(size);
        Ok(Ok(extended.push(blob)))
    }

    /// Bytes of a group's control envelopes, this batch's included.
    async fn control(&self, db: &mut Database, group_no: i64) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT IFNULL(SUM(size), 0) FROM entries WHERE place BETWEEN ? AND ? AND kind = 2")
            .bind(*places(group_no).start())
            .bind(*places(group_no).end())
            .fetch_one(db.connection().await?)
            .await?;
        let rows = self.logs.get(&group_no).map_or(&[][..], |extended| &extended.rows);
        let coming = rows.iter().filter(|(_, blob, _)| blob.kind == Kind::Control);
        Ok(unsigned_at(&row, 0)? + coming.map(|(_, blob, _)| blob.envelope.len() as u64).sum::<u64>())
    }

    /// Shows the committed rows to everybody.
    pub(super) fn publish(self, books: &mut Books) {
        books.db_bytes = self.db_bytes;
        books.shared.db_bytes.store(self.db_bytes, Ordering::Relaxed);
        let mut fresh = books.shared.fresh();
        let logs = books.shared.group_count();
        for (no, extended) in self.logs {
            fresh.extend(extended.rows.iter().map(|(_, blob, row)| ((no, blob.blob_id), row.cursor)));
            books.group_bytes.insert(no, extended.bytes);
            books.shared.blobs.fetch_add(extended.rows.len() as u64, Ordering::Relaxed);
            let mut tail = extended.log.tail();
            if extended.log.head.receiver_count() == 0 {
                tail.clear();
            } else {
                tail.extend(extended.rows.into_iter().map(|(.., row)| row), logs);
            }
            drop(tail);
            extended.log.head.send_replace(extended.head);
        }
    }
}

impl Extended {
    fn push(&mut self, blob: NewBlob) -> Appended {
        let (cursor, run) = (self.head.cursor.next(), self.head.run.then(&blob.blob_id));
        self.bytes += blob.envelope.len() as u64;
        self.head.cursor = cursor;
        self.head.run = run;
        self.head.newest = Some(Newest {
            blob_id: blob.blob_id,
            sender: blob.sender,
            size: u32::try_from(blob.envelope.len()).unwrap_or(u32::MAX),
            received_ms: blob.received_ms,
        });
        let received_ms = blob.received_ms;
        let row = StoredRow {
            cursor,
            blob_id: blob.blob_id,
            received_ms,
            expires_ms: blob.expires_ms,
            envelope: Some(blob.envelope.clone()),
        };
        self.rows.push((run, blob, row));
        Appended { cursor, run, received_ms }
    }

    fn footprint(&self) -> u64 {
        self.rows.iter().map(|(_, blob, _)| footprint(blob.envelope.len() as u64)).sum()
    }

    async fn write(&self, db: &mut Database) -> Result<(), StoreError> {
        for rows in chunks(&self.rows) {
            db.add(&format!(
                "INSERT INTO entries (place, id_high, id_low, kind, run, size, received_ms, expires_ms, envelope) VALUES {}",
                vec![placeholders(COLUMNS); rows.len()].join(",")
            ));
            for (run, blob, row) in rows {
                let (id_high, id_low) = ids::halves(&blob.blob_id);
                db.bind(place(self.log.no, row.cursor))
                    .bind(id_high)
                    .bind(id_low)
                    .bind(blob.kind as u8)
                    .bind(run.as_bytes().as_slice())
                    .bind(signed(blob.envelope.len() as u64))
                    .bind(signed(blob.received_ms))
                    .bind(blob.expires_ms.map(signed))
                    .bind(&*blob.envelope);
            }
            if rows.len() >= LONG {
                db.flush().await?;
            }
        }
        db.add("UPDATE groups SET head_cursor = ?, head_run = ?, bytes = ? WHERE no = ?")
            .bind(signed(self.head.cursor.get()))
            .bind(self.head.run.as_bytes().as_slice())
            .bind(signed(self.bytes))
            .bind(self.log.no);
        Ok(())
    }
}

/// What a row takes of the file at most: its columns and index entries, and whole pages once it is long. That much is
/// counted until the file is measured, which it is before anybody is refused.
pub(super) fn footprint(envelope_len: u64) -> u64 {
    const PAGE: u64 = 4_096;
    const ROW: u64 = 512;
    if envelope_len < PAGE / 4 {
        envelope_len + envelope_len / 4 + ROW
    } else {
        envelope_len.next_multiple_of(PAGE) + PAGE
    }
}
