//! What goes out: own envelopes first, then what a relay lost.

use sync_types::{BlobHash, ErrorCode, message::Push};

use super::{Engine, LOAD_BYTES};
use crate::{
    context::Effects,
    event::{Action, Event, HeldRow, Load, Now},
    link::Offer,
};

impl Engine {
    /// Sends what may be sent, to everybody.
    pub(super) fn pump(&mut self, now: Now) {
        for index in 0..self.links.len() {
            while self.links[index].has_room(now) && self.offer_next(now, index) {}
            self.links[index].forgive(self.outbox.head());
        }
    }

    /// Offers one envelope. Whether there was one at hand.
    pub(super) fn offer_next(&mut self, now: Now, index: usize) -> bool {
        let may_send = self.may_send() && !self.is_between();
        let link = &mut self.links[index];
        let Some(seq) = link.next_own(self.outbox.head()).filter(|_| may_send) else {
            return self.offer_refill(now, index);
        };
        let Some(queued) = self.outbox.get(seq) else {
            if !std::mem::replace(&mut self.loading_own, true) {
                self.actions.push(Action::Load(Load::Own { from: seq, bytes: LOAD_BYTES }));
            }
            return false;
        };
        let (blob_id, envelope, age_s) = (queued.blob_id, queued.envelope.clone(), age_s(now, queued.held_ms));
        let id = link.offer(now, Offer::Own(seq), blob_id, envelope.len());
        self.sent = self.sent.max(seq);
        self.send(index, [Push { id, age_s, envelope }.into()]);
        true
    }

    /// Offers a relay that lost rows something it is not known to hold, once its log is read.
    pub(super) fn offer_refill(&mut self, now: Now, index: usize) -> bool {
        let link = &mut self.links[index];
        if !link.is_caught_up() || !link.fills() {
            return false;
        }
        while let Some(row) = link.refill.pop_front() {
            if link.covers(&row) {
                continue;
            }
            let (blob_id, envelope, age_s) = (row.hash.blob_id(), row.envelope.clone(), age_s(now, row.held_ms));
            let id = link.offer(now, Offer::Refill(Box::new(row)), blob_id, envelope.len());
            link.count_filled();
            self.send(index, [Push { id, age_s, envelope }.into()]);
            return true;
        }
        self.refill_settled(index);
        false
    }

    /// Goes on refilling when everything loaded for it is answered. It comes to its end once every log in reach is read:
    /// what another relay shows until then is owed to this one as well, and is offered then.
    pub(super) fn refill_settled(&mut self, index: usize) {
        let all_read = self.all_read();
        let link = &mut self.links[index];
        let (relay, loaded) = (link.relay, link.refill_loaded);
        if link.refill_loading || !link.refill_settled() || (link.refill_went_through && !all_read) {
            return;
        }
        if link.fills() {
            link.filled_through(loaded);
            link.refill_loading = true;
            link.refill_waiting &= !std::mem::take(&mut link.refill_went_through);
            self.note_relay(index);
            self.actions.push(Action::Load(Load::Held { relay, after: loaded, bytes: LOAD_BYTES }));
        }
    }

    pub(super) fn loaded(&mut self, now: Now, load: Load, rows: Vec<HeldRow>, position: u64) {
        match load {
            Load::Own { .. } if self.resealed(now, &rows) => self.loading_own = false,
            Load::Own { from, .. } => {
                self.loading_own = false;
                let is_there = rows.iter().any(|row| row.seq == from);
                let (gone, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.envelope.is_empty());
                let (rows, damaged): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_whole);
                for seq in damaged.iter().map(|row| row.seq).chain((!is_there).then_some(from)) {
                    // What the store once took is gone, or the disk has changed it. That is shown, and does not stop the others.
                    self.links.iter_mut().for_each(|link| link.refuse(seq, ErrorCode::StoreCorrupt));
                    self.actions.push(Action::Emit(Event::Failed { relay: None, code: ErrorCode::StoreCorrupt }));
                }
                // What stands in a snapshot that every relay had is owed to none, be it one that is new or was wiped.
                for index in 0..self.links.len() {
                    if self.links[index].is_live() && !gone.is_empty() {
                        self.acknowledged(index, gone.iter().map(|row| row.seq));
                    }
                }
                self.outbox.remember_loaded(&rows);
            }
            Load::Of { sender, from, .. } => {
                if !self.adopt(sender, from, &rows) {
                    let mut effects = Effects::default();
                    self.inbox.names_read(&mut self.context, now, (sender, from), &rows, &mut effects);
                    self.actions.extend(effects.into_actions());
                }
            }
            Load::Held { relay, after, .. } => {
                let Some(index) = self.index_of(&relay) else { return };
                let all_read = self.all_read();
                let link = &mut self.links[index];
                // Answers to questions of an earlier connection are for nobody.
                if !link.refill_loading || link.refill_loaded != after {
                    return;
                }
                link.refill_loading = false;
                if rows.is_empty() && !std::mem::replace(&mut link.refill_waiting, true) {
                    let mut waiting = self.inbox.waiting_rows(now);
                    let link = &self.links[index];
                    waiting.retain(|row| !link.has_been_sent(&row.hash.blob_id()) && self.is_owed(now, index, row));
                    self.links[index].refill.extend(waiting);
                } else if rows.is_empty() && !all_read {
                    link.refill_went_through = true;
                } else if rows.is_empty() {
                    link.filled();
                    self.note_relay(index);
                } else {
                    link.refill_loaded = position;
                    let owed = rows.into_iter().filter(|row| is_whole(row) && self.is_owed(now, index, row));
                    let owed: Vec<_> = owed.collect();
                    self.links[index].refill.extend(owed);
                }
            }
            Load::Front { after, .. } => self.front_loaded(now, after, &rows, position),
            Load::SnapshotPart { relay, snapshot, part } => {
                if let Some(index) = self.index_of(&relay) {
                    self.part_loaded(now, index, (snapshot, part), rows);
                }
            }
            Load::Parked { bytes, .. } => {
                let envelopes = rows.into_iter().map(|row| row.envelope.into()).collect();
                let mut effects = Effects::default();
                let last = self.inbox.retry_parked(&mut self.context, now, envelopes, &mut effects);
                self.actions.extend(effects.into_actions());
                if let Some(last) = last {
                    self.actions.push(Action::Load(Load::Parked { after: Some(last), bytes }));
                }
            }
        }
        self.pump(now);
    }
}

/// Whether its bytes are what they were when it was stored. What the disk has changed is offered to nobody.
fn is_whole(row: &HeldRow) -> bool {
    BlobHash::of_bytes(&row.envelope) == row.hash
}

/// Seconds since an envelope came to rest here. A clock that went back makes it young, never refused.
pub(super) fn age_s(now: Now, held_ms: u64) -> u32 {
    u32::try_from(now.wall_ms.saturating_sub(held_ms) / 1_000).unwrap_or(u32::MAX)
}
