//! The world: what happens next, and to whom.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use sync_types::{BlobId, DeviceMsg, ErrorCode};

use super::{
    check::{self, Truth, Violation},
    device::Device,
    faces,
    network::{Cuts, Frame, Session, SessionId},
    outlaw::Outlaw,
    plan::{Dice, Plan},
    receipts,
    relay::Relay,
    removals::{self, Removals},
};
use crate::{
    engine::{Engine, Setup},
    event::{Action, Event, Input, Load, StoreOp, Token, Wait},
    keys::{DeviceKem, DeviceKey, EpochSecret, GroupKeys},
    protection::{Protection, Protections},
};

/// A stream that carries nothing is noticed after this, as QUIC's idle timeout does.
pub(super) const IDLE_MS: u64 = 5_000;
/// Timers in a row that may leave another one that is due at once.
const RESTLESS_MAX: u32 = 20;
/// How long everybody has, once nothing goes wrong any more, to come to rest.
const REST_MS: u64 = 900_000;
/// So much longer those who are at rest are watched: several times as long as a silent relay is waited for.
const WATCH_MS: u64 = 200_000;

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Things that happened.
    pub steps: u64,
    /// Blobs pushed and confirmed to the app.
    pub pushed: u64,
    /// Device crashes.
    pub crashes: u64,
    /// Blobs that every survivor holds.
    pub delivered: u64,
    /// Receipts that were sent.
    pub receipts: u64,
    /// Snapshots that apps have loaded.
    pub snapshots: u64,
    /// Envelopes that devices have let go.
    pub let_go: u64,
}

impl Report {
    /// Two runs' reports in one.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            steps: self.steps + other.steps,
            pushed: self.pushed + other.pushed,
            crashes: self.crashes + other.crashes,
            delivered: self.delivered + other.delivered,
            receipts: self.receipts + other.receipts,
            snapshots: self.snapshots + other.snapshots,
            let_go: self.let_go + other.let_go,
        }
    }
}

#[derive(Debug)]
pub(super) enum Happening {
    Wake {
        device: usize,
        boot: u64,
    },
    Start {
        device: usize,
    },
    Connected {
        device: usize,
        boot: u64,
        relay: usize,
        attempt: u64,
    },
    ConnectFailed {
        device: usize,
        boot: u64,
        relay: usize,
        attempt: u64,
    },
    Arrives {
        session: SessionId,
        frame: Frame,
    },
    Broken {
        session: SessionId,
    },
    ClosedByDevice {
        session: SessionId,
    },
    Loaded {
        device: usize,
        boot: u64,
        load: Load,
    },
    Commit {
        relay: usize,
        boot: u64,
    },
    Push {
        device: usize,
    },
    Read {
        device: usize,
    },
    Fault,
    Undo(Undo),
    Join {
        device: usize,
    },
    /// An app makes a snapshot.
    Snapshot {
        device: usize,
    },
    /// An app has one to load.
    LoadSnapshot {
        device: usize,
        boot: u64,
        snapshot: BlobId,
    },
    /// Somebody is removed who does not accept it.
    Outlawed,
    Deed {
        outlaw: usize,
    },
    /// A member is away until the end.
    Absent {
        device: usize,
    },
    /// Relays forget what they kept for those who come late.
    Forget,
}

/// The end of a fault that lasts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Undo {
    Cut { device: usize, relay: usize },
    RelayDown { relay: usize },
    RelayFull { relay: usize },
    Lie { relay: usize, device: usize },
    Nap { device: usize },
}

