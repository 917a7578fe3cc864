//! What other devices sealed: what it takes for an envelope to count, and in which order it is handed out.
//!
//! Each sender has a frontier: everything up to it is held. The next one is taken when its `prev` names the
//! frontier's hash; one from further on waits. What stays missing while every relay in reach is read to its end
//! is reported as a gap, the sender goes on, and should the missing one come after all it is taken as `late`.
//! Nothing that a member signed is skipped silently: it is taken, waits, or is parked with a reason.
//!
//! Invariant: what [`Inbox`] knows is what the ops it returned say, so a crash forgets both or neither.

mod covering;
mod parking;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use sync_types::{
    BlobHash, BlobId, DeviceId, Kind, PushId, Seq,
    limits::{HOLES_PER_SENDER_MAX, UNKNOWN_ENVELOPES_MAX, UNKNOWN_SENDERS_MAX, WAITING_PER_SENDER_MAX},
};

use crate::{
    context::{Context, Effects},
    copies::Copies,
    event::{Event, HeldRow, Load, Now, ParkReason, SenderRow, StoreOp, WaitingRow},
    examine::{Authentic, Candidate, Examined, Unreadable, examine},
    protection::Protection,
    ranges::Ranges,
    receipt::Reach,
    roster::{Change, Cutoff, Roster, RosterError, Standing, lets_in, without_boxes},
    timing::GAP_MS,
};

/// Bytes of waiting envelopes kept in memory. Beyond it the missing ones are given up for now: they may come late.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Blob ids of expired rows remembered, to know at once that a predecessor will not come.
const EXPIRED_MAX: usize = 16_384;

/// How many envelopes were not worth keeping, by reason. For diagnostics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Neither signed by their sender nor named by an authentic successor, or altered on the way.
    pub bad_signature: u64,
    /// Held already.
    pub repeated: u64,
    /// Of senders outside the roster, more than a device keeps.
    pub unknown_sender: u64,
    /// A member's and unreadable, more than a device keeps.
    pub parked_overflow: u64,
    /// Of removed devices, beyond what counts of theirs.
    pub from_removed: u64,
    /// Commits that follow from nothing.
    pub invalid_commits: u64,
}

/// An authentic envelope among those that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Which of them.
    pub(crate) index: usize,
    pub(crate) sender: DeviceId,
    pub(crate) seq: Seq,
    pub(crate) prev: BlobHash,
    pub(crate) hash: BlobHash,
    /// The sender's clock at sealing.
    pub(crate) time_ms: u64,
}

#[derive(Debug, Default)]
struct Sender {
    seq: Seq,
    /// The hash of the envelope at `seq`; zeros where that one is missing itself.
    hash: BlobHash,
    holes: Ranges,
    expected: Seq,
    waiting: BTreeMap<Seq, Authentic>,
    stalled_since_ms: Option<u64>,
}

impl Sender {
    fn is_stalled(&self) -> bool {
        !self.waiting.is_empty() || self.expected > self.seq
    }

    fn follows(&self, next: &Authentic) -> bool {
        let predecessor_is_missing = self.hash == BlobHash::ZERO && self.seq > Seq::START;
        next.prev == self.hash || predecessor_is_missing
    }
}

/// What every other device sent, as far as it is known here.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    senders: BTreeMap<DeviceId, Sender>,
    parked: BTreeMap<BlobId, ParkReason>,
    parked_bytes: u64,
    expired: BTreeSet<BlobId>,
    expired_order: VecDeque<BlobId>,
    waiting_bytes: usize,
    dropped: Dropped,
    /// Envelopes of a stranger were dropped. When somebody joins, it may have been them: the relays are read again.
    reread_wanted: bool,
    reread_due: bool,
    /// Commits came that may change who counts, and how far, or a member asks for one.
    commits_due: bool,
    /// What may come under one identity and another.
    copies: Copies,
    /// Something came under another identity that may be among what is parked.
    retry_due: bool,
    /// Something was given up for lost.
    gave_up: bool,
    /// Senders whose row changed since the last op.
    changed: BTreeSet<DeviceId>,
    /// How often one did.
    changes: u64,
}

