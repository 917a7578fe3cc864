//! A relay, as PROTOCOL.md describes it: the logs, and what it says to whom. The real one is tested elsewhere, against the
//! same rules.

mod damage;
mod moving;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sync_types::{
    AuthPublic, BlobHash, BlobId, DeviceId, DeviceMsg, Envelope, ErrorCode, LogId, RelayCursor, RelayGroupId, RelayId,
    RelayMsg,
    limits::PROTOCOL_VERSION,
    message::{
        Gap, Hello, Limits, Moved, Page, Presence, Pull, Push, PushAck, Receipt, ReceiptAck, Receipts, Refused, Row,
        RowKind, Welcome, features,
    },
    sign,
    wire::AtMost,
};

use super::{
    device::WALL_MS,
    faces::Face,
    log::{Log, LogRow, NewRow},
    network::SessionId,
    plan::Dice,
};
use crate::{
    protection::{Protection, Protections},
    seal,
};

#[derive(Debug)]
struct Session {
    device: DeviceId,
    group: Option<RelayGroupId>,
    /// The request being followed, and the last row sent for it.
    follow: Option<(u32, u64)>,
    /// It was told how far the others have come, and is told when that changes.
    hears: bool,
    /// It is told which snapshots there are.
    snapshots: bool,
}

/// What a relay keeps on its disk.
#[derive(Clone, Debug, Default)]
struct Database {
    logs: BTreeMap<RelayGroupId, Log>,
    /// Ids that are over, and what was left for those who still come with them.
    over: BTreeMap<RelayGroupId, Over>,
    /// The newest receipt of each device of a group.
    receipts: BTreeMap<RelayGroupId, BTreeMap<DeviceId, Bytes>>,
    /// They go where their log goes.
    snapshots: BTreeMap<LogId, snapshots::OfLog>,
}

#[derive(Clone, Debug)]
struct Over {
    /// Where the group went, as was last said.
    to: RelayGroupId,
    /// Each with where those went who left it.
    packages: Vec<(RelayGroupId, Option<Bytes>)>,
}

/// One relay, and the group under every id that it was ever known by.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) id: RelayId,
    pub(crate) up: bool,
    pub(crate) boot: u64,
    /// Of a thousand new envelopes, how many find no room.
    pub(crate) full: u64,
    /// Of a thousand pages, how many begin too late.
    pub(crate) holes: u64,
    lagging: bool,
    /// It has dropped what some device had not read.
    pub(crate) dropped_unread: bool,
    /// It knows no receipts.
    pub(crate) old: bool,
    /// It answers nobody who asks for its log.
    pub(crate) mute: bool,
    disk: Database,
    copies: Vec<Database>,
    /// What it shows to devices that it lies to.
    faces: BTreeMap<DeviceId, Face>,
    /// Everything that was ever on its disk, whatever became of it.
    ever: BTreeSet<BlobId>,
    /// What went with a database that was wiped or restored: nobody's fault but its operator's.
    lost: BTreeSet<BlobId>,
    /// What of that went last.
    gone: BTreeSet<BlobId>,
    sessions: BTreeMap<SessionId, Session>,
    pending: Vec<(SessionId, Push)>,
    acked: BTreeMap<DeviceId, u64>,
    dice: Dice,
    protections: Protections,
}

/// What a relay sends.
pub(crate) type Outgoing = Vec<(SessionId, RelayMsg)>;

impl Relay {
    pub(crate) fn new(mut dice: Dice, (holes, old): (u64, bool), protections: Protections) -> Self {
        Self {
            id: RelayId::from_bytes(dice.bytes()),
            up: true,
            boot: 0,
            full: 0,
            holes,
            lagging: false,
            dropped_unread: false,
            old,
            mute: false,
            disk: Database::default(),
            copies: Vec::new(),
            faces: BTreeMap::new(),
            ever: BTreeSet::new(),
            sessions: BTreeMap::new(),
            pending: Vec::new(),
            acked: BTreeMap::new(),
            lost: BTreeSet::new(),
            gone: BTreeSet::new(),
            dice,
            protections,
        }
    }

