//! What a relay says, and what follows from it.

use std::collections::BTreeMap;

use sync_types::{
    ErrorCode, RelayCursor, RelayMsg, Seq,
    limits::PROTOCOL_VERSION,
    message::{Gap, Page, PushAck, Refused, Welcome},
    wire::AtMost,
};

use super::Engine;
use crate::{
    context::Effects,
    event::{Action, Event, Now, PushState, Pushed, StoreOp},
    link::{Fit, Link, Offer, Phase},
    timing::REFUSED_RETRY_MS,
};

impl Engine {
    pub(super) fn receive(&mut self, now: Now, index: usize, message: RelayMsg) {
        let expected = match (&self.links[index].phase, &message) {
            (Phase::Idle { .. } | Phase::Connecting { .. }, _) => return,
            (Phase::Greeting { .. }, message) => self.is_of_moving(index, message),
            (Phase::Live, RelayMsg::Welcome(_) | RelayMsg::Moved(_)) => false,
            (Phase::Live, _) => true,
        };
        if !expected {
            self.disconnect(now, index, Some(ErrorCode::Malformed));
            return;
        }
        // What others do is told unasked, and by a relay that is stuck with an answer as well.
        let is_answer = !matches!(
            message,
            RelayMsg::Presence(_) | RelayMsg::Notify(_) | RelayMsg::Receipts(_) | RelayMsg::Snapshots(_)
        );
        match message {
            RelayMsg::Welcome(welcome) => self.welcome(now, index, welcome),
            RelayMsg::PushAck(ack) => self.push_ack(index, ack),
            RelayMsg::Page(page) => self.page(now, index, page),
            RelayMsg::Gap(gap) => self.floor(now, index, gap),
            RelayMsg::Refused(refused) => self.refused(now, index, refused),
            RelayMsg::Presence(presence) => {
                let (relay, AtMost(devices)) = (self.links[index].relay, presence.devices);
                self.hear_who_is_there(now, relay, devices);
            }
            RelayMsg::Got(got) => self.got(now, index, got),
            // Asked for by nothing in this build: following makes it needless.
            RelayMsg::Notify(_) => {}
            RelayMsg::Moved(moved) => self.moved(now, index, moved),
            RelayMsg::MoveAck(ack) => self.move_acked(now, index, ack),
            RelayMsg::Receipts(receipts) => self.hear_receipts(receipts),
            RelayMsg::ReceiptAck(ack) => drop(self.links[index].receipt_answered(ack.id, None)),
            RelayMsg::Snapshots(snapshots) => self.hear_snapshots(index, snapshots.manifests),
            RelayMsg::SnapshotAck(ack) => self.snapshot_acked(index, ack.id),
        }
        self.links[index].heard(now, is_answer);
        self.pump(now);
    }

    pub(super) fn welcome(&mut self, now: Now, index: usize, welcome: Welcome) {
        // Another log, where the group was moved since, is one that two ids had apart, and nothing that was lost. The same
        // goes for a device that has no key of the group's as it is now.
        let link = &self.links[index];
        let other = link.state.as_ref().is_some_and(|state| state.log_id != welcome.log_id);
        let was_moved =
            other && (link.paved() != self.to_pave() || self.heeded.chosen.is_none() || self.context.am_removed());
        let understood = self.features();
        let link = &mut self.links[index];
        if welcome.version != PROTOCOL_VERSION || welcome.relay != link.relay {
            let code = if welcome.relay == link.relay {
                ErrorCode::VersionUnsupported
            } else {
                ErrorCode::RelayIdentityChanged
            };
            self.disconnect(now, index, Some(code));
            return;
        }
        let relay = link.relay;
        // What this device did not ask for does not come.
        link.can(welcome.features & understood);
        let known = link.blob_len_max() == Some(welcome.limits.blob_len_max) && link.state.is_some();
        let holding = self.inbox.holds_anything();
        let limits = welcome.limits.clone();
        let regressed = link.welcomed(now, welcome.log_id, welcome.max_cursor, welcome.limits, holding);
        let (max_cursor, pending_count) = (welcome.max_cursor, welcome.pending_count);
        self.actions.push(Action::Emit(Event::Connected { relay, max_cursor, pending_count, limits }));
        let told = self.links[index].pave();
        if regressed {
            // What this device has said to have read there is none of this log's.
            self.receipts.changed(now.mono_ms);
            self.store_relay(index);
        } else if !known || told {
            self.note_relay(index);
        }
        if regressed && !was_moved {
            self.actions.push(Action::Emit(Event::RelayRegressed { relay }));
        }
        // Its log is read once it is clear that no snapshot saves that.
        self.offer_everything();
    }

