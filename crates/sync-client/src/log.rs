//! Reading the local log.
//!
//! Every blob that became readable on this device, in the order in which it did, own ones from their push on.
//! Pages come from the disk and need no network. Envelopes rest sealed and are opened here.

use bytes::Bytes;
use sync_core::{event::HeldRow, keys::GroupKeys, seal};
use sync_types::{BlobId, DeviceId, Envelope, LocalCursor, PushId};
use tokio::sync::oneshot;

use crate::{client::SyncClient, driver::Command, error::ClientError, store::StoreError};

/// Blobs in one page.
pub const PAGE_BLOBS_MAX: u32 = 1_000;
/// Envelope bytes in one page. One blob always fits.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A part of the local log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The blobs, in order.
    pub blobs: Vec<Blob>,
    /// There is more after the last of them.
    pub has_more: bool,
}

/// A blob, as the app that reads it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its place in this device's log. Stored with what the app makes of the blob, it gives exactly once.
    pub cursor: LocalCursor,
    /// What `push` returned for it; the same on every device.
    pub push_id: PushId,
    /// Names the envelope, for people who compare with a relay.
    pub blob_id: BlobId,
    /// The device that pushed it.
    pub sender: DeviceId,
    /// That is this device.
    pub own: bool,
    /// It came after its absence had been reported as a gap.
    pub late: bool,
    /// The sender's clock in Unix milliseconds, for people.
    pub time_ms: u64,
    /// The bytes that were pushed.
    pub payload: Bytes,
}

impl SyncClient {
    /// The blobs after a cursor ([`LocalCursor::START`] for all), at most `limit` of them and at most
    /// [`PAGE_BLOBS_MAX`]. Reads the disk only. What was acknowledged long ago, and stands in a snapshot, may not be there any
    /// more (see [`crate::OpenOptions::keep_for`]).
    ///
    /// # Errors
    /// `cursor_unknown` for a cursor beyond the newest blob: it is of another profile's log. `no_group`,
    /// `local_storage`, `store_corrupt`.
    pub async fn pull(&self, after: LocalCursor, limit: u32) -> Result<Page, ClientError> {
        let group = self.in_group()?;
        let store = &self.inner.store;
        let (head, _) = store.cursors().await?;
        if after > head {
            return Err(ClientError::CursorUnknown);
        }
        let rows = store.log(after, limit.clamp(1, PAGE_BLOBS_MAX), PAGE_BYTES_MAX).await?;
        let last = rows.last().and_then(|row| row.cursor).unwrap_or(after);
        let (keys, me) = (group.keys(), group.device_id());
        let opened = tokio::task::spawn_blocking(move || rows.into_iter().map(|row| open(&keys, me, row)).collect());
        let blobs: Result<_, StoreError> = opened.await.map_err(|_| ClientError::Closed)?;
        Ok(Page { blobs: blobs?, has_more: last < head })
    }

    /// The app has applied everything up to and with this blob. Never moves back.
    ///
    /// # Errors
    /// `cursor_unknown` for a cursor beyond the newest blob. `no_group`, `local_full`, `local_storage`, `closed`.
    pub async fn ack(&self, cursor: LocalCursor) -> Result<(), ClientError> {
        let group = self.in_group()?;
        let (head, acked) = self.inner.store.cursors().await?;
        if cursor > head {
            return Err(ClientError::CursorUnknown);
        }
        if cursor <= acked {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        group.send(Command::AppAck { cursor, answer }).await?;
        answered.await.map_err(|_| ClientError::Closed)?.map_err(ClientError::Refused)
    }

    /// The highest cursor the app has acknowledged.
    pub fn last_cursor(&self) -> LocalCursor {
        self.status().last_cursor
    }
}

/// What is held was opened once before: if it doesn't open any more, the disk has changed it.
fn open(keys: &GroupKeys, me: DeviceId, row: HeldRow) -> Result<Blob, StoreError> {
    let cursor = row.cursor.ok_or(StoreError::Corrupt)?;
    let envelope = Envelope::parse(row.envelope).map_err(|_| StoreError::Corrupt)?;
    let body = seal::open(keys, &envelope).map_err(|_| StoreError::Corrupt)?;
    let payload = seal::unpack(&body).map_err(|_| StoreError::Corrupt)?;
    Ok(Blob {
        cursor,
        push_id: row.push_id,
        blob_id: row.hash.blob_id(),
        sender: row.sender,
        own: row.sender == me,
        late: row.late,
        time_ms: row.time_ms,
        payload,
    })
}
