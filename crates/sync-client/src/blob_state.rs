//! How far a blob got: on which relays, and on which devices.

use sync_core::status::Holders;
use sync_types::{DeviceId, ErrorCode, LocalCursor, PushId, RelayId, Seq};
use tokio::sync::oneshot;

use crate::{client::SyncClient, driver::Command, error::ClientError, store::Placed};

/// Blobs that can be asked about at once.
pub const BLOB_STATES_MAX: usize = 1_000;

/// Where a blob of the local log is, as far as this device can tell. It may have got further: nobody says more than is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobState {
    /// Its place in the local log.
    pub cursor: LocalCursor,
    /// What its push returned.
    pub push_id: PushId,
    /// Who pushed it.
    pub sender: DeviceId,
    /// That is this device.
    pub own: bool,
    /// Of an own blob: the relays that have it on their disks. Of others' blobs their own devices know that.
    pub relays: Vec<RelayId>,
    /// How many relays are configured.
    pub relays_configured: usize,
    /// Other members that have it on their disks: those who said so, and who pushed it.
    pub received_by: Vec<DeviceId>,
    /// Those among them whose apps have acknowledged it.
    pub applied_by: Vec<DeviceId>,
    /// Other members that have given it up for lost: it had expired on every relay before they came.
    pub lost_by: Vec<DeviceId>,
}

impl SyncClient {
    /// How far blobs of the local log got, in the order in which they are asked for. A cursor that is none of the log's is
    /// left out.
    ///
    /// # Errors
    /// `invalid_argument` for more than [`BLOB_STATES_MAX`], `no_group`, `local_storage`, `closed`.
    pub async fn blob_states(&self, cursors: &[LocalCursor]) -> Result<Vec<BlobState>, ClientError> {
        if cursors.len() > BLOB_STATES_MAX {
            return Err(ClientError::InvalidArgument("up to 1,000 blobs can be asked about at once"));
        }
        let group = self.in_group()?;
        let rows = self.inner.store.placed(cursors).await?;
        let places = rows.iter().map(|row| (row.sender, row.seq)).collect();
        let (answer, answered) = oneshot::channel();
        group.send(Command::Holders { places, answer }).await?;
        let holders = answered.await.map_err(|_| ClientError::Closed)?.map_err(ClientError::Refused)?;
        let (me, relays) = (group.device_id(), self.inner.store.addresses().await?.len());
        Ok(rows.into_iter().zip(holders).map(|(row, holders)| BlobState::new(row, holders, (me, relays))).collect())
    }
}

impl BlobState {
    fn new(row: Placed, holders: Holders, (me, relays_configured): (DeviceId, usize)) -> Self {
        Self {
            cursor: row.cursor,
            push_id: row.push_id,
            sender: row.sender,
            own: row.sender == me,
            relays: holders.relays,
            relays_configured,
            received_by: holders.received,
            applied_by: holders.applied,
            lost_by: holders.lost,
        }
    }
}

/// The answer to [`Command::Holders`]: of each place, in the order of the question.
pub(crate) type HoldersAnswer = oneshot::Sender<Result<Vec<Holders>, ErrorCode>>;

/// Whose envelope, and its place among that sender's.
pub(crate) type Place = (DeviceId, Seq);
