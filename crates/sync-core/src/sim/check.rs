//! What must hold, after which step, against what really happened.
//!
//! The numbers are those of the guarantees in PROTOCOL.md: 1 no loss, 2 once and in order, 3 honest status,
//! 6 tampering shows. (4 and 5 need real bytes at rest and real keys: other tests have those.)

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bytes::Bytes;
use sync_types::{BlobHash, BlobId, DeviceId, Envelope, Kind, LocalCursor, LogId, RelayCursor, RelayId, Run, Seq};

use super::{
    copies,
    device::Device,
    disk::Disk,
    faces::{self, HeardHeads},
    log::Log,
    names, outlaw, receipts,
    relay::Relay,
    removals, snapshots,
    world::World,
};
use crate::{
    engine::Engine,
    event::{Event, HeldRow, PushState, Pushed, StoreOp, Token},
    roster::Standing,
    seal,
    status::Badge,
};

/// A connection this old has delivered whatever a relay held when it came up.
const SETTLED_MS: u64 = 15_000;

/// A guarantee that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub guarantee: &'static str,
    /// What happened instead.
    pub what: String,
}

impl Violation {
    pub(super) fn new(guarantee: &'static str, what: String) -> Self {
        Self { guarantee, what }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.guarantee, self.what)
    }
}

impl std::error::Error for Violation {}

/// What a device had read of a log, and where that log ends since it lost rows.
#[derive(Debug)]
struct Unnoticed {
    log_id: LogId,
    read: (RelayCursor, Run),
    head: u64,
}

/// Who can tell that a relay lost something.
#[derive(Clone, Debug, Default)]
struct Witnesses {
    /// They had read on, or pushed, beyond what was left.
    saw_more: BTreeSet<DeviceId>,
    /// Those of them who have noticed, durably. The log may have grown again, row by row, to where the others know it.
    noticed: BTreeSet<DeviceId>,
}

/// What really happened.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// Every push by its payload, and whether it was given a short time to live.
    pub(super) pushes: BTreeMap<Token, bool>,
    /// What the app was told is safe.
    confirmed: BTreeMap<Token, (usize, Pushed)>,
    /// Devices that run twice, from copies of one disk: of those nothing can keep two envelopes out of one place.
    pub(super) copied: BTreeSet<DeviceId>,
    /// Devices that seal what they like: of those the same goes.
    outlaws: BTreeSet<DeviceId>,
    /// Every envelope a device made.
    made: BTreeSet<BlobHash>,
    /// Those of them that an outlaw sealed as one.
    made_outside: BTreeSet<BlobHash>,
    /// Every own envelope that left its device.
    sealed: BTreeMap<(DeviceId, Seq), BlobHash>,
    /// Messages are lost though their connection stays.
    pub(super) rude: bool,
    /// Relays that were wiped or restored, or lied.
    lossy: BTreeSet<RelayId>,
    /// What a relay lost last.
    lost: BTreeMap<(RelayId, BlobId), Witnesses>,
    /// Who has to notice which relay's loss: what they had read of it.
    unnoticed: BTreeMap<(DeviceId, RelayId), Unnoticed>,
    /// What each device, since its start, knows of the others' receipts: the count of the newest.
    pub(super) counts: BTreeMap<(usize, u64, DeviceId), Seq>,
    /// And how far it heard them read what, where that was further than it had read itself.
    pub(super) heads: HeardHeads,
    /// Missing envelopes the app was told of.
    gaps: BTreeMap<(DeviceId, DeviceId), Vec<(Seq, Seq)>>,
}

