//! A device's engine, and relays that say anything at any time.
//!
//! The shell around it is the plainest there is, on a disk that refuses what no database would take. After every
//! action it is asked whether what is sent, answered or told is on the disk, and after every input whether "synced" is
//! true: whether each relay really said that it has all that this device sealed.

mod members;
mod relay;
mod step;

use std::sync::Arc;

use arbitrary::{Arbitrary as _, Unstructured};
use bytes::Bytes;
use sync_core::{
    Action, Badge, Connection, Engine, Event, Input, Now, Setup,
    event::{Load, PushState, StoreOp},
    sim::Disk,
};
use sync_types::{BlobHash, DeviceMsg, FrameBuffer, RelayId, RelayMsg};

use self::{
    members::{Members, members},
    relay::Relay,
    step::Step,
};

/// Steps in one life.
const STEPS_MAX: usize = 96;
/// Reads that one input may lead to, one after the other: each asks for more than the last.
const LOADS_MAX: usize = 256;

/// The bytes are a life: what the app, the clock and two relays do.
pub(crate) fn run(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let mut device = Device::new();
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut bytes) else { break };
        device.live(step);
    }
}

/// The engine and its shell.
struct Device {
    members: &'static Members,
    engine: Engine,
    disk: Disk,
    notes: Vec<StoreOp>,
    relays: [Relay; 2],
    now_ms: u64,
    token: u64,
    /// The engine is over: the device is another one by now.
    reopen: bool,
}

impl Device {
    fn new() -> Self {
        let members = members();
        let disk = Disk::new(members.me.device_id(), members.roster.clone());
        let relays = [1, 2].map(|n| Relay::new(RelayId::from_bytes([n; 32])));
        let engine = Self::open(members, &disk, &relays, 0);
        let mut device = Self { members, engine, disk, notes: Vec::new(), relays, now_ms: 0, token: 0, reopen: false };
        device.feed(Input::Timer);
        device
    }

    fn open(members: &Members, disk: &Disk, relays: &[Relay; 2], now_ms: u64) -> Engine {
        let setup = Setup {
            device_key: Arc::clone(&members.me),
            kem: Arc::clone(&members.kem),
            keys: Arc::clone(&members.keys),
            rotate_after_ms: None,
            snapshot_after: Some(1),
            snapshot_after_bytes: None,
            keep_ms: 1_000,
            keep_bytes: 1_000,
            relays: relays.iter().map(|relay| relay.id).collect(),
        };
        // Another seed at every start, as the shell would: one seed twice would seal one name twice.
        let mut seed = [9; 32];
        seed[..8].copy_from_slice(&now_ms.to_be_bytes());
        Engine::open(setup, disk.stored(), seed, at(now_ms)).expect("what it stored it opens")
    }

    fn live(&mut self, step: Step) {
        match step {
            Step::Push { len, wait } => {
                self.token += 1;
                let payload = Bytes::from(vec![len; usize::from(len)]);
                self.feed(Input::Push { token: self.token, payload, ttl_s: 0, wait: wait.into() });
            }
            Step::Up { relay } => {
                let relay = &mut self.relays[usize::from(relay)];
                if std::mem::take(&mut relay.asked) {
                    relay.up = true;
                    let id = relay.id;
                    self.feed(Input::Connected { relay: id, exporter: [7; 32] });
                }
            }
            Step::Down { relay, reason } => {
                let relay = &mut self.relays[usize::from(relay)];
                relay.gone();
                let id = relay.id;
                self.feed(Input::Lost { relay: id, reason: sync_types::ErrorCode::from_number(reason) });
            }
            Step::Say { relay, saying } => {
                let own: Vec<_> = self.disk.own().map(|row| row.envelope.clone()).collect();
                if let Some(message) = self.relays[usize::from(relay)].say(saying, self.members, &own) {
                    self.hear(usize::from(relay), message);
                }
            }
            Step::Raw { relay, kind, content } => {
                let frame = sync_types::RawFrame { kind, payload: content.into() };
                if let Ok(message) = RelayMsg::from_frame(&frame) {
                    self.hear(usize::from(relay), message);
                }
            }
            Step::Wait { ms } => {
                self.now_ms += u64::from(ms);
                self.feed(Input::Timer);
            }
            Step::Timer => {
                if let Some(wake_ms) = self.engine.wake_at() {
                    self.now_ms = self.now_ms.max(wake_ms);
                    self.feed(Input::Timer);
                    let again = self.engine.wake_at().is_some_and(|wake_ms| wake_ms <= self.now_ms);
                    assert!(!again, "it wants to be woken at a time that has passed, for ever");
                }
            }
            Step::Nudge => self.feed(Input::Nudge),
            Step::Online { online } => self.feed(Input::Online { online }),
            Step::AppAck { cursor } => self.feed(Input::AppAck { cursor: sync_types::LocalCursor::new(cursor.into()) }),
            Step::Admit => self.feed(Input::Admit { request: self.members.request.clone() }),
            Step::Restart { crash } => {
                if !crash {
                    let notes = std::mem::take(&mut self.notes);
                    self.store(notes);
                }
                self.restart();
            }
        }
    }

    fn restart(&mut self) {
        self.notes.clear();
        self.relays.iter_mut().for_each(Relay::gone);
        self.now_ms += 1;
        self.engine = Self::open(self.members, &self.disk, &self.relays, self.now_ms);
        self.feed(Input::Timer);
    }

