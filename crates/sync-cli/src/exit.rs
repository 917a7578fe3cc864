//! What a shell is told: one number for each kind of thing a script does next.

use std::process::ExitCode;

use sync_client::ErrorCode;

/// How a command ended. The numbers are part of the contract with scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// What was typed can't be meant, or not here.
    Usage = 2,
    /// This device belongs to no group yet.
    NoGroup = 3,
    /// No relay answered, or not in time. What was pushed is kept.
    Offline = 4,
    /// A relay said no.
    Refused = 5,
    /// This installation is no member any more.
    Removed = 6,
    /// Pairing did not come about.
    Pairing = 7,
    /// The profile, its disk or its keychain.
    Storage = 8,
    /// Another process has the profile.
    InUse = 9,
    /// A defect.
    Internal = 10,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<ErrorCode> for Exit {
    /// No wildcard: a new code is not done until it has an exit.
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::BlobTooLarge
            | ErrorCode::NoProfile
            | ErrorCode::ProfileExists
            | ErrorCode::RelayUnknown
            | ErrorCode::UnsupportedTier
            | ErrorCode::CursorUnknown
            | ErrorCode::DeviceUnknown
            | ErrorCode::NotSafeToLeave
            | ErrorCode::WeakPassphrase
            | ErrorCode::InvalidKit
            | ErrorCode::InvalidKitCode
            | ErrorCode::WrongKitCode
            | ErrorCode::KitTooNew
            | ErrorCode::InvalidArgument
            | ErrorCode::SnapshotOutdated
            | ErrorCode::SnapshotTooLarge
            | ErrorCode::NoSnapshot => Self::Usage,
            ErrorCode::NoGroup => Self::NoGroup,
            ErrorCode::Offline | ErrorCode::TimedOut | ErrorCode::ShuttingDown | ErrorCode::IdleTimeout => {
                Self::Offline
            }
            ErrorCode::Unsupported
            | ErrorCode::Malformed
            | ErrorCode::VersionUnsupported
            | ErrorCode::AuthFailed
            | ErrorCode::NotGreeted
            | ErrorCode::FrameTooLarge
            | ErrorCode::GroupFull
            | ErrorCode::StorageFull
            | ErrorCode::TooManyGroups
            | ErrorCode::RateLimited
            | ErrorCode::TooManyConnections
            | ErrorCode::LogForked
            | ErrorCode::NotFound
            | ErrorCode::BadEnvelope
            | ErrorCode::GroupMoved
            | ErrorCode::StaleKey
            | ErrorCode::KitUnknown
            | ErrorCode::SnapshotOutdone
            | ErrorCode::RelayIdentityChanged => Self::Refused,
            ErrorCode::IdentityReused | ErrorCode::Removed => Self::Removed,
            ErrorCode::InviteNotFound
            | ErrorCode::InviteClaimed
            | ErrorCode::InviteConflict
            | ErrorCode::InviteNameTaken
            | ErrorCode::TooManyInvites
            | ErrorCode::AlreadyInGroup
            | ErrorCode::InvalidCode
            | ErrorCode::WrongCode
            | ErrorCode::CodeExpired
            | ErrorCode::PairingDenied
            | ErrorCode::PairingFailed
            | ErrorCode::OtherApp
            | ErrorCode::GroupTooLarge => Self::Pairing,
            ErrorCode::KeyMissing
            | ErrorCode::KeychainUnavailable
            | ErrorCode::WrongPassphrase
            | ErrorCode::LocalFull
            | ErrorCode::LocalStorage
            | ErrorCode::StoreCorrupt
            | ErrorCode::StoreTooNew => Self::Storage,
            ErrorCode::ProfileInUse => Self::InUse,
            ErrorCode::Internal | ErrorCode::Closed => Self::Internal,
        }
    }
}
