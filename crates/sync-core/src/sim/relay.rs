//! A relay, as PROTOCOL.md describes it: the log, and what it says to whom. The real one is tested elsewhere,
//! against the same rules.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sync_types::{
    BlobHash, BlobId, DeviceId, DeviceMsg, Envelope, ErrorCode, LogId, RelayCursor, RelayGroupId, RelayId, RelayMsg,
    Run,
    limits::PROTOCOL_VERSION,
    message::{Gap, Limits, Page, Presence, Pull, Push, PushAck, Refused, Row, RowKind, Welcome, features},
    sign,
    wire::AtMost,
};

use super::{device::WALL_MS, network::SessionId, plan::Dice};
use crate::{
    protection::{Protection, Protections},
    seal,
};

#[derive(Clone, Debug)]
pub(crate) struct LogRow {
    pub(crate) blob_id: BlobId,
    run: Run,
    pub(crate) envelope: Option<Bytes>,
    pub(crate) at_ms: u64,
    expires_ms: Option<u64>,
    over: SessionId,
}

impl LogRow {
    /// A device sent it, rather than the relay making it up.
    pub(crate) fn was_pushed(&self) -> bool {
        self.over != 0
    }

    /// Whether its time to live has ended.
    pub(crate) fn is_over(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at| at <= now_ms)
    }
}

/// One group's log. Row `i` has cursor `floor + 1 + i`.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    id: LogId,
    pub(crate) rows: Vec<LogRow>,
    floor: u64,
    floor_run: Run,
    ids: BTreeSet<BlobId>,
}

impl Log {
    fn new(id: LogId) -> Self {
        Self { id, rows: Vec::new(), floor: 0, floor_run: Run::START, ids: BTreeSet::new() }
    }

    pub(crate) fn head(&self) -> u64 {
        self.floor + self.rows.len() as u64
    }

    /// Whether the envelope is in the log, or has left it when its time was over.
    pub(crate) fn ever_had(&self, blob_id: &BlobId) -> bool {
        self.ids.contains(blob_id)
    }

    pub(crate) fn run_at(&self, cursor: u64) -> Option<Run> {
        match cursor.checked_sub(self.floor)? {
            0 => Some(self.floor_run),
            above => self.rows.get(above as usize - 1).map(|row| row.run),
        }
    }

    fn find(&self, blob_id: &BlobId) -> Option<(u64, &LogRow)> {
        let index = self.rows.iter().position(|row| row.blob_id == *blob_id)?;
        Some((self.floor + 1 + index as u64, &self.rows[index]))
    }
}

#[derive(Debug)]
struct Session {
    device: DeviceId,
    greeted: bool,
    /// The request being followed, and the last row sent for it.
    follow: Option<(u32, u64)>,
}

/// One relay and its one group.
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
    pub(crate) log: Log,
    copies: Vec<Log>,
    /// Everything that was ever on its disk, whatever became of it.
    ever: BTreeSet<BlobId>,
    /// What went with a database that was wiped or restored: nobody's fault but its operator's.
    lost: BTreeSet<BlobId>,
    sessions: BTreeMap<SessionId, Session>,
    pending: Vec<(SessionId, Push)>,
    acked: BTreeMap<DeviceId, u64>,
    dice: Dice,
    protections: Protections,
}

/// What a relay sends.
pub(crate) type Outgoing = Vec<(SessionId, RelayMsg)>;

impl Relay {
    pub(crate) fn new(mut dice: Dice, holes: u64, protections: Protections) -> Self {
        let id = RelayId::from_bytes(dice.bytes());
        let log = Log::new(LogId::from_bytes(dice.bytes()));
        Self {
            id,
            up: true,
            boot: 0,
            full: 0,
            holes,
            lagging: false,
            log,
            copies: Vec::new(),
            ever: BTreeSet::new(),
            sessions: BTreeMap::new(),
            pending: Vec::new(),
            acked: BTreeMap::new(),
            lost: BTreeSet::new(),
            dice,
            protections,
        }
    }

    /// Whether the envelope is on its disk, or would be if nobody had wiped or restored that.
    pub(crate) fn answers_for(&self, blob_id: &BlobId) -> bool {
        self.ever.contains(blob_id) && !self.lost.contains(blob_id)
    }

    /// Whether the envelope was ever on its disk, be it wiped since.
    pub(crate) fn ever_stored(&self, blob_id: &BlobId) -> bool {
        self.ever.contains(blob_id)
    }

    pub(crate) fn accept(&mut self, session: SessionId, device: DeviceId) {
        self.sessions.insert(session, Session { device, greeted: false, follow: None });
    }

