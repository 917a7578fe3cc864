//! What answers at a relay's web address, before anybody trusts it.
//!
//! What is taken is within its bounds, and written again it is read as the same.

use sync_types::{
    limits::PROTOCOL_VERSION,
    well_known::{ADDRESSES_MAX, LEN_MAX, WellKnown, WellKnownError},
};

/// Longest name or address that a device takes, in bytes.
const NAME_LEN_MAX: usize = 260;

/// The bytes are the answer.
pub(crate) fn run(data: &[u8]) {
    match WellKnown::parse(data) {
        Ok(document) => {
            assert!(data.len() <= LEN_MAX && document.quic.len() <= ADDRESSES_MAX);
            assert!(document.quic.iter().chain(&document.iroh_relay).all(|name| name.len() <= NAME_LEN_MAX));
            assert_eq!(document.version, PROTOCOL_VERSION);
            let written = serde_json::to_vec(&document).expect("a document is JSON");
            assert_eq!(WellKnown::parse(&written), Ok(document), "written again");
        }
        Err(WellKnownError::Version { version }) => assert_ne!(version, PROTOCOL_VERSION),
        Err(WellKnownError::Malformed) => {}
    }
}
