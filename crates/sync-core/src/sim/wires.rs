//! Connections coming up, carrying messages, breaking.

use sync_types::{ErrorCode, RelayId};

use super::{
    check::Violation,
    device::Device,
    network::{Frame, Session, SessionId},
    relay::{Outgoing, Relay},
    world::{Happening, IDLE_MS, World},
};
use crate::event::Input;

impl World {
    pub(super) fn relay_index(&self, id: &RelayId) -> Option<usize> {
        self.relays.iter().position(|relay| relay.id == *id)
    }

    pub(super) fn connect(&mut self, device: usize, relay: RelayId) {
        let attempt = self.devices[device].next_attempt(&relay);
        let Some(relay) = self.relay_index(&relay) else { return };
        let boot = self.devices[device].boot;
        if self.cuts.is_cut(device, relay) {
            self.later(4_000, Happening::ConnectFailed { device, boot, relay, attempt });
        } else {
            let delay = self.dice.range(1, 120);
            self.later(delay, Happening::Connected { device, boot, relay, attempt });
        }
    }

    /// Whether this is the attempt to connect that a device waits for.
    pub(super) fn is_attempt(&self, device: usize, boot: u64, relay: usize, attempt: u64) -> bool {
        let current = self.devices[device].attempts.get(&self.relays[relay].id);
        self.is_boot(device, boot) && current == Some(&attempt)
    }

    pub(super) fn connected(&mut self, device: usize, relay: usize) -> Result<(), Violation> {
        let id = self.relays[relay].id;
        if !self.relays[relay].up || self.cuts.is_cut(device, relay) {
            return self.feed(device, Input::Lost { relay: id, reason: Some(ErrorCode::Offline) });
        }
        self.entries += 1;
        let session = self.entries;
        self.sessions.insert(session, Session::new(device, relay, self.now_ms));
        self.devices[device].sessions.insert(id, session);
        self.relays[relay].accept(session, self.devices[device].id);
        self.feed(device, Input::Connected { relay: id, exporter: Session::exporter(session) })
    }

    pub(super) fn transmit(&mut self, id: SessionId, frame: Frame) {
        let delay = self.dice.range(1, 80);
        let (lost, doubled, rude) = {
            let rude = self.plan.faults.rude;
            (self.dice.chance(rude), self.dice.chance(rude), self.dice.chance(rude))
        };
        let breaks = self.dice.chance(self.plan.faults.break_connection);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.broken || self.cuts.is_cut(session.device, session.relay) || breaks {
            if !std::mem::replace(&mut session.broken, true) {
                let delay = if breaks { delay } else { IDLE_MS };
                self.later(delay, Happening::Broken { session: id });
            }
            return;
        }
        let last = match frame {
            Frame::ToRelay(_) => &mut session.last_to_relay_ms,
            Frame::ToDevice(_) => &mut session.last_to_device_ms,
        };
        let mut at = self.now_ms + delay;
        if !rude {
            at = at.max(*last);
            *last = at;
        }
        if let Some((of_receipts, all)) = &mut self.carried {
            let (bytes, is_receipt) = frame.carries();
            *all += bytes;
            *of_receipts += if is_receipt { bytes } else { 0 };
        }
        if doubled {
            self.later(at - self.now_ms + 1, Happening::Arrives { session: id, frame: frame.clone() });
        }
        if !lost {
            self.later(at - self.now_ms, Happening::Arrives { session: id, frame });
        }
    }

    pub(super) fn arrives(&mut self, id: SessionId, frame: Frame) -> Result<(), Violation> {
        let Some(session) = self.sessions.get(&id) else { return Ok(()) };
        let (device, relay) = (session.device, session.relay);
        if session.broken || self.cuts.is_cut(device, relay) {
            if !session.broken {
                self.sessions.get_mut(&id).expect("just found").broken = true;
                self.later(IDLE_MS, Happening::Broken { session: id });
            }
            return Ok(());
        }
        match frame {
            Frame::ToRelay(message) if session.relay_open => {
                let had_pending = self.relays[relay].has_pending();
                let out = self.relays[relay].receive(id, &Session::exporter(id), message, self.now_ms);
                if !had_pending && self.relays[relay].has_pending() {
                    let (delay, boot) = (self.dice.range(0, 4), self.relays[relay].boot);
                    self.later(delay, Happening::Commit { relay, boot });
                }
                self.send_from_relay(out);
            }
            Frame::ToDevice(message) if session.device_open => {
                let relay = self.relays[relay].id;
                self.feed(device, Input::Received { relay, message })?;
            }
            Frame::ToRelay(_) | Frame::ToDevice(_) => {}
        }
        Ok(())
    }

    pub(super) fn send_from_relay(&mut self, out: Outgoing) {
        for (session, message) in out {
            self.transmit(session, Frame::ToDevice(message));
        }
    }

    /// Both ends learn that the stream is gone.
    pub(super) fn broken(&mut self, id: SessionId) -> Result<(), Violation> {
        let Some(session) = self.sessions.remove(&id) else { return Ok(()) };
        self.close_at_relay(session.relay, id);
        let relay = self.relays[session.relay].id;
        if session.device_open && self.devices[session.device].sessions.get(&relay) == Some(&id) {
            self.devices[session.device].sessions.remove(&relay);
            self.feed(session.device, Input::Lost { relay, reason: Some(ErrorCode::Offline) })?;
        }
        Ok(())
    }

    pub(super) fn close_relay_end(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.remove(&id) {
            self.close_at_relay(session.relay, id);
        }
    }

    /// The relay's end is closed, and those who are still there hear of it.
    fn close_at_relay(&mut self, relay: usize, id: SessionId) {
        self.relays[relay].closed(id);
        let out = self.relays[relay].presence();
        self.send_from_relay(out);
    }

    /// The relay's ends of these are gone, and nothing passes any more.
    fn break_sessions(&mut self, which: impl Fn(&Session) -> bool) -> Vec<SessionId> {
        let mut broken = Vec::new();
        for (id, session) in self.sessions.iter_mut().filter(|(_, session)| which(session)) {
            (session.broken, session.relay_open) = (true, false);
            broken.push(*id);
        }
        broken
    }

    /// A relay ends a device's connections.
    pub(super) fn drop_sessions(&mut self, relay: usize, device: usize) {
        for session in self.break_sessions(|session| session.relay == relay && session.device == device) {
            self.close_at_relay(relay, session);
            self.later(1, Happening::Broken { session });
        }
    }

    /// A relay's process ends: every connection to it breaks.
    pub(super) fn stop_relay(&mut self, relay: usize) {
        self.relays[relay].stop();
        let delay = if self.dice.chance(500) { 1 } else { IDLE_MS };
        for session in self.break_sessions(|session| session.relay == relay) {
            self.later(delay, Happening::Broken { session });
        }
    }

    /// Since when a device and a relay have had a connection that nothing has happened to.
    pub(super) fn intact_session_since(&self, device: &Device, relay: &Relay) -> Option<u64> {
        let session = self.sessions.get(device.sessions.get(&relay.id)?)?;
        let intact = !session.broken && session.relay_open && !self.cuts.is_cut(session.device, session.relay);
        intact.then_some(session.since_ms)
    }
}
