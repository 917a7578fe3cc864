//! The harness: a relay and devices as processes, driven by nothing but their contract for scripts.
//!
//! A test is a story over [`Relay`] and [`Device`]; what they print is read as JSON, line by line. Everything of
//! one story lives in a [`Scratch`] folder that is removed when the story ends well and kept when it fails.
//!
//! **Absent on purpose:** any crate of ours. What a script can't see, these tests can't assert.

mod binaries;
pub mod canary;
mod device;
mod eventually;
mod keychain;
mod process;
mod relay;
mod replica;
mod scratch;
pub mod trace;

pub use binaries::{Binary, workspace_root};
pub use device::{Blob, Device, Outcome, paired, pairing};
pub use eventually::eventually;
pub use keychain::Keychain;
pub use process::Process;
pub use relay::{Relay, RelaySetup, refusal_to_start};
pub use replica::Replica;
pub use scratch::Scratch;
