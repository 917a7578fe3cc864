//! Reading rows back, without trusting them: a value that was never written here makes the store corrupt.

use std::collections::BTreeMap;

use bytes::Bytes;
use sqlx::{ColumnIndex, Row, SqlitePool, sqlite::SqliteRow};
use sync_core::{
    OWN_HASHES_MAX,
    event::{GONE_BYTES, HeldRow, Load, ParkReason, Paved, RelayState, SenderRow, Stored, StoredSnapshot, WaitingRow},
    heads::Contradiction,
    identity::Nonce,
    roster::EntryHash,
};
use sync_types::{BlobHash, BlobId, DeviceId, Kind, LocalCursor, LogId, PushId, RelayCursor, RelayId, Run, Seq};
use tokio_stream::StreamExt;

use crate::store::{AddressRow, Lacks, OWN_HASHES_SPARE, Pin, Placed, Reach, Sizes, StoreError};

/// What [`held`] reads, in this order: a queue or a log is read row by row, and a column by its name takes a look-up each.
const HELD: &str = "SELECT position, device.id, seq, hash, kind, cursor, push_id, time_ms, held_ms, late, envelope
                    FROM held JOIN device ON device.no = held.sender";

pub(super) async fn stored(db: &SqlitePool) -> Result<Stored, StoreError> {
    // One transaction, so that all of it is of one moment.
    let mut tx = db.begin().await?;
    let mut stored = Stored::default();
    let profile = "SELECT offered, app_acked, reused, held_bytes, kept_bytes, own_gone,
                          (SELECT coalesce(max(cursor), 0) FROM held) AS head
                   FROM profile";
    let row = sqlx::query(profile).fetch_one(&mut *tx).await?;
    stored.head_cursor = LocalCursor::new(number(&row, "head")?);
    stored.app_acked = LocalCursor::new(number(&row, "app_acked")?);
    stored.held_bytes = number(&row, "held_bytes")?;
    stored.kept_bytes = number(&row, "kept_bytes")?;
    stored.own_gone = Seq::new(number(&row, "own_gone")?);
    stored.offered = Seq::new(number(&row, "offered")?);
    stored.identity_reused = row.try_get("reused")?;
    for row in sqlx::query("SELECT nonce FROM nonce ORDER BY place").fetch_all(&mut *tx).await? {
        stored.nonces.push(Nonce::from_bytes(id(&row, "nonce")?));
    }
    let senders = "SELECT device.id AS device, seq, hash, holes, expected
                   FROM sender JOIN device ON device.no = sender.device";
    for row in sqlx::query(senders).fetch_all(&mut *tx).await? {
        stored.senders.push(sender(&row)?);
    }
    let own =
        "SELECT seq, hash FROM held WHERE sender = (SELECT no FROM device WHERE id = (SELECT device_id FROM profile))
               AND seq > (SELECT coalesce(min(acked), 0) FROM relay_state) - ? ORDER BY seq DESC LIMIT ?";
    let newest = i64::try_from(OWN_HASHES_MAX).unwrap_or(i64::MAX);
    for row in
        sqlx::query(own).bind(OWN_HASHES_SPARE.cast_signed()).bind(newest).fetch_all(&mut *tx).await?.iter().rev()
    {
        stored.own.push((Seq::new(number(row, "seq")?), BlobHash::from_bytes(id(row, "hash")?)));
    }
    for row in sqlx::query("SELECT hash, sender, envelope FROM waiting").fetch_all(&mut *tx).await? {
        stored.waiting.push(WaitingRow {
            sender: DeviceId::from_bytes(id(&row, "sender")?),
            hash: BlobHash::from_bytes(id(&row, "hash")?),
            envelope: envelope(&row, "envelope")?,
        });
    }
    for row in sqlx::query("SELECT blob_id, reason, length(envelope) AS bytes FROM parked").fetch_all(&mut *tx).await? {
        let reason = ParkReason::from_number(row.try_get("reason")?).ok_or(StoreError::Corrupt)?;
        stored.parked.push((BlobId::from_bytes(id(&row, "blob_id")?), reason));
        stored.parked_bytes += number(&row, "bytes")?;
    }
    for row in sqlx::query("SELECT * FROM relay_state").fetch_all(&mut *tx).await? {
        stored.relays.push((RelayId::from_bytes(id(&row, "relay")?), relay_state(&row)?));
    }
    for row in sqlx::query("SELECT entry FROM roster ORDER BY place").fetch_all(&mut *tx).await? {
        stored.roster.push(Bytes::from(row.try_get::<Vec<u8>, _>("entry")?));
    }
    for row in sqlx::query("SELECT id, seen_ms FROM device WHERE seen_ms NOT NULL").fetch_all(&mut *tx).await? {
        stored.seen.push((DeviceId::from_bytes(id(&row, "id")?), number(&row, "seen_ms")?));
    }
    for row in sqlx::query("SELECT envelope FROM receipt").fetch_all(&mut *tx).await? {
        stored.receipts.push(envelope(&row, "envelope")?);
    }
    for row in sqlx::query("SELECT id, own, manifest FROM snapshot").fetch_all(&mut *tx).await? {
        let parts = "SELECT id FROM snapshot_part WHERE snapshot = ?";
        let parts = sqlx::query(parts).bind(row.try_get::<&[u8], _>("id")?.to_vec()).fetch_all(&mut *tx).await?;
        stored.snapshots.push(StoredSnapshot {
            own: row.try_get("own")?,
            manifest: envelope(&row, "manifest")?,
            parts: parts
                .iter()
                .map(|part| Ok(BlobId::from_bytes(id(part, "id")?)))
                .collect::<Result<_, StoreError>>()?,
        });
    }
    tx.commit().await?;
    Ok(stored)
}

