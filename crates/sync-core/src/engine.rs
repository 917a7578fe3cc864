//! The engine: one device's side of everything, decided without doing any of it.
//!
//! [`Engine::handle`] takes what happened and the time, and returns what to do about it, in an order that keeps
//! every promise through a crash between any two actions: durable first, then sent, then told. The parts it
//! decides with are [`crate::outbox`] (what this device sealed), [`crate::inbox`] (what others sealed) and a
//! [`crate::link`] for each relay.

mod admitting;
mod committing;
mod copying;
mod epochs;
mod hearing;
mod letting_go;
mod loading;
mod meeting;
mod moving;
mod receipting;
mod repairing;
mod sending;
mod snapshots;
mod standing;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use rand_core::SeedableRng;
use sync_types::{
    BlobHash, DeviceId, DeviceMsg, ErrorCode, KeyId, Kind, LocalCursor, RelayId, Seq,
    limits::{PAYLOAD_LEN_MAX, PROTOCOL_VERSION},
    message::{Hello, features},
};

use crate::{
    context::{Context, Effects, LocalLog},
    event::{Action, Event, HeldRow, Input, Load, Now, PushState, Pushed, RelayState, StoreOp, Stored, Token, Wait},
    identity::Identity,
    inbox::{Dropped, Inbox},
    keys::{DeviceKem, DeviceKey, GroupKeys},
    link::{Link, Phase},
    outbox::Outbox,
    protection::{Protection, Protections},
    receipts::Receipts,
    roster::Roster,
    seal::Verifier,
    sightings::Sightings,
    snapshots::{After, Snapshots},
    status::Badge,
    timing::{REMOVED_ASKS_MAX, REMOVED_RETRY_MS},
};

/// Envelope bytes asked for at a time when what is to be sent has to be read first.
const LOAD_BYTES: usize = 1024 * 1024;

/// What an engine is, apart from what it has stored: keys, and where to find its relays.
#[derive(Debug)]
pub struct Setup {
    /// The signing key that this device was made with. It has another by now if it found that it was copied: see
    /// [`Engine::identity`].
    pub device_key: Arc<DeviceKey>,
    /// What others seal new keys to it with, as it was made.
    pub kem: Arc<DeviceKem>,
    /// What opens and seals the group's envelopes, as far as it was given to this device when it joined. What came since
    /// is in the commits that are stored.
    pub keys: Arc<GroupKeys>,
    /// The relays to use, in order of preference.
    pub relays: Vec<RelayId>,
    /// Milliseconds after which the group gets new keys by itself, counted by wall clocks; none for never.
    pub rotate_after_ms: Option<u64>,
    /// After how many envelopes the app is asked for a snapshot; none for as many as there may be.
    pub snapshot_after: Option<u64>,
    /// After how many bytes of envelopes it is asked, if that is sooner. An app of which neither is known neither makes nor
    /// loads any.
    pub snapshot_after_bytes: Option<u64>,
    /// What a snapshot stands for is kept here all the same, for relays that lose it, for so many milliseconds.
    pub keep_ms: u64,
    /// And as long as it is among so many of the newest bytes.
    pub keep_bytes: u64,
}