impl Inbox {
    pub(crate) fn open(
        senders: Vec<SenderRow>,
        waiting: Vec<WaitingRow>,
        (parked, parked_bytes): (Vec<(BlobId, ParkReason)>, u64),
        context: &mut Context,
    ) -> Self {
        let mut inbox = Self { parked: parked.into_iter().collect(), parked_bytes, ..Self::default() };
        for row in senders.into_iter().filter(|row| row.sender != context.me) {
            let holes = Ranges::from_runs(&row.holes);
            let sender = Sender { seq: row.seq, hash: row.hash, holes, expected: row.expected, ..Sender::default() };
            inbox.senders.insert(row.sender, sender);
        }
        // Authentic when they were stored: examined again only for what is inside.
        for row in examine(context, waiting.into_iter().map(|row| row.envelope.into())) {
            if let Examined::Authentic(envelope) = row {
                inbox.waiting_bytes += envelope.bytes.len();
                inbox.senders.entry(envelope.sender).or_default().waiting.insert(envelope.seq, envelope);
            }
        }
        inbox.copies.learn(&context.roster);
        // What waited for names to be read does so again.
        let next = |sender: &Sender| sender.waiting.keys().next().copied().filter(|seq| *seq <= sender.seq.next());
        let due: Vec<_> = inbox.senders.iter().filter_map(|(id, sender)| Some((*id, next(sender)?))).collect();
        for (id, seq) in due {
            inbox.copies.holds_back(&id, seq);
        }
        inbox
    }

    /// Takes in envelopes in the order a relay holds them. Returns what is authentic among them, own ones too.
    pub(crate) fn receive(
        &mut self,
        context: &mut Context,
        now: Now,
        envelopes: impl IntoIterator<Item = Candidate>,
        effects: &mut Effects,
    ) -> Vec<Seen> {
        self.copies.learn(&context.roster);
        let mut seen = Vec::new();
        for (index, examined) in examine(context, envelopes).into_iter().enumerate() {
            match examined {
                Examined::Authentic(envelope) => {
                    let Authentic { sender, seq, prev, hash, time_ms, .. } = envelope;
                    seen.push(Seen { index, sender, seq, prev, hash, time_ms });
                    if envelope.sender != context.me {
                        self.place(context, now, envelope, effects);
                    }
                }
                Examined::Unreadable(unreadable) => self.park(unreadable, effects),
                Examined::NotAuthentic => self.dropped.bad_signature += 1,
            }
        }
        self.flush(effects);
        seen
    }

    /// A relay says this envelope's time is over.
    pub(crate) fn expired(&mut self, blob_id: BlobId) {
        if self.expired.insert(blob_id) {
            self.expired_order.push_back(blob_id);
            if self.expired_order.len() > EXPIRED_MAX {
                self.expired_order.pop_front().map(|oldest| self.expired.remove(&oldest));
            }
        }
    }

    /// Reports gaps that are due. `caught_up`: some relay is connected, and all that are were read to their end.
    pub(crate) fn check_gaps(&mut self, context: &mut Context, now: Now, caught_up: bool, effects: &mut Effects) {
        let mut due = Vec::new();
        for (id, sender) in self.senders.iter_mut() {
            if !caught_up || !sender.is_stalled() || context.roster.standing(id) == Standing::Stranger {
                sender.stalled_since_ms = None;
                continue;
            }
            let since = *sender.stalled_since_ms.get_or_insert(now.mono_ms);
            let only_one_missing =
                sender.waiting.first_key_value().filter(|(seq, _)| seq.get() == sender.seq.get() + 2);
            let surely_gone = only_one_missing.is_some_and(|(_, next)| self.expired.contains(&next.prev.blob_id()));
            if surely_gone || now.mono_ms >= since + GAP_MS {
                due.push(*id);
            }
        }
        for id in due {
            self.give_up(context, now, id, effects);
        }
        self.flush(effects);
    }

    /// When [`Self::check_gaps`] is next worth calling.
    pub(crate) fn wake_at(&self) -> Option<u64> {
        self.senders.values().filter_map(|sender| sender.stalled_since_ms).min().map(|since| since + GAP_MS)
    }

    /// Envelopes of members, or at least places, that wait for something. A stranger's are nobody's loss.
    pub(crate) fn waiting(&self, roster: &Roster) -> u64 {
        let waiting = |sender: &Sender| (sender.waiting.len() as u64).max(u64::from(sender.is_stalled()));
        let known = self.senders.iter().filter(|(id, _)| roster.standing(id) != Standing::Stranger);
        known.map(|(_, sender)| waiting(sender)).sum()
    }