pub(super) async fn snapshot(db: &SqlitePool) -> Result<Option<(Bytes, BTreeMap<BlobId, Bytes>)>, StoreError> {
    let mut tx = db.begin().await?;
    let loading = sqlx::query("SELECT id, manifest FROM snapshot WHERE NOT own").fetch_optional(&mut *tx).await?;
    let Some(loading) = loading else { return Ok(None) };
    let parts = sqlx::query("SELECT id, envelope FROM snapshot_part WHERE snapshot = ?");
    let parts = parts.bind(loading.try_get::<&[u8], _>("id")?.to_vec()).fetch_all(&mut *tx).await?;
    let part = |row: &SqliteRow| Ok((BlobId::from_bytes(id(row, "id")?), envelope(row, "envelope")?));
    let parts = parts.iter().map(part).collect::<Result<_, StoreError>>()?;
    Ok(Some((envelope(&loading, "manifest")?, parts)))
}

pub(super) async fn rows(db: &SqlitePool, load: Load) -> Result<(Vec<HeldRow>, u64), StoreError> {
    let (query, bound, bytes) = match load {
        Load::Own { from, bytes } => {
            let mine = "WHERE sender = (SELECT no FROM device WHERE id = (SELECT device_id FROM profile))";
            (format!("{HELD} {mine} AND seq >= ? ORDER BY seq"), from.get(), bytes)
        }
        Load::Of { sender, from, bytes } => {
            let theirs = "WHERE device.id = ? AND seq >= ? ORDER BY seq";
            let query = sqlx::query(sqlx::AssertSqlSafe(format!("{HELD} {theirs}")));
            let query = query.bind(sender.as_bytes().to_vec()).bind(from.min(ALL).get().cast_signed());
            return Ok((take_while_it_fits(query.fetch(db), bytes).await?.0, 0));
        }
        Load::Held { relay: _, after, bytes } => (format!("{HELD} WHERE position > ? ORDER BY position"), after, bytes),
        Load::Front { after, bytes } => {
            // The length is in a row's head: what is behind it is not read for that.
            (format!("{HELD} WHERE position > ? AND length(envelope) > 0 ORDER BY position"), after, bytes)
        }
        Load::Parked { after, bytes } => return Ok((parked(db, after, bytes).await?, 0)),
        Load::SnapshotPart { relay: _, snapshot, part } => {
            let query = sqlx::query("SELECT envelope FROM snapshot_part WHERE snapshot = ? AND id = ?");
            let query = query.bind(snapshot.as_bytes().to_vec()).bind(part.as_bytes().to_vec());
            let row = query.fetch_optional(db).await?;
            let row = row.map(|row| envelope(&row, "envelope").map(HeldRow::unread)).transpose()?;
            return Ok((row.into_iter().collect(), 0));
        }
    };
    let query = sqlx::query(sqlx::AssertSqlSafe(query)).bind(bound.cast_signed());
    take_while_it_fits(query.fetch(db), bytes).await
}

