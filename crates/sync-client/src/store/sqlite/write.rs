//! Putting a batch of changes into one transaction.

use std::{
    borrow::Cow,
    collections::{BTreeMap, hash_map::Entry},
};

use bytes::Bytes;
use sqlx::Row as _;
use sync_core::{
    event::{HeldRow, ParkedRow, RelayState, SenderRow, StoreOp, WaitingRow},
    heads::Contradiction,
    identity::Nonce,
};
use sync_sqlite::Database;
use sync_types::{BlobHash, BlobId, DeviceId, RelayId, Seq};

use super::{Writer, read::holes_to_bytes};
use crate::store::{Membership, StoreError, newest_own};

/// Rows in one INSERT. A few fixed sizes, so that their statements stay prepared.
const CHUNKS: [usize; 5] = [512, 128, 16, 4, 1];
/// From this many on an INSERT goes by itself: together with what comes before and after it, it would rarely be the
/// same text again.
const LONG: usize = 16;
/// Pages that the file gives back after envelopes were let go: more than those can have filled at once.
const VACUUM_PAGES: u32 = 256;

/// A batch, sorted by where it goes. Of facts that replace one another only the last is written.
#[derive(Default)]
struct Batch<'a> {
    held: Vec<&'a HeldRow>,
    senders: BTreeMap<DeviceId, Cow<'a, SenderRow>>,
    relays: BTreeMap<RelayId, &'a RelayState>,
    seen: BTreeMap<DeviceId, u64>,
    receipts: BTreeMap<DeviceId, &'a [u8]>,
    offered: Option<u64>,
    app_acked: Option<u64>,
    /// What is added to the bytes that were ever held, and what comes out at least.
    held_bytes: (u64, u64),
    /// What is let go.
    gone: Vec<(&'a DeviceId, Seq, Seq)>,
    /// Bytes of that.
    gone_bytes: u64,
    /// And of those that come to rest.
    came_bytes: u64,
    identity_reused: bool,
    identity: Option<(&'a DeviceId, &'a DeviceId, &'a Nonce)>,
    ordered: Vec<Ordered<'a>>,
}

/// What must keep its order: an envelope may begin and cease to wait in one batch.
enum Ordered<'a> {
    Wait(&'a WaitingRow),
    Unwait(&'a BlobHash),
    Park(&'a ParkedRow),
    Unpark(&'a BlobId),
    Reseal(&'a HeldRow),
    Mend(&'a DeviceId, Seq, &'a [u8]),
    Adopt(&'a DeviceId, Seq, &'a HeldRow),
    Roster(&'a [u8]),
    Superseded(&'a [u8]),
    Snapshot(&'a BlobId, bool, &'a [u8], &'a [(BlobId, Bytes)]),
    SnapshotPart(&'a BlobId, &'a BlobId, &'a [u8]),
    SnapshotOver(&'a BlobId),
}

impl<'a> Batch<'a> {
    fn of(ops: &'a [StoreOp]) -> Self {
        let mut batch = Self::default();
        for op in ops {
            match op {
                StoreOp::PutOwn(row) => {
                    batch.hold(row);
                    batch.senders.insert(row.sender, Cow::Owned(newest_own(row)));
                }
                StoreOp::Reseal(row) => batch.ordered.push(Ordered::Reseal(row)),
                StoreOp::Take(row) => batch.hold(row),
                StoreOp::Mend { sender, seq, envelope } => batch.ordered.push(Ordered::Mend(sender, *seq, envelope)),
                StoreOp::Sender(row) => drop(batch.senders.insert(row.sender, Cow::Borrowed(row))),
                StoreOp::Relay { relay, state } => drop(batch.relays.insert(*relay, state)),
                StoreOp::Seen { device, at_ms } => drop(batch.seen.insert(*device, *at_ms)),
                StoreOp::Receipt { device, envelope } => drop(batch.receipts.insert(*device, envelope)),
                StoreOp::Offered { through } => batch.offered = Some(through.get()),
                StoreOp::AppAck { cursor } => batch.app_acked = Some(cursor.get()),
                StoreOp::LetGo { sender, first, last, bytes } => {
                    batch.gone_bytes += bytes;
                    batch.gone.push((sender, *first, *last));
                }
                StoreOp::HeldBytes { at_least } => batch.held_bytes.1 = batch.held_bytes.1.max(*at_least),
                StoreOp::IdentityReused => batch.identity_reused = true,
                StoreOp::Identity { device, former, nonce } => batch.identity = Some((device, former, nonce)),
                StoreOp::Adopt { former, seq, row } => {
                    batch.ordered.push(Ordered::Adopt(former, *seq, row));
                    batch.senders.insert(row.sender, Cow::Owned(newest_own(row)));
                }
                StoreOp::Wait(row) => batch.ordered.push(Ordered::Wait(row)),
                StoreOp::Unwait { hash } => batch.ordered.push(Ordered::Unwait(hash)),
                StoreOp::Park(row) => batch.ordered.push(Ordered::Park(row)),
                StoreOp::Unpark { blob_id } => batch.ordered.push(Ordered::Unpark(blob_id)),
                StoreOp::Roster { entry } => batch.ordered.push(Ordered::Roster(entry)),
                StoreOp::Superseded { entry } => batch.ordered.push(Ordered::Superseded(entry)),
                StoreOp::Snapshot { snapshot, own, manifest, parts } => {
                    batch.ordered.push(Ordered::Snapshot(snapshot, *own, manifest, parts));
                }
                StoreOp::SnapshotPart { snapshot, part, envelope } => {
                    batch.ordered.push(Ordered::SnapshotPart(snapshot, part, envelope));
                }
                StoreOp::SnapshotOver { snapshot } => batch.ordered.push(Ordered::SnapshotOver(snapshot)),
            }
        }
        batch
    }

    fn changes_profile(&self) -> bool {
        let said = self.offered.is_some() || self.app_acked.is_some() || self.identity_reused;
        said || self.held_bytes != (0, 0) || self.gone_bytes > 0
    }

    fn hold(&mut self, row: &'a HeldRow) {
        let (added, at_least) = self.held_bytes;
        let len = row.envelope.len() as u64;
        self.held_bytes = (added + len, at_least + len);
        self.came_bytes += len;
        self.held.push(row);
    }
}

impl Writer {
    pub(super) async fn commit(&mut self, membership: Option<Membership>, ops: &[StoreOp]) -> Result<(), StoreError> {
        let batch = Batch::of(ops);
        let devices = &mut self.devices;
        self.db
            .transaction(async |db| {
                if let Some(membership) = membership {
                    db.add("UPDATE profile SET group_id = ?, device_id = ?")
                        .bind(membership.group.as_bytes().as_slice())
                        .bind(membership.device.as_bytes().as_slice());
                }
                let held = batch.held.iter().map(|row| row.sender);
                let told = batch.seen.keys().chain(batch.receipts.keys()).copied();
                for sender in held.chain(batch.senders.keys().copied()).chain(told) {
                    if let Entry::Vacant(unknown) = devices.entry(sender) {
                        unknown.insert(device_no(db, &sender).await?);
                    }
                }
                put_held(db, &batch.held, |sender| devices[sender]).await?;
                for (sender, row) in &batch.senders {
                    put_sender(db, devices[sender], row);
                }
                for (relay, state) in &batch.relays {
                    put_relay(db, relay, state);
                }
                for (device, at_ms) in &batch.seen {
                    let update = db.add("UPDATE device SET seen_ms = ? WHERE no = ?");
                    update.bind(at_ms.cast_signed()).bind(devices[device]);
                }
                for (device, envelope) in &batch.receipts {
                    let replace = db.add("INSERT OR REPLACE INTO receipt (device, envelope) VALUES (?, ?)");
                    replace.bind(devices[device]).bind(*envelope);
                }
                for op in &batch.ordered {
                    put_ordered(db, op);
                }
                let_go(db, &batch.gone);
                if batch.changes_profile() {
                    let (added, at_least) = batch.held_bytes;
                    db.add(
                        "UPDATE profile
                         SET offered = max(offered, ?), app_acked = max(app_acked, ?), reused = max(reused, ?),
                             held_bytes = max(held_bytes + ?, ?), kept_bytes = max(kept_bytes + ?, 0)",
                    )
                    .bind(batch.offered.unwrap_or(0).cast_signed())
                    .bind(batch.app_acked.unwrap_or(0).cast_signed())
                    .bind(batch.identity_reused)
                    .bind(added.cast_signed())
                    .bind(at_least.cast_signed())
                    .bind(batch.came_bytes.cast_signed() - batch.gone_bytes.cast_signed());
                }
                if let Some((device, former, nonce)) = batch.identity {
                    db.add("UPDATE profile SET device_id = ?, offered = 0, own_gone = 0, reused = 0")
                        .bind(device.as_bytes().as_slice());
                    db.add("INSERT INTO nonce (nonce) VALUES (?)").bind(nonce.as_bytes().as_slice());
                    db.add("DELETE FROM receipt WHERE device = (SELECT no FROM device WHERE id = ?)")
                        .bind(former.as_bytes().as_slice());
                }
                Ok::<_, StoreError>(())
            })
            .await?;
        if batch.gone_bytes > 0 {
            // It was all or nothing before this: should this fail, the file is longer than it need be.
            let vacuum = format!("PRAGMA incremental_vacuum({VACUUM_PAGES})");
            if let Err(error) = self.db.add(&vacuum).flush().await {
                tracing::debug!(error = &error as &dyn std::error::Error, "the profile's file is not cut back");
            }
        }
        Ok(())
    }
}

/// The number of a device, which gets one if it has none.
async fn device_no(db: &mut Database, id: &DeviceId) -> Result<i64, StoreError> {
    let insert = "INSERT INTO device (id) VALUES (?) ON CONFLICT (id) DO UPDATE SET id = id RETURNING no";
    let rows = db.add(insert).bind(id.as_bytes().as_slice()).rows().await?;
    Ok(rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?)
}

async fn put_held(db: &mut Database, mut rows: &[&HeldRow], no: impl Fn(&DeviceId) -> i64) -> Result<(), StoreError> {
    while !rows.is_empty() {
        let len = CHUNKS.into_iter().find(|len| *len <= rows.len()).expect("the last chunk has one row");
        let (chunk, rest) = rows.split_at(len);
        let mut insert = String::from(
            "INSERT INTO held (sender, seq, hash, kind, cursor, push_id, time_ms, held_ms, late, envelope) VALUES ",
        );
        insert.push_str(&["(?,?,?,?,?,?,?,?,?,?)"].repeat(len).join(","));
        db.add(&insert);
        for row in chunk {
            db.bind(no(&row.sender))
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
        if len >= LONG {
            db.flush().await?;
        }
        rows = rest;
    }
    Ok(())
}

fn put_sender(db: &mut Database, no: i64, row: &SenderRow) {
    db.add("INSERT OR REPLACE INTO sender (device, seq, hash, holes, expected) VALUES (?, ?, ?, ?, ?)")
        .bind(no)
        .bind(row.seq.get().cast_signed())
        .bind(row.hash.as_bytes().as_slice())
        .bind(holes_to_bytes(&row.holes))
        .bind(row.expected.get().cast_signed());
}

fn put_relay(db: &mut Database, relay: &RelayId, state: &RelayState) {
    db.add(
        "INSERT OR REPLACE INTO relay_state
         (relay, log_id, pulled, run, acked, mark_cursor, mark_run, refill, compares, blob_len_max, paved_head, paved_known,
          contradictions)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(relay.as_bytes().as_slice())
    .bind(state.log_id.as_bytes().as_slice())
    .bind(state.pulled.get().cast_signed())
    .bind(state.run.as_bytes().as_slice())
    .bind(state.acked.get().cast_signed())
    .bind(state.mark.map(|(cursor, _)| cursor.get().cast_signed()))
    .bind(state.mark.map(|(_, run)| run.as_bytes().to_vec()))
    .bind(state.refill.map(u64::cast_signed))
    .bind(state.compares)
    .bind(state.blob_len_max.map(u64::cast_signed))
    .bind(state.paved.map(|paved| paved.head.as_bytes().to_vec()))
    .bind(state.paved.map(|paved| paved.known.to_vec()))
    .bind(Contradiction::encode(&state.contradictions));
}

fn put_ordered(db: &mut Database, op: &Ordered<'_>) {
    match op {
        Ordered::Reseal(row) => {
            let (hash, sender) = (row.hash.as_bytes().as_slice(), row.sender.as_bytes().as_slice());
            let seq = row.seq.get().cast_signed();
            let own = "(SELECT no FROM device WHERE id = ?)";
            let held = format!("UPDATE held SET hash = ?, envelope = ? WHERE sender = {own} AND seq = ?");
            db.add(&held).bind(hash).bind(&row.envelope[..]).bind(sender).bind(seq);
            let newest = format!("UPDATE sender SET hash = ? WHERE device = {own} AND seq = ?");
            db.add(&newest).bind(hash).bind(sender).bind(seq)
        }
        Ordered::Adopt(former, seq, row) => {
            let of = "(SELECT no FROM device WHERE id = ?)";
            let held = format!(
                "UPDATE held SET sender = {of}, seq = ?, hash = ?, envelope = ? WHERE sender = {of} AND seq = ?"
            );
            db.add(&held)
                .bind(row.sender.as_bytes().as_slice())
                .bind(row.seq.get().cast_signed())
                .bind(row.hash.as_bytes().as_slice())
                .bind(&row.envelope[..])
                .bind(former.as_bytes().as_slice())
                .bind(seq.get().cast_signed())
        }
        Ordered::Mend(sender, seq, envelope) => {
            let held = "UPDATE held SET envelope = ? WHERE sender = (SELECT no FROM device WHERE id = ?) AND seq = ?";
            db.add(held).bind(*envelope).bind(sender.as_bytes().as_slice()).bind(seq.get().cast_signed())
        }
        Ordered::Wait(row) => db
            .add("INSERT OR REPLACE INTO waiting (hash, sender, envelope) VALUES (?, ?, ?)")
            .bind(row.hash.as_bytes().as_slice())
            .bind(row.sender.as_bytes().as_slice())
            .bind(&row.envelope[..]),
        Ordered::Unwait(hash) => db.add("DELETE FROM waiting WHERE hash = ?").bind(hash.as_bytes().as_slice()),
        Ordered::Park(row) => db
            .add("INSERT OR REPLACE INTO parked (blob_id, reason, envelope) VALUES (?, ?, ?)")
            .bind(row.blob_id.as_bytes().as_slice())
            .bind(row.reason as u8)
            .bind(&row.envelope[..]),
        Ordered::Unpark(blob_id) => db.add("DELETE FROM parked WHERE blob_id = ?").bind(blob_id.as_bytes().as_slice()),
        Ordered::Roster(entry) => put_roster(db, entry),
        Ordered::Superseded(entry) => db.add("DELETE FROM roster WHERE entry = ?").bind(*entry),
        Ordered::Snapshot(snapshot, own, manifest, parts) => {
            db.add("DELETE FROM snapshot WHERE own = ?").bind(*own);
            db.add("INSERT OR REPLACE INTO snapshot (id, own, manifest) VALUES (?, ?, ?)")
                .bind(snapshot.as_bytes().as_slice())
                .bind(*own)
                .bind(*manifest);
            for (part, envelope) in *parts {
                put_part(db, snapshot, part, envelope);
            }
            db
        }
        Ordered::SnapshotPart(snapshot, part, envelope) => put_part(db, snapshot, part, envelope),
        Ordered::SnapshotOver(snapshot) => {
            db.add("DELETE FROM snapshot WHERE id = ?").bind(snapshot.as_bytes().as_slice())
        }
    };
}

/// Rows lose their envelopes. Each is deleted and put back, because SQLite gives a page back for the one and never for an
/// update that leaves it almost empty.
fn let_go(db: &mut Database, gone: &[(&DeviceId, Seq, Seq)]) {
    if gone.is_empty() {
        return;
    }
    db.add("CREATE TEMP TABLE IF NOT EXISTS gone AS SELECT * FROM held WHERE FALSE");
    for (sender, first, last) in gone {
        let (id, first, last) = (sender.as_bytes().as_slice(), first.get().cast_signed(), last.get().cast_signed());
        let theirs = "FROM held WHERE sender = (SELECT no FROM device WHERE id = ?) AND seq BETWEEN ? AND ?";
        let bare = "position, sender, seq, hash, kind, cursor, push_id, time_ms, held_ms, late, x''";
        db.add(&format!("INSERT INTO gone SELECT {bare} {theirs}")).bind(id).bind(first).bind(last);
        db.add(&format!("DELETE {theirs}")).bind(id).bind(first).bind(last);
        db.add("UPDATE profile SET own_gone = max(own_gone, ?) WHERE device_id = ?").bind(last).bind(id);
    }
    db.add("INSERT INTO held SELECT * FROM gone ORDER BY position");
    db.add("DELETE FROM gone");
}

fn put_part<'a>(db: &'a mut Database, snapshot: &BlobId, part: &BlobId, envelope: &[u8]) -> &'a mut Database {
    db.add("INSERT OR REPLACE INTO snapshot_part (snapshot, id, envelope) VALUES (?, ?, ?)")
        .bind(snapshot.as_bytes().as_slice())
        .bind(part.as_bytes().as_slice())
        .bind(envelope)
}

pub(super) fn put_roster<'a>(db: &'a mut Database, entry: &[u8]) -> &'a mut Database {
    db.add("INSERT OR IGNORE INTO roster (entry) VALUES (?)").bind(entry)
}
