//! What a 0k-Sync device does next. This crate decides; it never does.
//!
//! An [`Engine`] is one device in one group. Feed it an [`Input`] and the time, perform the [`Action`]s it returns
//! in order, feed it what came of them, and call again when [`Engine::wake_at`] says so:
//!
//! ```text
//! loop {
//!     let input = /* whatever comes first: a message, a command, the timer */;
//!     for action in engine.handle(now, input) { /* perform it; a failed Store ends this engine */ }
//! }
//! ```
//! **Invariant:** no clock, socket, file or source of randomness is linked here. Time and randomness are
//! arguments, so one seed replays one run exactly; see the simulator (feature `test-utils`).
//!
//! **Absent on purpose:** conflict resolution. Blobs are opaque; apps merge.

mod context;
mod copies;
mod engine;
pub mod event;
mod examine;
mod handover;
pub mod heads;
pub mod identity;
mod inbox;
pub mod keys;
pub mod kit;
mod link;
mod outbox;
pub mod pairing;
pub mod passphrase;
#[cfg_attr(
    not(feature = "test-utils"),
    expect(dead_code, unreachable_pub, reason = "only the simulator switches protections off, and names all of them")
)]
mod protection;
mod ranges;
pub mod receipt;
mod receipts;
pub mod roster;
pub mod seal;
mod secret;
mod sightings;
#[cfg(feature = "test-utils")]
pub mod sim;
pub mod snapshot;
mod snapshots;
pub mod status;
pub mod stored;
mod timing;

pub use engine::{Engine, Setup};
pub use event::{Action, Event, Input, Now};
pub use inbox::Dropped;
pub use outbox::OWN_HASHES_MAX;
#[cfg(feature = "test-utils")]
pub use protection::Protection;
pub use status::{Badge, Connection, Status};