/// One device in one group.
#[derive(Debug)]
pub struct Engine {
    context: Context,
    outbox: Outbox,
    inbox: Inbox,
    links: Vec<Link>,
    sightings: Sightings,
    snapshots: Snapshots,
    letting_go: letting_go::LettingGo,
    receipts: Receipts,
    receipts_seen: receipting::Seen,
    /// What is known of relays that are not in use now.
    idle_states: BTreeMap<RelayId, RelayState>,
    online: bool,
    loading_own: bool,
    last_connect_ms: u64,
    /// Another installation uses this device's identity, and this one found no room to be another device.
    identity_reused: bool,
    /// This device is another one by now; another engine drives it.
    is_over: bool,
    /// What has to be sealed again before anything else is done.
    adopting: Option<copying::Adopting>,
    /// Own envelopes up to here may have been sent before this engine was opened, and by it.
    offered_before: Seq,
    sent: Seq,
    synced_ms: Option<u64>,
    heeded: epochs::Heeded,
    /// The next own envelope to look at, while what nobody was offered is sealed again.
    resealing: Option<Seq>,
    /// What this device is going to do for the group, and when: monotonic milliseconds.
    duty: Option<(committing::Duty, u64)>,
    duty_may_be_due: bool,
    /// When it is to be looked at again, unless something is heard before. What is due and waits for that wakes nobody.
    duty_wake_ms: Option<u64>,
    /// Envelopes that are damaged on the disk, as long as their bytes may be in a log that is read again.
    mending: BTreeMap<BlobHash, (DeviceId, Seq)>,
    /// The current epoch, if a relay says that its id is over.
    burnt: Option<KeyId>,
    /// Since when it has read everything and lacks the key to go on with: monotonic milliseconds.
    keyless_since_ms: Option<u64>,
    rotate_after_ms: Option<u64>,
    /// After how long it looks again whether it still is removed, if it is.
    removed_retry_ms: u64,
    actions: Vec<Action>,
}

impl Engine {
    /// Opens an engine on what is stored. Its first actions come with the first input, which is due at once.
    ///
    /// `seed` is 32 bytes of the caller's best randomness, used once: nonces and identifiers come from it.
    ///
    /// # Errors
    /// [`ErrorCode::StoreCorrupt`] if the stored roster is not one, or this device is not in it.
    pub fn open(setup: Setup, stored: Stored, seed: [u8; 32], now: Now) -> Result<Self, ErrorCode> {
        Self::open_with(setup, stored, seed, now, Protections::default())
    }

    pub(crate) fn open_with(
        setup: Setup,
        stored: Stored,
        seed: [u8; 32],
        now: Now,
        protections: Protections,
    ) -> Result<Self, ErrorCode> {
        let identity = Identity::new(setup.device_key, setup.kem, &stored.nonces);
        let me = identity.device_id();
        let roster = Roster::of_stored(setup.keys.group_id(), &stored.roster);
        let mut roster = roster.map_err(|_| ErrorCode::StoreCorrupt)?;
        if roster.entry_of(&me).is_none() {
            return Err(ErrorCode::StoreCorrupt);
        }
        roster.take_names_changed(); // Told when they were stored.
        let mut context = Context {
            me,
            identity,
            keys: setup.keys,
            roster,
            local: LocalLog {
                head: stored.head_cursor,
                app_acked: stored.app_acked,
                others: stored.head_cursor,
                held_bytes: stored.held_bytes,
                kept_bytes: stored.kept_bytes,
            },
            rng: rand_chacha::ChaCha20Rng::from_seed(seed),
            verifier: Verifier::default(),
            protections,
        };
        let heeded = epochs::Heeded::open(&mut context);
        // Once there is room to be another device, whatever shows that it should be is looked for again.
        let reused = stored.identity_reused && context.roster.is_full();
        let own = stored.senders.iter().find(|row| row.sender == me);
        let outbox = own.filter(|_| protections.hold(Protection::StoredHead));
        let outbox =
            outbox.map_or_else(Outbox::default, |row| Outbox::open(row.seq, row.hash, stored.offered, stored.own));
        let parked = (stored.parked, stored.parked_bytes);
        let receipts = Receipts::open(&me, &context.keys, stored.receipts);
        let inbox = Inbox::open(stored.senders, stored.waiting, parked, &mut context);
        let after = After::new(setup.snapshot_after, setup.snapshot_after_bytes);
        let mut snapshots = Snapshots::open(after, stored.snapshots, !inbox.holds_anything(), &context.keys);
        // Another device's, if this one was that before it was copied.
        snapshots.own = snapshots.own.filter(|own| own.sender() == me);
        let mut engine = Self {
            context,
            outbox,
            inbox,
            links: Vec::new(),
            sightings: Sightings::open(stored.seen),
            snapshots,
            letting_go: letting_go::LettingGo::new(setup.keep_ms, setup.keep_bytes, stored.own_gone),
            receipts,
            receipts_seen: receipting::Seen::default(),
            idle_states: stored.relays.into_iter().collect(),
            online: true,
            loading_own: false,
            last_connect_ms: now.mono_ms,
            identity_reused: reused,
            is_over: false,
            adopting: None,
            offered_before: stored.offered,
            sent: Seq::START,
            synced_ms: None,
            heeded,
            resealing: None,
            duty: None,
            duty_may_be_due: true,
            duty_wake_ms: None,
            mending: BTreeMap::new(),
            burnt: None,
            keyless_since_ms: None,
            rotate_after_ms: setup.rotate_after_ms,
            removed_retry_ms: REMOVED_RETRY_MS,
            actions: Vec::new(),
        };
        engine.use_relays(now, &setup.relays);
        if stored.identity_reused && !reused {
            engine.links.iter_mut().for_each(Link::reread);
        }
        engine.open_copy();
        engine.introduce_myself(now);
        engine.go_on_adopting();
        engine.open_receipts(now);
        if engine.context.roster.history().commits().len() > 0 {
            // What follows from a commit is stored after it, and so may not be.
            let mut effects = Effects::default();
            engine.inbox.heed_removals(&engine.context, false, &mut effects);
            engine.actions.extend(effects.into_actions());
            engine.reseal();
        }
        if engine.inbox.parked().next().is_some() {
            engine.actions.push(Action::Load(Load::Parked { after: None, bytes: LOAD_BYTES }));
        }
        Ok(engine)
    }