    /// Something of another device is held, or waits for what comes before it: a relay that loses rows is owed both.
    pub(crate) fn holds_anything(&self) -> bool {
        self.senders.values().any(|sender| sender.seq > Seq::START || !sender.waiting.is_empty())
    }

    /// What waits, in the form of what is held: a relay that lost it gets it back as well.
    pub(crate) fn waiting_rows(&self, now: Now) -> Vec<HeldRow> {
        let row = |envelope: &Authentic| HeldRow {
            sender: envelope.sender,
            seq: envelope.seq,
            hash: envelope.hash,
            kind: envelope.kind,
            cursor: None,
            push_id: envelope.push_id,
            time_ms: envelope.time_ms,
            held_ms: now.wall_ms,
            late: false,
            envelope: envelope.bytes.clone(),
        };
        self.senders.values().flat_map(|sender| sender.waiting.values()).map(row).collect()
    }

    pub(crate) fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Whether envelopes may have been dropped of somebody who has become a member. Asking takes the answer back.
    pub(crate) fn take_reread_due(&mut self) -> bool {
        std::mem::take(&mut self.reread_due)
    }

    /// Commits came since this was last asked. Asking takes the answer back.
    pub(crate) fn take_commits_due(&mut self) -> bool {
        std::mem::take(&mut self.commits_due)
    }

    /// Whether anything was given up since this was last asked. Asking takes the answer back.
    pub(crate) fn take_gave_up(&mut self) -> bool {
        std::mem::take(&mut self.gave_up)
    }

    /// What to read of what is held, so that what a copied device sealed twice is known again.
    pub(crate) fn names_wanted(&mut self, bytes: usize) -> Option<Load> {
        self.copies.next_load(bytes)
    }

    /// Those rows came: what waited for them is taken, once they are all.
    pub(crate) fn names_read(
        &mut self,
        context: &mut Context,
        now: Now,
        (sender, from): (DeviceId, Seq),
        rows: &[HeldRow],
        effects: &mut Effects,
    ) {
        if self.copies.read(sender, from, rows) {
            self.retry_due = true;
            for id in self.senders.keys().copied().collect::<Vec<_>>() {
                if context.roster.standing(&id) != Standing::Stranger {
                    self.drain(context, now, id, effects);
                }
            }
            self.flush(effects);
        }
    }

    /// How far a sender is held.
    pub(crate) fn held(&self, sender: &DeviceId) -> Cutoff {
        self.senders.get(sender).map(|sender| Cutoff { seq: sender.seq, hash: sender.hash }).unwrap_or_default()
    }

    /// How often it became known that more, or less, of a sender is held: once that has grown, [`Self::reached`] may say
    /// something else than before.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// How far each member is held, and what of that is not. Of a sender that lacks so much that not all of it is
    /// remembered, nothing.
    pub(crate) fn reached(&self, roster: &Roster) -> BTreeMap<DeviceId, Reach> {
        let members = self.senders.iter().filter(|(id, _)| roster.is_member(id));
        let known = members.filter(|(_, sender)| sender.seq > Seq::START && sender.holes.runs() < HOLES_PER_SENDER_MAX);
        known
            .map(|(id, sender)| (*id, Reach { seq: sender.seq, hash: sender.hash, holes: sender.holes.clone() }))
            .collect()
    }

    /// Senders of whom more is held than counts: it came before this device knew that they are removed, or that
    /// whoever let them in is.
    pub(crate) fn beyond(&self, roster: &Roster) -> Vec<DeviceId> {
        let beyond = |id: &DeviceId, sender: &Sender| match roster.standing(id) {
            Standing::Member => false,
            Standing::Removed(cutoff) => sender.seq > cutoff.seq,
            Standing::Stranger => sender.seq > Seq::START,
        };
        self.senders.iter().filter(|(id, sender)| beyond(id, sender)).map(|(id, _)| *id).collect()
    }