/// Devices, relays, and everything between them.
#[derive(Debug)]
pub struct World {
    pub(super) plan: Plan,
    pub(super) dice: Dice,
    pub(super) now_ms: u64,
    agenda: BTreeMap<(u64, u64), Happening>,
    pub(super) entries: u64,
    pub(super) devices: Vec<Device>,
    pub(super) relays: Vec<Relay>,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) cuts: Cuts,
    /// Every key that any device ever made or was given.
    pub(super) keys: GroupKeys,
    pub(super) truth: Truth,
    pub(super) removals: Removals,
    pub(super) outlaws: Vec<Outlaw>,
    pub(super) report: Report,
    /// Bytes that were carried for receipts, and all, where they are counted: that takes its time.
    pub(super) carried: Option<(u64, u64)>,
    /// Nothing goes wrong any more.
    pub(super) calm: bool,
    tokens: u64,
    protections: Protections,
}

impl World {
    /// A world whose first device has just made a group, and let all but a late joiner in.
    pub fn new(plan: Plan, without: Option<Protection>) -> Self {
        let mut dice = Dice::new(plan.seed ^ 0x5EED);
        let keys = GroupKeys::generate(dice.rng());
        let first = Arc::new(keys.share());
        let devices = (0..plan.devices).map(|_| fresh_device(&mut dice, &first)).collect();
        let protections = Protections::without(without);
        let kind = (plan.faults.holes, plan.faults.old_relays);
        let relay = |_| Relay::new(Dice::new(dice.range(0, u64::MAX - 1)), kind, protections);
        let relays = (0..plan.relays).map(relay).collect();
        let mut world = Self {
            dice,
            now_ms: 0,
            agenda: BTreeMap::new(),
            entries: 0,
            devices,
            relays,
            sessions: BTreeMap::new(),
            cuts: Cuts::default(),
            keys,
            truth: Truth::default(),
            removals: Removals::default(),
            outlaws: Vec::new(),
            report: Report::default(),
            carried: None,
            calm: false,
            tokens: 0,
            protections,
            plan,
        };
        world.truth.rude = world.plan.faults.rude > 0;
        world.found();
        world.schedule();
        world
    }

    /// Plays the plan, then lets everybody come to rest, and checks what must hold then.
    ///
    /// # Errors
    /// The first guarantee that did not hold.
    pub fn run(mut self) -> Result<Report, Violation> {
        self.play_until(self.plan.duration_ms)?;
        self.come_to_rest()?;
        self.stay_at_rest()?;
        self.report.delivered = check::at_rest(&self)?;
        self.report.let_go = self.devices.iter().map(|device| device.disk.gone.len() as u64).sum();
        Ok(self.report)
    }

    /// Ends every fault and every absence, and waits until nobody has anything left to do.
    pub(super) fn come_to_rest(&mut self) -> Result<(), Violation> {
        self.calm = true;
        if self.plan.faults.rude > 0 {
            // A stream that lost a message in its middle is none: nobody has to get over that but by a new one.
            let sessions: Vec<_> = self.sessions.keys().copied().collect();
            sessions.into_iter().for_each(|session| self.later(1, Happening::Broken { session }));
        }
        self.plan.faults = Default::default();
        self.be_true_to_all()?;
        self.cuts.mend_all();
        for relay in 0..self.relays.len() {
            self.relays[relay].up = true;
            self.relays[relay].full = 0;
            self.relays[relay].holes = 0;
        }
        for device in self.members() {
            self.devices[device].disk_is_full = false;
            if self.devices[device].engine.is_none() {
                self.start(device)?;
            }
            if !std::mem::replace(&mut self.devices[device].online, true) {
                self.feed(device, Input::Online { online: true })?;
            }
        }
        let end = self.now_ms + REST_MS;
        while self.now_ms < end && !self.is_at_rest() {
            let until = (self.now_ms + 1_000).min(end);
            self.play_until(until)?;
            self.apps_read_on()?;
            self.relays_go_on();
        }
        self.read_everything()
    }

    /// Whom an outlaw's deed left behind waits for the next that has somebody served: at rest there may be none.
    fn relays_go_on(&mut self) {
        for relay in 0..self.relays.len() {
            let is_planned = |it: &Happening| matches!(it, Happening::Commit { relay: of, .. } if *of == relay);
            if !self.agenda.values().any(is_planned) {
                self.serve_the_rest(relay);
            }
        }
    }

