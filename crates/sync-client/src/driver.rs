//! The one loop: wait for something, let the engine decide, do what it decided.
//!
//! A turn gathers what is there already, lets the engine decide on all of it, makes everything durable in one
//! transaction and only then sends and tells. So while one transaction is being flushed the next one gathers, and
//! a thousand pushes cost a few flushes.
//!
//! The engine is ahead of the disk between deciding and storing. Should storing fail, it is thrown away with its
//! connections, those whose pushes are not on the disk are told, and another one is opened from what is stored.

mod command;
#[cfg(test)]
mod tests;
mod turn;

use std::{
    collections::{BTreeMap, VecDeque},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use sync_core::{
    Engine, Event, Input, Now, Setup,
    event::{StoreOp, Stored},
    identity::Identity,
    keys::{DeviceKem, DeviceKey, GroupKeys},
};
use sync_types::{DeviceId, ErrorCode, RelayId};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
};

pub(crate) use self::command::{Command, Done};
use self::turn::{Todo, Turn, own_blob};

use crate::{
    callers::Callers,
    clock::Clock,
    event::SyncEvent,
    lock::ProfileLock,
    random::random,
    resolve::{ResolveError, Resolver},
    routes::{Answered, Routes},
    secrets::SecretsError,
    status::{self, Herald, Shown},
    store::{Pin, Store, StoreError},
    transport::{INCOMING_MAX, News, Session, Told, Transport},
};

/// How long a note may wait for a transaction to join.
const NOTE_DELAY: Duration = Duration::from_millis(200);
/// How long to leave a failing disk alone.
const REOPEN_MIN: Duration = Duration::from_millis(100);
const REOPEN_MAX: Duration = Duration::from_secs(5);

/// Everything a driver is made of.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) resolver: Resolver,
    /// As they were made; the engine says which it has by now.
    pub(crate) device_key: Arc<DeviceKey>,
    pub(crate) kem: Arc<DeviceKem>,
    /// Who the profile says that this device is.
    pub(crate) device_id: DeviceId,
    /// As they were given to this device when it joined.
    pub(crate) keys: Arc<GroupKeys>,
    /// As they are by now, for whoever opens what is stored.
    pub(crate) current: watch::Sender<Current>,
    pub(crate) rotate_after: Option<Duration>,
    pub(crate) snapshot_after: Option<u64>,
    pub(crate) snapshot_after_bytes: Option<u64>,
    pub(crate) keep_for: Duration,
    pub(crate) keep_bytes: u64,
    pub(crate) online: bool,
    pub(crate) shown: watch::Sender<Shown>,
    pub(crate) events: broadcast::Sender<SyncEvent>,
    /// Held until everything is stored and the last relay has its goodbye.
    pub(crate) lock: Arc<ProfileLock>,
}

/// Who this device is by now, and the keys that it has.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) device_id: DeviceId,
    pub(crate) keys: Arc<GroupKeys>,
}

/// The engine, or why there is none just now.
enum Core {
    Running(Box<Engine>),
    Down { code: ErrorCode, reopen_at: Instant },
}

/// See the [module](self).
pub(crate) struct Driver {
    parts: Parts,
    core: Core,
    reopen_after: Duration,
    /// The engine is over, because this device is another one by now.
    is_another: bool,
    clock: Clock,
    commands: mpsc::Receiver<Command>,
    routes: Routes,
    asked: JoinSet<(usize, Result<Pin, ResolveError>)>,
    transport: Option<Transport>,
    sessions: BTreeMap<RelayId, Session>,
    tell: mpsc::Sender<Told>,
    told: mpsc::Receiver<Told>,
    callers: Callers,
    /// What the last turn left to be fed at once.
    follow_up: VecDeque<Input>,
    /// Changes that wait for a transaction to join, and for how long still.
    notes: Vec<StoreOp>,
    notes_due: Option<Instant>,
    herald: Herald,
}

/// What woke the loop.
enum Woken {
    Command(Option<Command>),
    Told(Told),
    Asked(usize, Result<Pin, ResolveError>),
    Time,
}