impl Truth {
    /// What a device stores of others, others made; and that it begins anew with a log is how it knows that rows were lost.
    pub(super) fn stored<'a>(
        &mut self,
        device: DeviceId,
        ops: impl IntoIterator<Item = &'a StoreOp>,
    ) -> Result<(), Violation> {
        for op in ops {
            if let StoreOp::Relay { relay, state } = op
                && state.pulled == RelayCursor::START
            {
                for witnesses in self.lost.iter_mut().filter_map(|((of, _), it)| (of == relay).then_some(it)) {
                    witnesses.noticed.extend(witnesses.saw_more.get(&device));
                }
            }
            if let StoreOp::PutOwn(row) | StoreOp::Reseal(row) | StoreOp::Adopt { row, .. } = op {
                self.made.insert(row.hash);
            }
            if let StoreOp::Take(row) = op
                && !self.made.contains(&row.hash)
            {
                return Err(Violation::new("6 tampering shows", format!("{:?} {} is forged", row.sender, row.seq)));
            }
        }
        Ok(())
    }

    /// Nobody else seals in the name of this device, and it does as it should.
    pub(super) fn is_one(&self, device: &DeviceId) -> bool {
        !self.copied.contains(device) && !self.outlaws.contains(device)
    }

    /// The pushes that resolved, and which device was told of what.
    pub(super) fn confirmed(&self) -> impl Iterator<Item = (&Token, &(usize, Pushed))> {
        self.confirmed.iter()
    }

    /// An outlaw seals this in its own name, or an accomplice's: no device is known by its places any more.
    pub(super) fn made_outside(&mut self, sender: DeviceId, hash: BlobHash) {
        self.made.insert(hash);
        self.made_outside.insert(hash);
        self.outlaws.insert(sender);
    }

    /// Something is on its way to a relay: it must be on disk, and the only one for its place.
    pub(super) fn offered(&mut self, disk: &Disk, envelope: &Bytes) -> Result<(), Violation> {
        let hash = BlobHash::of_bytes(envelope);
        let Some(place) = disk.place_of(&hash) else {
            if disk.waits(&hash) {
                return Ok(());
            }
            return Err(Violation::new("durable before sent", format!("{hash:?} is sent but not stored")));
        };
        match self.sealed.insert(place, hash) {
            Some(other) if other != hash && !self.copied.contains(&place.0) && !self.outlaws.contains(&place.0) => {
                Err(Violation::new("2 once", format!("two envelopes for {:?} {}", place.0, place.1)))
            }
            _ => Ok(()),
        }
    }

    /// A push resolved: it must be on disk, at the place it was told.
    pub(super) fn resolved(
        &mut self,
        device: usize,
        token: Token,
        pushed: &Pushed,
        disk: &Disk,
        relays: &[Relay],
    ) -> Result<(), Violation> {
        let row = disk.at(pushed.cursor).filter(|row| row.push_id == pushed.push_id);
        let Some(row) = row else {
            return Err(Violation::new("1 no loss", format!("push {token} resolved, but it is not stored")));
        };
        let blob_id = row.hash.blob_id();
        let had = relays.iter().filter(|relay| relay.ever_stored(&blob_id)).count();
        let wanted = match pushed.state {
            PushState::Queued => 0,
            PushState::Relay => 1,
            PushState::All => relays.len(),
        };
        if had < wanted {
            return Err(Violation::new("1 no loss", format!("push {token} is on {had} relays, not {wanted}")));
        }
        self.confirmed.insert(token, (device, *pushed));
        Ok(())
    }

    /// The app hears of something: it must be on disk.
    pub(super) fn told(&mut self, device: &Device, event: &Event) -> Result<(), Violation> {
        match event {
            Event::BlobAvailable { cursor, push_id, .. } | Event::BlobPushed { cursor, push_id, .. } => {
                if device.disk.at(*cursor).is_none_or(|row| row.push_id != *push_id) {
                    return Err(Violation::new("durable before told", format!("{cursor} is not stored")));
                }
            }
            Event::RelayRegressed { relay } => {
                self.unnoticed.remove(&(device.id, *relay));
                if !self.lossy.contains(relay) {
                    return Err(Violation::new(
                        "1 no loss",
                        format!("{relay:?} lost what it had confirmed, or is blamed"),
                    ));
                }
            }
            Event::RelayContradicted { relay } => {
                // A stream that loses messages in its middle is none, and shows less than it should.
                if !self.lossy.contains(relay) && !self.rude {
                    return Err(Violation::new(
                        "6 tampering shows",
                        format!("{relay:?} is blamed and tells the truth"),
                    ));
                }
            }
            Event::Gap { sender, first, last } => {
                self.gaps.entry((device.id, *sender)).or_default().push((*first, *last));
            }
            Event::Connected { .. }
            | Event::Disconnected { .. }
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
            | Event::Failed { .. } => {}
        }
        Ok(())
    }

    /// A relay's log ends earlier now than it did, or is another one: whoever read further has to notice.
    pub(super) fn lost(&mut self, relay: &Relay, devices: &[Device]) {
        self.lossy.insert(relay.id);
        let mut witnesses = Witnesses::default();
        for device in devices {
            let Some(state) = device.knows_of(&relay.id) else { continue };
            let head = relay.logs().find(|log| log.id == state.log_id).map_or(0, Log::head);
            if state.pulled.get() > head || state.mark.is_some_and(|(cursor, _)| cursor.get() > head) {
                witnesses.saw_more.insert(device.id);
            }
            if state.pulled.get() > head {
                let unnoticed = Unnoticed { log_id: state.log_id, read: (state.pulled, state.run), head };
                self.unnoticed.entry((device.id, relay.id)).or_insert(unnoticed);
            }
        }
        for blob_id in relay.gone() {
            self.lost.insert((relay.id, *blob_id), witnesses.clone());
        }
    }

    /// A relay shows somebody another face.
    pub(super) fn lies(&mut self, relay: RelayId) {
        self.lossy.insert(relay);
    }

    /// It does not any more: what it took there is gone, and the one it lied to has to notice.
    pub(super) fn turned_back(&mut self, relay: &Relay, device: DeviceId) {
        for blob_id in relay.gone() {
            let witnesses = Witnesses { saw_more: BTreeSet::from([device]), ..Witnesses::default() };
            self.lost.insert((relay.id, *blob_id), witnesses);
        }
    }

    /// A device has met another log on a relay than the one it had read, because the group was moved meanwhile: it
    /// begins anew, and of the other nothing is left to notice.
    pub(super) fn met(&mut self, device: DeviceId, ops: &[StoreOp]) {
        for op in ops {
            let StoreOp::Relay { relay, state } = op else { continue };
            let place = (device, *relay);
            if self.unnoticed.get(&place).is_some_and(|unnoticed| unnoticed.log_id != state.log_id) {
                self.unnoticed.remove(&place);
            }
        }
    }

    /// A device crashed, and with it goes what it knew and had not stored.
    pub(super) fn forgot(&mut self, device: &Device) {
        self.unnoticed.retain(|(id, relay), unnoticed| {
            if *id != device.id {
                return true;
            }
            let stored = device.disk.relays.get(relay).filter(|state| state.log_id == unnoticed.log_id);
            let stored = stored.filter(|state| state.pulled.get() > unnoticed.head);
            stored.inspect(|state| unnoticed.read = (state.pulled, state.run)).is_some()
        });
    }
}

