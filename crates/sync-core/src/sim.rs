//! Several devices and relays in one process, on virtual time, from one seed.
//!
//! The devices run the real [`crate::Engine`]; disk, network and relay are models whose faults the seed chooses:
//! connections break, messages are late, lost, repeated and out of order, links are cut in two, devices crash
//! between any two actions and come back with what was stored, disks and relays fill up, relays restart, are wiped
//! or restored from an old copy, installations are copied, clocks are wrong and jump, devices join late and disappear for
//! good, and relays show one device another history than the others.
//!
//! After every step that can break one, the guarantees of PROTOCOL.md are checked (`sim/check.rs`) against what really
//! happened. One seed replays one run exactly:
//!
//! ```text
//! cargo xtask sim 1 --seed 42
//! ```

use crate::protection::Protection;

mod check;
mod copies;
mod device;
mod disk;
mod faces;
mod faults;
mod joining;
mod kits;
mod log;
mod misorder;
mod names;
mod network;
mod outlaw;
mod plan;
mod receipts;
mod relay;
mod removals;
mod repairs;
mod snapshots;
mod story;
mod wires;
mod world;

pub(crate) use misorder::misorder;

pub use check::Violation;
pub use disk::Disk;
pub use kits::Paper;
pub use plan::{Faults, Plan};
pub use story::{DeviceIndex, RelayIndex, Story};
pub use world::{Report, World};

/// Runs a plan to its end, and until everybody who is left has come to rest.
///
/// # Errors
/// The first guarantee that did not hold.
pub fn run(plan: Plan) -> Result<Report, Violation> {
    World::new(plan, None).run()
}

/// The same with one protection switched off everywhere.
///
/// # Errors
/// The first guarantee that did not hold: how it is known that the checks would see it.
pub fn run_without(plan: Plan, protection: Protection) -> Result<Report, Violation> {
    World::new(plan, Some(protection)).run()
}