pub(super) async fn log(
    db: &SqlitePool,
    after: LocalCursor,
    rows: u32,
    bytes: usize,
) -> Result<Vec<HeldRow>, StoreError> {
    let query = format!("{HELD} WHERE cursor > ? AND length(envelope) > 0 ORDER BY cursor LIMIT ?");
    let query = sqlx::query(sqlx::AssertSqlSafe(query)).bind(after.get().cast_signed()).bind(rows);
    Ok(take_while_it_fits(query.fetch(db), bytes).await?.0)
}

pub(super) async fn placed(db: &SqlitePool, cursors: &[LocalCursor]) -> Result<Vec<Placed>, StoreError> {
    let query = "SELECT push_id, device.id, seq FROM held JOIN device ON device.no = held.sender WHERE cursor = ?";
    let (mut tx, mut placed) = (db.begin().await?, Vec::with_capacity(cursors.len()));
    for cursor in cursors.iter().copied().filter(|cursor| cursor.get() <= ALL.get()) {
        if let Some(row) = sqlx::query(query).bind(cursor.get().cast_signed()).fetch_optional(&mut *tx).await? {
            placed.push(Placed {
                cursor,
                push_id: PushId::from_bytes(id(&row, "push_id")?),
                sender: DeviceId::from_bytes(id(&row, "id")?),
                seq: Seq::new(number(&row, "seq")?),
            });
        }
    }
    Ok(placed)
}

pub(super) async fn lacks(db: &SqlitePool, device: &DeviceId, reached: &[Reach]) -> Result<Lacks, StoreError> {
    let senders = "SELECT id, no, seq FROM sender JOIN device ON device.no = sender.device";
    let mut lacks = Lacks::default();
    for row in sqlx::query(senders).fetch_all(db).await? {
        let (sender, no, head) = (DeviceId::from_bytes(id(&row, "id")?), row.try_get("no")?, number(&row, "seq")?);
        let Some(reach) = reached.iter().find(|reach| reach.sender == sender && sender != *device) else { continue };
        if reach.received.get() < head {
            let (blobs, first) = blobs(db, no, reach.received.next(), ALL).await?;
            lacks.unreceived += blobs;
            lacks.first_unreceived = earlier(lacks.first_unreceived, first);
        }
        if reach.applied.get() < head {
            let (_, first) = blobs(db, no, reach.applied.next(), ALL).await?;
            lacks.first_unapplied = earlier(lacks.first_unapplied, first);
        }
        for (first, last) in &reach.missing {
            lacks.lost += blobs(db, no, *first, *last).await?.0;
        }
    }
    Ok(lacks)
}

/// How many blobs of a sender are held between two of its places, and the first of them in the local log.
async fn blobs(db: &SqlitePool, no: i64, first: Seq, last: Seq) -> Result<(u64, Option<LocalCursor>), StoreError> {
    let query = "SELECT count(*) AS blobs, min(cursor) AS first FROM held
                 WHERE sender = ? AND seq BETWEEN ? AND ? AND cursor NOT NULL";
    let [first, last] = [first, last].map(|seq| seq.min(ALL).get().cast_signed());
    let row = sqlx::query(query).bind(no).bind(first).bind(last).fetch_one(db).await?;
    let first: Option<i64> = row.try_get("first")?;
    Ok((number(&row, "blobs")?, first.map(|first| LocalCursor::new(first.cast_unsigned()))))
}

/// SQLite's integers have a sign, and no sender ever gets there, whatever a device says.
const ALL: Seq = Seq::new(i64::MAX as u64);

fn earlier(one: Option<LocalCursor>, other: Option<LocalCursor>) -> Option<LocalCursor> {
    [one, other].into_iter().flatten().min()
}