impl Driver {
    /// Opens an engine on what is stored, so that what is wrong with that is known before anything is promised.
    pub(crate) async fn open(parts: Parts, commands: mpsc::Receiver<Command>) -> Result<Self, crate::ClientError> {
        let routes = Routes::new(parts.store.addresses().await?, Instant::now());
        let (tell, told) = mpsc::channel(INCOMING_MAX);
        let clock = Clock::default();
        let stored = parts.store.load().await?;
        let identity = Identity::new(parts.device_key.clone(), parts.kem.clone(), &stored.nonces);
        if identity.device_id() != parts.device_id {
            return Err(SecretsError::Missing.into());
        }
        let core = Core::Running(open_engine(&parts, stored, &routes, clock.now())?);
        let mut driver = Self {
            parts,
            core,
            reopen_after: REOPEN_MIN,
            is_another: false,
            clock,
            commands,
            routes,
            asked: JoinSet::new(),
            transport: None,
            sessions: BTreeMap::new(),
            tell,
            told,
            callers: Callers::default(),
            follow_up: VecDeque::new(),
            notes: Vec::new(),
            notes_due: None,
            herald: Herald::default(),
        };
        driver.begin();
        driver.publish();
        Ok(driver)
    }

    /// Drives until the client is closed, or nobody holds it any more.
    pub(crate) async fn run(mut self) {
        loop {
            if std::mem::take(&mut self.is_another) {
                self.go_on_as_another().await;
            }
            // What has to be sealed again comes before whatever anybody asks for.
            let adopting = matches!(&self.core, Core::Running(engine) if engine.is_adopting());
            let adopting = adopting && !self.follow_up.is_empty();
            let mut turn = Turn::default();
            while turn.has_room()
                && let Some(input) = self.follow_up.pop_front()
            {
                self.feed(input, &mut turn);
            }
            if turn.inputs == 0 {
                match self.wait().await {
                    Woken::Command(Some(Command::Close) | None) => break,
                    Woken::Command(Some(command)) => self.obey(command, &mut turn),
                    Woken::Told(told) => self.hear(told, &mut turn),
                    Woken::Asked(place, answer) => self.learn(place, answer, &mut turn).await,
                    Woken::Time => {}
                }
            }
            let closing = !adopting && self.gather(&mut turn).is_break();
            self.keep_time(&mut turn);
            self.settle(turn).await;
            if closing {
                break;
            }
        }
        self.close().await;
    }

    async fn wait(&mut self) -> Woken {
        let time = tokio::time::sleep_until(self.wake_at().into());
        tokio::select! {
            command = self.commands.recv() => Woken::Command(command),
            Some(told) = self.told.recv() => Woken::Told(told),
            Some(Ok((place, answer))) = self.asked.join_next() => Woken::Asked(place, answer),
            () = time => Woken::Time,
        }
    }

    fn wake_at(&self) -> Instant {
        let engine = match &self.core {
            Core::Running(engine) => engine.wake_at().map(|at| self.clock.instant(at)),
            Core::Down { reopen_at, .. } => Some(*reopen_at),
        };
        let ask = self.routes.ask_at().filter(|_| self.parts.online);
        let idle = Instant::now() + Duration::from_secs(3_600);
        [engine, ask, self.notes_due, self.herald.due()].into_iter().flatten().min().unwrap_or(idle)
    }

    /// Takes what else is there without waiting. Breaks if the client is to be closed.
    fn gather(&mut self, turn: &mut Turn) -> ControlFlow<()> {
        while turn.has_room() {
            let before = turn.inputs;
            match self.commands.try_recv() {
                Ok(Command::Close) => return ControlFlow::Break(()),
                Ok(command) => self.obey(command, turn),
                Err(_) => {}
            }
            if let Ok(told) = self.told.try_recv() {
                self.hear(told, turn);
            }
            if turn.inputs == before {
                break;
            }
        }
        ControlFlow::Continue(())
    }

    fn feed(&mut self, input: Input, turn: &mut Turn) {
        turn.inputs += 1;
        if let Core::Running(engine) = &mut self.core {
            engine.handle(self.clock.now(), input).for_each(|action| turn.take(action));
        }
    }

