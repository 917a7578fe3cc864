//! The 0k-Sync client: one loop around sync-core, and the I/O it performs.
//!
//! [`SyncClient`] is the handle an app holds: open a profile, pair it, push and pull. Behind it a driver feeds
//! [`sync_core::Engine`] with what happens and does what it decides: the profile's SQLite file below, a QUIC
//! connection to each relay beside, listeners above.
//!
//! ```no_run
//! # async fn example() -> Result<(), sync_client::ClientError> {
//! use sync_client::{LocalCursor, OpenOptions, PushOptions, SyncClient};
//!
//! let client = SyncClient::open("profile", OpenOptions::default()).await?;
//! client.push("hello", PushOptions::default()).await?;
//! for blob in client.pull(LocalCursor::START, 100).await?.blobs {
//!     println!("{}: {} bytes", blob.cursor, blob.payload.len());
//! }
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! **Invariant:** what is told or sent was durable before. A crash at any instruction costs repetition, never a blob.
//!
//! **Invariant:** secrets rest in the system's keychain, or in a file where a person asked for one; blobs rest sealed.
//!
//! **Absent on purpose:** decisions. When to send, what to believe and what to call synced is sync-core's to say, where
//! it can be simulated; here is what a simulation has no part in.

mod blob_state;
mod callers;
mod checkup;
mod client;
mod clock;
mod config;
mod devices;
mod diagnostics;
mod driver;
mod error;
mod event;
mod kit;
mod lock;
mod log;
mod mailbox;
mod membership;
mod pairing;
mod passphrase;
mod private;
mod profile;
mod push;
pub mod qr;
mod random;
mod repair;
mod resolve;
mod routes;
mod secrets;
mod snapshot;
mod status;
mod store;
mod transport;

pub use blob_state::{BLOB_STATES_MAX, BlobState};
pub use checkup::{Check, Finding, Verdict};
pub use client::SyncClient;
pub use config::{OpenOptions, ProfileConfig, PushOptions, RelayBackend, Wait};
pub use devices::Device;
pub use diagnostics::Diagnostics;
pub use error::ClientError;
pub use event::{Event, EventStream, SyncEvent};
pub use kit::RecoveryKit;
pub use log::{Blob, PAGE_BLOBS_MAX, Page};
pub use membership::Rekey;
pub use pairing::{InviteEvent, InviteSession, JoinEvent, JoinSession};
pub use profile::{ConfiguredRelay, ProfileInfo};
pub use push::PendingPush;
pub use repair::{LostBlob, Part, Repaired};
pub use resolve::{ParseRelayError, RelayAddr, ResolveError};
pub use secrets::{SecretsChoice, SecretsError};
pub use snapshot::Snapshot;
pub use store::{Sizes, StoreError};
pub use sync_core::{
    Badge, Connection, Status,
    event::{ParkReason, PushState, Pushed},
    heads::Contradiction,
    pairing::Digits,
    passphrase::{Passphrase, PassphraseError},
    status::{Loading, RelayStatus},
};
pub use sync_types::{
    BlobId, DeviceId, ErrorCode, GroupId, InviteCode, InviteLink, LocalCursor, LocalLogId, PushId, Reaction, RelayId,
    limits::{KIT_LEN_MAX, LINK_LEN_MAX, PASSPHRASE_LEN_MAX, PAYLOAD_LEN_MAX, SNAPSHOT_LEN_MAX},
};
