//! An installation that was copied, or restored from a backup: the same device twice, until one of the two notices.
//!
//! It notices by an envelope of its own that it never made. Then it goes on as another device. Its new keys follow from
//! the old ones and a nonce; an entry that the old identity signs makes it a member, and says that it is a copy, and from
//! which place on the two may differ. The nonce, the entry, and that the log has to be read anew are one transaction, and
//! the engine is over: [`Action::Reopen`].
//!
//! The next one seals again what it has from that place on, under the names that it had, and only then connects. What of
//! it the others had under the old identity they know again; see [`crate::copies`]. If any of it may have been sent, the
//! other installation's next envelopes would stand in places that are taken: so it does the same, once it hears of the
//! entry or of the envelopes.
//!
//! Invariant: what is sealed again has its place, second and following, before anything else is sealed.

use sync_types::{BlobHash, DeviceId, ErrorCode, Seq};

use super::{Engine, LOAD_BYTES};
use crate::{
    event::{Action, Event, HeldRow, Load, Now, SenderRow, StoreOp},
    identity::Nonce,
    inbox::Seen,
    link::starts_over,
    protection::Protection,
    roster::Copied,
};

/// What is sealed again before this device does anything else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adopting {
    former: DeviceId,
    next: Seq,
    through: Seq,
}

impl Engine {
    /// Whether nothing is to be sealed now: another installation uses this identity, or this device is about to be
    /// another one.
    pub(super) fn is_between(&self) -> bool {
        self.identity_reused || self.adopting.is_some() || self.is_over
    }

    /// Whether something is to be sealed again first: until then this device does nothing else, and refuses what would
    /// have it seal anything.
    pub fn is_adopting(&self) -> bool {
        self.adopting.is_some()
    }

    // ── Noticing ──

    /// From where on another installation has sealed in this device's name, if these show that it has.
    pub(super) fn differs_from(&self, seen: &[Seen]) -> Option<Seq> {
        let own = seen.iter().filter(|seen| seen.sender == self.context.me);
        let foreign = own.filter(|seen| self.outbox.made(seen.seq, seen.hash) == Some(false));
        let first = foreign.min_by_key(|seen| seen.seq)?;
        let before = Seq::new(first.seq.get().saturating_sub(1));
        let known = if before == Seq::START { Some(BlobHash::ZERO) } else { self.outbox.hash_of(before) };
        // What neither shows may differ as well, as far back as is remembered.
        let earliest = || self.outbox.earliest().min(first.seq);
        let differs = self.context.protections.hold(Protection::CopyNoticed);
        differs.then(|| if known == Some(first.prev) { first.seq } else { earliest() })
    }

    /// Another installation says that it may have sent something in this device's name: does the same as that.
    pub(super) fn heed_copies(&mut self, now: Now) {
        if self.is_between() || self.context.am_removed() {
            return;
        }
        let me = self.context.me;
        let taken = |copied: &Copied| copied.offered >= copied.from;
        let mut copies = self.context.roster.copies();
        let from = copies.find(|(_, former, copied)| *former == me && taken(copied)).map(|(.., copied)| copied.from);
        drop(copies);
        if let Some(from) = from {
            self.become_another(now, from);
        }
    }

