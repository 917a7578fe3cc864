//! Putting a batch of changes into one transaction.

use std::{borrow::Cow, collections::BTreeMap};

use sqlx::{AssertSqlSafe, SqliteConnection};
use sync_core::event::{HeldRow, ParkedRow, RelayState, SenderRow, StoreOp, WaitingRow};
use sync_types::{BlobHash, BlobId, DeviceId, RelayId};

use super::{Writer, read::holes_to_bytes, transaction::transaction};
use crate::store::{Membership, StoreError, newest_own};

/// Rows in one INSERT. A few fixed sizes, so that their statements stay prepared.
const CHUNKS: [usize; 4] = [128, 16, 4, 1];

/// A batch, sorted by where it goes. Of facts that replace one another only the last is written.
#[derive(Default)]
struct Batch<'a> {
    held: Vec<&'a HeldRow>,
    senders: BTreeMap<DeviceId, Cow<'a, SenderRow>>,
    relays: BTreeMap<RelayId, &'a RelayState>,
    offered: Option<u64>,
    app_acked: Option<u64>,
    identity_reused: bool,
    ordered: Vec<Ordered<'a>>,
}

/// What must keep its order: an envelope may begin and cease to wait in one batch.
enum Ordered<'a> {
    Wait(&'a WaitingRow),
    Unwait(&'a BlobHash),
    Park(&'a ParkedRow),
    Unpark(&'a BlobId),
    Roster(&'a [u8]),
}

impl<'a> Batch<'a> {
    fn of(ops: &'a [StoreOp]) -> Self {
        let mut batch = Self::default();
        for op in ops {
            match op {
                StoreOp::PutOwn(row) => {
                    batch.held.push(row);
                    batch.senders.insert(row.sender, Cow::Owned(newest_own(row)));
                }
                StoreOp::Take(row) => batch.held.push(row),
                StoreOp::Sender(row) => drop(batch.senders.insert(row.sender, Cow::Borrowed(row))),
                StoreOp::Relay { relay, state } => drop(batch.relays.insert(*relay, state)),
                StoreOp::Offered { through } => batch.offered = Some(through.get()),
                StoreOp::AppAck { cursor } => batch.app_acked = Some(cursor.get()),
                StoreOp::IdentityReused => batch.identity_reused = true,
                StoreOp::Wait(row) => batch.ordered.push(Ordered::Wait(row)),
                StoreOp::Unwait { hash } => batch.ordered.push(Ordered::Unwait(hash)),
                StoreOp::Park(row) => batch.ordered.push(Ordered::Park(row)),
                StoreOp::Unpark { blob_id } => batch.ordered.push(Ordered::Unpark(blob_id)),
                StoreOp::Roster { entry } => batch.ordered.push(Ordered::Roster(entry)),
            }
        }
        batch
    }
}

impl Writer {
    pub(super) async fn commit(&mut self, membership: Option<Membership>, ops: &[StoreOp]) -> Result<(), StoreError> {
        let batch = Batch::of(ops);
        transaction(&mut self.connection, async |tx| {
        if let Some(membership) = membership {
            sqlx::query("UPDATE profile SET group_id = ?, device_id = ?")
                .bind(membership.group.as_bytes().as_slice())
                .bind(membership.device.as_bytes().as_slice())
                .execute(&mut *tx)
                .await?;
        }
        for sender in batch.held.iter().map(|row| row.sender).chain(batch.senders.keys().copied()) {
            if let std::collections::hash_map::Entry::Vacant(unknown) = self.devices.entry(sender) {
                unknown.insert(device_no(tx, &sender).await?);
            }
        }
        let devices = &self.devices;
        put_held(tx, &batch.held, |sender| devices[sender]).await?;
        for (sender, row) in &batch.senders {
            put_sender(tx, devices[sender], row).await?;
        }
        for (relay, state) in &batch.relays {
            put_relay(tx, relay, state).await?;
        }
        for op in &batch.ordered {
            put_ordered(tx, op).await?;
        }
        if batch.offered.is_some() || batch.app_acked.is_some() || batch.identity_reused {
            let update =
                "UPDATE profile SET offered = max(offered, ?), app_acked = max(app_acked, ?), reused = max(reused, ?)";
            sqlx::query(update)
                .bind(batch.offered.unwrap_or(0).cast_signed())
                .bind(batch.app_acked.unwrap_or(0).cast_signed())
                .bind(batch.identity_reused)
                .execute(&mut *tx)
                .await?;
        }
        Ok(())
        })
        .await
    }
}

/// The number of a device, which gets one if it has none.
async fn device_no(db: &mut SqliteConnection, id: &DeviceId) -> Result<i64, StoreError> {
    let insert = "INSERT INTO device (id) VALUES (?) ON CONFLICT (id) DO UPDATE SET id = id RETURNING no";
    Ok(sqlx::query_scalar(insert).bind(id.as_bytes().as_slice()).fetch_one(db).await?)
}

async fn put_held(
    db: &mut SqliteConnection,
    mut rows: &[&HeldRow],
    no: impl Fn(&DeviceId) -> i64,
) -> Result<(), StoreError> {
    while !rows.is_empty() {
        let len = CHUNKS.into_iter().find(|len| *len <= rows.len()).expect("the last chunk has one row");
        let (chunk, rest) = rows.split_at(len);
        let mut insert = String::from(
            "INSERT INTO held (sender, seq, hash, kind, cursor, push_id, time_ms, held_ms, late, envelope) VALUES ",
        );
        insert.push_str(&["(?,?,?,?,?,?,?,?,?,?)"].repeat(len).join(","));
        let mut query = sqlx::query(AssertSqlSafe(insert));
        for row in chunk {
            query = query
                .bind(no(&row.sender))
                .bind(row.seq.get().cast_signed())
                .bind(row.hash.as_bytes().as_slice())
                .bind(row.kind as u8)
                .bind(row.cursor.map(|cursor| cursor.get().cast_signed()))
                .bind(row.push_id.as_bytes().as_slice())
                .bind(row.time_ms.cast_signed())
                .bind(row.held_ms.cast_signed())
                .bind(row.late)
                .bind(&row.envelope[..]);
        }
        query.execute(&mut *db).await?;
        rows = rest;
    }
    Ok(())
}

async fn put_sender(db: &mut SqliteConnection, no: i64, row: &SenderRow) -> Result<(), StoreError> {
    sqlx::query("INSERT OR REPLACE INTO sender (device, seq, hash, holes, expected) VALUES (?, ?, ?, ?, ?)")
        .bind(no)
        .bind(row.seq.get().cast_signed())
        .bind(row.hash.as_bytes().as_slice())
        .bind(holes_to_bytes(&row.holes))
        .bind(row.expected.get().cast_signed())
        .execute(db)
        .await?;
    Ok(())
}

async fn put_relay(db: &mut SqliteConnection, relay: &RelayId, state: &RelayState) -> Result<(), StoreError> {
    let insert = "INSERT OR REPLACE INTO relay_state
                  (relay, log_id, pulled, run, acked, mark_cursor, mark_run, refill, blob_len_max)
                  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    sqlx::query(insert)
        .bind(relay.as_bytes().as_slice())
        .bind(state.log_id.as_bytes().as_slice())
        .bind(state.pulled.get().cast_signed())
        .bind(state.run.as_bytes().as_slice())
        .bind(state.acked.get().cast_signed())
        .bind(state.mark.map(|(cursor, _)| cursor.get().cast_signed()))
        .bind(state.mark.map(|(_, run)| run.as_bytes().to_vec()))
        .bind(state.refill.map(u64::cast_signed))
        .bind(state.blob_len_max.map(u64::cast_signed))
        .execute(db)
        .await?;
    Ok(())
}

async fn put_ordered(db: &mut SqliteConnection, op: &Ordered<'_>) -> Result<(), StoreError> {
    let query = match op {
        Ordered::Wait(row) => sqlx::query("INSERT OR REPLACE INTO waiting (hash, sender, envelope) VALUES (?, ?, ?)")
            .bind(row.hash.as_bytes().as_slice())
            .bind(row.sender.as_bytes().as_slice())
            .bind(&row.envelope[..]),
        Ordered::Unwait(hash) => sqlx::query("DELETE FROM waiting WHERE hash = ?").bind(hash.as_bytes().as_slice()),
        Ordered::Park(row) => sqlx::query("INSERT OR REPLACE INTO parked (blob_id, reason, envelope) VALUES (?, ?, ?)")
            .bind(row.blob_id.as_bytes().as_slice())
            .bind(row.reason as u8)
            .bind(&row.envelope[..]),
        Ordered::Unpark(blob_id) => {
            sqlx::query("DELETE FROM parked WHERE blob_id = ?").bind(blob_id.as_bytes().as_slice())
        }
        Ordered::Roster(entry) => sqlx::query("INSERT OR IGNORE INTO roster (entry) VALUES (?)").bind(*entry),
    };
    query.execute(db).await?;
    Ok(())
}
