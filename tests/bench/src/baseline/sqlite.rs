//! SQLite alone: the library that the relay and the client store with, doing nothing but that.
//!
//! Two tables, because they differ by a factor: one that is a log by group, without any of the columns and indexes
//! that make ours answer questions, and one that is no more than a pile. We are compared with the log.

use std::time::Instant;

use rusqlite::Connection;

use crate::{Failure, device::blobs, stats::rate};

const ROWS_A_TRANSACTION: usize = 1_000;

/// Blobs a second that go into a new log by group, durable a thousand at a time.
pub(crate) fn log(count: usize) -> Result<f64, Failure> {
    let table = "CREATE TABLE log (group_id BLOB NOT NULL, cursor INTEGER NOT NULL, blob BLOB NOT NULL,
                 PRIMARY KEY (group_id, cursor)) STRICT, WITHOUT ROWID";
    inserts(count, table, "INSERT INTO log (group_id, cursor, blob) VALUES (x'5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a', ?, ?)")
}

/// Blobs a second that go onto a new pile, the same way.
pub(crate) fn pile(count: usize) -> Result<f64, Failure> {
    let table = "CREATE TABLE pile (place INTEGER PRIMARY KEY, blob BLOB NOT NULL) STRICT";
    inserts(count, table, "INSERT INTO pile (place, blob) VALUES (?, ?)")
}

fn inserts(count: usize, table: &str, insert: &str) -> Result<f64, Failure> {
    let folder = tempfile::tempdir()?;
    let mut db = Connection::open(folder.path().join("rows.db"))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.execute_batch(table)?;
    let blobs: Vec<_> = blobs(count).collect();
    let begun = Instant::now();
    let mut cursor = 0;
    for chunk in blobs.chunks(ROWS_A_TRANSACTION) {
        let tx = db.transaction()?;
        let mut statement = tx.prepare(insert)?;
        for blob in chunk {
            cursor += 1;
            statement.execute((cursor, &blob[..]))?;
        }
        drop(statement);
        tx.commit()?;
    }
    Ok(rate(count, begun.elapsed()))
}