/// Guarantee 3, after everything a device did: "synced" is said only if it is so, as far as it can know.
pub(super) fn status(world: &World, device: usize) -> Result<(), Violation> {
    let state = &world.devices[device];
    let Some(status) = state.engine.as_ref().map(crate::Engine::status) else { return Ok(()) };
    if status.badge != Badge::Synced {
        return Ok(());
    }
    let wrong = |what: String| Err(Violation::new("3 honest status", format!("device {device} says synced, {what}")));
    if status.pending > 0 || status.waiting > 0 || !status.parked.is_empty() {
        return wrong(format!("but {status:?}"));
    }
    for relay in &world.relays {
        // A connection that broke, or whose relay is another process by now, is news on its way.
        let Some(since_ms) = world.intact_session_since(state, relay) else { continue };
        // A session that the relay has ended, because the group was moved, is news on its way as well.
        let Some(log) = state.sessions.get(&relay.id).and_then(|session| relay.log_of_session(*session)) else {
            continue;
        };
        let own = state.disk.held.iter().filter(|row| row.sender == state.id && !state.disk.is_gone(row));
        if let Some(missing) = own.map(|row| row.hash.blob_id()).find(|blob_id| !log.ever_had(blob_id)) {
            return wrong(format!("but {missing:?} is not on {:?}", relay.id));
        }
        let settled_ms = world.now_ms.saturating_sub(SETTLED_MS);
        if since_ms > settled_ms || world.plan.faults.rude > 0 {
            continue;
        }
        for row in log.rows.iter().filter(|row| row.here_ms <= settled_ms && row.was_pushed()) {
            // A relay restored from a copy has again what was over before.
            if row.is_over(world.now_ms) {
                continue;
            }
            // What nobody made is nothing that anybody lacks.
            let Some(envelope) = row.envelope.as_ref().filter(|it| world.truth.made.contains(&BlobHash::of_bytes(it)))
            else {
                continue;
            };
            let in_snapshot = || covers(world, state, envelope);
            if !state.disk.has_blob(&row.blob_id)
                && !in_snapshot()
                && !is_of_nobody(world, state, (log, settled_ms), envelope)
            {
                let sealed = Envelope::parse(envelope.clone()).ok().and_then(|envelope| {
                    Some((envelope.header().sender, seal::open(&world.keys, &envelope).ok()?.seq))
                });
                return wrong(format!("but {:?} of {:?} is not here: {sealed:?}", row.blob_id, relay.id));
            }
        }
    }
    Ok(())
}

