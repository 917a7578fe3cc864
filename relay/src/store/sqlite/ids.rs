//! Which row a blob is.
//!
//! Blob ids are random, so an index of them that grew with every row would change, and write, about a page a row:
//! behind some hundred thousand blobs that is all the relay would do. So the rows that came last are looked up in
//! memory, and once there are [`FRESH_MAX`] of them they enter the index together, in the order of their ids. A page
//! of it is then written once for many rows.
//!
//! Invariant: a row is in `fresh` or in the index, and `groups.indexed_cursor` says which after a crash. It leaves
//! `fresh` only once the index that has it is on disk.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use sync_sqlite::Database;
use sync_types::{BlobId, RelayCursor, Run};

use super::{
    Shared, bytes_at, chunks,
    place::{cursor_at, group_at, place},
    placeholders, unsigned_at,
    writer::Writer,
};
use crate::store::{Appended, StoreError};

/// Rows that are not in the index at most, but for those of one more transaction. Few in tests, so that a test's rows
/// are in both.
pub(super) const FRESH_MAX: usize = if cfg!(test) { 16 } else { 16_384 };
/// What a row takes in the index, with the pages' slack.
const ROW_BYTES: u64 = 40;

/// A blob of a group.
pub(super) type Id = (i64, BlobId);
/// The rows that are not in the index.
pub(super) type Fresh = HashMap<Id, RelayCursor>;

/// An id as the database holds it: two numbers, which cost less to hand over than bytes.
pub(super) fn halves(blob_id: &BlobId) -> (i64, i64) {
    let number = u128::from_be_bytes(*blob_id.as_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "each half in its turn")]
    let halves = ((number >> 64) as u64, number as u64);
    (halves.0.cast_signed(), halves.1.cast_signed())
}

/// The id that two columns hold.
pub(super) fn id_at(row: &sqlx::sqlite::SqliteRow, index: usize) -> Result<BlobId, StoreError> {
    let high: i64 = row.try_get(index)?;
    let low: i64 = row.try_get(index + 1)?;
    let number = (u128::from(high.cast_unsigned()) << 64) | u128::from(low.cast_unsigned());
    Ok(BlobId::from_bytes(number.to_be_bytes()))
}

/// Bytes that the fresh rows will take of the file.
pub(super) fn footprint(fresh: usize) -> u64 {
    fresh as u64 * ROW_BYTES
}

/// The rows that a stopped relay left outside the index.
pub(super) async fn load(db: &mut SqliteConnection) -> Result<Fresh, StoreError> {
    let rows =
        sqlx::query(AssertSqlSafe(format!("SELECT entries.place, id_high, id_low {OUTSIDE}"))).fetch_all(db).await?;
    let mut fresh = Fresh::with_capacity(rows.len());
    for row in rows {
        let place: i64 = row.try_get(0)?;
        fresh.insert((group_at(place), id_at(&row, 1)?), cursor_at(place));
    }
    Ok(fresh)
}

/// Rows that the index does not have.
const OUTSIDE: &str = "FROM groups CROSS JOIN entries
    ON entries.place > (groups.no << 35 | groups.indexed_cursor) AND entries.place <= (groups.no << 35 | groups.head_cursor)
    WHERE groups.indexed_cursor < groups.head_cursor";

/// Puts rows into the index: those that are named behind it.
const INDEX: &str = "INSERT INTO blob_ids (id_high, place) SELECT id_high, entries.place";

/// Puts all rows of a group into the index that are not there yet. They leave `fresh` once that is committed.
pub(super) fn index_group(db: &mut Database, group_no: i64) {
    db.add(&format!("{INDEX} {OUTSIDE} AND groups.no = ? ORDER BY id_high, entries.place")).bind(group_no);
    db.add("UPDATE groups SET indexed_cursor = head_cursor WHERE no = ?").bind(group_no);
}

/// Which of these blobs have a row, and where.
pub(super) async fn find(db: &mut Database, shared: &Shared, ids: &[Id]) -> Result<HashMap<Id, Appended>, StoreError> {
    let mut places = Vec::new();
    {
        let fresh = shared.fresh();
        places.extend(ids.iter().filter_map(|id| fresh.get(id).map(|cursor| place(id.0, *cursor))));
    }
    for ids in chunks(ids) {
        db.add(&format!("SELECT place FROM blob_ids WHERE id_high IN {}", placeholders(ids.len())));
        for (_, blob_id) in ids {
            db.bind(halves(blob_id).0);
        }
        for row in db.rows().await? {
            places.push(row.try_get(0)?);
        }
    }
    let mut found = HashMap::new();
    for places in chunks(&places) {
        db.add(&format!(
            "SELECT place, id_high, id_low, run, received_ms FROM entries WHERE place IN {}",
            placeholders(places.len())
        ));
        for place in places {
            db.bind(*place);
        }
        for row in db.rows().await? {
            let place: i64 = row.try_get(0)?;
            let appended = Appended {
                cursor: cursor_at(place),
                run: Run::from_bytes(bytes_at(&row, 3)?),
                received_ms: unsigned_at(&row, 4)?,
            };
            found.insert((group_at(place), id_at(&row, 1)?), appended);
        }
    }
    Ok(found)
}

impl Writer {
    /// Moves the fresh rows into the index, if they are many. What can't be moved stays, and is found all the same.
    pub(super) async fn index_fresh(&mut self) {
        if self.books.shared.fresh().len() < FRESH_MAX {
            return;
        }
        let indexed = self.db.transaction(async |db| {
            db.add(&format!("{INDEX} {OUTSIDE} ORDER BY id_high, entries.place"));
            db.add("UPDATE groups SET indexed_cursor = head_cursor WHERE indexed_cursor < head_cursor");
            Ok::<_, StoreError>(())
        });
        if indexed.await.is_ok() {
            *self.books.shared.fresh() = Fresh::new();
        }
    }
}

/// Takes the rows between two places out of the index, before they go.
pub(super) async fn forget(db: &mut SqliteConnection, first: i64, last: i64) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM blob_ids WHERE (id_high, place) IN
             (SELECT id_high, place FROM entries WHERE place BETWEEN ? AND ?)",
    )
    .bind(first)
    .bind(last)
    .execute(db)
    .await?;
    Ok(())
}