    pub(super) fn push_ack(&mut self, index: usize, ack: PushAck) {
        let link = &mut self.links[index];
        let Some(flight) = link.answered(ack.id) else { return };
        link.problem = None;
        link.confirmed(ack.cursor, ack.run);
        match flight.what {
            Offer::Own(seq) if flight.blob_id == ack.blob_id => self.acknowledged(index, [seq]),
            Offer::Own(_) => {}
            Offer::Refill(_) => self.refill_settled(index),
        }
    }

    /// Own envelopes are on this relay's disk.
    pub(super) fn acknowledged(&mut self, index: usize, seqs: impl IntoIterator<Item = Seq>) {
        let relay = self.links[index].relay;
        let mut changed = false;
        for seq in seqs {
            if !self.links[index].acknowledge(seq) {
                continue;
            }
            changed = true;
            if let Some((cursor, push_id)) = self.outbox.get(seq).and_then(|queued| queued.blob) {
                self.actions.push(Action::Emit(Event::BlobPushed { cursor, push_id, relay }));
            }
            let on_all = self.links.iter().all(|link| link.has(seq));
            let state = if on_all { PushState::All } else { PushState::Relay };
            for (token, pushed) in self.outbox.take_waiters(seq, on_all) {
                self.actions.push(Action::Reply { token, result: Ok(Pushed { state, ..pushed }) });
            }
        }
        if changed {
            self.note_relay(index);
            let live = self.links.iter().filter(|link| link.is_live());
            if let Some(through) = live.map(Link::acked_through).min() {
                self.outbox.forget_through(through);
            }
        }
    }

    pub(super) fn page(&mut self, now: Now, index: usize, page: Page) {
        let link = &mut self.links[index];
        let new = match link.read(page) {
            Fit::Next(new) => new,
            Fit::Stale => return,
            Fit::Broken => {
                self.disconnect(now, index, Some(ErrorCode::Malformed));
                return;
            }
            Fit::Forked => {
                self.regressed(now, index);
                return;
            }
        };
        for blob_id in new.expired {
            self.inbox.expired(blob_id);
        }
        // Every relay brings all of it, and carries every receipt.
        let bytes: u64 = new.envelopes.iter().map(|envelope| envelope.len() as u64).sum();
        self.receipts.came(bytes / self.links.len().max(1) as u64);
        let mut effects = Effects::default();
        self.mend(&new.envelopes, &mut effects);
        let seen = self.inbox.receive(&mut self.context, now, new.envelopes, &mut effects);
        self.saw(now, &seen, &new.arrived_ms);
        // Who seals under which key may settle what is void, and so who may be handed which key.
        self.duty_may_be_due |= !seen.is_empty() && self.context.roster.history().has_void();
        let differs = self.differs_from(&seen).filter(|_| !self.is_between() && !self.context.am_removed());
        if let Some(from) = differs {
            self.become_another(now, from);
            if self.is_over {
                // Nothing of the page is stored: the device that this one is by now reads it.
                return;
            }
        }
        let me = self.context.me;
        let own = seen.iter().filter(|seen| seen.sender == me);
        let made: Vec<_> = own.map(|seen| (seen.seq, self.outbox.made(seen.seq, seen.hash))).collect();
        let (relay, state) = (self.links[index].relay, self.links[index].state.clone());
        let position = state.map(|state| StoreOp::Relay { relay, state });
        if effects.ops.is_empty() {
            self.actions.extend(position.filter(|_| new.count > 0).map(|op| Action::Note(vec![op])));
        } else {
            effects.ops.extend(position);
        }
        self.actions.extend(effects.into_actions());
        if new.contradicted {
            self.contradicted(index);
        }
        let shown = made.into_iter().filter(|(_, made)| *made == Some(true)).map(|(seq, _)| seq);
        self.acknowledged(index, shown);
        let link = &mut self.links[index];
        if link.fills() {
            seen.iter().for_each(|seen| link.coverage.entry(seen.sender).or_default().insert(seen.seq));
        }
        if self.inbox.take_reread_due() {
            self.reread_all(now);
        }
    }

    /// The log isn't the one we know, though its id is: the relay was restored from a backup.
    pub(super) fn regressed(&mut self, now: Now, index: usize) {
        if !self.links[index].may_regress() {
            self.disconnect(now, index, Some(ErrorCode::LogForked));
            return;
        }
        let holding = self.inbox.holds_anything();
        let link = &mut self.links[index];
        let relay = link.relay;
        if let Some(log_id) = link.state.as_ref().map(|state| state.log_id) {
            link.begin_log(log_id, holding);
        }
        self.receipts.changed(now.mono_ms);
        self.store_relay(index);
        self.actions.push(Action::Emit(Event::RelayRegressed { relay }));
        let pull = self.links[index].pull(now);
        self.send(index, pull);
    }