    /// Whether something is missing of a removed device up to where it counts. It may be there, and sealed under a key that
    /// is not: such an envelope of a device that is no member is not kept.
    pub(crate) fn lacks_of_removed(&self, roster: &Roster) -> bool {
        let lacks = |sender: &Sender, cutoff: &Cutoff| sender.seq < cutoff.seq || sender.holes.runs() > 0;
        let mut removed = roster.removed().iter();
        removed.any(|(id, cutoff)| self.senders.get(id).is_some_and(|sender| lacks(sender, cutoff)))
    }

    /// How far removed devices count has changed: what waits beyond that is let go of, and what is missing up to it is
    /// waited for. Reads the relays again where something was refused that counts after all.
    pub(crate) fn heed_removals(&mut self, context: &Context, further: bool, effects: &mut Effects) {
        for (id, cutoff) in context.roster.removed().iter().filter(|(id, _)| **id != context.me) {
            let sender = self.senders.entry(*id).or_default();
            let beyond = sender.waiting.split_off(&cutoff.seq.next());
            for envelope in beyond.values() {
                self.waiting_bytes -= envelope.bytes.len();
                self.dropped.from_removed += 1;
                effects.ops.push(StoreOp::Unwait { hash: envelope.hash });
            }
            // What it said of itself beyond that does not count either.
            let is_more = cutoff.seq > sender.expected && cutoff.seq > sender.seq;
            if is_more || sender.expected > cutoff.seq {
                sender.expected = cutoff.seq;
                self.changed.insert(*id);
            }
        }
        self.reread_due |= further;
        self.flush(effects);
    }

    /// A member says that so much of its own is on every relay that it uses. What is not here by then is waited for, and
    /// given up in its time: that the newest has expired nothing else would tell.
    pub(crate) fn expect(&mut self, sender: DeviceId, through: Seq, effects: &mut Effects) {
        let known = self.senders.entry(sender).or_default();
        if through > known.expected && through > known.seq {
            known.expected = through;
            self.changed.insert(sender);
        }
        self.flush(effects);
    }

    fn place(&mut self, context: &mut Context, now: Now, envelope: Authentic, effects: &mut Effects) {
        let id = envelope.sender;
        let mut standing = context.roster.standing(&id);
        if standing == Standing::Stranger {
            // The first envelope of a device is the roster entry that makes it a member; entries certify themselves.
            if envelope.control.as_ref().is_some_and(|entry| lets_in(entry)) {
                self.apply_control(context, now, &envelope, effects);
                standing = context.roster.standing(&id);
            }
            if standing == Standing::Stranger {
                self.keep_for_later(envelope, effects);
                return;
            }
        }
        if let Standing::Removed(cutoff) = standing {
            let differs = envelope.seq == cutoff.seq && cutoff.hash != BlobHash::ZERO && envelope.hash != cutoff.hash;
            if envelope.seq > cutoff.seq || differs {
                self.dropped.from_removed += 1;
                return;
            }
        }
        let sender = self.senders.entry(id).or_default();
        let is_wanted = envelope.seq > sender.seq || sender.holes.contains(envelope.seq);
        if is_wanted && self.copies.holds_back(&id, envelope.seq) {
            self.wait(context, now, envelope, effects);
        } else if envelope.seq <= sender.seq {
            let same = envelope.seq != sender.seq || sender.hash == BlobHash::ZERO || envelope.hash == sender.hash;
            if sender.holes.remove(envelope.seq) {
                self.take(context, now, envelope, true, effects);
            } else if !context.protections.hold(Protection::Deduplication) {
                self.take(context, now, envelope, false, effects);
            } else if same {
                self.dropped.repeated += 1;
            } else {
                self.park_fork(context, &envelope, effects);
            }
        } else if !context.protections.hold(Protection::SenderOrder) {
            self.take(context, now, envelope, false, effects);
        } else if envelope.seq == sender.seq.next() {
            if sender.follows(&envelope) {
                self.take(context, now, envelope, false, effects);
                self.drain(context, now, id, effects);
            } else {
                self.park_fork(context, &envelope, effects);
            }
        } else {
            self.wait(context, now, envelope, effects);
        }
    }

