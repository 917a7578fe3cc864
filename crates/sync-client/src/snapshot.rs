//! Snapshots of the app's state.

use bytes::Bytes;
use sync_core::{Input, snapshot};
use sync_types::{BlobId, DeviceId, LocalCursor};

use crate::{client::SyncClient, error::ClientError};

/// An app's state as a device gave it, to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Names it.
    pub id: BlobId,
    /// Who made it.
    pub sender: DeviceId,
    /// When, by its maker's clock in Unix milliseconds.
    pub time_ms: u64,
    /// What the app gave.
    pub bytes: Bytes,
}

impl SyncClient {
    /// Keeps the app's state for devices that join later: they begin with that, and read only what came after. Resolves once
    /// it is safe on this device; relays are sent it when they can be reached. The next one takes its place.
    ///
    /// `up_to` is where the local log ended when the state was that: everything up to there is in it, nothing beyond is,
    /// and all of it is acknowledged. The state is at most [`crate::SNAPSHOT_LEN_MAX`] bytes.
    ///
    /// # Errors
    /// `snapshot_outdated` if more has come or been pushed since: apply it, acknowledge it, and make another.
    /// `snapshot_too_large`, `invalid_argument` without [`crate::OpenOptions::snapshot_after`] and its like for bytes, `removed`,
    /// `identity_reused`, `no_group`, `local_full`, `local_storage`, `closed`.
    pub async fn publish_snapshot(&self, bytes: impl Into<Bytes>, up_to: LocalCursor) -> Result<(), ClientError> {
        self.in_group()?.decide(Input::PublishSnapshot { up_to, bytes: bytes.into() }).await
    }

    /// The snapshot that is here for the app to load, as [`crate::Event::SnapshotReady`] told. Until
    /// [`Self::snapshot_loaded`] answers it, a device that has nothing yet reads nothing else.
    ///
    /// # Errors
    /// `no_group`, `local_storage`, `store_corrupt`, `closed`.
    pub async fn latest_snapshot(&self) -> Result<Option<Snapshot>, ClientError> {
        let group = self.in_group()?;
        if !self.status().loading.is_some_and(|loading| loading.ready) {
            return Ok(None);
        }
        let Some((manifest, parts)) = self.inner.store.snapshot().await? else { return Ok(None) };
        let opened = snapshot::open(&group.keys(), manifest, &parts);
        if opened.is_none()
            && let Some(loading) = self.status().loading
        {
            // It came whole, and is not: there may be another one.
            tracing::warn!(snapshot = ?loading.snapshot, "a snapshot does not open");
            self.snapshot_loaded(loading.snapshot, false).await?;
        }
        Ok(opened.map(|snapshot::Opened { id, sender, time_ms, bytes }| Snapshot { id, sender, time_ms, bytes }))
    }

    /// The app has made a snapshot a part of its state, durably; or, with `taken` false, can't use it. Then there may be
    /// another one, or everything is read from the log.
    ///
    /// What was in a snapshot does not come again from the log. One that is offered to an app that has something already is
    /// there to fill a gap, and may hold what the app has: it is to be merged.
    ///
    /// # Errors
    /// `no_snapshot` if that one is not there to be loaded, `no_group`, `local_storage`, `closed`.
    pub async fn snapshot_loaded(&self, snapshot: BlobId, taken: bool) -> Result<(), ClientError> {
        self.in_group()?.decide(Input::SnapshotLoaded { snapshot, taken }).await
    }
}