    pub(crate) fn closed(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// Tells everybody who is there.
    pub(crate) fn presence(&self) -> Outgoing {
        let greeted = || self.sessions.iter().filter(|(_, state)| state.greeted);
        let devices: Vec<_> = greeted().map(|(_, state)| state.device).collect();
        let presence = || Presence { devices: AtMost(devices.clone()) };
        greeted().map(|(session, _)| (*session, presence().into())).collect()
    }

    /// The process ends: what was not committed is gone, and so is every session.
    pub(crate) fn stop(&mut self) {
        self.up = false;
        self.boot += 1;
        self.sessions.clear();
        self.pending.clear();
        if !self.protections.hold(Protection::CommitBeforeAck) {
            // What was acknowledged from memory goes with it.
            let unsaved = self.dice.range(0, 4).min(self.log.rows.len() as u64);
            for row in self.log.rows.split_off(self.log.rows.len() - unsaved as usize) {
                self.log.ids.remove(&row.blob_id);
            }
        }
    }

    pub(crate) fn wipe(&mut self) {
        self.lost.extend(&self.log.ids);
        self.log = Log::new(LogId::from_bytes(self.dice.bytes()));
        self.copies.clear();
        self.acked.clear();
    }

    pub(crate) fn copy(&mut self) {
        self.copies.push(self.log.clone());
    }

    /// Restores an earlier copy, or one of just now that lacks the last few rows. Whether there was one.
    pub(crate) fn roll_back(&mut self) -> bool {
        if self.dice.chance(500) && !self.log.rows.is_empty() {
            let few = self.dice.range(1, 5).min(self.log.rows.len() as u64) as usize;
            for row in self.log.rows.split_off(self.log.rows.len() - few) {
                self.log.ids.remove(&row.blob_id);
                self.lost.insert(row.blob_id);
            }
            return true;
        }
        if self.copies.is_empty() {
            return false;
        }
        let index = self.dice.index(self.copies.len());
        self.copies.truncate(index + 1);
        let before = std::mem::take(&mut self.log.ids);
        self.log = self.copies.pop().unwrap_or_else(|| self.log.clone());
        self.lost.extend(before.difference(&self.log.ids));
        true
    }

    /// Envelopes whose time is over leave; what everybody has seen of that leaves altogether.
    pub(crate) fn clean_up(&mut self, now_ms: u64) {
        for row in &mut self.log.rows {
            if row.is_over(now_ms) {
                row.envelope = None;
            }
        }
        let seen = self.acked.values().copied().min().unwrap_or(0);
        while self.log.floor < seen && self.log.rows.first().is_some_and(|row| row.envelope.is_none()) {
            let row = self.log.rows.remove(0);
            self.log.floor += 1;
            self.log.floor_run = row.run;
        }
    }

    /// Takes in a message. Pushes are answered by [`Self::commit`].
    pub(crate) fn receive(&mut self, session: SessionId, exporter: &[u8; 32], message: DeviceMsg) -> Outgoing {
        let Some(state) = self.sessions.get_mut(&session) else { return Vec::new() };
        match message {
            DeviceMsg::Hello(hello) => {
                let signed = sign::hello(&hello.group, &state.device, &self.id, exporter);
                let signer = DeviceId::from_bytes(*hello.auth_public.as_bytes());
                let signature = hello.signature.as_ref().try_into().unwrap_or([0; 64]);
                if hello.group != RelayGroupId::of(&hello.auth_public)
                    || !seal::signature_holds(&signer, &signed, &signature)
                {
                    return refuse(session, 0, ErrorCode::AuthFailed);
                }
                state.greeted = true;
                self.acked.entry(state.device).or_insert(0);
                let welcome = Welcome {
                    version: PROTOCOL_VERSION,
                    relay: self.id,
                    log_id: self.log.id,
                    max_cursor: RelayCursor::new(self.log.head()),
                    floor_cursor: RelayCursor::new(self.log.floor),
                    pending_count: self.log.head().saturating_sub(hello.last_cursor.get()),
                    limits: Limits {
                        blob_len_max: 1 << 20,
                        group_bytes_max: 100 << 20,
                        ttl_s_default: 0,
                        ttl_s_max: 0,
                        burst: 50_000,
                        per_minute: 100,
                    },
                    features: features::PRESENCE,
                };
                let mut out = vec![(session, welcome.into())];
                out.extend(self.presence());
                out
            }
            _ if !state.greeted => refuse(session, 0, ErrorCode::NotGreeted),
            DeviceMsg::Push(push) => {
                self.pending.push((session, push));
                Vec::new()
            }
            DeviceMsg::Pull(pull) => self.pull(session, &pull),
            DeviceMsg::Ack(ack) => {
                let seen = self.acked.entry(state.device).or_insert(0);
                *seen = (*seen).max(ack.cursor.get().min(self.log.head()));
                Vec::new()
            }
            DeviceMsg::Get(get) => refuse(session, get.id, ErrorCode::NotFound),
            DeviceMsg::Move(moving) => refuse(session, moving.id, ErrorCode::Unsupported),
        }
    }

    fn pull(&mut self, session: SessionId, pull: &Pull) -> Outgoing {
        let after = pull.after.get();
        if after < self.log.floor {
            let gap =
                Gap { id: pull.id, floor_cursor: RelayCursor::new(self.log.floor), floor_run: self.log.floor_run };
            return vec![(session, gap.into())];
        }
        if self.log.run_at(after) != Some(pull.run) && self.protections.hold(Protection::RunCompared) {
            return refuse(session, pull.id, ErrorCode::LogForked);
        }
        if let Some(state) = self.sessions.get_mut(&session) {
            state.follow = Some((pull.id, after));
        }
        let mut out = self.pages(session);
        if out.is_empty() {
            out.push((session, self.page(session, pull.id, after, 0).into()));
        }
        out
    }

    /// Everything a follower has not been sent.
    fn pages(&mut self, session: SessionId) -> Outgoing {
        let mut out = Vec::new();
        while let Some((id, sent)) = self.sessions.get(&session).and_then(|state| state.follow) {
            if sent >= self.log.head() || sent < self.log.floor {
                break;
            }
            let hole = self.holes > 0 && self.dice.chance(self.holes);
            let from = sent + u64::from(hole);
            let count = self.dice.range(1, 12).min(self.log.head() - from);
            out.push((session, self.page(session, id, from, count).into()));
            if let Some(state) = self.sessions.get_mut(&session) {
                state.follow = Some((id, from + count));
            }
        }
        out
    }

    fn page(&self, session: SessionId, id: u32, after: u64, count: u64) -> Page {
        let skip = (after - self.log.floor) as usize;
        let row = |row: &LogRow| {
            let (kind, bytes) = match &row.envelope {
                _ if row.over == session => (RowKind::Yours, Bytes::copy_from_slice(row.blob_id.as_bytes())),
                Some(envelope) => (RowKind::Blob, envelope.clone()),
                None => (RowKind::Expired, Bytes::copy_from_slice(row.blob_id.as_bytes())),
            };
            Row { kind: kind as u8, timestamp_ms: WALL_MS + row.at_ms, bytes }
        };
        let rows: Vec<_> = self.log.rows.iter().skip(skip).take(count as usize).map(row).collect();
        Page { id, after: RelayCursor::new(after), rows: rows.into(), max_cursor: RelayCursor::new(self.log.head()) }
    }

    /// Puts an envelope of unknown origin into the log, as only the relay itself could.
    pub(crate) fn inject(&mut self, envelope: Bytes, now_ms: u64) -> Outgoing {
        let blob_id = BlobHash::of_bytes(&envelope).blob_id();
        let run = self.log.run_at(self.log.head()).unwrap_or(self.log.floor_run).then(&blob_id);
        let (envelope, at_ms) = (Some(envelope), now_ms);
        self.log.rows.push(LogRow { blob_id, run, envelope, at_ms, expires_ms: None, over: 0 });
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
            let blob_id = BlobHash::of(&envelope).blob_id();
            let known = self.log.find(&blob_id).map(|(cursor, row)| (cursor, row.run));
            if known.is_none() && self.dice.chance(self.full) {
                out.extend(refuse(session, push.id, ErrorCode::StorageFull));
                continue;
            }
            let (cursor, run) = known.unwrap_or_else(|| {
                let run = self.log.run_at(self.log.head()).unwrap_or(self.log.floor_run).then(&blob_id);
                let ttl_s = u64::from(envelope.header().ttl_s);
                let expires_ms =
                    (ttl_s > 0).then(|| now_ms + ttl_s.saturating_sub(u64::from(push.age_s)).saturating_mul(1_000));
                let (envelope, at_ms) = (Some(push.envelope), now_ms);
                self.log.rows.push(LogRow { blob_id, run, envelope, at_ms, expires_ms, over: session });
                self.log.ids.insert(blob_id);
                self.ever.insert(blob_id);
                (self.log.head(), run)
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

fn refuse(session: SessionId, id: u32, code: ErrorCode) -> Outgoing {
    vec![(session, Refused { id, code: code.number(), retry_after_ms: 0 }.into())]
}