    pub(super) fn floor(&mut self, now: Now, index: usize, gap: Gap) {
        let link = &mut self.links[index];
        if !link.is_pull(gap.id) {
            return;
        }
        if link.skip_to(gap.floor_cursor, gap.floor_run) {
            self.note_relay(index);
            let pull = self.links[index].pull(now);
            self.send(index, pull);
        } else {
            self.disconnect(now, index, Some(ErrorCode::Malformed));
        }
    }

    pub(super) fn refused(&mut self, now: Now, index: usize, refused: Refused) {
        let code = refused.error();
        if refused.id == 0 {
            self.disconnect(now, index, Some(code));
            if code == ErrorCode::GroupMoved {
                self.links[index].hurry(now, 0);
            }
        } else if let Some(asked) = self.links[index].asked(refused.id) {
            self.snapshot_refused(now, index, asked, code, refused.retry_after_ms);
        } else if self.receipt_refused(now, index, refused.id, code, refused.retry_after_ms) {
            // Nothing waits for it.
        } else if self.move_answered(index, refused.id) {
            // As good as a relay that was wiped: it is filled again.
        } else if self.links[index].is_pull(refused.id) {
            // A log of which nothing was read can't differ from what was.
            if code == ErrorCode::LogForked && self.links[index].pulled() > RelayCursor::START {
                self.regressed(now, index);
            } else {
                self.disconnect(now, index, Some(code));
            }
        } else if let Some(flight) = self.links[index].answered(refused.id) {
            self.push_refused(now, index, flight.what, code, refused.retry_after_ms);
        }
    }

    pub(super) fn push_refused(&mut self, now: Now, index: usize, what: Offer, code: ErrorCode, retry_after_ms: u32) {
        let relay = self.links[index].relay;
        let wait_ms = if retry_after_ms == 0 { REFUSED_RETRY_MS } else { u64::from(retry_after_ms) };
        let link = &mut self.links[index];
        match (code, what) {
            (ErrorCode::RateLimited, what) => link.pause(now.mono_ms + wait_ms, what),
            (ErrorCode::GroupFull | ErrorCode::StorageFull, what) => {
                link.pause(now.mono_ms + wait_ms, what);
                if link.problem.replace(code) != Some(code) {
                    self.actions.push(Action::Emit(Event::Failed { relay: Some(relay), code }));
                }
            }
            (code, Offer::Own(seq)) => {
                link.refuse(seq, code);
                self.actions.push(Action::Emit(Event::Failed { relay: Some(relay), code }));
            }
            // What the relay lost and will not take again stays here; nobody's badge is wrong for it.
            (_, Offer::Refill(_)) => self.refill_settled(index),
        }
    }

    /// Reads every relay again from its start, because something was refused that counts after all. A crash right after the
    /// entry that says so would leave nobody to know.
    pub(super) fn reread_all(&mut self, now: Now) {
        self.links.iter_mut().for_each(Link::reread);
        self.note_relays_with_the_roster();
        for index in 0..self.links.len() {
            if self.links[index].is_live() && self.links[index].reads() {
                let pull = self.links[index].pull(now);
                self.send(index, pull);
            }
        }
    }

    /// What is to be done at every relay is stored together with the entry that it follows from.
    pub(super) fn note_relays_with_the_roster(&mut self) {
        let states = self.links.iter().filter_map(|link| Some((link.relay, link.state.clone()?)));
        let states: BTreeMap<_, _> = states.collect();
        let mut told = false;
        for action in &mut self.actions {
            let (Action::Store(ops) | Action::Note(ops)) = action else { continue };
            for op in ops.iter_mut() {
                if let StoreOp::Relay { relay, state } = op
                    && let Some(now) = states.get(relay)
                {
                    *state = now.clone();
                }
            }
            if !told && ops.iter().any(|op| matches!(op, StoreOp::Roster { .. })) {
                told = true;
                ops.extend(states.iter().map(|(relay, state)| StoreOp::Relay { relay: *relay, state: state.clone() }));
            }
        }
        for index in 0..self.links.len() {
            self.note_relay(index);
        }
    }

    pub(super) fn note_relay(&mut self, index: usize) {
        let op = self.relay_as_it_is(index);
        self.actions.extend(op.map(|op| Action::Note(vec![op])));
    }

    /// That a log lost rows is on the disk before anything else: by the time of another look it may have grown again, and
    /// show nothing of that any more.
    fn store_relay(&mut self, index: usize) {
        let op = self.relay_as_it_is(index);
        self.actions.extend(op.map(|op| Action::Store(vec![op])));
    }

    fn relay_as_it_is(&self, index: usize) -> Option<StoreOp> {
        let link = &self.links[index];
        Some(StoreOp::Relay { relay: link.relay, state: link.state.clone()? })
    }
}