    /// A member's envelope whose predecessor is missing.
    fn wait(&mut self, context: &mut Context, now: Now, envelope: Authentic, effects: &mut Effects) {
        let id = envelope.sender;
        let sender = self.senders.entry(id).or_default();
        match sender.waiting.get(&envelope.seq) {
            Some(other) if other.hash == envelope.hash => self.dropped.repeated += 1,
            Some(_) => self.park_fork(context, &envelope, effects),
            None => {
                self.insert_waiting(envelope, effects);
                let crowded = self.senders.get(&id).is_some_and(|sender| sender.waiting.len() > WAITING_PER_SENDER_MAX);
                if crowded || self.waiting_bytes > WAITING_BYTES_MAX {
                    self.give_up(context, now, id, effects);
                }
            }
        }
    }

    /// A stranger's envelope: its roster entry may be on its way.
    fn keep_for_later(&mut self, envelope: Authentic, effects: &mut Effects) {
        if self.senders.get(&envelope.sender).is_some_and(|sender| sender.waiting.contains_key(&envelope.seq)) {
            self.dropped.repeated += 1;
            return;
        }
        let strangers = self.senders.values().filter(|sender| sender.seq == Seq::START && !sender.waiting.is_empty());
        let (count, envelopes) = strangers.fold((0, 0), |(count, all), sender| (count + 1, all + sender.waiting.len()));
        let new = !self.senders.contains_key(&envelope.sender);
        if envelopes >= UNKNOWN_ENVELOPES_MAX
            || (new && count >= UNKNOWN_SENDERS_MAX)
            || self.waiting_bytes + envelope.bytes.len() > WAITING_BYTES_MAX
        {
            self.dropped.unknown_sender += 1;
            self.reread_wanted = true;
        } else {
            self.insert_waiting(envelope, effects);
        }
    }

    fn insert_waiting(&mut self, envelope: Authentic, effects: &mut Effects) {
        let (sender, hash, bytes) = (envelope.sender, envelope.hash, envelope.bytes.clone());
        self.waiting_bytes += bytes.len();
        effects.ops.push(StoreOp::Wait(WaitingRow { sender, hash, envelope: bytes }));
        self.senders.entry(sender).or_default().waiting.insert(envelope.seq, envelope);
    }

    /// Takes what no longer has to wait.
    fn drain(&mut self, context: &mut Context, now: Now, id: DeviceId, effects: &mut Effects) {
        while let Some(sender) = self.senders.get_mut(&id) {
            let Some(first) = sender.waiting.first_entry().filter(|first| *first.key() <= sender.seq.next()) else {
                break;
            };
            if self.copies.holds_back(&id, *first.key()) {
                break;
            }
            let envelope = first.remove();
            self.waiting_bytes -= envelope.bytes.len();
            effects.ops.push(StoreOp::Unwait { hash: envelope.hash });
            if envelope.seq <= sender.seq {
                if sender.holes.remove(envelope.seq) {
                    self.take(context, now, envelope, true, effects);
                } else {
                    self.dropped.repeated += 1;
                }
            } else if sender.follows(&envelope) {
                self.take(context, now, envelope, false, effects);
            } else {
                self.park_fork(context, &envelope, effects);
            }
        }
    }

    /// Goes on behind what is missing.
    fn give_up(&mut self, context: &mut Context, now: Now, id: DeviceId, effects: &mut Effects) {
        let Some(sender) = self.senders.get_mut(&id) else { return };
        let first = sender.seq.next();
        let (last, hash) = match sender.waiting.first_key_value() {
            Some((seq, next)) => (Seq::new(seq.get() - 1), next.prev),
            None => (sender.expected, BlobHash::ZERO),
        };
        if last >= first {
            sender.holes.insert_run(first.get(), last.get());
            if sender.holes.runs() > HOLES_PER_SENDER_MAX {
                sender.holes.drop_first_run();
            }
            (sender.seq, sender.hash) = (last, hash);
            self.gave_up = true;
            if context.protections.hold(Protection::GapReported) {
                effects.events.push(Event::Gap { sender: id, first, last });
            }
        }
        self.changed.insert(id);
        self.drain(context, now, id, effects);
        if let Some(sender) = self.senders.get_mut(&id) {
            // Behind one gap may be the next: it gets its own time.
            sender.stalled_since_ms = sender.is_stalled().then_some(now.mono_ms);
        }
    }