    fn obey(&mut self, command: Command, turn: &mut Turn) {
        turn.inputs += 1;
        let down = match &self.core {
            Core::Running(_) => None,
            Core::Down { code, .. } => Some(*code),
        };
        match (command, down) {
            (Command::Push { answer, .. }, Some(code)) => {
                // Who asked may have stopped waiting, here and below.
                let _ = answer.send(Err(code));
            }
            (Command::Push { token, payload, ttl_s, wait, answer, room }, None) => {
                self.callers.add(token, answer, room);
                let before = turn.ops.len();
                self.feed(Input::Push { token, payload, ttl_s, wait }, turn);
                if let Some(pushed) = turn.ops[before..].iter().find_map(own_blob) {
                    self.callers.sealed(token, pushed);
                    turn.sealed.push(token);
                }
            }
            (Command::GiveUp { token }, _) => {
                self.feed(Input::Forget { token }, turn);
                turn.todo.push(Todo::GiveUp(token));
            }
            (Command::AppAck { answer, .. } | Command::Decide { answer, .. }, Some(code)) => {
                let _ = answer.send(Err(code));
            }
            (Command::AppAck { cursor, answer }, None) => {
                self.feed(Input::AppAck { cursor }, turn);
                turn.todo.push(Todo::Done(answer, Ok(())));
            }
            (Command::Decide { input, answer }, None) => {
                self.feed(*input, turn);
                let result = turn.admitted.take().expect("the engine answers among this input's actions");
                turn.todo.push(Todo::Done(answer, result));
            }
            (Command::Online { online }, _) => {
                self.parts.online = online;
                self.feed(Input::Online { online }, turn);
            }
            (Command::Nudge, _) => {
                self.routes.hurry(Instant::now());
                self.feed(Input::Nudge, turn);
            }
            (Command::Relays { rows, answer }, _) => {
                // Answers are told by place, and the places have changed.
                self.asked = JoinSet::new();
                self.routes.replace(rows, Instant::now());
                self.feed(Input::Relays { relays: self.routes.relays() }, turn);
                self.feed(Input::Nudge, turn);
                turn.todo.push(Todo::Done(answer, Ok(())));
            }
            (Command::Devices { answer }, _) => {
                let devices = match &self.core {
                    Core::Running(engine) => Ok(engine.devices(self.clock.now()).collect()),
                    Core::Down { code, .. } => Err(*code),
                };
                let _ = answer.send(devices);
            }
            (Command::Compared { answer }, _) => {
                let _ = answer.send(match &self.core {
                    Core::Running(engine) => Ok(engine.compared().collect()),
                    Core::Down { code, .. } => Err(*code),
                });
            }
            (Command::Holders { places, answer }, _) => {
                let _ = answer.send(match &self.core {
                    Core::Running(engine) => {
                        Ok(places.iter().map(|(sender, seq)| engine.holders(sender, *seq)).collect())
                    }
                    Core::Down { code, .. } => Err(*code),
                });
            }
            (Command::Close, _) => unreachable!("the loop ends on it"),
        }
    }

    fn hear(&mut self, Told { relay, session: id, what }: Told, turn: &mut Turn) {
        let Some(session) = self.sessions.get_mut(&relay).filter(|session| session.id == id) else { return };
        match what {
            News::Up(exporter) => {
                session.is_up();
                self.feed(Input::Connected { relay, exporter }, turn);
            }
            News::Messages(messages) => {
                for message in messages {
                    self.feed(Input::Received { relay, message }, turn);
                }
            }
            News::Down(reason) => {
                if !session.was_up() {
                    self.routes.unreachable(&relay, Instant::now());
                }
                self.sessions.remove(&relay);
                let reason = self.routes.why_lost(&relay, reason);
                self.feed(Input::Lost { relay, reason }, turn);
            }
        }
    }

    /// A web address has answered.
    async fn learn(&mut self, place: usize, answer: Result<Pin, ResolveError>, turn: &mut Turn) {
        match self.routes.answered(place, answer, Instant::now()) {
            Answered::AsBefore => {}
            Answered::Problem(code) => {
                let relay = self.routes.get(place).pin.as_ref().map(|pin| pin.relay);
                turn.todo.push(Todo::Emit(Event::Failed { relay, code }));
            }
            Answered::Pinned => {
                let route = self.routes.get(place);
                if let Some(pin) = &route.pin
                    && let Err(error) = self.parts.store.pin(&route.address.to_string(), pin).await
                {
                    // It is asked again at the next start.
                    tracing::warn!(%error, "a relay's place could not be stored");
                }
                self.feed(Input::Relays { relays: self.routes.relays() }, turn);
                self.feed(Input::Nudge, turn);
            }
        }
    }