    /// Whether the envelope is on its disk, or would be if nobody had wiped or restored that.
    pub(crate) fn answers_for(&self, blob_id: &BlobId) -> bool {
        self.ever.contains(blob_id) && !self.lost.contains(blob_id)
    }

    /// That a device reads on is forgotten, until it asks again.
    pub(crate) fn forget_follower(&mut self, device: &DeviceId) {
        self.sessions.values_mut().filter(|it| it.device == *device).for_each(|session| session.follow = None);
    }

    /// Whether the envelope was ever on its disk, be it wiped since.
    pub(crate) fn ever_stored(&self, blob_id: &BlobId) -> bool {
        self.ever.contains(blob_id)
    }

    /// All logs there are.
    pub(crate) fn logs(&self) -> impl Iterator<Item = &Log> {
        self.disk.logs.values()
    }

    /// The log that holds the most.
    pub(crate) fn largest(&self) -> Option<&Log> {
        self.logs().max_by_key(|log| log.rows.len())
    }

    /// The log under this id.
    pub(crate) fn log_of(&self, group: &RelayGroupId) -> Option<&Log> {
        self.disk.logs.get(group)
    }

    /// The log that a session reads.
    pub(crate) fn log_of_session(&self, session: SessionId) -> Option<&Log> {
        let state = self.sessions.get(&session)?;
        let logs = self.faces.get(&state.device).unwrap_or(&self.disk.logs);
        logs.get(state.group.as_ref()?)
    }

    /// The id that a session came by.
    pub(crate) fn group_of_session(&self, session: SessionId) -> Option<RelayGroupId> {
        self.sessions.get(&session)?.group
    }

    /// How much there is under each id.
    pub(crate) fn heads(&self) -> BTreeMap<RelayGroupId, u64> {
        self.disk.logs.iter().map(|(group, log)| (*group, log.head())).collect()
    }

    /// So much time has passed that nothing is kept any longer which leads to no log. What leads to one stays as long as
    /// that, and the id is over.
    pub(crate) fn forget_left(&mut self) {
        let holds = self.protections.hold(Protection::OverForLong);
        let targets = self.disk.over.values().flat_map(|over| &over.packages).map(|(to, _)| *to);
        let stays = |to: &RelayGroupId| holds && self.disk.logs.contains_key(&self.end_of(to));
        let stays: BTreeSet<_> = targets.filter(stays).collect();
        self.disk.over.values_mut().for_each(|over| over.packages.retain(|(to, _)| stays.contains(to)));
        self.disk.over.retain(|_, over| !over.packages.is_empty());
    }

    /// A log has gone to an id that no member has the key of: to them it is lost.
    pub(crate) fn took(&mut self, group: &RelayGroupId) {
        let gone = self.disk.logs.get(group).map(|log| log.ids.clone()).unwrap_or_default();
        self.lose(gone);
    }

