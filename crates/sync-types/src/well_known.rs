//! `GET /.well-known/0k-sync`: what a relay's HTTP address says about its QUIC side.

use serde::{Deserialize, Serialize};

use crate::{RelayId, limits::PROTOCOL_VERSION};

/// Path of the document on the relay's HTTP address.
pub const PATH: &str = "/.well-known/0k-sync";
/// Largest document a device reads, in bytes.
pub const LEN_MAX: usize = 16 * 1024;
/// Addresses a device takes from it.
pub const ADDRESSES_MAX: usize = 16;

/// Who the relay is and where its QUIC endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WellKnown {
    /// The protocol version, [`PROTOCOL_VERSION`].
    pub version: u16,
    /// The relay's endpoint id.
    pub relay_id: RelayId,
    /// `host:port`, in the order to try them. The host may be a name.
    pub quic: Vec<String>,
    /// An iroh relay it can also be reached through, if it has one.
    pub iroh_relay: Option<String>,
}

/// Why an answer is not the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WellKnownError {
    /// Not JSON, or not these fields, or too much of them.
    #[error("the answer is not a relay's document")]
    Malformed,
    /// Of another protocol version.
    #[error("the relay speaks protocol version {version}, which this build does not")]
    Version {
        /// What it speaks.
        version: u16,
    },
}

impl WellKnown {
    /// Reads the answer of a relay that nobody trusts yet.
    ///
    /// # Errors
    /// [`WellKnownError`].
    pub fn parse(answer: &[u8]) -> Result<Self, WellKnownError> {
        if answer.len() > LEN_MAX {
            return Err(WellKnownError::Malformed);
        }
        let document: Self = serde_json::from_slice(answer).map_err(|_| WellKnownError::Malformed)?;
        if document.version != PROTOCOL_VERSION {
            return Err(WellKnownError::Version { version: document.version });
        }
        let long = |text: &String| text.len() > 260;
        if document.quic.len() > ADDRESSES_MAX || document.quic.iter().chain(&document.iroh_relay).any(long) {
            return Err(WellKnownError::Malformed);
        }
        Ok(document)
    }
}