    fn keep_time(&mut self, turn: &mut Turn) {
        let now = Instant::now();
        let due = match &self.core {
            Core::Running(engine) => engine.wake_at().is_some_and(|at| at <= self.clock.now().mono_ms),
            Core::Down { .. } => false,
        };
        if due {
            self.feed(Input::Timer, turn);
        }
        while self.parts.online
            && let Some((place, address, pin)) = self.routes.take_due(now)
        {
            let resolver = self.parts.resolver.clone();
            self.asked.spawn(async move { (place, resolver.resolve(&address, pin.as_ref()).await) });
        }
    }

    /// Stores what the turn decided, then does the rest of it.
    async fn settle(&mut self, turn: Turn) {
        if let Core::Down { reopen_at, .. } = self.core
            && reopen_at <= Instant::now()
        {
            self.reopen().await;
        }
        let mut ops = std::mem::take(&mut self.notes);
        ops.extend(turn.ops);
        if turn.must_store || self.notes_due.is_some_and(|due| due <= Instant::now()) {
            self.notes_due = None;
            if let Err(error) = self.parts.store.commit(&ops).await {
                self.fail(error.code(), turn.todo);
                return;
            }
            self.reopen_after = REOPEN_MIN;
        } else if !ops.is_empty() {
            self.notes_due.get_or_insert_with(|| Instant::now() + NOTE_DELAY);
            self.notes = ops;
        }
        self.callers.committed(turn.sealed);
        // Before anybody is answered, so that they see what they did.
        self.publish();
        let mut failed = None;
        for todo in turn.todo {
            failed = self.perform(todo).await.err().or(failed);
        }
        if let Some(error) = failed {
            self.fail(error.code(), Vec::new());
        }
    }

    async fn perform(&mut self, todo: Todo) -> Result<(), StoreError> {
        match todo {
            Todo::Load(load) => {
                let (rows, position) = self.parts.store.read(load).await?;
                self.follow_up.push_back(Input::Loaded { load, rows, position });
            }
            Todo::Connect(relay) => self.connect(relay).await,
            Todo::Disconnect(relay) => drop(self.sessions.remove(&relay)),
            Todo::Send(relay, message) => {
                let stalled =
                    self.sessions.get(&relay).is_some_and(|session| session.send(message.to_frame()).is_err());
                if stalled {
                    self.sessions.remove(&relay);
                    self.follow_up.push_back(Input::Lost { relay, reason: Some(ErrorCode::IdleTimeout) });
                }
            }
            Todo::Reply(token, result) => self.callers.answer(token, result),
            Todo::GiveUp(token) => self.callers.give_up(token),
            Todo::Reopen => self.is_another = true,
            Todo::Done(done, result) => {
                // Who asked may have stopped waiting.
                let _ = done.send(result);
            }
            Todo::Emit(event) => {
                if let Event::BlobPushed { push_id, .. } = &event {
                    self.callers.on_a_relay(push_id);
                }
                self.herald.tell(&self.parts.events, event);
            }
        }
        Ok(())
    }

    async fn connect(&mut self, relay: RelayId) {
        if self.transport.is_none() {
            let Core::Running(engine) = &self.core else { return };
            let key = Arc::clone(engine.identity().key());
            match Transport::bind(key.seed(), self.tell.clone()).await {
                Ok(transport) => self.transport = Some(transport),
                Err(error) => tracing::warn!(%error, "no network socket"),
            }
        }
        match (self.transport.as_mut(), self.routes.pin_of(&relay)) {
            (Some(transport), Some(pin)) => drop(self.sessions.insert(relay, transport.connect(pin.clone()))),
            _ => self.follow_up.push_back(Input::Lost { relay, reason: None }),
        }
    }