/// Whether a snapshot that the app took has the envelope.
fn covers(world: &World, state: &Device, envelope: &Bytes) -> bool {
    let envelope = Envelope::parse(envelope.clone()).ok();
    let body = envelope.as_ref().and_then(|envelope| seal::open(&world.keys, envelope).ok());
    // Of a device that was removed no snapshot decides how much counts, and rows that it covers are not read.
    let is_removed = |sender: &DeviceId| {
        let standing = state.engine.as_ref().map(|engine| engine.roster().standing(sender));
        !state.app.taken.is_empty() && matches!(standing, Some(Standing::Removed(_)))
    };
    envelope.zip(body).is_some_and(|(envelope, body)| {
        state.disk.covers(&envelope.header().sender, body.seq) || is_removed(&envelope.header().sender)
    })
}

/// Whether the envelope waits on the device's disk for a sender it knows nothing of, and rightly so: earlier ones of
/// that sender, which say who it is, are not on the relay yet, or have not been for long. Anybody who ever held the
/// group's key can make such envelopes, so they don't count against "synced". Nor do those of removed devices, beyond
/// what counts of them, nor what a stranger or a removed device sealed under a key that this device was not given: whether
/// it counts is inside, and anybody at all can make those. Of a removed device the app is told of a gap. Nor does anything
/// of a newcomer whom none of those who are left takes for a member: it may have been dropped before there was a key.
fn is_of_nobody(world: &World, state: &Device, (log, settled_ms): (&Log, u64), envelope: &Bytes) -> bool {
    let Ok(envelope) = Envelope::parse(envelope.clone()) else { return false };
    let Ok(body) = seal::open(&world.keys, &envelope) else { return false };
    let (sender, key_id) = (envelope.header().sender, envelope.header().key_id);
    let has_key = state.engine.as_ref().is_some_and(|engine| engine.keys().get(&key_id).is_some());
    match state.engine.as_ref().map(|engine| engine.roster().standing(&sender)) {
        Some(Standing::Removed(cutoff)) => body.seq > cutoff.seq || !has_key,
        Some(Standing::Stranger) => {
            let its_own =
                world.devices.iter().filter(|device| device.id == sender).flat_map(|device| &device.disk.held);
            let earlier = its_own.filter(|row| row.sender == sender && row.seq < body.seq);
            let is_fresh = |blob_id: &BlobId| log.find(blob_id).is_some_and(|(_, row)| row.here_ms > settled_ms);
            let unknown = earlier.map(|row| row.hash.blob_id()).any(|id| !log.ever_had(&id) || is_fresh(&id));
            let rosters = world.survivors().into_iter().filter_map(|other| world.devices[other].engine.as_ref());
            let is_nobodys = !world.removals.is_empty() && !rosters.map(Engine::roster).any(|it| it.is_member(&sender));
            let waits = state.disk.waits(&envelope.hash()) && (unknown || !world.removals.is_empty());
            !has_key || is_nobodys || waits
        }
        // What its other installation seals again comes under another name.
        Some(Standing::Member) => world.truth.copied.contains(&sender),
        None => false,
    }
}

