//! The harness: a relay and devices as processes, driven by nothing but their contract for scripts.
//!
//! A test is a story over [`Relay`] and [`Device`]; what they print is read as JSON, line by line. Everything of
//! one story lives in a [`Scratch`] folder that is removed when the story ends well and kept when it fails.
//!
//! Strangers, who keep to no contract, are [`stranger`]s on a [`Network`]; they know the protocol by its document.
//!
//! **Absent on purpose:** any crate of ours. What a script can't see, these tests can't assert.

mod binaries;
pub mod canary;
mod clock;
pub mod damage;
mod device;
mod dice;
mod disk;
mod eventually;
mod fake_relay;
mod keychain;
pub mod memory;
mod noise;
mod process;
mod relay;
mod replica;
mod scratch;
mod skipped;
pub mod stranger;
mod terminal;
pub mod trace;
mod wire;

pub use binaries::{Binary, workspace_root};
pub use clock::Clock;
pub use device::{Blob, Device, Outcome, paired, pairing, pairing_with};
pub use dice::Dice;
pub use disk::SmallDisk;
pub use eventually::eventually;
pub use fake_relay::{FakeRelay, welcome};
pub use keychain::Keychain;
pub use noise::{noise, noisy_text};
pub use process::Process;
pub use relay::{Relay, RelaySetup, refusal_to_start};
pub use replica::Replica;
pub use scratch::Scratch;
pub use skipped::skipped;
pub use stranger::Network;
pub use terminal::Terminal;
pub use wire::{Way, Wire, on_a_wire};