    /// Plans when a relay serves those whom it has just left behind.
    pub(super) fn serve_the_rest(&mut self, relay: usize) {
        if self.relays[relay].is_lagging() {
            let (delay, boot) = (self.dice.range(1, 3_000), self.relays[relay].boot);
            self.later(delay, Happening::Commit { relay, boot });
        }
    }

    fn read_everything(&mut self) -> Result<(), Violation> {
        for device in self.survivors() {
            let Device { app, disk, .. } = &mut self.devices[device];
            app.read(disk, usize::MAX)?;
        }
        Ok(())
    }

    /// No relay that answers is taken for a silent one.
    fn stay_at_rest(&mut self) -> Result<(), Violation> {
        let told: Vec<_> = self.devices.iter().map(|device| device.told.len()).collect();
        self.play_until(self.now_ms + WATCH_MS)?;
        self.read_everything()?;
        let silent = |event: &Event| matches!(event, Event::Disconnected { reason: Some(ErrorCode::TimedOut), .. });
        let mut news = self.devices.iter().zip(told).map(|(device, told)| &device.told[told..]);
        news.position(|news| news.iter().any(silent)).map_or(Ok(()), |device| {
            let what = format!("device {device} lets go of a connection, though nothing is wrong with it");
            Err(Violation::new("stays at rest", what))
        })
    }

    fn is_at_rest(&self) -> bool {
        let mut survivors = self.survivors().into_iter();
        survivors.all(|device| self.devices[device].is_in_step())
            && self
                .agenda
                .values()
                .all(|happening| matches!(happening, Happening::Wake { .. } | Happening::Read { .. }))
            && check::survivors_agree(self)
            && receipts::everybody_knows(self).is_ok()
            && faces::nobody_is_blamed(self).is_ok()
    }

    /// The members that are not gone for good, and that others know of.
    pub(super) fn survivors(&self) -> Vec<usize> {
        let left: Vec<_> = self.here().filter(|device| self.is_left(*device)).collect();
        left.iter().copied().filter(|device| !self.is_in_want(*device, &left)).collect()
    }

    /// Whether a device says that it lacks the group's key, and none of these has that either: whoever did is gone.
    fn is_in_want(&self, device: usize, others: &[usize]) -> bool {
        let Some(wanted) = self.devices[device].engine.as_ref().and_then(Engine::keys_in_want) else { return false };
        let others = others.iter().filter_map(|other| self.devices[*other].engine.as_ref());
        let mut others = others.map(Engine::keys);
        !others.any(|keys| wanted.iter().any(|key_id| keys.get(key_id).is_some()))
    }

    /// The members that are not gone for good.
    fn members(&self) -> Vec<usize> {
        self.here().filter(|device| self.is_member(*device)).collect()
    }

    fn here(&self) -> impl Iterator<Item = usize> {
        (0..self.devices.len()).filter(|device| self.devices[*device].joined && !self.devices[*device].dead)
    }