/// Every survivor holds what any survivor holds, but for what had a short time to live.
pub(super) fn survivors_agree(world: &World) -> bool {
    missing(world).is_none()
}

fn missing(world: &World) -> Option<(usize, DeviceId, Seq)> {
    let survivors = world.survivors();
    for holder in &survivors {
        let lasting = world.devices[*holder].disk.held.iter().filter(|row| !is_short_lived(row));
        // In the places of a device that was copied may be what the one installation sealed, or the other: what counts
        // there is the names.
        for row in lasting.filter(|row| !world.truth.copied.contains(&row.sender)) {
            for other in &survivors {
                if !snapshots::has(&world.keys, &world.devices[*other], row)
                    && !is_withheld(world, &survivors, world.devices[*other].id, row)
                {
                    return Some((*other, row.sender, row.seq));
                }
            }
        }
    }
    None
}

/// Whether an envelope is sealed under a key that a device lacks, and whoever has it must not hand out yet: a void commit
/// would have kept it from somebody who says nothing any more. Or whoever has it knows no commit that began it, and an
/// outlaw sealed the envelope: it may have made the key up, and told it to some by a void commit that not everybody has
/// to hear of.
pub(super) fn is_withheld(world: &World, survivors: &[usize], device: DeviceId, row: &HeldRow) -> bool {
    let Some(key_id) = Envelope::parse(row.envelope.clone()).ok().map(|envelope| envelope.header().key_id) else {
        return false;
    };
    let engine = |holder: &usize| world.devices[*holder].engine.as_ref();
    let has_key = |holder: &&usize| engine(holder).is_some_and(|engine| engine.keys().get(&key_id).is_some());
    let holders: Vec<_> = survivors.iter().filter(has_key).collect();
    let is_among = holders.iter().any(|holder| world.devices[**holder].id == device);
    let is_made_up = |engine: &Engine| {
        let commit = engine.roster().history().of_key(&key_id);
        commit.is_none() && world.truth.made_outside.contains(&row.hash)
    };
    let mut holders = holders.into_iter().filter_map(engine);
    !is_among && holders.all(|engine| engine.withholds(&key_id) || is_made_up(engine))
}

pub(super) fn is_short_lived(row: &HeldRow) -> bool {
    Envelope::parse(row.envelope.clone()).is_ok_and(|envelope| envelope.header().ttl_s > 0)
}

