//! Why a call on the client failed.
//!
//! One variant for each thing a caller can do differently. Scripts and front ends branch on
//! [`ClientError::code`], a closed set; the texts are for people and hold no path, key, name or payload.

use std::{io, time::Duration};

use sync_core::passphrase::PassphraseError;
use sync_types::{ErrorCode, limits::PAYLOAD_LEN_MAX};

use crate::{resolve::ResolveError, secrets::SecretsError, store::StoreError};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The profile is in no group yet: create an invite, or join with a code.
    #[error("this device belongs to no group yet")]
    NoGroup,
    /// The profile is in a group already. Another group takes another profile.
    #[error("this device already belongs to a group")]
    AlreadyInGroup,
    /// There is no profile in that folder. Make one with [`crate::SyncClient::init`].
    #[error("there is no profile here")]
    NoProfile,
    /// There is one already.
    #[error("there is already a profile here")]
    ProfileExists,
    /// Another process, or another client in this one, has the profile open.
    #[error("another process uses this profile{}; close it first", .pid.map_or_else(String::new, |pid| format!(" (process {pid})")))]
    ProfileInUse {
        /// Which, where the system lets us read it.
        pid: Option<u32>,
    },
    /// The place where this profile's secrets rest.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The profile's database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The profile's folder can't be made, or can't be locked.
    #[error("the profile's folder can't be used; check the disk and the folder's permissions")]
    Folder(#[source] std::io::Error),
    /// A relay's address leads nowhere, or not where it led before.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// No relay answers. Nothing is lost: what was pushed is kept and sent later.
    #[error("{}", ErrorCode::Offline.text())]
    Offline,
    /// Not done in the given time. It goes on in the background.
    #[error("not finished within {} seconds; it goes on by itself when this device is next online", .0.as_secs())]
    TimedOut(Duration),
    /// The cursor is newer than anything this profile has given out: it is of another log.
    #[error("{}", ErrorCode::CursorUnknown.text())]
    CursorUnknown,
    /// More than an envelope holds.
    #[error("the blob has {len} bytes, and {PAYLOAD_LEN_MAX} are the most; split it")]
    BlobTooLarge {
        /// Its bytes.
        len: usize,
    },
    /// An argument that can't be meant.
    #[error("{0}")]
    InvalidArgument(&'static str),
    /// A text that is no passphrase. One that is, but easy to guess, is refused with `weak_passphrase`.
    #[error(transparent)]
    InvalidPassphrase(PassphraseError),
    /// The client is closed, or closing.
    #[error("the client is closed")]
    Closed,
    /// A relay, the engine or the other side of a pairing said no.
    #[error("{}", .0.text())]
    Refused(ErrorCode),
}

impl ClientError {
    /// The profile's folder can't be used: for want of room, or for another reason.
    pub(crate) fn folder(error: io::Error) -> Self {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if full { StoreError::Full.into() } else { Self::Folder(error) }
    }

    /// What scripts and front ends branch on. No wildcard: a new error is not done until it has a code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoGroup => ErrorCode::NoGroup,
            Self::AlreadyInGroup => ErrorCode::AlreadyInGroup,
            Self::NoProfile => ErrorCode::NoProfile,
            Self::ProfileExists => ErrorCode::ProfileExists,
            Self::ProfileInUse { pid: _ } => ErrorCode::ProfileInUse,
            Self::Secrets(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Folder(_) => ErrorCode::LocalStorage,
            Self::Resolve(error) => error.code(),
            Self::Offline => ErrorCode::Offline,
            Self::TimedOut(_) => ErrorCode::TimedOut,
            Self::CursorUnknown => ErrorCode::CursorUnknown,
            Self::BlobTooLarge { len: _ } => ErrorCode::BlobTooLarge,
            Self::InvalidArgument(_) | Self::InvalidPassphrase(_) => ErrorCode::InvalidArgument,
            Self::Closed => ErrorCode::Closed,
            Self::Refused(code) => *code,
        }
    }
}