    pub(super) fn play_until(&mut self, until_ms: u64) -> Result<(), Violation> {
        while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= until_ms) {
            let ((at_ms, _), happening) = entry.remove_entry();
            self.now_ms = at_ms;
            self.report.steps += 1;
            self.happen(happening)?;
        }
        self.now_ms = until_ms;
        Ok(())
    }

    pub(super) fn later(&mut self, delay_ms: u64, happening: Happening) {
        self.entries += 1;
        self.agenda.insert((self.now_ms + delay_ms, self.entries), happening);
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Wake { device, boot } => {
                let due = |engine: &Engine| engine.wake_at().is_some_and(|at| at <= self.now_ms);
                if !self.is_boot(device, boot) {
                    // The engine it was meant for is gone.
                } else if self.devices[device].engine.as_ref().is_some_and(due) {
                    self.feed(device, Input::Timer)?;
                    let now_ms = self.now_ms;
                    let state = &mut self.devices[device];
                    let again = state.engine.as_ref().and_then(Engine::wake_at).is_some_and(|at| at <= now_ms);
                    state.restless = if again { state.restless + 1 } else { 0 };
                    if state.restless > RESTLESS_MAX {
                        let what = format!("device {device} wants to be woken at once, again and again");
                        return Err(Violation::new("rests until something is due", what));
                    }
                } else {
                    self.plan_wake(device);
                }
            }
            Happening::Start { device } => {
                if self.devices[device].engine.is_none() && !self.devices[device].dead {
                    self.start(device)?;
                }
            }
            Happening::Connected { device, boot, relay, attempt } => {
                if self.is_attempt(device, boot, relay, attempt) {
                    self.connected(device, relay)?;
                }
            }
            Happening::ConnectFailed { device, boot, relay, attempt } => {
                if self.is_attempt(device, boot, relay, attempt) {
                    let relay = self.relays[relay].id;
                    self.feed(device, Input::Lost { relay, reason: Some(ErrorCode::Offline) })?;
                }
            }
            Happening::Arrives { session, frame } => self.arrives(session, frame)?,
            Happening::Broken { session } => self.broken(session)?,
            Happening::ClosedByDevice { session } => self.close_relay_end(session),
            Happening::Loaded { device, boot, load } => {
                if self.is_boot(device, boot) {
                    let (rows, position) = self.devices[device].disk.load(load);
                    self.feed(device, Input::Loaded { load, rows, position })?;
                }
            }
            Happening::Commit { relay, boot } => {
                if self.relays[relay].boot == boot && self.relays[relay].up {
                    let out = self.relays[relay].commit(self.now_ms);
                    self.send_from_relay(out);
                    self.serve_the_rest(relay);
                }
            }
            Happening::Push { device } => self.push_random(device)?,
            Happening::Read { device } => {
                let limit = self.dice.range(1, 20) as usize;
                let Device { app, disk, .. } = &mut self.devices[device];
                app.read(disk, limit)?;
                let cursor = app.cursor;
                if self.dice.chance(500) {
                    self.feed(device, Input::AppAck { cursor })?;
                }
            }
            Happening::Fault => self.fault()?,
            Happening::Undo(undo) => self.undo(undo)?,
            Happening::Join { device } => self.join(device)?,
            Happening::Outlawed => self.outlaw_somebody()?,
            Happening::Absent { device } => (0..self.relays.len()).for_each(|relay| self.cuts.cut(device, relay)),
            Happening::Forget => self.relays.iter_mut().for_each(Relay::forget_left),
            Happening::Snapshot { device } => self.make_snapshot(device)?,
            Happening::LoadSnapshot { device, boot, snapshot } => self.load_snapshot(device, boot, snapshot)?,
            Happening::Deed { outlaw } => self.deed(outlaw)?,
        }
        Ok(())
    }

    pub(super) fn is_boot(&self, device: usize, boot: u64) -> bool {
        self.devices[device].boot == boot && self.devices[device].engine.is_some()
    }

    // ── Devices ──

    pub(super) fn start(&mut self, device: usize) -> Result<(), Violation> {
        let seed = self.dice.bytes();
        let setup = Setup {
            device_key: self.devices[device].key.clone(),
            kem: self.devices[device].kem.clone(),
            keys: self.devices[device].keys.clone(),
            relays: self.relays.iter().map(|relay| relay.id).collect(),
            rotate_after_ms: self.plan.rotate_after_ms,
            snapshot_after: self.plan.snapshot_after,
            snapshot_after_bytes: self.plan.snapshot_after_bytes,
            keep_ms: self.plan.keep.0,
            keep_bytes: self.plan.keep.1,
        };
        let state = &mut self.devices[device];
        let stored = state.disk.stored();
        let engine = Engine::open_with(setup, stored, seed, state.now(self.now_ms), self.protections)
            .map_err(|code| Violation::new("opens", format!("device {device} does not open: {}", code.name())))?;
        state.id = engine.identity().device_id();
        state.engine = Some(engine);
        let online = state.online;
        self.feed(device, Input::Online { online })
    }

    pub(super) fn crash(&mut self, device: usize) {
        self.report.crashes += 1;
        let sessions: Vec<_> = self.devices[device].sessions.values().copied().collect();
        self.devices[device].crash();
        self.truth.forgot(&self.devices[device]);
        for session in sessions {
            if let Some(session) = self.sessions.get_mut(&session) {
                session.device_open = false;
                session.broken = true;
            }
            self.later(IDLE_MS, Happening::Broken { session });
        }
        let delay = self.dice.range(1, 4_000);
        self.later(delay, Happening::Start { device });
    }

    /// Feeds the engine and performs what it asks for, crashing in between if the seed says so.
    pub(super) fn feed(&mut self, device: usize, input: Input) -> Result<(), Violation> {
        removals::about_to_act(self, device);
        let state = &mut self.devices[device];
        let now = state.now(self.now_ms);
        let Some(engine) = &mut state.engine else { return Ok(()) };
        let actions: Vec<_> = engine.handle(now, input).collect();
        for epoch in engine.keys().epochs() {
            if self.keys.get(&epoch.key_id()).is_none() {
                self.keys.insert(epoch.number(), EpochSecret::from_bytes(epoch.secret().as_bytes()));
            }
        }
        let boot = state.boot;
        removals::has_acted(self, device);
        for action in actions {
            self.perform(device, action)?;
            if self.dice.chance(self.plan.faults.crash) {
                self.crash(device);
            }
            if !self.is_boot(device, boot) {
                return Ok(());
            }
        }
        self.plan_wake(device);
        check::status(self, device)?;
        receipts::holders_are_true(self, device)
    }

    /// Puts the engine's next timer on the agenda, unless something as early is there.
    fn plan_wake(&mut self, device: usize) {
        let state = &mut self.devices[device];
        let Some(at) = state.engine.as_ref().and_then(Engine::wake_at) else { return };
        let at = at.max(self.now_ms + 1);
        if state.wake_at_ms.is_none_or(|planned| planned <= self.now_ms || planned > at) {
            state.wake_at_ms = Some(at);
            let boot = state.boot;
            self.later(at - self.now_ms, Happening::Wake { device, boot });
        }
    }

    fn perform(&mut self, device: usize, action: Action) -> Result<(), Violation> {
        match action {
            Action::Store(ops) => self.store(device, ops)?,
            Action::Note(ops) => {
                self.met(device, &ops);
                receipts::newest_wins(self, device, &ops)?;
                faces::heard(self, device, &ops);
                self.devices[device].notes.extend(ops);
            }
            Action::Load(load) => {
                let (delay, boot) = (self.dice.range(0, 5), self.devices[device].boot);
                self.later(delay, Happening::Loaded { device, boot, load });
            }
            Action::Connect { relay } => self.connect(device, relay),
            Action::Disconnect { relay } => {
                self.devices[device].next_attempt(&relay);
                if let Some(session) = self.devices[device].sessions.remove(&relay) {
                    let mut delay = self.dice.range(1, 50);
                    if let Some(session) = self.sessions.get_mut(&session) {
                        session.device_open = false;
                        // What was said before is not overtaken. It may be where nobody says anything worth that.
                        if !self.relays[session.relay].old {
                            delay = delay.max((session.last_to_relay_ms + 1).saturating_sub(self.now_ms));
                        }
                    }
                    self.later(delay, Happening::ClosedByDevice { session });
                }
            }
            Action::Send { relay, message } => {
                if let DeviceMsg::Push(push) = &message {
                    self.truth.offered(&self.devices[device].disk, &push.envelope)?;
                }
                if let DeviceMsg::Receipt(receipt) = &message {
                    self.report.receipts += 1;
                    receipts::is_true(self, device, &receipt.envelope)?;
                }
                if let Some(session) = self.devices[device].sessions.get(&relay).copied() {
                    self.transmit(session, Frame::ToRelay(message));
                }
            }
            Action::Reply { token, result } => {
                let Some(push) = self.devices[device].unanswered.remove(&token) else {
                    return Err(Violation::new("answers once", format!("device {device} answers {token} again")));
                };
                if let Ok(pushed) = result {
                    self.report.pushed += 1;
                    self.truth.resolved(device, push, &pushed, &self.devices[device].disk, &self.relays)?;
                }
            }
            Action::Reopen => self.crash(device),
            // Persons try again by themselves.
            Action::Admitted { .. } => {}
            Action::Emit(event) => {
                // A snapshot may have it, but nobody had to give it up.
                if matches!(event, Event::Gap { .. }) && self.relays.iter().any(|relay| relay.dropped_unread) {
                    let what = format!("device {device} gives up what a relay dropped before everybody had it");
                    return Err(Violation::new("1 no loss", what));
                }
                self.truth.told(&self.devices[device], &event)?;
                self.heed_snapshots(device, &event);
                self.devices[device].told.push(event);
            }
        }
        Ok(())
    }

    /// One transaction, with everything noted before it. A disk without room ends the engine.
    fn store(&mut self, device: usize, ops: Vec<StoreOp>) -> Result<(), Violation> {
        if self.devices[device].disk_is_full || self.dice.chance(self.plan.faults.disk_full) {
            self.crash(device);
            return Ok(());
        }
        let state = &self.devices[device];
        self.truth.stored(state.id, state.notes.iter().chain(&ops))?;
        self.met(device, &ops);
        let state = &mut self.devices[device];
        let notes = std::mem::take(&mut state.notes);
        state.disk.apply(notes)?;
        let offered = state.disk.offered();
        state.disk.apply(ops)?;
        removals::offered_from(self, device, offered);
        Ok(())
    }

    fn met(&mut self, device: usize, ops: &[StoreOp]) {
        if !self.removals.is_empty() {
            self.truth.met(self.devices[device].id, ops);
        }
    }

    // ── What the app does ──

    fn push_random(&mut self, device: usize) -> Result<(), Violation> {
        if self.dice.chance(self.plan.renames) {
            self.rename_random(device)?;
        }
        let ttl_s = if self.plan.faults.expiry && self.dice.chance(400) { self.dice.range(1, 20) as u32 } else { 0 };
        let wait = [Wait::Local, Wait::Relay, Wait::All][self.dice.index(3)];
        self.push(device, ttl_s, wait).map(|_| ())
    }

    /// A number that no other blob has.
    pub(super) fn next_token(&mut self) -> Token {
        self.tokens += 1;
        self.tokens
    }

    /// Pushes a blob that is like no other, if the device runs. Returns its number, which is its payload.
    pub(super) fn push(&mut self, device: usize, ttl_s: u32, wait: Wait) -> Result<Option<u64>, Violation> {
        if self.devices[device].engine.is_none() || self.devices[device].dead {
            return Ok(None);
        }
        let token = self.next_token();
        let payload = Bytes::copy_from_slice(&token.to_be_bytes());
        self.truth.pushes.insert(token, ttl_s > 0);
        self.devices[device].unanswered.insert(token, token);
        self.feed(device, Input::Push { token, payload, ttl_s, wait })?;
        Ok(Some(token))
    }
}

pub(super) fn fresh_device(dice: &mut Dice, keys: &Arc<GroupKeys>) -> Device {
    Device::new(DeviceKey::generate(dice.rng()), DeviceKem::generate(dice.rng()), Arc::clone(keys))
}