    /// Holds an envelope for good, and hands it out if it is for the app.
    fn take(&mut self, context: &mut Context, now: Now, envelope: Authentic, late: bool, effects: &mut Effects) {
        let sender = self.senders.entry(envelope.sender).or_default();
        if !late {
            (sender.seq, sender.hash) = (envelope.seq, envelope.hash);
        }
        self.changed.insert(envelope.sender);
        context.roster.note_epoch(envelope.sender, envelope.key_id);
        let late = late && context.protections.hold(Protection::LateMarked);
        let is_news = self.copies.is_news(&envelope.sender, envelope.seq, envelope.push_id)
            || !context.protections.hold(Protection::CopiesKnownAgain);
        let cursor = (envelope.kind == Kind::Data && is_news).then(|| context.local.advance());
        self.retry_due |= self.copies.concerns(&envelope.sender, envelope.seq);
        context.local.hold(&envelope.bytes);
        effects.ops.push(StoreOp::Take(HeldRow {
            sender: envelope.sender,
            seq: envelope.seq,
            hash: envelope.hash,
            kind: envelope.kind,
            cursor,
            push_id: envelope.push_id,
            time_ms: envelope.time_ms,
            held_ms: now.wall_ms,
            late,
            envelope: envelope.bytes.clone(),
        }));
        match (envelope.kind, cursor) {
            (Kind::Data, Some(cursor)) => {
                let (push_id, sender): (PushId, DeviceId) = (envelope.push_id, envelope.sender);
                effects.events.push(Event::BlobAvailable { cursor, push_id, sender, late });
            }
            (Kind::Control, _) => self.apply_control(context, now, &envelope, effects),
            // This build has no use for the others; the one that has finds them among what is held.
            (Kind::Data | Kind::Snapshot | Kind::Receipt | Kind::ContentManifest, _) => {}
        }
    }

    fn apply_control(&mut self, context: &mut Context, now: Now, envelope: &Authentic, effects: &mut Effects) {
        let Some(entry) = &envelope.control else { return };
        match self.apply_entry(context, now, entry, effects) {
            Ok(()) => {}
            Err(RosterError::InvalidCommit) => self.dropped.invalid_commits += 1,
            // A stranger's is nobody's loss.
            Err(_) if context.roster.standing(&envelope.sender) == Standing::Stranger => {}
            Err(_) => self.park(Unreadable::malformed(envelope), effects),
        }
    }

    /// Learns a roster entry, and what follows from it.
    fn apply_entry(
        &mut self,
        context: &mut Context,
        now: Now,
        entry: &Bytes,
        effects: &mut Effects,
    ) -> Result<(), RosterError> {
        let joined = match context.roster.apply(entry.clone())? {
            Change::Known => return Ok(()),
            // It may be what a commit waited for, or a removed one, of whom more waits here than counts.
            Change::Added(joined) => {
                self.commits_due = true;
                joined
            }
            Change::Committed => {
                self.commits_due = true;
                // The same without its boxes may have come before, from whoever let this device in.
                effects.ops.push(StoreOp::Superseded { entry: without_boxes(entry) });
                Vec::new()
            }
            Change::Leaving => {
                // Somebody has to commit that.
                self.commits_due = true;
                Vec::new()
            }
            Change::Renamed => {
                // Somebody has to give a removed device's anew.
                self.commits_due |= !context.roster.orphaned_names().is_empty();
                Vec::new()
            }
            Change::Waiting | Change::Kept => Vec::new(),
        };
        let names = context.roster.take_names_changed();
        effects.ops.push(StoreOp::Roster { entry: entry.clone() });
        effects.ops.extend(names.superseded.into_iter().map(|entry| StoreOp::Superseded { entry }));
        effects.events.extend(names.renamed.into_iter().map(|device| Event::DeviceRenamed { device }));
        self.copies.learn(&context.roster);
        for device in joined {
            self.reread_due |= std::mem::take(&mut self.reread_wanted);
            effects.events.push(Event::DeviceJoined { device });
            self.drain(context, now, device, effects);
        }
        Ok(())
    }

    /// One row a sender that changed.
    fn flush(&mut self, effects: &mut Effects) {
        for id in std::mem::take(&mut self.changed) {
            self.changes += 1;
            let Some(sender) = self.senders.get(&id) else { continue };
            effects.ops.push(StoreOp::Sender(SenderRow {
                sender: id,
                seq: sender.seq,
                hash: sender.hash,
                holes: sender.holes.to_runs(),
                expected: sender.expected,
            }));
        }
    }
}
