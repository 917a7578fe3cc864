//! What goes wrong, when, and for how long.

use std::sync::Arc;

use bytes::Bytes;
use sync_types::{
    PushId,
    envelope::SIGNATURE_LEN,
    sign::{self, Purpose},
};

use super::{
    check::Violation,
    plan::Plan,
    world::{Happening, Undo, World},
};
use crate::{
    event::Input,
    keys::GroupKeys,
    seal::{self, Draft},
};

#[derive(Clone, Copy)]
enum Kind {
    CutOne,
    CutAll,
    Restart,
    Wipe,
    Copy,
    Restore,
    Full,
    Clock,
    CleanUp,
    Death,
    Nap,
    Forgery,
    Newer,
    Remove,
    Strike,
    Rotate,
    Leave,
    Lie,
    CopyDevice,
    Rot,
}

impl World {
    /// Puts everything the plan holds on the agenda.
    pub(super) fn schedule(&mut self) {
        let Plan { pushes, duration_ms, devices, upsets, .. } = self.plan;
        let mut at = 0;
        for _ in 0..pushes {
            // Bursts, and long silences.
            at = if self.dice.chance(600) { at + self.dice.range(0, 30) } else { self.dice.range(0, duration_ms) };
            let device = self.dice.index(devices);
            self.later(at.min(duration_ms), Happening::Push { device });
        }
        for device in 0..devices {
            for _ in 0..self.dice.range(1, 6) {
                let at = self.dice.range(0, duration_ms);
                self.later(at, Happening::Read { device });
            }
        }
        if duration_ms > 0 {
            for _ in 0..self.dice.range(0, upsets) {
                let at = self.dice.range(0, duration_ms);
                self.later(at, Happening::Fault);
            }
        }
        for _ in 0..self.plan.newcomers {
            let (device, at) = (self.add_device(), self.dice.range(duration_ms / 4, 2 * duration_ms));
            self.later(at.min(duration_ms), Happening::Join { device });
        }
        if self.plan.faults.absence {
            let (device, at) = (self.dice.index(devices), self.dice.range(0, duration_ms / 4));
            self.later(at, Happening::Absent { device });
            self.later(duration_ms, Happening::Forget);
        }
        for _ in 0..self.plan.faults.outlaws {
            let at = self.dice.range(duration_ms / 5, duration_ms);
            self.later(at, Happening::Outlawed);
        }
    }

    /// One thing goes wrong, of those that this run has.
    pub(super) fn fault(&mut self) -> Result<(), Violation> {
        let faults = self.plan.faults;
        let kinds = [
            (Kind::CutOne, faults.partitions),
            (Kind::CutAll, faults.partitions),
            (Kind::Restart, faults.restarts),
            (Kind::Wipe, faults.wipes),
            (Kind::Copy, faults.rollbacks),
            (Kind::Restore, faults.rollbacks),
            (Kind::Full, faults.full_relays),
            (Kind::Clock, faults.clocks),
            (Kind::CleanUp, faults.expiry),
            (Kind::CleanUp, faults.clean_ups),
            (Kind::CleanUp, faults.clean_ups),
            (Kind::Death, faults.death),
            (Kind::Nap, faults.naps),
            (Kind::Forgery, faults.forgery),
            (Kind::Newer, faults.newer),
            (Kind::Remove, faults.removals),
            (Kind::Remove, faults.removals),
            (Kind::Strike, faults.removals),
            (Kind::Rotate, faults.removals),
            (Kind::Leave, faults.removals),
            (Kind::Lie, faults.lies),
            (Kind::Lie, faults.lies),
            (Kind::Lie, faults.lies),
            (Kind::CopyDevice, faults.copies),
            (Kind::CopyDevice, faults.copies),
            (Kind::Rot, faults.rot),
            (Kind::Rot, faults.rot),
        ];
        let kinds: Vec<_> = kinds.into_iter().filter(|(_, wanted)| *wanted).map(|(kind, _)| kind).collect();
        if self.calm || kinds.is_empty() {
            return Ok(());
        }
        let kind = kinds[self.dice.index(kinds.len())];
        let (device, relay) = (self.dice.index(self.devices.len()), self.dice.index(self.relays.len()));
        let lasts = if self.dice.chance(800) { self.dice.range(10, 20_000) } else { self.dice.range(20_000, 80_000) };
        match kind {
            Kind::CutOne => {
                self.cuts.cut(device, relay);
                self.later(lasts, Happening::Undo(Undo::Cut { device, relay }));
            }
            Kind::CutAll => {
                for device in 0..self.devices.len() {
                    self.cuts.cut(device, relay);
                    self.later(lasts, Happening::Undo(Undo::Cut { device, relay }));
                }
            }
            Kind::Restart => self.take_down(relay, lasts),
            Kind::Wipe => {
                self.be_true_to_all()?;
                self.take_down(relay, lasts);
                self.relays[relay].wipe();
                self.truth.lost(&self.relays[relay], &self.devices);
            }
            Kind::Copy => self.relays[relay].copy(),
            Kind::Restore => {
                self.be_true_to_all()?;
                self.take_down(relay, lasts);
                if self.relays[relay].roll_back() {
                    self.truth.lost(&self.relays[relay], &self.devices);
                }
            }
            Kind::Full => {
                // A small one may still fit where a large one did not.
                self.relays[relay].full = 700;
                self.later(lasts, Happening::Undo(Undo::RelayFull { relay }));
            }
            Kind::Clock => {
                let minutes = self.dice.range(0, 10) as i64 - 5;
                let years = if self.dice.chance(100) { 10 * 365 * 24 * 60 } else { 0 };
                self.devices[device].clock_ms = (minutes + years) * 60_000;
            }
            Kind::CleanUp => self.relays[relay].clean_up(self.now_ms),
            Kind::Death => {
                if device > 0 && self.devices[device].joined && self.survivors().len() > 2 {
                    self.crash(device);
                    self.devices[device].dead = true;
                }
            }
            Kind::Nap => {
                if self.devices[device].joined {
                    self.devices[device].online = false;
                    self.later(lasts, Happening::Undo(Undo::Nap { device }));
                    self.feed(device, Input::Online { online: false })?;
                }
            }
            Kind::Remove => {
                let other = self.dice.index(self.devices.len());
                self.remove(device, other, true)?;
            }
            Kind::Strike => {
                let other = self.dice.index(self.devices.len());
                self.remove(device, other, false)?;
            }
            Kind::Rotate => self.rotate(device)?,
            Kind::Leave => {
                if self.survivors().len() > 2 {
                    self.leave(device)?;
                }
            }
            Kind::Lie => {
                let drop = self.dice.chance(300);
                self.lie(relay, device, drop);
                self.later(3 * lasts, Happening::Undo(Undo::Lie { relay, device }));
            }
            Kind::CopyDevice => self.copy_some_device(device),
            Kind::Rot => {
                self.be_true_to_all()?;
                self.damage_relay(relay);
            }
            Kind::Forgery => self.forge(device, relay),
            Kind::Newer => {
                if let Some(envelope) = self.sealed_by_a_newer_version(device) {
                    self.inject(relay, &envelope);
                }
            }
        }
        Ok(())
    }