    /// The disk failed. Nothing that was decided since the last commit happened.
    fn fail(&mut self, code: ErrorCode, todo: Vec<Todo>) {
        tracing::warn!(code = code.name(), "the profile can't be stored; starting again from what is");
        self.callers.answer_all(code);
        for todo in todo {
            if let Todo::Done(done, result) = todo {
                // Who asked may have stopped waiting.
                let _ = done.send(result.and(Err(code)));
            }
        }
        self.sessions.clear();
        self.follow_up.clear();
        self.notes.clear();
        self.notes_due = None;
        self.core = Core::Down { code, reopen_at: Instant::now() + self.reopen_after };
        self.reopen_after = (2 * self.reopen_after).min(REOPEN_MAX);
        self.herald.tell(&self.parts.events, Event::Failed { relay: None, code });
        self.publish();
    }

    /// This device is another one by now, and so is its endpoint on the network.
    async fn go_on_as_another(&mut self) {
        tracing::info!("another installation uses this device's identity: going on as another device");
        self.sessions.clear();
        self.follow_up.clear();
        (self.tell, self.told) = mpsc::channel(INCOMING_MAX);
        if let Some(transport) = self.transport.take() {
            transport.close().await;
        }
        self.reopen().await;
    }

    async fn reopen(&mut self) {
        let opened = match self.parts.store.load().await {
            Ok(stored) => open_engine(&self.parts, stored, &self.routes, self.clock.now()),
            Err(error) => Err(error.into()),
        };
        match opened {
            Ok(engine) => {
                self.core = Core::Running(engine);
                self.begin();
            }
            Err(error) => self.fail(error.code(), Vec::new()),
        }
    }

    /// A new engine's first inputs.
    fn begin(&mut self) {
        self.follow_up.push_back(Input::Online { online: self.parts.online });
        self.follow_up.push_back(Input::Timer);
    }

    fn publish(&mut self) {
        if let Core::Running(engine) = &self.core {
            let device_id = engine.identity().device_id();
            self.parts.current.send_if_modified(|current| {
                let changed = current.device_id != device_id || !Arc::ptr_eq(engine.keys(), &current.keys);
                if changed {
                    *current = Current { device_id, keys: Arc::clone(engine.keys()) };
                }
                changed
            });
        }
        let shown = match &self.core {
            Core::Running(engine) => Shown::new(status::with_routes(engine.status(), &self.routes), &self.routes),
            Core::Down { code, .. } => {
                let status = status::failed(self.parts.shown.borrow().status.clone());
                Shown { problem: Some(*code), ..Shown::new(status, &self.routes) }
            }
        };
        self.herald.publish(&self.parts.shown, &self.parts.events, shown);
    }

    /// Leaves nothing behind that another start would miss.
    async fn close(mut self) {
        self.commands.close();
        self.told.close();
        let mut last = Turn::default();
        self.feed(Input::Parting, &mut last);
        if last.must_store {
            self.settle(last).await;
        }
        if !self.notes.is_empty()
            && let Err(error) = self.parts.store.commit(&self.notes).await
        {
            // Notes lost cost repetition, no more.
            tracing::warn!(%error, "the last notes could not be stored");
        }
        self.callers.answer_all(ErrorCode::Closed);
        self.sessions.clear();
        if let Some(transport) = self.transport.take() {
            transport.close().await;
        }
        let status = status::at_rest(self.parts.shown.borrow().status.clone());
        let shown = Shown::new(status, &self.routes);
        self.herald.publish(&self.parts.shown, &self.parts.events, shown);
        // Only from here on may another process have the profile.
        drop(self.parts.lock);
    }
}

fn open_engine(parts: &Parts, stored: Stored, routes: &Routes, now: Now) -> Result<Box<Engine>, crate::ClientError> {
    let setup = Setup {
        device_key: parts.device_key.clone(),
        kem: parts.kem.clone(),
        keys: parts.keys.clone(),
        relays: routes.relays(),
        rotate_after_ms: parts.rotate_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        snapshot_after: parts.snapshot_after,
        snapshot_after_bytes: parts.snapshot_after_bytes,
        keep_ms: u64::try_from(parts.keep_for.as_millis()).unwrap_or(u64::MAX),
        keep_bytes: parts.keep_bytes,
    };
    let engine = Engine::open(setup, stored, random(), now).map_err(crate::ClientError::Refused)?;
    Ok(Box::new(engine))
}