/// What must hold when nobody has anything left to do. Returns how many blobs every survivor holds.
pub(super) fn at_rest(world: &World) -> Result<u64, Violation> {
    let survivors = world.survivors();
    for device in &survivors {
        if !world.devices[*device].is_in_step() {
            let status = world.devices[*device].engine.as_ref().map(crate::Engine::status);
            return Err(Violation::new("comes to rest", format!("device {device} ends as {status:?}")));
        }
    }
    if let Some((device, sender, seq)) = missing(world) {
        return Err(Violation::new("1 no loss", format!("device {device} lacks {sender:?} {seq}")));
    }
    for (token, (device, pushed)) in &world.truth.confirmed {
        let lives = survivors.contains(device);
        if lives && world.devices[*device].disk.at(pushed.cursor).is_none_or(|row| row.push_id != pushed.push_id) {
            return Err(Violation::new("1 no loss", format!("device {device} lost its own push {token}")));
        }
    }
    confirmed_reached_everybody(world)?;
    copies::everybody_has_everything(world)?;
    for device in &survivors {
        log_is_in_order(&world.devices[*device])?;
        holes_are_true(world, *device)?;
        app_has_everything_once(world, *device)?;
    }
    relays_are_full_again(world)?;
    removals::everybody_has_the_key(world)?;
    removals::nobody_outside_reads(world)?;
    outlaw::nobody_came_back(world)?;
    outlaw::nobody_is_locked_out(world)?;
    names::everybody_agrees(world)?;
    receipts::everybody_knows(world)?;
    faces::nobody_is_blamed(world)?;
    let alive: BTreeSet<_> = survivors.iter().map(|device| world.devices[*device].id).collect();
    for ((device, id), Unnoticed { read: (cursor, run), .. }) in
        world.truth.unnoticed.iter().filter(|((device, _), _)| alive.contains(device))
    {
        // Refilled in the very order it had before, a log is the same again, and there is nothing to notice.
        let relay = world.relays.iter().find(|relay| relay.id == *id);
        let is_same = |log: &Log| cursor.get() < log.floor || log.run_at(cursor.get()) == Some(*run);
        let same = relay.is_some_and(|relay| relay.logs().any(is_same));
        if !same {
            return Err(Violation::new("6 tampering shows", format!("{device:?} never noticed what {id:?} lost")));
        }
    }
    Ok(survivors.first().map_or(0, |first| world.devices[*first].disk.log.len() as u64))
}

/// What a relay confirmed and never lost is with everybody, be the one who pushed it gone.
fn confirmed_reached_everybody(world: &World) -> Result<(), Violation> {
    let survivors = world.survivors();
    for (token, (device, pushed)) in &world.truth.confirmed {
        let Some(row) = world.devices[*device].disk.at(pushed.cursor) else { continue };
        let blob_id = row.hash.blob_id();
        // Of a device that was removed counts what the others had by then.
        if !world.is_left(*device)
            || is_short_lived(row)
            || !world.relays.iter().any(|relay| relay.answers_for(&blob_id))
        {
            continue;
        }
        for survivor in survivors.iter().copied() {
            let has = |device: &Device| device.disk.has_blob(&blob_id) || device.app.taken.contains(token);
            if !has(&world.devices[survivor]) && !is_withheld(world, &survivors, world.devices[survivor].id, row) {
                let what = format!("device {survivor} never got push {token}, which a relay confirmed");
                return Err(Violation::new("1 no loss", what));
            }
        }
    }
    Ok(())
}

/// One sender's blobs come in its order, but for those marked late.
fn log_is_in_order(device: &Device) -> Result<(), Violation> {
    let mut last: BTreeMap<DeviceId, Seq> = BTreeMap::new();
    for row in device.disk.after(LocalCursor::START).filter(|row| !row.late) {
        let before = last.insert(row.sender, row.seq).unwrap_or(Seq::START);
        if before >= row.seq {
            return Err(Violation::new("2 in order", format!("{:?} {} after {before}", row.sender, row.seq)));
        }
    }
    Ok(())
}