    /// A relay says something, if it is connected at all.
    fn hear(&mut self, index: usize, message: RelayMsg) {
        let relay = &mut self.relays[index];
        if relay.up {
            relay.note(&message);
            let id = relay.id;
            self.feed(Input::Received { relay: id, message });
        }
    }

    fn feed(&mut self, input: Input) {
        let mut inputs = vec![input];
        let mut loads = 0;
        while let Some(input) = inputs.pop() {
            let actions: Vec<_> = self.engine.handle(at(self.now_ms), input).collect();
            for action in actions {
                if let Some(load) = self.perform(action) {
                    loads += 1;
                    assert!(loads <= LOADS_MAX, "it reads for ever");
                    let (rows, position) = self.disk.load(load);
                    inputs.insert(0, Input::Loaded { load, rows, position });
                }
            }
        }
        if std::mem::take(&mut self.reopen) {
            self.restart();
        }
        self.judge();
    }

    fn perform(&mut self, action: Action) -> Option<Load> {
        match action {
            Action::Store(ops) => {
                let mut all = std::mem::take(&mut self.notes);
                all.extend(ops);
                self.store(all);
            }
            Action::Note(ops) => self.notes.extend(ops),
            Action::Load(load) => return Some(load),
            Action::Connect { relay } => self.relay(relay).asked = true,
            Action::Disconnect { relay } => self.relay(relay).gone(),
            Action::Send { relay, message } => self.send(relay, &message),
            Action::Reply { result, .. } => {
                if let Ok(pushed) = result {
                    let row = self.disk.at(pushed.cursor).expect("stored before it is answered");
                    assert_eq!(row.push_id, pushed.push_id);
                    let blob_id = row.hash.blob_id();
                    let having = self.relays.iter().filter(|relay| relay.ever_confirmed(&blob_id)).count();
                    let wanted = match pushed.state {
                        PushState::Queued => 0,
                        PushState::Relay => 1,
                        PushState::All => self.relays.len(),
                    };
                    assert!(having >= wanted, "{:?}, and {having} relays said so", pushed.state);
                }
            }
            Action::Admitted { .. } => {}
            Action::Reopen => self.reopen = true,
            Action::Emit(event) => self.told(&event),
        }
        None
    }

    fn store(&mut self, ops: Vec<StoreOp>) {
        if let Err(violation) = self.disk.apply(ops) {
            panic!("{violation}");
        }
    }

    fn send(&mut self, to: RelayId, message: &DeviceMsg) {
        let mut frame = FrameBuffer::default();
        frame.extend(&message.to_frame());
        assert!(frame.next_frame().is_ok_and(|frame| frame.is_some()), "a relay would hang up on this");
        if let DeviceMsg::Push(push) = message {
            let hash = BlobHash::of_bytes(&push.envelope);
            assert!(self.disk.has_blob(&hash.blob_id()) || self.disk.waits(&hash), "stored before it is sent");
        }
        if let DeviceMsg::Receipt(receipt) = message {
            assert!(self.disk.stored().receipts.contains(&receipt.envelope), "stored before it is sent");
        }
        let relay = self.relay(to);
        assert!(relay.up, "sent to nobody");
        relay.heard(message);
    }

    fn told(&mut self, event: &Event) {
        match event {
            Event::BlobAvailable { cursor, push_id, .. } => {
                let row = self.disk.at(*cursor).expect("stored before it is told");
                assert_eq!(row.push_id, *push_id);
            }
            Event::BlobPushed { cursor, push_id, relay } => {
                let row = self.disk.at(*cursor).expect("stored before it is told");
                assert_eq!(row.push_id, *push_id);
                let blob_id = row.hash.blob_id();
                assert!(self.relay(*relay).ever_confirmed(&blob_id), "no relay said that it has this");
            }
            Event::Connected { .. }
            | Event::Disconnected { .. }
            | Event::Gap { .. }
            | Event::Parked { .. }
            | Event::DeviceJoined { .. }
            | Event::DeviceRenamed { .. }
            | Event::DevicePresence { .. }
            | Event::IdentityChanged { .. }
            | Event::DeviceRemoved { .. }
            | Event::KeyRotated
            | Event::ReceivedBy { .. }
            | Event::SnapshotNeeded { .. }
            | Event::SnapshotKept { .. }
            | Event::SnapshotProgress { .. }
            | Event::SnapshotReady { .. }
            | Event::RelayRegressed { .. }
            | Event::RelayContradicted { .. }
            | Event::Failed { .. } => {}
        }
    }

    /// Whether what a person is told is so.
    fn judge(&self) {
        let status = self.engine.status();
        if status.badge != Badge::Synced {
            return;
        }
        assert!(status.pending == 0 && status.waiting == 0 && status.parked.is_empty(), "{status:?}");
        assert!(!status.identity_reused);
        for (relay, told) in self.relays.iter().zip(&status.relays) {
            assert!(relay.up && told.connection == Connection::Connected, "synced with nobody");
            assert!(told.pulled.get() >= relay.max, "row {} is not read", relay.max);
            for row in self.disk.own() {
                assert!(relay.confirmed(&row.hash.blob_id()), "{} is not known to be there", row.seq);
            }
        }
    }

    fn relay(&mut self, id: RelayId) -> &mut Relay {
        self.relays.iter_mut().find(|relay| relay.id == id).expect("one of two")
    }
}

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, wall_ms: 1_790_000_000_000 + mono_ms }
}
