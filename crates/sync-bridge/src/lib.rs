//! The 0k-Sync client as a front end of any language sees it.
//!
//! A front end owns what it passes and gets, knows no Rust types but those of [`dto`], may call from any thread and any
//! executor, and branches on one closed set of codes. [`SyncHandle`] is the whole API; the Tauri plugin is a thin layer
//! on it, and other languages' bindings are to be.
//!
//! ```no_run
//! # async fn example() -> Result<(), sync_bridge::BridgeError> {
//! use sync_bridge::{Settings, SyncHandle, dto::PushOptions};
//!
//! let sync = SyncHandle::new(Settings::new("profile", "Ann's phone", "org.example.notes"));
//! sync.create_group().await?;
//! sync.push(b"hello".to_vec(), PushOptions::default()).await?;
//! for blob in sync.pull(0, None).await?.blobs {
//!     println!("{}: {} bytes", blob.cursor, blob.payload.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! **Invariant:** a call that was made is carried out, also if whoever made it stops waiting for its answer.
//!
//! **Invariant:** no call needs the caller's thread or executor to go on, so a front end may block on any of them.
//!
//! **Absent on purpose:** decisions. When to connect and what to flush is the front end's lifecycle to say, everything
//! else the engine's.

mod checkup;
pub mod dto;
mod error;
mod event;
mod handle;
mod pairing;
mod place;
mod runtime;
mod settings;
mod snapshots;

pub use checkup::{Finding, LostBlob, Repaired};
pub use error::BridgeError;
pub use event::{Event, Subscription};
pub use handle::SyncHandle;
pub use pairing::{Invite, Joined, PairRequest, PairingEvent};
pub use runtime::Answer;
pub use settings::{Backend, Settings};
pub use snapshots::{Loading, Snapshot};
pub use sync_client::{ErrorCode, Passphrase, Reaction, SecretsChoice};