pub(super) async fn cursors(db: &SqlitePool) -> Result<(LocalCursor, LocalCursor), StoreError> {
    let query = "SELECT app_acked, (SELECT coalesce(max(cursor), 0) FROM held) AS head FROM profile";
    let row = sqlx::query(query).fetch_one(db).await?;
    Ok((LocalCursor::new(number(&row, "head")?), LocalCursor::new(number(&row, "app_acked")?)))
}

/// Of the log only its last place is looked at. What waits, what is parked and what snapshots there are have bounds.
pub(super) async fn sizes(db: &SqlitePool) -> Result<Sizes, StoreError> {
    let query = "SELECT page_count * page_size AS database, freelist_count * page_size AS free,
                        (SELECT coalesce(max(position), 0) FROM held) AS envelopes,
                        (SELECT coalesce(sum(length(envelope)), 0) FROM waiting) AS waiting,
                        (SELECT coalesce(sum(length(envelope)), 0) FROM parked) AS parked,
                        (SELECT coalesce(sum(length(manifest)), 0) FROM snapshot)
                            + (SELECT coalesce(sum(length(envelope)), 0) FROM snapshot_part) AS snapshots
                 FROM pragma_page_count(), pragma_page_size(), pragma_freelist_count()";
    let row = sqlx::query(query).fetch_one(db).await?;
    Ok(Sizes {
        database: number(&row, "database")?,
        free: number(&row, "free")?,
        envelopes: number(&row, "envelopes")?,
        waiting: number(&row, "waiting")?,
        parked: number(&row, "parked")?,
        snapshots: number(&row, "snapshots")?,
    })
}

/// The first row whatever its size, and those after it that `bytes` have room for. With the last one's position.
async fn take_while_it_fits(
    mut rows: impl tokio_stream::Stream<Item = Result<SqliteRow, sqlx::Error>> + Unpin,
    bytes: usize,
) -> Result<(Vec<HeldRow>, u64), StoreError> {
    let (mut taken, mut position, mut sum) = (Vec::new(), 0, 0);
    while let Some(row) = rows.next().await {
        let row = row?;
        let next = held(&row)?;
        sum += if next.envelope.is_empty() { GONE_BYTES } else { next.envelope.len() };
        if !taken.is_empty() && sum > bytes {
            break;
        }
        position = number(&row, 0)?;
        taken.push(next);
    }
    Ok((taken, position))
}

/// Parked bytes have no place among what is held; the engine reads nothing but the envelope.
async fn parked(db: &SqlitePool, after: Option<BlobId>, bytes: usize) -> Result<Vec<HeldRow>, StoreError> {
    let after = after.map_or(Vec::new(), |after| after.as_bytes().to_vec());
    let mut rows = sqlx::query("SELECT envelope FROM parked WHERE blob_id > ? ORDER BY blob_id").bind(after).fetch(db);
    let (mut taken, mut sum) = (Vec::new(), 0);
    while let Some(row) = rows.next().await {
        let envelope = envelope(&row?, "envelope")?;
        sum += envelope.len();
        if !taken.is_empty() && sum > bytes {
            break;
        }
        taken.push(HeldRow::unread(envelope));
    }
    Ok(taken)
}

fn held(row: &SqliteRow) -> Result<HeldRow, StoreError> {
    let cursor: Option<i64> = row.try_get(5)?;
    Ok(HeldRow {
        sender: DeviceId::from_bytes(id(row, 1)?),
        seq: Seq::new(number(row, 2)?),
        hash: BlobHash::from_bytes(id(row, 3)?),
        kind: Kind::from_number(row.try_get(4)?).ok_or(StoreError::Corrupt)?,
        cursor: cursor.map(|cursor| LocalCursor::new(cursor.cast_unsigned())),
        push_id: PushId::from_bytes(id(row, 6)?),
        time_ms: number(row, 7)?,
        held_ms: number(row, 8)?,
        late: row.try_get(9)?,
        envelope: envelope(row, 10)?,
    })
}

fn sender(row: &SqliteRow) -> Result<SenderRow, StoreError> {
    Ok(SenderRow {
        sender: DeviceId::from_bytes(id(row, "device")?),
        seq: Seq::new(number(row, "seq")?),
        hash: BlobHash::from_bytes(id(row, "hash")?),
        holes: holes_from_bytes(row.try_get("holes")?).ok_or(StoreError::Corrupt)?,
        expected: Seq::new(number(row, "expected")?),
    })
}

