//! A device: the real engine, a disk that survives it, an app that reads the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use sync_types::{DeviceId, LocalCursor, PushId, RelayId};

use super::{check::Violation, disk::Disk, network::SessionId};
use crate::{
    engine::Engine,
    event::{Event, Now, RelayState, StoreOp, Token},
    keys::{DeviceKem, DeviceKey, GroupKeys},
    status::Badge,
};

/// Some Unix time: when every world begins.
pub(crate) const WALL_MS: u64 = 1_790_000_000_000;

/// One device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) key: Arc<DeviceKey>,
    pub(crate) kem: Arc<DeviceKem>,
    /// What it was given when it joined. What it learnt since is in the commits on its disk.
    pub(crate) keys: Arc<GroupKeys>,
    pub(crate) disk: Disk,
    pub(crate) engine: Option<Engine>,
    /// Counts starts: what was meant for an earlier one is not delivered.
    pub(crate) boot: u64,
    /// Written at the engine's leisure, and lost in a crash until then.
    pub(crate) notes: Vec<StoreOp>,
    pub(crate) sessions: BTreeMap<RelayId, SessionId>,
    /// Counts attempts to connect to each relay, and their ends: one that was given up does not come up any more.
    pub(crate) attempts: BTreeMap<RelayId, u64>,
    /// By how much its clock is wrong, in milliseconds.
    pub(crate) clock_ms: i64,
    /// A member of the group by now.
    pub(crate) joined: bool,
    /// Who let it in; none for the one that made the group.
    pub(crate) inviter: Option<usize>,
    /// Gone for good.
    pub(crate) dead: bool,
    pub(crate) online: bool,
    /// Its disk takes nothing more for now.
    pub(crate) disk_is_full: bool,
    pub(crate) unanswered: BTreeMap<Token, u64>,
    /// When it is next going to be woken.
    pub(crate) wake_at_ms: Option<u64>,
    /// How often in a row a timer left another one that was due at once.
    pub(crate) restless: u32,
    pub(crate) app: App,
    /// What it told its app.
    pub(crate) told: Vec<Event>,
}

impl Device {
    pub(crate) fn new(key: DeviceKey, kem: DeviceKem, keys: Arc<GroupKeys>) -> Self {
        let id = key.device_id();
        Self {
            id,
            key: Arc::new(key),
            kem: Arc::new(kem),
            keys,
            disk: Disk::new(id, Vec::new()),
            engine: None,
            boot: 0,
            notes: Vec::new(),
            sessions: BTreeMap::new(),
            attempts: BTreeMap::new(),
            clock_ms: 0,
            joined: false,
            inviter: None,
            dead: false,
            online: true,
            disk_is_full: false,
            unanswered: BTreeMap::new(),
            wake_at_ms: None,
            restless: 0,
            app: App::default(),
            told: Vec::new(),
        }
    }

    pub(crate) fn now(&self, now_ms: u64) -> Now {
        Now { mono_ms: now_ms, wall_ms: (WALL_MS + now_ms).saturating_add_signed(self.clock_ms) }
    }

    /// Whatever was tried to connect to a relay is over.
    pub(crate) fn next_attempt(&mut self, relay: &RelayId) -> u64 {
        let attempt = self.attempts.entry(*relay).or_default();
        *attempt += 1;
        *attempt
    }

    /// What it knows of a relay's log: the newest note of it, or what is stored.
    pub(crate) fn knows_of(&self, relay: &RelayId) -> Option<&RelayState> {
        let noted = self.notes.iter().rev().find_map(|op| {
            let StoreOp::Relay { relay: of, state } = op else { return None };
            (of == relay).then_some(state)
        });
        noted.or_else(|| self.disk.relays.get(relay))
    }

    /// It has nothing left to do: what it can't read, and says so, no waiting makes readable.
    pub(crate) fn is_in_step(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| match engine.status().badge {
            Badge::Synced => true,
            Badge::Failed => self.disk.holds_unreadable() && engine.is_in_step(),
            Badge::Pending | Badge::Offline => false,
        })
    }

    /// The newest envelope it sealed.
    pub(crate) fn newest(&self) -> Option<Bytes> {
        self.disk.own().last().map(|row| row.envelope.clone())
    }

    /// Everything but the disk is gone.
    pub(crate) fn crash(&mut self) {
        self.engine = None;
        self.boot += 1;
        self.notes.clear();
        self.sessions.clear();
        self.unanswered.clear();
        self.wake_at_ms = None;
    }
}

/// What an app does that wants every blob exactly once: it stores a cursor with its data.
#[derive(Clone, Debug, Default)]
pub(crate) struct App {
    pub(crate) cursor: LocalCursor,
    pub(crate) names: BTreeMap<LocalCursor, (PushId, Bytes)>,
    /// What was in the snapshots that it loaded.
    pub(crate) taken: BTreeSet<Token>,
    /// It can't use the next one.
    pub(crate) refuses: bool,
    /// It could not use one.
    pub(crate) has_refused: bool,
    /// How much was in the log when it loaded one last.
    pub(crate) taken_at: LocalCursor,
}

impl App {
    /// Reads on where it stopped, up to a number of blobs.
    pub(crate) fn read(&mut self, disk: &Disk, limit: usize) -> Result<(), Violation> {
        for row in disk.after(self.cursor).take(limit) {
            let Some(cursor) = row.cursor.filter(|cursor| *cursor == self.cursor.next()) else {
                return Err(Violation::new("in order", format!("{:?} comes after {}", row.cursor, self.cursor)));
            };
            self.cursor = cursor;
            self.names.insert(cursor, (row.push_id, row.envelope.clone()));
        }
        Ok(())
    }
}
