//! Recovery kits in stories: made on a device, and used when there is none.

use std::sync::Arc;

use sync_types::{DeviceId, ErrorCode, RelayMsg};

use super::{
    device::{Device, WALL_MS},
    disk::Disk,
    network::SessionId,
    repairs::Copied,
    story::{DeviceIndex, RelayIndex, Story},
    world::World,
};
use crate::{
    event::{Input, Now},
    kit::{Heard, Kit, KitCode, KitSeed, Recovery},
    pairing::Membership,
};

/// What a person has in a drawer.
#[derive(Debug)]
pub struct Paper {
    /// The page.
    pub text: String,
    /// What is kept apart from it.
    pub code: KitCode,
    /// Which member it is.
    pub device: DeviceId,
}

/// Sessions of recoveries: far from those of devices.
const SESSIONS: SessionId = 1 << 40;

impl Story {
    /// A person makes a kit on a device.
    pub fn export_kit(&mut self, on: DeviceIndex) -> Paper {
        let world = self.world();
        let seed = KitSeed::generate(world.dice.rng());
        let code = KitCode::generate(world.dice.rng());
        let (group, id) = (world.keys.group_id(), world.devices[on].id);
        let request = seed.request(&group, &id, World::profile(0).app_id()).expect("a short app id");
        let device = request.device;
        world.feed(on, Input::Admit { request }).unwrap_or_else(|violation| panic!("{violation}"));
        let engine = world.devices[on].engine.as_ref().expect("the device runs");
        assert!(engine.roster().is_member(&device), "it was let in");
        let kit = Kit::new(seed, engine.keys(), engine.roster(), &[]).expect("the group has a beginning");
        Paper { text: kit.seal(&code).to_string(), code, device }
    }

    /// A person with a kit asks these relays, and begins on a new device with what comes of it.
    ///
    /// # Errors
    /// As [`Recovery::finish`] says.
    pub fn import_kit(&mut self, paper: &Paper, relays: &[RelayIndex]) -> Result<DeviceIndex, ErrorCode> {
        self.import(paper, relays, None)
    }

    pub(super) fn import(
        &mut self,
        paper: &Paper,
        relays: &[RelayIndex],
        backup: Option<Copied>,
    ) -> Result<DeviceIndex, ErrorCode> {
        let kit = Kit::open(&paper.text, &paper.code).map_err(|error| error.code())?;
        let world = self.world();
        let number = world.devices.len();
        let mut recovery = Recovery::new(kit, World::profile(number), world.dice.rng())?;
        if let Some((entries, envelopes)) = backup {
            recovery.read_backup(entries, envelopes)?;
        }
        for relay in relays {
            visit(world, &mut recovery, *relay)?;
        }
        let now = Now { mono_ms: world.now_ms, wall_ms: WALL_MS + world.now_ms };
        let Membership { secrets, roster, .. } = recovery.finish(now)?;
        let keys = Arc::new(secrets.group.expect("a member has the group's keys"));
        let mut device = Device::new(secrets.device, secrets.kem, keys);
        device.disk = Disk::new(device.id, roster);
        device.joined = true;
        world.devices.push(device);
        world.start(number).unwrap_or_else(|violation| panic!("{violation}"));
        Ok(number)
    }
}

/// Asks one relay for all that it has.
fn visit(world: &mut World, recovery: &mut Recovery, relay: RelayIndex) -> Result<(), ErrorCode> {
    let (now_ms, relay) = (world.now_ms, &mut world.relays[relay]);
    let mut sessions = SESSIONS;
    while relay.up && recovery.wants(&relay.id) {
        sessions += 1;
        let (session, exporter): (SessionId, _) = (sessions, [7; 32]);
        relay.accept(session, recovery.device_key().device_id());
        let mut next = recovery.connected(relay.id, &exporter);
        while let Some(message) = next.take() {
            for (to, answer) in relay.receive(session, &exporter, message, now_ms) {
                if to == session && !matches!(answer, RelayMsg::Presence(_)) {
                    match recovery.hear(answer)? {
                        Heard::Say(message) => next = Some(message),
                        Heard::More | Heard::Over => {}
                    }
                }
            }
        }
        relay.closed(session);
    }
    Ok(())
}
