//! Why a command failed, and what its user can type next.

use std::io;

use sync_client::{ClientError, ErrorCode, ParseRelayError};

use crate::interrupt::Interrupt;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The client said so.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What was typed can't be meant.
    #[error("{0}")]
    Usage(String),
    /// That names no relay.
    #[error(transparent)]
    Relay(#[from] ParseRelayError),
    /// A file to push, or standard input, can't be read.
    #[error("{what} can't be read: {source}")]
    Unreadable {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file can't be written.
    #[error("{what} can't be written: {source}")]
    Unwritable {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A picture shows no QR code, or more than one.
    #[error("the picture shows {found} QR codes, not one")]
    NotOneQr {
        /// How many.
        found: usize,
    },
    /// A line of standard input is longer than a blob may be.
    #[error("a line of standard input has more than {max} bytes")]
    LineTooLong {
        /// The most there may be.
        max: usize,
    },
    /// A checkup found something that has to be done.
    #[error("{bad} of {looked_at} checks failed")]
    Unwell {
        /// How many.
        bad: usize,
        /// Of how many.
        looked_at: usize,
        /// What the first of them is about.
        first: ErrorCode,
    },
    /// A repair could not mend everything.
    #[error("{left} of {looked_at} parts are not as they should be")]
    Unmended {
        /// How many.
        left: usize,
        /// Of how many.
        looked_at: usize,
        /// What the first of them is about.
        first: ErrorCode,
    },
    /// Somebody asked us to stop before we were done.
    #[error("interrupted")]
    Interrupted(Interrupt),
    /// Standard output can't be written.
    #[error("standard output can't be written: {0}")]
    Unheard(io::Error),
    /// The process could not even begin.
    #[error("the runtime does not start: {0}")]
    Runtime(io::Error),
}

impl CliError {
    /// What scripts branch on.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Client(error) => error.code(),
            Self::Usage(_) | Self::Unreadable { what: _, source: _ } | Self::Unwritable { what: _, source: _ } => {
                ErrorCode::InvalidArgument
            }
            Self::NotOneQr { found: _ } => ErrorCode::InvalidCode,
            Self::Relay(_) => ErrorCode::RelayUnknown,
            Self::Unwell { first, .. } | Self::Unmended { first, .. } => *first,
            Self::LineTooLong { max: _ } => ErrorCode::BlobTooLarge,
            Self::Unheard(_) => ErrorCode::LocalStorage,
            Self::Interrupted(_) | Self::Runtime(_) => ErrorCode::Internal,
        }
    }

    /// What to type next, where the answer is a command of this program.
    pub(crate) fn help(&self) -> Option<&'static str> {
        help(self.code())
    }
}

fn help(code: ErrorCode) -> Option<&'static str> {
    // Most codes' own texts say all there is to say; only those that another command answers are listed.
    const HELP: &[(ErrorCode, &str)] = &[
        (ErrorCode::NoProfile, "run `sync-cli init --name NAME --relay WHERE` to make one"),
        (ErrorCode::NoGroup, "run `sync-cli pair --create` to start one, or `sync-cli pair --join CODE` to enter one"),
        (ErrorCode::AlreadyInGroup, "use another profile for another group: `sync-cli --profile DIR init …`"),
        (ErrorCode::ProfileExists, "choose another folder with `--profile DIR`"),
        (ErrorCode::KeychainUnavailable, "without a keychain: `sync-cli init --secrets file` keeps the keys in a file"),
        (ErrorCode::CursorUnknown, "run `sync-cli status` to see the newest cursor"),
        (ErrorCode::StoreCorrupt, "run `sync-cli repair` to see what can be done"),
        (ErrorCode::Offline, "run `sync-cli status` to see which relay and why"),
    ];
    HELP.iter().find(|(listed, _)| *listed == code).map(|(_, help)| *help)
}