    /// Everything that was left for members who were away.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &Bytes> {
        self.disk.over.values().flat_map(|over| &over.packages).filter_map(|(_, package)| package.as_ref())
    }

    pub(crate) fn accept(&mut self, session: SessionId, device: DeviceId) {
        self.sessions.insert(session, Session { device, group: None, follow: None, hears: false, snapshots: false });
    }

    pub(crate) fn closed(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// Tells everybody who is there.
    pub(crate) fn presence(&self) -> Outgoing {
        let greeted = || self.sessions.iter().filter_map(|(id, state)| Some((*id, state.group?, state.device)));
        let others = |group| greeted().filter(move |(_, other, _)| *other == group).map(|(_, _, device)| device);
        let tell = |(session, group, _)| (session, Presence { devices: AtMost(others(group).collect()) }.into());
        greeted().map(tell).collect()
    }

    /// The process ends: what was not committed is gone, and so is every session.
    pub(crate) fn stop(&mut self) {
        self.up = false;
        self.boot += 1;
        self.sessions.clear();
        self.pending.clear();
        if !self.protections.hold(Protection::CommitBeforeAck) {
            // What was acknowledged from memory goes with it.
            let unsaved = self.dice.range(0, 4) as usize;
            self.disk.logs.values_mut().for_each(|log| drop(log.cut(unsaved)));
        }
    }

    pub(crate) fn wipe(&mut self) {
        let gone = self.disk.logs.values().flat_map(|log| log.ids.iter().copied()).collect();
        self.lose(gone);
        self.disk = Database::default();
        self.copies.clear();
        self.acked.clear();
    }

    pub(crate) fn copy(&mut self) {
        self.copies.push(self.disk.clone());
    }

    /// Restores an earlier copy, or one of just now that lacks the last few rows. Whether there was one.
    pub(crate) fn roll_back(&mut self) -> bool {
        if self.dice.chance(500) && self.logs().any(|log| !log.rows.is_empty()) {
            let few = self.dice.range(1, 5) as usize;
            let gone = self.disk.logs.values_mut().flat_map(|log| log.cut(few)).collect();
            self.lose(gone);
            return true;
        }
        if self.copies.is_empty() {
            return false;
        }
        let index = self.dice.index(self.copies.len());
        self.copies.truncate(index + 1);
        let before: BTreeSet<BlobId> = self.disk.logs.values().flat_map(|log| log.ids.iter().copied()).collect();
        self.disk = self.copies.pop().unwrap_or_default();
        let after: BTreeSet<BlobId> = self.disk.logs.values().flat_map(|log| log.ids.iter().copied()).collect();
        self.lose(before.difference(&after).copied().collect());
        true
    }

    /// Shows a device another face from now on: one that is as the true one is now, but for a row after this one, if any.
    pub(crate) fn turn(&mut self, device: DeviceId, drop_after: Option<u64>) {
        if self.faces.contains_key(&device) {
            return;
        }
        let sent = self.sessions.values().filter(|state| state.device == device).filter_map(|state| state.follow);
        let sent = sent.map(|(_, sent)| sent).max().unwrap_or(0);
        let mut face = self.disk.logs.clone();
        if let Some(after) = drop_after.map(|after| after.max(sent)) {
            for log in face.values_mut() {
                log.drop_one(after, &device);
            }
        }
        self.faces.insert(device, face);
    }

    /// Shows it its true face again. Whether it did not.
    pub(crate) fn turn_back(&mut self, device: &DeviceId) -> bool {
        let Some(face) = self.faces.remove(device) else { return false };
        let kept: BTreeSet<_> = self.disk.logs.values().flat_map(|log| &log.ids).copied().collect();
        self.lose(face.values().flat_map(|log| &log.ids).filter(|blob_id| !kept.contains(*blob_id)).copied().collect());
        true
    }

    fn lose(&mut self, gone: BTreeSet<BlobId>) {
        self.lost.extend(&gone);
        self.gone = gone;
    }

    /// What went when it was last wiped or restored.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &BlobId> {
        self.gone.iter()
    }

    /// Envelopes whose time is over leave; what everybody has seen of that leaves altogether.
    pub(crate) fn clean_up(&mut self, now_ms: u64) {
        let seen = self.acked.values().copied().min().unwrap_or(0);
        self.disk.logs.values_mut().for_each(|log| log.clean_up(now_ms, seen));
        self.drop_covered(seen);
    }

    /// Takes in a message. Pushes are answered by [`Self::commit`].
    pub(crate) fn receive(
        &mut self,
        session: SessionId,
        exporter: &[u8; 32],
        message: DeviceMsg,
        now_ms: u64,
    ) -> Outgoing {
        let Some(state) = self.sessions.get_mut(&session) else { return Vec::new() };
        match message {
            DeviceMsg::Hello(hello) => self.hello(session, exporter, &hello),
            DeviceMsg::Move(moving) => self.move_group(session, exporter, moving, now_ms),
            _ if state.group.is_none() => refuse(session, 0, ErrorCode::NotGreeted),
            DeviceMsg::Push(push) => {
                self.pending.push((session, push));
                Vec::new()
            }
            DeviceMsg::Pull(_) if self.mute => Vec::new(),
            DeviceMsg::Pull(pull) => self.pull(session, &pull),
            DeviceMsg::Ack(ack) => {
                let head = state.group.and_then(|group| self.disk.logs.get(&group)).map_or(0, Log::head);
                let seen = self.acked.entry(state.device).or_insert(0);
                *seen = (*seen).max(ack.cursor.get().min(head));
                Vec::new()
            }
            DeviceMsg::Get(get) => self.get_snapshot(session, &get),
            DeviceMsg::SnapshotPart(part) => self.keep_part(session, part),
            DeviceMsg::Snapshot(snapshot) => self.keep_snapshot(session, snapshot),
            DeviceMsg::Receipt(receipt) => self.receipt(session, receipt),
        }
    }

    fn hello(&mut self, session: SessionId, exporter: &[u8; 32], hello: &Hello) -> Outgoing {
        let Some(state) = self.sessions.get_mut(&session) else { return Vec::new() };
        let signed = sign::hello(&hello.group, &state.device, &self.id, exporter);
        if !is_signed((&hello.group, &hello.auth_public), &signed, &hello.signature) {
            return refuse(session, 0, ErrorCode::AuthFailed);
        }
        if let Some(over) = self.disk.over.get(&hello.group) {
            let packages = over.packages.iter().filter_map(|(_, package)| package.clone()).collect();
            return vec![(session, Moved { packages: AtMost(packages) }.into())];
        }
        state.group = Some(hello.group);
        state.snapshots = hello.features & features::SNAPSHOTS != 0 && !self.old;
        self.acked.entry(state.device).or_insert(0);
        let dice = &mut self.dice;
        let logs = self.faces.get_mut(&state.device).unwrap_or(&mut self.disk.logs);
        let log = logs.entry(hello.group).or_insert_with(|| Log::new(LogId::from_bytes(dice.bytes())));
        let welcome = Welcome {
            version: PROTOCOL_VERSION,
            relay: self.id,
            log_id: log.id,
            max_cursor: RelayCursor::new(log.head()),
            floor_cursor: RelayCursor::new(log.floor),
            pending_count: log.head().saturating_sub(hello.last_cursor.get()),
            limits: Limits {
                blob_len_max: 1 << 20,
                group_bytes_max: 100 << 20,
                ttl_s_default: 0,
                ttl_s_max: 0,
                burst: 50_000,
                per_minute: 100,
            },
            features: features::PRESENCE
                | features::MOVE
                | if self.old { 0 } else { features::RECEIPTS | features::SNAPSHOTS },
        };
        let mut out = vec![(session, welcome.into())];
        out.extend(self.told_of_snapshots(session));
        out.extend(self.left_aside(session, |_| true));
        out.extend(self.presence());
        out
    }

    /// Keeps a device's newest receipt, and tells the others.
    fn receipt(&mut self, session: SessionId, receipt: Receipt) -> Outgoing {
        let state = self.sessions.get(&session);
        let Some((device, group)) = state.and_then(|state| Some((state.device, state.group?))) else {
            return Vec::new();
        };
        let is_own = Envelope::parse(receipt.envelope.clone()).is_ok_and(|it| it.header().sender == device);
        if self.old || !is_own {
            return refuse(session, receipt.id, ErrorCode::Unsupported);
        }
        if self.dice.chance(self.full) {
            return refuse(session, receipt.id, ErrorCode::StorageFull);
        }
        self.disk.receipts.entry(group).or_default().insert(device, receipt.envelope.clone());
        let others = self.sessions.iter().filter(|(_, state)| state.group == Some(group) && state.device != device);
        let told = others.filter(|(_, state)| state.hears);
        let news = Receipts { envelopes: AtMost(vec![receipt.envelope]) };
        let mut out: Outgoing = told.map(|(id, _)| (*id, news.clone().into())).collect();
        out.push((session, ReceiptAck { id: receipt.id }.into()));
        out
    }

    /// How far the others have come, for a session that was not told.
    fn receipts(&mut self, session: SessionId) -> Option<(SessionId, RelayMsg)> {
        let state = self.sessions.get_mut(&session)?;
        if self.old || std::mem::replace(&mut state.hears, true) {
            return None;
        }
        let kept = self.disk.receipts.get(&state.group?)?;
        let others = kept.iter().filter(|(device, _)| **device != state.device);
        let envelopes: Vec<_> = others.map(|(_, envelope)| envelope.clone()).collect();
        (!envelopes.is_empty()).then(|| (session, Receipts { envelopes: envelopes.into() }.into()))
    }

    fn pull(&mut self, session: SessionId, pull: &Pull) -> Outgoing {
        let after = pull.after.get();
        let Some(log) = self.log_of_session(session) else { return Vec::new() };
        if after < log.floor {
            let gap = Gap { id: pull.id, floor_cursor: RelayCursor::new(log.floor), floor_run: log.floor_run };
            return vec![(session, gap.into())];
        }
        if log.run_at(after) != Some(pull.run) && self.protections.hold(Protection::RunCompared) {
            return refuse(session, pull.id, ErrorCode::LogForked);
        }
        if let Some(state) = self.sessions.get_mut(&session) {
            state.follow = Some((pull.id, after));
        }
        let mut told: Outgoing = self.receipts(session).into_iter().collect();
        let mut out = self.pages(session);
        if out.is_empty() {
            out.extend(self.page(session, pull.id, after, 0).map(|page| (session, page.into())));
        }
        told.append(&mut out);
        told
    }

    /// Everything a follower has not been sent.
    fn pages(&mut self, session: SessionId) -> Outgoing {
        let mut out = Vec::new();
        while let Some((id, sent)) = self.sessions.get(&session).and_then(|state| state.follow) {
            let Some((head, floor)) = self.log_of_session(session).map(|log| (log.head(), log.floor)) else { break };
            if sent >= head || sent < floor {
                break;
            }
            let hole = self.holes > 0 && self.dice.chance(self.holes);
            let from = sent + u64::from(hole);
            let count = self.dice.range(1, 12).min(head - from);
            out.extend(self.page(session, id, from, count).map(|page| (session, page.into())));
            if let Some(state) = self.sessions.get_mut(&session) {
                state.follow = Some((id, from + count));
            }
        }
        out
    }

    fn page(&self, session: SessionId, id: u32, after: u64, count: u64) -> Option<Page> {
        let log = self.log_of_session(session)?;
        let skip = (after - log.floor) as usize;
        let row = |row: &LogRow| {
            let (kind, bytes) = match &row.envelope {
                _ if row.over == session => (RowKind::Yours, Bytes::copy_from_slice(row.blob_id.as_bytes())),
                Some(envelope) => (RowKind::Blob, envelope.clone()),
                None => (RowKind::Expired, Bytes::copy_from_slice(row.blob_id.as_bytes())),
            };
            Row { kind: kind as u8, timestamp_ms: WALL_MS + row.at_ms, bytes }
        };
        let rows: Vec<_> = log.rows.iter().skip(skip).take(count as usize).map(row).collect();
        let max_cursor = RelayCursor::new(log.head());
        Some(Page { id, after: RelayCursor::new(after), rows: rows.into(), max_cursor })
    }

    /// Tells a device that reads on here of so many more rows, which are none.
    pub(crate) fn name_more(&self, device: &DeviceId, rows: u64) -> Outgoing {
        let of_it = self.sessions.iter().filter(|(_, state)| state.device == *device);
        let follows = of_it.filter_map(|(session, state)| Some((*session, state.follow?)));
        let page = |(session, (id, sent))| {
            let max_cursor = RelayCursor::new(sent + rows);
            Some((session, Page { max_cursor, ..self.page(session, id, sent, 0)? }.into()))
        };
        follows.filter_map(page).collect()
    }

    /// Puts an envelope of unknown origin into every log, as only the relay itself could.
    pub(crate) fn inject(&mut self, envelope: &Bytes, now_ms: u64) -> Outgoing {
        let blob_id = BlobHash::of_bytes(envelope).blob_id();
        for log in self.disk.logs.values_mut() {
            let row = NewRow { envelope: envelope.clone(), at_ms: now_ms, expires_ms: None, over: 0 };
            log.append(blob_id, row);
        }
        self.commit(now_ms)
    }

    /// Somebody was left behind: another [`Self::commit`] is due.
    pub(crate) fn is_lagging(&self) -> bool {
        self.lagging
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// One transaction of everything that came in, then its answers, then the followers.
    pub(crate) fn commit(&mut self, now_ms: u64) -> Outgoing {
        let mut out = Vec::new();
        for (session, push) in std::mem::take(&mut self.pending) {
            let Ok(envelope) = Envelope::parse(push.envelope.clone()) else {
                out.extend(refuse(session, push.id, ErrorCode::BadEnvelope));
                continue;
            };
            let Some(state) = self.sessions.get(&session) else { continue };
            let logs = self.faces.get_mut(&state.device).unwrap_or(&mut self.disk.logs);
            let Some(log) = state.group.and_then(|group| logs.get_mut(&group)) else { continue };
            let blob_id = BlobHash::of(&envelope).blob_id();
            let known = log.find(&blob_id).map(|(cursor, row)| (cursor, row.run));
            if known.is_none() && self.dice.chance(self.full) {
                out.extend(refuse(session, push.id, ErrorCode::StorageFull));
                continue;
            }
            let (cursor, run) = known.unwrap_or_else(|| {
                let ttl_s = u64::from(envelope.header().ttl_s);
                let expires_ms =
                    (ttl_s > 0).then(|| now_ms + ttl_s.saturating_sub(u64::from(push.age_s)).saturating_mul(1_000));
                log.ids.insert(blob_id);
                self.ever.insert(blob_id);
                log.append(blob_id, NewRow { envelope: push.envelope, at_ms: now_ms, expires_ms, over: session })
            });
            let ack = PushAck { id: push.id, blob_id, cursor: RelayCursor::new(cursor), run, timestamp_ms: now_ms };
            out.push((session, ack.into()));
        }
        self.lagging = false;
        let followers: Vec<_> = self.sessions.keys().copied().collect();
        for session in followers {
            // Some readers are slower than the answers to their own pushes.
            if self.dice.chance(150) {
                self.lagging = true;
            } else {
                out.extend(self.pages(session));
            }
        }
        out
    }
}

/// Whether a key that an id is the hash of has signed this.
fn is_signed((group, auth_public): (&RelayGroupId, &AuthPublic), signed: &[u8], signature: &Bytes) -> bool {
    let signer = DeviceId::from_bytes(*auth_public.as_bytes());
    let signature = signature.as_ref().try_into().unwrap_or([0; 64]);
    *group == RelayGroupId::of(auth_public) && seal::signature_holds(&signer, signed, &signature)
}

fn refuse(session: SessionId, id: u32, code: ErrorCode) -> Outgoing {
    vec![(session, Refused { id, code: code.number(), retry_after_ms: 0 }.into())]
}