    /// Feeds one input. The caller performs the returned actions in order and to the end; see [`crate::event`].
    pub fn handle(&mut self, now: Now, input: Input) -> impl Iterator<Item = Action> + '_ {
        if self.is_over {
            self.refuse(&input);
            return self.actions.drain(..);
        }
        match input {
            Input::Push { token, payload, ttl_s, wait } => self.push(now, token, payload, ttl_s, wait),
            Input::Forget { token } => self.outbox.forget_waiter(token),
            Input::AppAck { cursor } => self.app_ack(cursor),
            Input::Admit { request } => self.admit(now, &request),
            Input::Rename { device, name } => self.rename(now, device, &name),
            Input::Remove { device, rekey } => self.remove(now, device, rekey),
            Input::Rotate => self.rotate(now),
            Input::Leave => self.leave(now),
            Input::PublishSnapshot { up_to, bytes } => self.publish_snapshot(now, up_to, bytes),
            Input::SnapshotLoaded { snapshot, taken } => self.snapshot_loaded(now, snapshot, taken),
            Input::Repair { damage } => self.repair(now, damage),
            Input::TakeBackup { envelopes, last } => self.take_backup(now, envelopes, last),
            Input::Connected { relay, exporter } => {
                self.on_link(relay, |engine, index| engine.greet(now, index, &exporter))
            }
            Input::Lost { relay, reason } => self.on_link(relay, |engine, index| engine.lost(now, index, reason)),
            Input::Received { relay, message } => {
                self.on_link(relay, |engine, index| engine.receive(now, index, message))
            }
            Input::Loaded { load, rows, position } => self.loaded(now, load, rows, position),
            Input::Timer => {}
            Input::Nudge => self.nudge(now),
            Input::Online { online } => self.set_online(now, online),
            Input::Parting => self.part(now),
            Input::Relays { relays } => self.use_relays(now, &relays),
        }
        if !self.is_over {
            self.keep_time(now);
        }
        #[cfg(feature = "test-utils")]
        crate::sim::misorder(self.context.protections, &mut self.actions);
        self.actions.drain(..)
    }

    /// When [`Input::Timer`] is due, in monotonic milliseconds.
    pub fn wake_at(&self) -> Option<u64> {
        let syncs = self.online && self.adopting.is_none();
        let links = self.links.iter().filter(|_| syncs).filter_map(Link::wake_at);
        let snapshots = self.loading_due_ms().into_iter().chain(self.snapshots.wake_ms).chain(self.letting_go_due_ms());
        links
            .chain(self.inbox.wake_at())
            .chain(self.duty_wake_ms)
            .chain(self.receipt_due_ms())
            .chain(self.keyless_due_ms())
            .chain(snapshots)
            .min()
    }

    /// Who this device is by now.
    pub fn identity(&self) -> &Identity {
        &self.context.identity
    }

    /// The keys that this device has by now.
    pub fn keys(&self) -> &Arc<GroupKeys> {
        &self.context.keys
    }

    /// The group's members.
    pub fn roster(&self) -> &Roster {
        &self.context.roster
    }

    /// Envelopes that were not worth keeping since this engine was opened.
    pub fn dropped(&self) -> Dropped {
        self.inbox.dropped()
    }

    fn push(&mut self, now: Now, token: Token, payload: Bytes, ttl_s: u32, wait: Wait) {
        let len_max = self.links.iter().filter_map(Link::blob_len_max).fold(PAYLOAD_LEN_MAX as u64, u64::min);
        let refusal = if self.context.am_removed() {
            Some(ErrorCode::Removed)
        } else if self.is_between() {
            Some(ErrorCode::IdentityReused)
        } else if payload.len() as u64 > len_max {
            Some(ErrorCode::BlobTooLarge)
        } else {
            None
        };
        if let Some(code) = refusal {
            self.actions.push(Action::Reply { token, result: Err(code) });
            return;
        }
        let row = self.outbox.seal(&mut self.context, now, Kind::Data, ttl_s, payload);
        let cursor = row.cursor.expect("data has a place in the local log");
        let (seq, push_id) = (row.seq, row.push_id);
        self.store_own(row, Vec::new());
        let pushed = Pushed { push_id, cursor, state: PushState::Queued };
        match wait {
            Wait::Local => self.actions.push(Action::Reply { token, result: Ok(pushed) }),
            Wait::Relay | Wait::All => self.outbox.wait(seq, token, wait, pushed),
        }
        self.hurry(now);
        self.pump(now);
    }

    /// Another engine will have to be asked.
    fn refuse(&mut self, input: &Input) {
        let code = ErrorCode::IdentityReused;
        match input {
            Input::Push { token, .. } => self.actions.push(Action::Reply { token: *token, result: Err(code) }),
            Input::Admit { .. }
            | Input::Rename { .. }
            | Input::Remove { .. }
            | Input::Rotate
            | Input::Leave
            | Input::PublishSnapshot { .. }
            | Input::SnapshotLoaded { .. }
            | Input::Repair { .. }
            | Input::TakeBackup { .. } => self.actions.push(Action::Admitted { result: Err(code) }),
            Input::Forget { .. }
            | Input::AppAck { .. }
            | Input::Connected { .. }
            | Input::Lost { .. }
            | Input::Received { .. }
            | Input::Loaded { .. }
            | Input::Timer
            | Input::Nudge
            | Input::Online { .. }
            | Input::Parting
            | Input::Relays { .. } => {}
        }
    }

    fn app_ack(&mut self, cursor: LocalCursor) {
        let local = &mut self.context.local;
        if cursor > local.app_acked && cursor <= local.head {
            local.app_acked = cursor;
            self.actions.push(Action::Store(vec![StoreOp::AppAck { cursor }]));
            self.note_applied();
        }
    }

    /// A device's first envelope is the roster entry that made it a member: whoever meets it knows it from then on.
    fn introduce_myself(&mut self, now: Now) {
        if self.outbox.head() > Seq::START || !self.context.protections.hold(Protection::Introduction) {
            return;
        }
        if let Some(entry) = self.context.roster.entry_of(&self.context.me).cloned() {
            let row = self.outbox.seal(&mut self.context, now, Kind::Control, 0, entry);
            self.store_own(row, Vec::new());
        }
    }

    /// Makes an own envelope durable. If somebody is there to be sent it, that is noted in the same breath.
    fn store_own(&mut self, row: HeldRow, others: Vec<StoreOp>) {
        let mut ops = others;
        ops.push(StoreOp::PutOwn(row));
        if self.links.iter().any(Link::is_live) && self.may_send() {
            ops.extend(self.outbox.offer_all().map(|through| StoreOp::Offered { through }));
        }
        self.actions.push(Action::Store(ops));
    }

    fn nudge(&mut self, now: Now) {
        for link in &mut self.links {
            link.hurry(now, 0);
            link.unpause();
        }
        self.pump(now);
    }

    /// There is something to send: a connection that would be tried later is tried soon.
    fn hurry(&mut self, now: Now) {
        if self.context.am_removed() {
            return;
        }
        for link in &mut self.links {
            link.hurry(now, self.last_connect_ms);
        }
    }

    fn set_online(&mut self, now: Now, online: bool) {
        self.online = online;
        if online {
            // What it may hear by now it has not asked for in all this time.
            self.removed_retry_ms = REMOVED_RETRY_MS;
            self.links.iter_mut().for_each(|link| link.asked_removed.clear());
        } else {
            self.part(now);
        }
        for index in 0..self.links.len() {
            if online {
                self.links[index].hurry(now, 0);
            } else {
                self.disconnect(now, index, None);
            }
        }
    }

    fn use_relays(&mut self, now: Now, relays: &[RelayId]) {
        for link in std::mem::take(&mut self.links) {
            if relays.contains(&link.relay) {
                self.links.push(link);
            } else {
                if !matches!(link.phase, Phase::Idle { .. }) {
                    self.actions.push(Action::Disconnect { relay: link.relay });
                }
                self.hear_who_is_there(now, link.relay, Vec::new());
                self.idle_states.extend(link.state.map(|state| (link.relay, state)));
            }
        }
        for relay in relays {
            if self.index_of(relay).is_none() {
                let state = self.idle_states.remove(relay);
                self.links.push(Link::new(*relay, state, now, self.context.protections));
            }
        }
        self.links.sort_by_key(|link| relays.iter().position(|relay| *relay == link.relay));
    }

    // ── Connections ──

    /// Whether the logs of all relays in reach are read to their ends. One that is being dialled may be in reach.
    fn all_read(&self) -> bool {
        self.links.iter().all(|link| link.is_idle() || link.is_caught_up())
    }

    fn index_of(&self, relay: &RelayId) -> Option<usize> {
        self.links.iter().position(|link| link.relay == *relay)
    }

    /// For what comes from a relay: one that is not in use any more is not listened to.
    fn on_link(&mut self, relay: RelayId, act: impl FnOnce(&mut Self, usize)) {
        if let Some(index) = self.index_of(&relay) {
            act(self, index);
        }
    }

    fn keep_time(&mut self, now: Now) {
        if self.inbox.take_commits_due() {
            self.heed_commits(now);
        }
        self.heed_copies(now);
        if self.is_over {
            return;
        }
        let syncs = self.online && self.adopting.is_none();
        for index in 0..self.links.len() {
            if self.links[index].is_silent(now) {
                self.disconnect(now, index, Some(ErrorCode::TimedOut));
            }
            let link = &mut self.links[index];
            if syncs && link.is_due(now) {
                link.phase = Phase::Connecting { since_ms: now.mono_ms };
                self.last_connect_ms = now.mono_ms;
                self.actions.push(Action::Connect { relay: link.relay });
            }
            let told = link.tell(now);
            self.send(index, told);
        }
        let live = self.links.iter().any(Link::is_live);
        let caught_up = live && self.links.iter().all(|link| !link.is_live() || link.is_caught_up());
        self.rest_if_removed(now);
        let mut effects = Effects::default();
        self.inbox.check_gaps(&mut self.context, now, caught_up, &mut effects);
        self.actions.extend(effects.into_actions());
        if self.adopting.is_none() {
            self.actions.extend(self.inbox.names_wanted(LOAD_BYTES).map(Action::Load));
        }
        if self.inbox.take_retry_due() {
            self.actions.push(Action::Load(Load::Parked { after: None, bytes: LOAD_BYTES }));
        }
        // Whatever was given up may be in a snapshot that has been there all the time.
        self.snapshots.missed |= self.inbox.take_gave_up();
        self.see_to_loading(now);
        self.see_to_duties(now, caught_up);
        self.see_to_key(now, caught_up);
        self.pave(now);
        self.pump(now);
        self.retry_receipts();
        self.see_to_heads(now);
        self.see_to_receipts(now);
        self.note_place(now);
        self.see_to_need(now);
        self.send_snapshots(now);
        self.see_to_letting_go(now);
        if self.badge() == Badge::Synced && self.synced_ms.is_none_or(|at| at / 1_000 != now.wall_ms / 1_000) {
            self.synced_ms = Some(now.wall_ms);
        }
    }

    fn send(&mut self, index: usize, message: impl IntoIterator<Item = DeviceMsg>) {
        let relay = self.links[index].relay;
        self.actions.extend(message.into_iter().map(|message| Action::Send { relay, message }));
    }

    fn greet(&mut self, now: Now, index: usize, exporter: &[u8; 32]) {
        let link = &mut self.links[index];
        if !matches!(link.phase, Phase::Connecting { .. }) {
            return;
        }
        link.phase = Phase::Greeting { since_ms: now.mono_ms };
        link.exporter = *exporter;
        let under = self.greets_under(index);
        self.links[index].greeted_under = Some(under);
        let moves = self.moves(now, index);
        self.send(index, moves);
        let link = &self.links[index];
        let epoch = self.context.keys.get(&under).unwrap_or_else(|| self.context.keys.current());
        let auth = epoch.secret().relay_auth(&link.relay);
        let hello = Hello {
            version: PROTOCOL_VERSION,
            group: auth.relay_group_id(),
            auth_public: auth.public(),
            last_cursor: link.pulled(),
            log_id: link.state.as_ref().map(|state| state.log_id),
            signature: auth.sign_hello(&self.context.me, &link.relay, exporter).to_vec().into(),
            features: self.features(),
        };
        self.send(index, [hello.into()]);
    }

    /// What this device tells a relay that it understands: bits of [`features`].
    fn features(&self) -> u64 {
        let snapshots = self.snapshots.after.map_or(0, |_| features::SNAPSHOTS);
        features::PRESENCE | features::MOVE | features::RECEIPTS | snapshots
    }

    /// The connection broke by itself.
    fn lost(&mut self, now: Now, index: usize, reason: Option<ErrorCode>) {
        let link = &mut self.links[index];
        if matches!(link.phase, Phase::Idle { .. }) {
            return;
        }
        let was_live = link.is_live();
        link.lost(now, reason, &mut self.context.rng);
        if self.context.am_removed() {
            // By then what it was told by these keys is old.
            link.rest_until(now.mono_ms + self.removed_retry_ms);
            let asked = link.asked_removed.len();
            link.asked_removed.truncate(asked - asked % REMOVED_ASKS_MAX);
        }
        if was_live {
            let relay = link.relay;
            self.hear_who_is_there(now, relay, Vec::new());
            self.actions.push(Action::Emit(Event::Disconnected { relay, reason }));
        }
    }

    /// The connection is of no more use.
    fn disconnect(&mut self, now: Now, index: usize, reason: Option<ErrorCode>) {
        let link = &self.links[index];
        if !matches!(link.phase, Phase::Idle { .. }) {
            self.actions.push(Action::Disconnect { relay: link.relay });
            self.lost(now, index, reason);
        }
    }
}
