//! Appending: which blobs are new, whether there is room for them, and their rows.
//!
//! A batch is decided from what the writer knows plus one question (which of these ids are here already?), and
//! written with as few statements as possible, because a statement costs more than a row.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use sync_types::{BlobId, ErrorCode, Kind, RelayCursor, Run, limits::relay_defaults::CONTROL_RESERVE};

use super::{
    bytes_at, fault, signed, unsigned_at,
    writer::{Answers, Books, Request, measure},
};
use crate::store::{Appended, GroupLog, Head, NewBlob, Newest, StoreError, StoredRow};

/// Rows in one statement: few sizes, so that the statements stay prepared.
const CHUNKS: [usize; 3] = [64, 8, 1];

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
        db: &mut SqliteConnection,
        books: &Books,
        requests: Vec<Request>,
    ) -> Result<Vec<Answers>, StoreError> {
        self.db_bytes = books.db_bytes;
        let ids: Vec<_> =
            requests.iter().flat_map(|(log, blobs)| blobs.iter().map(|blob| (log.no, blob.blob_id))).collect();
        let mut known = find(db, &ids).await?;
        let mut answers = Vec::with_capacity(requests.len());
        for (log, blobs) in requests {
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
        db: &mut SqliteConnection,
        books: &Books,
        log: &Arc<GroupLog>,
        blob: NewBlob,
    ) -> Result<Result<Appended, ErrorCode>, StoreError> {
        let size = blob.envelope.len() as u64;
        let kept = books.group_bytes.get(&log.no).copied().unwrap_or(0);
        let group_bytes = self.logs.get(&log.no).map_or(kept, |extended| extended.bytes);
        let reserve = if blob.kind == Kind::Control { CONTROL_RESERVE } else { 0 };
        if group_bytes + size > books.bounds.group_bytes.saturating_add(reserve) {
            return Ok(Err(ErrorCode::GroupFull));
        }
        if self.db_bytes + footprint(size) > books.bounds.db_bytes {
            self.db_bytes = measure(db).await? + self.logs.values().map(Extended::footprint).sum::<u64>();
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
    async fn control(&self, db: &mut SqliteConnection, group_no: i64) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT IFNULL(SUM(size), 0) FROM entries WHERE group_no = ? AND kind = 2")
            .bind(group_no)
            .fetch_one(db)
            .await
            .map_err(fault)?;
        let rows = self.logs.get(&group_no).map_or(&[][..], |extended| &extended.rows);
        let coming = rows.iter().filter(|(_, blob, _)| blob.kind == Kind::Control);
        Ok(unsigned_at(&row, 0)? + coming.map(|(_, blob, _)| blob.envelope.len() as u64).sum::<u64>())
    }

    /// Shows the committed rows to everybody.
    pub(super) fn publish(self, books: &mut Books) {
        books.db_bytes = self.db_bytes;
        books.shared.db_bytes.store(self.db_bytes, Ordering::Relaxed);
        for (no, extended) in self.logs {
            books.group_bytes.insert(no, extended.bytes);
            books.shared.blobs.fetch_add(extended.rows.len() as u64, Ordering::Relaxed);
            let mut tail = extended.log.tail();
            if extended.log.head.receiver_count() == 0 {
                tail.clear();
            } else {
                tail.extend(extended.rows.into_iter().map(|(.., row)| row));
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
            sender: blob.sender,
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

    async fn write(&self, db: &mut SqliteConnection) -> Result<(), StoreError> {
        for rows in chunks(&self.rows) {
            let mut insert = QueryBuilder::<Sqlite>::new(
                "INSERT INTO entries (group_no, cursor, blob_id, kind, key_id, sender, run, size, received_ms, \
                 expires_ms, envelope) ",
            );
            insert.push_values(rows, |mut values, (run, blob, row)| {
                values
                    .push_bind(self.log.no)
                    .push_bind(signed(row.cursor.get()))
                    .push_bind(blob.blob_id.as_bytes().as_slice())
                    .push_bind(blob.kind as u8)
                    .push_bind(blob.key_id.as_bytes().as_slice())
                    .push_bind(blob.sender.as_bytes().as_slice())
                    .push_bind(run.as_bytes().as_slice())
                    .push_bind(signed(blob.envelope.len() as u64))
                    .push_bind(signed(blob.received_ms))
                    .push_bind(blob.expires_ms.map(signed))
                    .push_bind(&*blob.envelope);
            });
            insert.build().execute(&mut *db).await.map_err(fault)?;
        }
        sqlx::query("UPDATE groups SET head_cursor = ?, head_run = ?, bytes = ? WHERE no = ?")
            .bind(signed(self.head.cursor.get()))
            .bind(self.head.run.as_bytes().as_slice())
            .bind(signed(self.bytes))
            .bind(self.log.no)
            .execute(db)
            .await
            .map_err(fault)?;
        Ok(())
    }
}

/// Which of these blobs have a row, and where.
async fn find(
    db: &mut SqliteConnection,
    ids: &[(i64, BlobId)],
) -> Result<HashMap<(i64, BlobId), Appended>, StoreError> {
    let mut found = HashMap::new();
    for ids in chunks(ids) {
        let mut select = QueryBuilder::<Sqlite>::new("WITH wanted (group_no, blob_id) AS (");
        select.push_values(ids, |mut values, (group_no, blob_id)| {
            values.push_bind(*group_no).push_bind(blob_id.as_bytes().as_slice());
        });
        select.push(
            ") SELECT group_no, blob_id, cursor, run, received_ms FROM wanted JOIN entries USING (group_no, blob_id)",
        );
        for row in select.build().fetch_all(&mut *db).await.map_err(fault)? {
            let id = (signed(unsigned_at(&row, 0)?), BlobId::from_bytes(bytes_at(&row, 1)?));
            let appended = Appended {
                cursor: RelayCursor::new(unsigned_at(&row, 2)?),
                run: Run::from_bytes(bytes_at(&row, 3)?),
                received_ms: unsigned_at(&row, 4)?,
            };
            found.insert(id, appended);
        }
    }
    Ok(found)
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

/// What a row takes of the file at most: its columns and index entries, and whole pages once it is long. That much is
/// counted until the file is measured, which it is before anybody is refused.
fn footprint(envelope_len: u64) -> u64 {
    const PAGE: u64 = 4_096;
    const ROW: u64 = 512;
    if envelope_len < PAGE / 4 {
        envelope_len + envelope_len / 4 + ROW
    } else {
        envelope_len.next_multiple_of(PAGE) + PAGE
    }
}

#[cfg(test)]
mod tests {
    use super::chunks;

    #[test]
    fn chunks_cover_the_list_in_order() {
        for len in [0, 1, 7, 8, 9, 63, 64, 65, 300] {
            let list: Vec<usize> = (0..len).collect();
            let pieces: Vec<&[usize]> = chunks(&list).collect();
            assert_eq!(pieces.concat(), list);
            assert!(pieces.iter().all(|piece| matches!(piece.len(), 64 | 8 | 1)));
        }
    }
}
