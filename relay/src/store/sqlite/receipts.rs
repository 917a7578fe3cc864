//! The newest receipt of each device.
//!
//! A receipt waits in memory for a transaction that comes by, as an ACK does: its device says it again in its next
//! session, so no disk has to be flushed for it. Whoever listens is told once it is written.
//!
//! Invariant: of one group no more than [`RECEIPTS_KEPT_MAX`] are kept, and none that was sealed for an id that is over.

use std::collections::BTreeMap;

use bytes::Bytes;
use sqlx::{Row as _, SqliteConnection, SqlitePool};
use sync_sqlite::Database;
use sync_types::{
    DeviceId, ErrorCode,
    limits::{RECEIPTS_KEPT_MAX, RECEIPTS_MAX},
};

use super::{
    Shared,
    append::footprint,
    signed, unsigned_at,
    writer::{Writer, measure},
};
use crate::store::{GroupLog, StoreError, ToldReceipts};

/// Receipts that wait for a transaction. More get one of their own.
const WAITING_MAX: usize = 64;

/// What waits to be written.
pub(super) type Waiting = BTreeMap<(i64, DeviceId), Bytes>;

impl Writer {
    /// Notes a receipt, if there is room for it.
    pub(super) async fn keep_receipt(
        &mut self,
        log: &GroupLog,
        device: DeviceId,
        envelope: Bytes,
    ) -> Result<Result<(), ErrorCode>, StoreError> {
        if log.is_over() {
            return Ok(Err(ErrorCode::GroupMoved));
        }
        if self.books.shared.group(&log.group).is_none_or(|current| current.no != log.no) {
            return Ok(Err(ErrorCode::NotFound));
        }
        let size = footprint(envelope.len() as u64);
        if self.books.db_bytes + size > self.books.bounds.db_bytes {
            self.books.db_bytes = measure(self.db.connection().await?, &self.books.shared).await?;
            if self.books.db_bytes + size > self.books.bounds.db_bytes {
                return Ok(Err(ErrorCode::StorageFull));
            }
        }
        self.books.db_bytes += size;
        self.books.receipts.insert((log.no, device), envelope);
        if self.books.receipts.len() >= WAITING_MAX {
            self.note_acks().await;
        }
        Ok(Ok(()))
    }
}

/// Writes what waits. The caller clears it once that is committed.
pub(super) fn write(db: &mut Database, waiting: &Waiting) {
    for ((group_no, device), envelope) in waiting {
        db.add("INSERT OR REPLACE INTO receipts (group_no, device, envelope) VALUES (?, ?, ?)")
            .bind(*group_no)
            .bind(device.as_bytes().as_slice())
            .bind(&**envelope);
        db.add(
            "DELETE FROM receipts WHERE group_no = ? AND no IN
                 (SELECT no FROM receipts WHERE group_no = ? ORDER BY no DESC LIMIT -1 OFFSET ?)",
        )
        .bind(*group_no)
        .bind(*group_no)
        .bind(signed(RECEIPTS_KEPT_MAX as u64));
    }
}

/// Tells those who listen that something was written.
pub(super) fn announce(shared: &Shared, written: &Waiting) {
    if written.is_empty() {
        return;
    }
    let logs = shared.all_groups();
    for log in logs.iter().filter(|log| written.keys().any(|(group_no, _)| *group_no == log.no)) {
        log.receipts.send_modify(|times| *times += 1);
    }
}

/// Forgets a log's, because its id is over or nobody asks for it any more.
pub(super) fn forget(db: &mut Database, group_no: i64) {
    db.add("DELETE FROM receipts WHERE group_no = ?").bind(group_no);
}

/// Forgets those of devices that are not known in their group any more.
pub(super) async fn forget_unknown(db: &mut SqliteConnection) -> Result<(), StoreError> {
    let unknown = "DELETE FROM receipts WHERE NOT EXISTS
             (SELECT 1 FROM devices WHERE devices.group_no = receipts.group_no AND devices.device = receipts.device)";
    sqlx::query(unknown).execute(db).await?;
    Ok(())
}

/// Those that came after a number, but for a device's own; as many as fit a message.
pub(super) async fn after(
    readers: &SqlitePool,
    log: &GroupLog,
    (device, told): (&DeviceId, u64),
) -> Result<ToldReceipts, StoreError> {
    let rows = sqlx::query(
        "SELECT no, envelope FROM receipts WHERE group_no = ? AND no > ? AND device <> ? ORDER BY no LIMIT ?",
    )
    .bind(log.no)
    .bind(signed(told))
    .bind(device.as_bytes().as_slice())
    .bind(signed(RECEIPTS_MAX as u64))
    .fetch_all(readers)
    .await?;
    let told = rows.last().map_or(Ok(told), |row| unsigned_at(row, 0))?;
    let envelopes = rows.iter().map(|row| row.try_get::<Vec<u8>, _>(1).map(Bytes::from));
    Ok(ToldReceipts { told, envelopes: envelopes.collect::<Result<_, _>>()? })
}
