//! What can go wrong: before the relay runs, towards its operator; while it runs, towards a device.
//!
//! The first kind is text for a person and names what to change. The second is always an [`ErrorCode`], because
//! that is all that travels.

use std::{io, net::SocketAddr, time::Duration};

use sync_types::{ErrorCode, RequestId, message::Refused};

use crate::{config::ConfigError, store::StoreError};

/// Why a relay does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is wrong; the text names it and where it was set.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data folder can't be made, read or written.
    #[error("the data folder can't be used (storage.data_dir): {0}")]
    DataDir(#[source] io::Error),
    /// Another relay runs on the same data folder.
    #[error("another relay (process {holder}) uses the data folder; stop it, or choose another storage.data_dir")]
    InUse {
        /// Its process id, as it wrote it down.
        holder: String,
    },
    /// The identity file is not one. A new one would make this another relay, so none is made.
    #[error("the identity file identity.key is damaged; restore it from a backup, or delete it to become a new relay")]
    Identity,
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The QUIC address can't be listened on.
    #[error("can't listen on {address} for QUIC (server.quic_bind): {reason}")]
    Quic {
        /// The configured address.
        address: SocketAddr,
        /// What the system says.
        reason: String,
    },
    /// The HTTP address can't be listened on.
    #[error("can't listen on {address} for HTTP (server.http_bind): {source}")]
    Http {
        /// The configured address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system does not say when it wants the relay to stop.
    #[error("can't listen for signals: {0}")]
    Signals(#[source] io::Error),
}

/// A request that is answered with no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    /// When the same again may succeed, if that is known.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    /// Over a limit that refills with time.
    pub(crate) fn later(code: ErrorCode, retry_after: Duration) -> Self {
        Self { code, retry_after: Some(retry_after) }
    }

    /// The answer to the request `id`.
    pub(crate) fn answer(self, id: RequestId) -> Refused {
        // Rounded up: a device that waits exactly this long must not be refused again.
        let retry_after_ms = self.retry_after.map_or(0, |wait| u32::try_from(wait.as_millis() + 1).unwrap_or(u32::MAX));
        Refused { id, code: self.code.number(), retry_after_ms }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, retry_after: None }
    }
}

impl From<StoreError> for Refusal {
    /// What a device hears of a failing store. What the operator hears was logged where it failed.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DiskFull => ErrorCode::StorageFull.into(),
            StoreError::TooManyGroups => ErrorCode::TooManyGroups.into(),
            StoreError::GroupMoved => ErrorCode::GroupMoved.into(),
            StoreError::Closed => ErrorCode::ShuttingDown.into(),
            StoreError::TooNew | StoreError::Corrupt | StoreError::Database(_) => ErrorCode::Internal.into(),
        }
    }
}