    /// Is another device from now on. Nothing more comes of this engine.
    pub(super) fn become_another(&mut self, now: Now, from: Seq) {
        let former = self.context.me;
        let roster = &self.context.roster;
        let Some(profile) = roster.member(&former).filter(|_| !roster.is_full()).map(|member| member.profile.clone())
        else {
            self.identity_reused = true;
            self.actions.push(Action::Store(vec![StoreOp::IdentityReused]));
            self.actions.push(Action::Emit(Event::Failed { relay: None, code: ErrorCode::IdentityReused }));
            return;
        };
        let head = self.outbox.head();
        // What was let go can't be sealed again: every relay had it, and a snapshot has.
        let from = from.min(head.next()).max(self.letting_go.own_gone.next());
        // What was offered in an earlier run may have been sent in that.
        let offered = if self.offered_before >= from { self.offered_before } else { self.sent };
        let said = self.receipts.own().map_or(Seq::START, |own| own.count);
        let copied = Copied { from, through: head, offered, said };
        let nonce = Nonce::generate(&mut self.context.rng);
        let next = self.context.identity.clone().next(&nonce);
        let heads: Vec<_> = self.heeded.chosen.and_then(|chosen| chosen.head).into_iter().collect();
        let signers = (&**self.context.identity.key(), &**next.key(), &**next.kem());
        let entry = copied.admit(&self.context.keys.group_id(), signers, &profile, now.wall_ms, &heads);

        let before = Seq::new(from.get() - 1);
        let hash = self.outbox.hash_of(before).unwrap_or(BlobHash::ZERO);
        let shared = SenderRow { sender: former, seq: before, hash, holes: Vec::new(), expected: Seq::START };
        let mut ops = vec![StoreOp::Roster { entry }, StoreOp::Sender(shared)];
        let states = self.links.iter().filter_map(|link| Some((link.relay, link.state.clone()?)));
        let states = states.chain(self.idle_states.iter().map(|(relay, state)| (*relay, state.clone())));
        ops.extend(states.map(|(relay, state)| StoreOp::Relay { relay, state: starts_over(state) }));
        ops.push(StoreOp::Identity { device: next.device_id(), former, nonce });
        self.actions.push(Action::Store(ops));
        for (token, pushed) in self.outbox.take_all_waiters() {
            self.actions.push(Action::Reply { token, result: Ok(pushed) });
        }
        self.actions.push(Action::Reopen);
        self.is_over = true;
    }

    // ── Sealing again ──

    /// Goes on with what is to be sealed again, where this device is a copy that has not come to the end of it.
    pub(super) fn open_copy(&mut self) {
        let Some((former, copied)) = self.context.roster.copied(&self.context.me) else { return };
        let done = self.outbox.head().get();
        if done > copied.count() || !self.context.protections.hold(Protection::CopySealedAgain) {
            return;
        }
        let next = Seq::new(copied.from.get() + done.saturating_sub(1));
        self.adopting = Some(Adopting { former, next, through: copied.through });
    }

    /// Asks for what is to be sealed again next, after this device has introduced itself.
    pub(super) fn go_on_adopting(&mut self) {
        match self.adopting {
            Some(Adopting { former, next, through }) if next <= through => {
                self.actions.push(Action::Load(Load::Of { sender: former, from: next, bytes: LOAD_BYTES }));
            }
            Some(Adopting { former, .. }) => self.finish_adopting(former),
            None => {}
        }
    }

    /// Rows came that this device asked for. Whether it was for this.
    pub(super) fn adopt(&mut self, sender: DeviceId, from: Seq, rows: &[HeldRow]) -> bool {
        let Some(adopting) = self.adopting.filter(|adopting| (adopting.former, adopting.next) == (sender, from)) else {
            return false;
        };
        let (mut next, mut ops) = (from, Vec::new());
        for row in rows.iter().take_while(|row| row.seq <= adopting.through) {
            let again = (row.seq == next).then(|| self.outbox.adopt(&mut self.context, row)).flatten();
            let Some(again) = again else { break };
            ops.push(StoreOp::Adopt { former: sender, seq: row.seq, row: again });
            next = next.next();
        }
        if ops.is_empty() {
            // The store has lost what it once took. That is shown, and does not stop what comes after.
            self.actions.push(Action::Emit(Event::Failed { relay: None, code: ErrorCode::StoreCorrupt }));
            self.finish_adopting(sender);
        } else {
            self.actions.push(Action::Store(ops));
            self.adopting = Some(Adopting { next, ..adopting });
            self.go_on_adopting();
        }
        true
    }

    fn finish_adopting(&mut self, former: DeviceId) {
        self.adopting = None;
        self.actions.push(Action::Emit(Event::IdentityChanged { device: self.context.me, former }));
    }
}