    /// A member, together with the relay, makes up an envelope of another member. It can seal, but not sign.
    fn forge(&mut self, victim: usize, relay: usize) {
        let Some(keys) = self.devices[victim].engine.as_ref().map(|engine| Arc::clone(engine.keys())) else { return };
        if let Some(forged) = self.forged(victim, &keys) {
            self.inject(relay, &forged);
        }
    }

    /// The next envelope of a device, by somebody who has its group's keys and not its own: the signature is none.
    pub(super) fn forged(&mut self, victim: usize, keys: &GroupKeys) -> Option<Bytes> {
        let victim = &self.devices[victim];
        let newest = victim.disk.senders.get(&victim.id)?;
        let draft = Draft {
            kind: sync_types::Kind::Data,
            ttl_s: 0,
            seq: newest.seq.next(),
            prev: newest.hash,
            push_id: PushId::from_bytes(self.dice.bytes()),
            time_ms: self.now_ms,
            payload: Bytes::from_static(b"forged!!"),
            compress: false,
        };
        let sealed = seal::seal(keys, &victim.key, draft, self.dice.rng());
        let mut forged = sealed.as_bytes().to_vec();
        let signature = forged.len() - SIGNATURE_LEN;
        forged[signature..].reverse();
        Some(forged.into())
    }

    /// A relay has an envelope from nobody.
    fn inject(&mut self, relay: usize, envelope: &Bytes) {
        let out = self.relays[relay].inject(envelope, self.now_ms);
        self.send_from_relay(out);
        self.serve_the_rest(relay);
    }

    /// The newest envelope of a device, as a device of a newer version would have sealed it, as far as this one can
    /// tell.
    pub(super) fn sealed_by_a_newer_version(&self, device: usize) -> Option<Bytes> {
        let state = &self.devices[device];
        let mut bytes = state.newest()?.to_vec();
        bytes[0] = 9;
        let signature = bytes.len() - SIGNATURE_LEN;
        let message = sign::message(Purpose::Envelope, self.keys.group_id().as_bytes(), &[&bytes[..signature]]);
        bytes[signature..].copy_from_slice(&state.key.sign(&message));
        Some(bytes.into())
    }

    /// A relay's disk changes an envelope, and it notices.
    pub(super) fn damage_relay(&mut self, relay: usize) {
        if let Some(out) = self.relays[relay].damage(self.now_ms) {
            self.truth.lost(&self.relays[relay], &self.devices);
            self.send_from_relay(out);
        }
    }

    fn take_down(&mut self, relay: usize, lasts: u64) {
        if self.relays[relay].up {
            self.stop_relay(relay);
            self.later(lasts, Happening::Undo(Undo::RelayDown { relay }));
        }
    }

    /// It goes right again.
    pub(super) fn undo(&mut self, undo: Undo) -> Result<(), Violation> {
        match undo {
            Undo::Cut { device, relay } => self.cuts.mend(device, relay),
            Undo::RelayDown { relay } => self.relays[relay].up = true,
            Undo::Lie { relay, device } => self.be_true(relay, device)?,
            Undo::RelayFull { relay } => self.relays[relay].full = 0,
            Undo::Nap { device } => {
                if !std::mem::replace(&mut self.devices[device].online, true) {
                    self.feed(device, Input::Online { online: true })?;
                }
            }
        }
        Ok(())
    }
}