/// Up to a sender's frontier everything is held or told to be missing, and what is missing nobody else holds.
fn holes_are_true(world: &World, device: usize) -> Result<(), Violation> {
    let state = &world.devices[device];
    for row in state.disk.senders.values() {
        let is_hole = |seq: u64| row.holes.iter().any(|(first, last)| (first.get()..=last.get()).contains(&seq));
        let told = world.truth.gaps.get(&(state.id, row.sender));
        for seq in 1..=row.seq.get() {
            let held = state.disk.holds(&row.sender, Seq::new(seq));
            if held == is_hole(seq) {
                let what = if held { "held, and a hole" } else { "skipped silently" };
                return Err(Violation::new("2 in order", format!("device {device}: {:?} {seq} is {what}", row.sender)));
            }
            let was_told =
                told.is_some_and(|gaps| gaps.iter().any(|(first, last)| (first.get()..=last.get()).contains(&seq)));
            // A crash right after the hole was stored may swallow the event; the hole stays for all to see.
            if !held && !was_told && world.plan.faults.crash == 0 && world.report.crashes == 0 {
                return Err(Violation::new("2 gaps are told", format!("device {device}: {:?} {seq}", row.sender)));
            }
        }
    }
    Ok(())
}

/// The app that stores the cursor with its data has every blob of the log exactly once, and can read it.
fn app_has_everything_once(world: &World, device: usize) -> Result<(), Violation> {
    let state = &world.devices[device];
    let mut payloads = BTreeSet::new();
    for (cursor, (push_id, bytes)) in &state.app.names {
        let envelope = Envelope::parse(bytes.clone()).map_err(|error| Violation::new("2 once", error.to_string()))?;
        let body = seal::open(&world.keys, &envelope).map_err(|error| Violation::new("2 once", error.to_string()))?;
        let payload = seal::unpack(&body).map_err(|error| Violation::new("2 once", error.to_string()))?;
        let token = payload.as_ref().try_into().map(Token::from_be_bytes).unwrap_or_default();
        if body.push_id != *push_id
            || !world.truth.pushes.contains_key(&token)
            || !payloads.insert(token)
            || !snapshots::nothing_twice(world, &state.app, *cursor, (envelope.header().sender, token))
        {
            return Err(Violation::new("2 once", format!("device {device}: {token} at {cursor}")));
        }
    }
    if state.app.names.len() != state.disk.log.len() {
        let (app, log) = (state.app.names.len(), state.disk.log.len());
        return Err(Violation::new("2 once", format!("device {device}: the app has {app} of {log}")));
    }
    Ok(())
}

/// What a relay lost is on it again, if anybody is left who can tell that it was there, and so is everything that those
/// who are left ever sealed.
fn relays_are_full_again(world: &World) -> Result<(), Violation> {
    let alive: BTreeSet<_> = world.survivors().iter().map(|device| world.devices[*device].id).collect();
    for relay in &world.relays {
        let Some(log) = world.log_in_use(relay) else { continue };
        for device in world.survivors() {
            let disk = &world.devices[device].disk;
            let lasting = disk.held.iter().filter(|row| !is_short_lived(row) && !disk.is_gone(row));
            for row in lasting {
                let blob_id = row.hash.blob_id();
                let witnesses = world.truth.lost.get(&(relay.id, blob_id));
                // Who has let it go has nothing to give: a snapshot stands for it.
                let gone =
                    |id: &DeviceId| world.devices.iter().any(|device| device.id == *id && device.disk.is_gone(row));
                let keeps = |id: &DeviceId| alive.contains(id) && !gone(id);
                let can_tell = witnesses.is_none_or(|witnesses| witnesses.noticed.iter().any(keeps));
                let owed = keeps(&row.sender) || (relay.ever_stored(&blob_id) && can_tell);
                if owed && !log.ever_had(&blob_id) {
                    let what = format!("{:?} lacks {:?} {} ({:?})", relay.id, row.sender, row.seq, row.kind);
                    let kind = if row.kind == Kind::Data { "1 no loss" } else { "1 no loss (control)" };
                    return Err(Violation::new(kind, what));
                }
            }
        }
    }
    Ok(())
}