fn relay_state(row: &SqliteRow) -> Result<RelayState, StoreError> {
    let mark_cursor: Option<i64> = row.try_get("mark_cursor")?;
    let mark = match (mark_cursor, maybe_id(row, "mark_run")?) {
        (Some(cursor), Some(run)) => Some((RelayCursor::new(cursor.cast_unsigned()), Run::from_bytes(run))),
        (None, None) => None,
        _ => return Err(StoreError::Corrupt),
    };
    let refill: Option<i64> = row.try_get("refill")?;
    let blob_len_max: Option<i64> = row.try_get("blob_len_max")?;
    let paved = match (maybe_id(row, "paved_head")?, maybe_id(row, "paved_known")?) {
        (Some(head), Some(known)) => Some(Paved { head: EntryHash::from_bytes(head), known }),
        (None, None) => None,
        _ => return Err(StoreError::Corrupt),
    };
    let contradictions = Contradiction::decode(row.try_get("contradictions")?).ok_or(StoreError::Corrupt)?;
    Ok(RelayState {
        paved,
        contradictions,
        log_id: LogId::from_bytes(id(row, "log_id")?),
        pulled: RelayCursor::new(number(row, "pulled")?),
        run: Run::from_bytes(id(row, "run")?),
        acked: Seq::new(number(row, "acked")?),
        mark,
        refill: refill.map(i64::cast_unsigned),
        compares: row.try_get("compares")?,
        blob_len_max: blob_len_max.map(i64::cast_unsigned),
    })
}

pub(super) fn address(row: &SqliteRow) -> Result<AddressRow, StoreError> {
    let hosts: Option<String> = row.try_get("hosts")?;
    let pin = match (maybe_id(row, "relay")?, hosts) {
        (Some(relay), Some(hosts)) => {
            Some(Pin { relay: RelayId::from_bytes(relay), hosts: hosts.lines().map(str::to_owned).collect() })
        }
        (None, None) => None,
        _ => return Err(StoreError::Corrupt),
    };
    Ok(AddressRow { address: row.try_get("address")?, pin })
}

pub(super) fn id<const N: usize>(row: &SqliteRow, column: impl ColumnIndex<SqliteRow>) -> Result<[u8; N], StoreError> {
    row.try_get::<&[u8], _>(column)?.try_into().map_err(|_| StoreError::Corrupt)
}

pub(super) fn maybe_id<const N: usize>(row: &SqliteRow, column: &str) -> Result<Option<[u8; N]>, StoreError> {
    let bytes: Option<&[u8]> = row.try_get(column)?;
    bytes.map(|bytes| bytes.try_into().map_err(|_| StoreError::Corrupt)).transpose()
}

/// SQLite's integers have a sign. Ours have none, and go through bit by bit: a stranger's clock may say anything.
pub(super) fn number(row: &SqliteRow, column: impl ColumnIndex<SqliteRow>) -> Result<u64, StoreError> {
    Ok(row.try_get::<i64, _>(column)?.cast_unsigned())
}

pub(super) fn envelope(row: &SqliteRow, column: impl ColumnIndex<SqliteRow>) -> Result<Bytes, StoreError> {
    Ok(Bytes::from(row.try_get::<Vec<u8>, _>(column)?))
}

pub(super) fn holes_to_bytes(holes: &[(Seq, Seq)]) -> Vec<u8> {
    holes.iter().flat_map(|(first, last)| [first.get(), last.get()]).flat_map(u64::to_be_bytes).collect()
}

fn holes_from_bytes(bytes: &[u8]) -> Option<Vec<(Seq, Seq)>> {
    let pairs = bytes.as_chunks::<16>();
    let hole = |pair: &[u8; 16]| {
        let (first, last) = pair.split_at(8);
        Some((
            Seq::new(u64::from_be_bytes(first.try_into().ok()?)),
            Seq::new(u64::from_be_bytes(last.try_into().ok()?)),
        ))
    };
    pairs.1.is_empty().then(|| pairs.0.iter().map(hole).collect())?
}
