//! Envelopes whose bytes are not those that they are named after: the disk has changed them. SQLite does not notice that.

use std::collections::BTreeSet;

use sqlx::{Row as _, SqlitePool, sqlite::SqliteRow};
use sync_types::{BlobHash, BlobId, DeviceId, LocalCursor, PushId, Seq};
use tokio_stream::StreamExt as _;

use super::read::{envelope, id, number};
use crate::store::{Damaged, DamagedRow, StoreError};

/// All of them.
pub(super) async fn find(db: &SqlitePool) -> Result<Damaged, StoreError> {
    let mut damaged = Damaged::default();
    let held = "SELECT device.id AS sender, seq, hash, cursor, push_id, envelope
                FROM held JOIN device ON device.no = held.sender WHERE length(envelope) > 0 ORDER BY position";
    let mut rows = sqlx::query(held).fetch(db);
    while let Some(row) = rows.next().await {
        let row = row?;
        let hash = BlobHash::from_bytes(id(&row, "hash")?);
        if hash_of(&row)? != hash {
            let cursor: Option<i64> = row.try_get("cursor")?;
            damaged.held.push(DamagedRow {
                sender: DeviceId::from_bytes(id(&row, "sender")?),
                seq: Seq::new(number(&row, "seq")?),
                hash,
                cursor: cursor.map(|cursor| LocalCursor::new(cursor.cast_unsigned())),
                push_id: PushId::from_bytes(id(&row, "push_id")?),
            });
        }
    }
    drop(rows);
    let mut rows = sqlx::query("SELECT hash, envelope FROM waiting").fetch(db);
    while let Some(row) = rows.next().await {
        let row = row?;
        let hash = BlobHash::from_bytes(id(&row, "hash")?);
        damaged.waiting.extend((hash_of(&row)? != hash).then_some(hash));
    }
    drop(rows);
    damaged.parked = unlike(db, "SELECT blob_id AS owner, blob_id AS id, envelope FROM parked").await?;
    let manifests = unlike(db, "SELECT id AS owner, id, manifest AS envelope FROM snapshot").await?;
    let parts = unlike(db, "SELECT snapshot AS owner, id, envelope FROM snapshot_part").await?;
    damaged.snapshots = manifests.into_iter().chain(parts).collect::<BTreeSet<_>>().into_iter().collect();
    Ok(damaged)
}

/// The owners of what is not what its id says.
async fn unlike(db: &SqlitePool, query: &'static str) -> Result<Vec<BlobId>, StoreError> {
    let (mut rows, mut owners) = (sqlx::query(query).fetch(db), Vec::new());
    while let Some(row) = rows.next().await {
        let row = row?;
        if hash_of(&row)?.blob_id() != BlobId::from_bytes(id(&row, "id")?) {
            owners.push(BlobId::from_bytes(id(&row, "owner")?));
        }
    }
    Ok(owners)
}

fn hash_of(row: &SqliteRow) -> Result<BlobHash, StoreError> {
    Ok(BlobHash::of_bytes(&envelope(row, "envelope")?))
}
