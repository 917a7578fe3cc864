//! A relay's session, and a device that says anything.
//!
//! The session and the store are the relay's own, the stream between is in memory. Every answer has to be a message
//! of the protocol and to fit what was asked; afterwards another device of the group reads the log, and finds in it
//! all that was acknowledged, in the place and with the run that was named. The device may come again and give the group
//! other ids: then that is found in the log that went on, or in the one that it became a part of.

mod device;
mod ids;
mod step;
mod world;

use std::sync::{Mutex, PoisonError};

use arbitrary::{Arbitrary as _, Unstructured};

use self::{step::Step, world::World};

/// Steps in one session.
const STEPS_MAX: usize = 64;
/// Lives before the relay starts anew, on an empty folder.
const LIVES_MAX: usize = 256;

/// The bytes are what one device does in a session, or in several one after the other.
pub(crate) fn run(data: &[u8]) {
    /// Opening a store takes longer than a session: one relay serves many, each in a group of its own.
    static WORLD: Mutex<Option<World>> = Mutex::new(None);
    let mut bytes = Unstructured::new(data);
    let mut steps = Vec::new();
    while steps.len() < STEPS_MAX && !bytes.is_empty() {
        let Ok(step) = Step::arbitrary(&mut bytes) else { break };
        steps.push(step);
    }
    // A session that panicked may have left anything behind.
    let mut kept = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    let mut world = kept.take().filter(|world| world.lives < LIVES_MAX).unwrap_or_else(World::open);
    world.live(steps);
    *kept = Some(world);
}
