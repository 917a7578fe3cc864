//! Snapshots of the app's state, for devices that join later.

use bytes::Bytes;
use serde::Serialize;
use sync_client::LocalCursor;

use crate::{error::BridgeError, handle::SyncHandle, runtime::Answer};

/// An app's state as a device gave it. Its bytes don't serialize: a front end passes them on as bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Names it.
    pub snapshot_id: String,
    /// Who made it.
    pub sender: String,
    /// When, by its maker's clock.
    pub made_at: u64,
    /// What the app gave.
    #[serde(skip)]
    pub bytes: Bytes,
}

/// A snapshot that is being fetched, or waits for the app to load it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Loading {
    /// Names it.
    pub snapshot_id: String,
    /// Who made it.
    pub sender: String,
    /// Bytes that are here.
    pub done: u64,
    /// Of so many.
    pub total: u64,
    /// All of it is here, for the app to load.
    pub ready: bool,
}

impl From<sync_client::Loading> for Loading {
    fn from(loading: sync_client::Loading) -> Self {
        let sync_client::Loading { snapshot, sender, done, total, ready } = loading;
        Self { snapshot_id: snapshot.to_string(), sender: sender.to_string(), done, total, ready }
    }
}

impl SyncHandle {
    /// Keeps the app's state for devices that join later: they begin with that, and read only what came after. `up_to` is
    /// where the local log ended when the state was that, all of it acknowledged. Resolves once it is safe on this device.
    ///
    /// # Errors
    /// `snapshot_outdated` if more has come or been pushed since, `snapshot_too_large`, `invalid_argument` without
    /// [`crate::Settings::snapshot_after`], `removed`, `identity_reused`, `no_group`, `local_full`, `local_storage`.
    pub fn publish_snapshot(&self, bytes: impl Into<Bytes>, up_to: u64) -> Answer<()> {
        let bytes = bytes.into();
        self.with_client(
            move |_, client| async move { Ok(client.publish_snapshot(bytes, LocalCursor::new(up_to)).await?) },
        )
    }

    /// The snapshot that is here for the app to load. [`Self::snapshot_loaded`] answers it.
    ///
    /// # Errors
    /// `no_group`, `local_storage`, `store_corrupt`, and those of opening the profile.
    pub fn latest_snapshot(&self) -> Answer<Option<Snapshot>> {
        self.with_client(|_, client| async move {
            let snapshot = client.latest_snapshot().await?;
            Ok(snapshot.map(|sync_client::Snapshot { id, sender, time_ms, bytes }| Snapshot {
                snapshot_id: id.to_string(),
                sender: sender.to_string(),
                made_at: time_ms,
                bytes,
            }))
        })
    }

    /// The app has made a snapshot a part of its state, durably; or, with `taken` false, can't use it.
    ///
    /// # Errors
    /// `no_snapshot` if that one is not there to be loaded, `invalid_argument`, `no_group`, `local_storage`.
    pub fn snapshot_loaded(&self, snapshot_id: String, taken: bool) -> Answer<()> {
        self.with_client(move |_, client| async move {
            let id = snapshot_id.parse().map_err(|_| BridgeError::Argument("a snapshot's id has 32 hex digits"))?;
            Ok(client.snapshot_loaded(id, taken).await?)
        })
    }
}
