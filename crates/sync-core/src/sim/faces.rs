//! A relay that shows one device another history than the others: what is pushed there stays there, and what others push
//! does not come. A row may be missing from its middle. What is expected of devices is in [`must_be_named`].

use std::collections::BTreeMap;

use sync_types::{DeviceId, RelayCursor, RelayGroupId, RelayId};

use super::{check::Violation, log::Log, world::World};
use crate::{event::StoreOp, heads::Head, receipt::Signed, timing::SILENCE_MS};

/// A relay's logs as it shows them to one device.
pub(super) type Face = BTreeMap<RelayGroupId, Log>;

/// A connection that came up so long ago, and a receipt heard so long ago, leave nothing to wait for.
const SETTLED_MS: u64 = 45_000;

/// What a device heard of another's reading, where that was ahead of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    head: Head,
    at_ms: u64,
}

/// Of each device, since its start, what it heard of each other one's reading of each relay.
pub(super) type HeardHeads = BTreeMap<(usize, u64, DeviceId, RelayId), Heard>;

impl World {
    /// A relay begins to lie to a device. With `drop`, a row that the device has not read is missing from then on.
    pub(super) fn lie(&mut self, relay: usize, device: usize, drop: bool) {
        let (state, relay) = (&self.devices[device], &mut self.relays[relay]);
        let pulled = state.knows_of(&relay.id).map_or(0, |known| known.pulled.get());
        relay.turn(state.id, drop.then_some(pulled));
        self.truth.lies(relay.id);
    }

    /// It shows everybody the same again. What was pushed to its other face is gone.
    pub(super) fn be_true(&mut self, relay: usize, device: usize) -> Result<(), Violation> {
        for reader in 0..self.devices.len() {
            must_be_named(self, reader, relay)?;
        }
        let id = self.devices[device].id;
        if self.relays[relay].turn_back(&id) {
            self.truth.turned_back(&self.relays[relay], id);
            self.drop_sessions(relay, device);
        }
        Ok(())
    }

    /// All relays show everybody the same again.
    pub(super) fn be_true_to_all(&mut self) -> Result<(), Violation> {
        for relay in 0..self.relays.len() {
            for device in 0..self.devices.len() {
                self.be_true(relay, device)?;
            }
        }
        Ok(())
    }
}

/// A device notes another's receipt: how far that has read which log, where it is further.
pub(super) fn heard(world: &mut World, device: usize, ops: &[StoreOp]) {
    let state = &world.devices[device];
    for op in ops {
        let StoreOp::Receipt { device: other, envelope } = op else { continue };
        let Some(signed) = Signed::open(&world.keys, envelope.clone()) else { continue };
        let Some(status) = state.engine.as_ref().map(crate::Engine::status) else { continue };
        for relay in &status.relays {
            let place = (device, state.boot, *other, relay.relay);
            let of_this = signed.receipt.heads.0.iter().find(|head| Some(head.log_id) == relay.log_id);
            match of_this.filter(|head| head.cursor > relay.pulled) {
                Some(head) => drop(world.truth.heads.insert(place, Heard { head: *head, at_ms: world.now_ms })),
                None => drop(world.truth.heads.remove(&place)),
            }
        }
    }
}

/// A relay that shows a device something else than what the device has heard another read there is named: when reading
/// comes to that row, or, where the log ends before, after a while.
fn must_be_named(world: &World, device: usize, relay: usize) -> Result<(), Violation> {
    let (state, relay) = (&world.devices[device], &world.relays[relay]);
    let Some(engine) = &state.engine else { return Ok(()) };
    // Where messages go missing, a device may wait for an answer that never comes, until it takes the relay for a silent
    // one and loses the session.
    let silence_ms = if world.truth.rude { SILENCE_MS } else { 0 };
    let settled_ms = world.now_ms.saturating_sub(SETTLED_MS + silence_ms);
    let Some(log) = state.sessions.get(&relay.id).and_then(|session| relay.log_of_session(*session)) else {
        return Ok(());
    };
    let is_settled = world.intact_session_since(state, relay).is_some_and(|since_ms| since_ms <= settled_ms);
    let status = engine.status();
    let Some(known) = status.relays.iter().find(|known| known.relay == relay.id) else { return Ok(()) };
    // What it read was another log, if this one was put back since: that is what it has to notice then.
    let reads_this = state.knows_of(&relay.id).is_some_and(|own| log.run_at(own.pulled.get()) == Some(own.run));
    if !reads_this {
        return Ok(());
    }
    let heard = world.truth.heads.iter();
    for ((_, _, other, _), Heard { head, at_ms }) in
        heard.filter(|((reader, boot, _, of), _)| (*reader, *boot, *of) == (device, state.boot, relay.id))
    {
        // Of what has left the log since nobody can tell, nor of rows that a device had no need to read; and what one
        // says that is no member is held against nobody.
        let is_fine = !engine.roster().is_member(other)
            || head.cursor.get() < log.floor
            || !state.app.taken.is_empty()
            || log.run_at(head.cursor.get()) == Some(head.run);
        let is_due = known.pulled >= head.cursor
            || (is_settled && *at_ms <= settled_ms && known.pulled == RelayCursor::new(log.head()));
        let is_named = known.contradictions.iter().any(|named| named.device == *other);
        if Some(head.log_id) == known.log_id && log.id == head.log_id && is_due && !is_fine && !is_named {
            let what =
                format!("device {device} never named {:?}, which shows it not what {other:?} has read", relay.id);
            return Err(Violation::new("6 tampering shows", what));
        }
    }
    Ok(())
}

/// At the end nobody is blamed any more for what everybody is shown alike.
pub(super) fn nobody_is_blamed(world: &World) -> Result<(), Violation> {
    let survivors = world.survivors();
    for device in &survivors {
        let Some(status) = world.devices[*device].engine.as_ref().map(crate::Engine::status) else { continue };
        let mut named = status.relays.iter().flat_map(|relay| &relay.contradictions);
        let others: Vec<_> = survivors.iter().map(|other| world.devices[*other].id).collect();
        if let Some(blamed) = named.find(|named| others.contains(&named.device)) {
            let what = format!("device {device} still holds against a relay {blamed:?}");
            return Err(Violation::new("nobody is blamed for ever", what));
        }
    }
    Ok(())
}
