//! Which keys this device has, under which it seals, and what commits do to everything else.
//!
//! A secret is never stored when a commit brings it: the commit is, and this device's box in it opens whenever the engine
//! does. So there is one transaction, and no moment in which keys and roster disagree.

use std::{collections::BTreeSet, sync::Arc};

use sync_types::{DeviceId, ErrorCode, KeyId};

use super::{Engine, LOAD_BYTES};
use crate::{
    context::{Context, Effects},
    event::{Action, Event, HeldRow, Load, Now, StoreOp},
    link::{Link, Phase},
    protection::Protection,
    roster::{Commit, EntryHash, Standing},
    timing::{HURRY_MS, KEYLESS_MS, REMOVED_ASKS_MAX, REMOVED_RETRY_MAX_MS, REMOVED_RETRY_MS},
};

/// The epoch that nobody who was removed had the secret of, and the commit it is in force at: none for a group's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) head: Option<EntryHash>,
    pub(crate) key_id: KeyId,
}

/// What was made of the commits that are known.
#[derive(Debug, Default)]
pub(super) struct Heeded {
    /// What to seal and send under; none while every epoch this device knows went to somebody who is removed, or the
    /// one to use was not given to it yet.
    pub(super) chosen: Option<Chosen>,
    /// A hash of all commits that are known.
    pub(super) known: [u8; 32],
    members: BTreeSet<DeviceId>,
    cutoffs: Vec<u64>,
    /// The keys of void commits that this device has, and has compared all relays since.
    void_keys: BTreeSet<KeyId>,
}

impl Context {
    /// Learns what the commits hold for this device, and chooses among it. What to seal under, if there is anything.
    pub(crate) fn learn_epochs(&mut self) -> Option<Chosen> {
        let history = self.roster.history();
        if history.commits().len() > 0 {
            let mut keys = self.keys.share();
            // The newest first, because each opens what it follows.
            for commit in history.commits().rev() {
                let Some(key) = &commit.key else { continue };
                if keys.get(&key.key_id).is_none() {
                    let mut boxes = self.identity.recipients();
                    let secret = boxes.find_map(|(id, kem)| commit.secret(&keys.group_id(), (&id, kem)));
                    let Some(secret) = secret else { continue };
                    keys.insert(commit.number, secret);
                }
                let Some(epoch) = keys.get(&key.key_id) else { continue };
                let older = commit.older(&keys.group_id(), epoch.secret(), |key_id| keys.get(key_id).is_none());
                for (key_id, secret) in older {
                    // One whose commit is not known is a void one's, and never the group's first: that has number 0.
                    keys.insert(history.of_key(&key_id).map_or(1, |commit| commit.number), secret);
                }
            }
            self.keys = Arc::new(keys);
        }
        let chosen = self.choose();
        if let Some(chosen) = chosen.filter(|chosen| chosen.key_id != self.keys.current().key_id()) {
            let mut keys = self.keys.share();
            keys.choose(chosen.key_id);
            self.keys = Arc::new(keys);
        }
        chosen
    }

    /// Of the newest commits whose epoch no removed device has, and this one does, the one with the highest number, then
    /// the lowest hash.
    fn choose(&self) -> Option<Chosen> {
        let history = self.roster.history();
        let clean = |epoch: Option<&Commit>| {
            self.roster.is_clean(epoch) || !self.protections.hold(Protection::RemovedHaveNoKey)
        };
        let mut heads = history.heads().peekable();
        if heads.peek().is_none() {
            return clean(None).then(|| Some(Chosen { head: None, key_id: self.first_key()? })).flatten();
        }
        let usable = heads.filter_map(|head| {
            let epoch = history.keyed(&head.hash);
            let key_id = match epoch {
                Some(commit) => commit.key.as_ref()?.key_id,
                None => self.first_key()?,
            };
            let usable = clean(epoch) && self.keys.get(&key_id).is_some();
            usable.then_some((head.number, head.hash, key_id))
        });
        let best = usable.max_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        best.map(|(_, hash, key_id)| Chosen { head: Some(hash), key_id })
    }

    /// The key of the group's first epoch, which no commit began.
    pub(crate) fn first_key(&self) -> Option<KeyId> {
        let history = self.roster.history();
        let mut first = self.keys.epochs().filter(|epoch| epoch.number() == 0).map(|epoch| epoch.key_id());
        first.find(|key_id| history.of_key(key_id).is_none())
    }

    /// Whether this device is out of the group, by a commit that names it.
    pub(crate) fn am_removed(&self) -> bool {
        matches!(self.roster.standing(&self.me), Standing::Removed(_))
    }
}

impl Heeded {
    /// What commits come to, when an engine is opened on them.
    pub(super) fn open(context: &mut Context) -> Self {
        let chosen = context.learn_epochs();
        let known = context.roster.history().digest();
        let (members, cutoffs) = (Self::members(context), Self::cutoffs(context));
        // Who is removed compares nothing, and does if that turns out to be void.
        let void_keys = if context.am_removed() { BTreeSet::new() } else { Self::void_keys(context) };
        Self { chosen, known, members, cutoffs, void_keys }
    }

    fn members(context: &Context) -> BTreeSet<DeviceId> {
        context.roster.members().map(|member| member.device).collect()
    }

    fn void_keys(context: &Context) -> BTreeSet<KeyId> {
        let keys = context.roster.history().void().filter_map(|commit| commit.key.as_ref()).map(|key| key.key_id);
        keys.filter(|key_id| context.keys.get(key_id).is_some()).collect()
    }

    fn cutoffs(context: &Context) -> Vec<u64> {
        context.roster.removed().values().map(|cutoff| cutoff.seq.get()).collect()
    }
}

impl Engine {
    /// Whether anything of this device's may be sent to a relay.
    pub(super) fn may_send(&self) -> bool {
        self.heeded.chosen.is_some() && self.resealing.is_none() && !self.context.am_removed()
    }

    /// Commits came, or devices that they were waiting for: what follows for keys, members, relays and what is queued.
    pub(super) fn heed_commits(&mut self, now: Now) {
        self.duty_may_be_due = true;
        let keys_before = self.context.keys.epochs().len();
        let chosen = self.context.learn_epochs();
        let newly_opens =
            self.context.keys.epochs().len() > keys_before && self.inbox.lacks_of_removed(&self.context.roster);
        let members = Heeded::members(&self.context);
        let cutoffs = Heeded::cutoffs(&self.context);
        let known = self.context.roster.history().digest();
        let me = self.context.me;
        let void_keys = Heeded::void_keys(&self.context);
        let before = std::mem::replace(&mut self.heeded, Heeded { chosen, known, members, cutoffs, void_keys });
        let gone: Vec<_> = before.members.difference(&self.heeded.members).copied().collect();
        let back = self.heeded.members.difference(&before.members).next().is_some();

        let further =
            back || newly_opens || before.cutoffs.iter().sum::<u64>() < self.heeded.cutoffs.iter().sum::<u64>();
        let mut effects = Effects::default();
        self.inbox.heed_removals(&self.context, further && !before.cutoffs.is_empty(), &mut effects);
        if self.inbox.take_reread_due() {
            self.reread_all(now);
        }
        self.actions.extend(effects.into_actions());
        for device in gone {
            self.actions.push(Action::Emit(Event::DeviceRemoved { device }));
        }
        if self.inbox.parked().next().is_some() {
            self.actions.push(Action::Load(Load::Parked { after: None, bytes: LOAD_BYTES }));
        }
        if self.context.am_removed() {
            self.heeded.void_keys = before.void_keys;
            self.stop_syncing(now, ErrorCode::Removed);
            if self.context.keys.epochs().len() > keys_before {
                // By the keys that came there may be more to hear.
                self.links.iter_mut().for_each(|link| link.rest_until(now.mono_ms + HURRY_MS));
            }
            return;
        }
        // Who went another way was at relays by ids of their own. What those held is in logs of the group's by now, or went with
        // one that was wiped before this device had read it.
        let compares = !self.heeded.void_keys.is_subset(&before.void_keys);
        if compares {
            self.links.iter_mut().for_each(|link| link.compare());
            self.note_relays_with_the_roster();
        }
        if before.chosen == self.heeded.chosen && !compares {
            return;
        }
        if before.chosen.map(|chosen| chosen.key_id) != chosen.map(|chosen| chosen.key_id) {
            self.reseal();
            if chosen.is_some() && self.context.roster.is_member(&me) {
                self.actions.push(Action::Emit(Event::KeyRotated));
            }
        }
        // Each relay has to be told, and greets under the new key.
        for index in 0..self.links.len() {
            if !matches!(self.links[index].phase, Phase::Idle { .. }) {
                self.disconnect(now, index, Some(ErrorCode::GroupMoved));
            }
            self.links[index].hurry(now, 0);
        }
    }

    /// The key that this device greets a relay by: the one that it seals under. One that is removed asks by one after
    /// the other, the newest first, because what led it astray may have come by the newest.
    pub(super) fn greets_under(&self, index: usize) -> KeyId {
        let next = self.asks_next_by(index).filter(|_| self.context.am_removed());
        next.unwrap_or_else(|| self.context.keys.current().key_id())
    }

    /// The newest key that this device, which is removed, has not asked by yet.
    fn asks_next_by(&self, index: usize) -> Option<KeyId> {
        let epochs = self.context.keys.epochs().map(|epoch| (epoch.number(), epoch.key_id()));
        epochs.filter(|(_, key_id)| !self.links[index].asked_removed.contains(key_id)).max().map(|(_, key_id)| key_id)
    }

    /// A removed device has read what there is for it: it still is, as far as this relay tells.
    pub(super) fn rest_if_removed(&mut self, now: Now) {
        if !self.context.am_removed() {
            self.removed_retry_ms = REMOVED_RETRY_MS;
            self.links.iter_mut().for_each(|link| link.asked_removed.clear());
            return;
        }
        for index in 0..self.links.len() {
            if self.links[index].is_caught_up() {
                self.rest(now, index);
            }
        }
    }

    /// A removed device was told by this relay what there is under one of its keys. It may learn otherwise by another, because
    /// a commit that is void may reach it before that which makes it void: so it asks by its other keys, those that it has
    /// just learnt among them, and all over again after a while, ever more rarely.
    pub(super) fn rest(&mut self, now: Now, index: usize) {
        let mut asked = std::mem::take(&mut self.links[index].asked_removed);
        asked.extend(self.links[index].greeted_under.filter(|key_id| !asked.contains(key_id)));
        self.disconnect(now, index, Some(ErrorCode::Removed));
        self.links[index].asked_removed = asked;
        let more = self.asks_next_by(index).is_some();
        let link = &mut self.links[index];
        let pauses = link.asked_removed.len().is_multiple_of(REMOVED_ASKS_MAX);
        if !more {
            link.asked_removed.clear();
        }
        if more && !pauses {
            link.rest_until(now.mono_ms + HURRY_MS);
        } else {
            self.removed_retry_ms = (self.removed_retry_ms * 2).min(REMOVED_RETRY_MAX_MS);
        }
    }

    /// This device is no member any more: it hands out nothing, and whoever waits for a relay is told.
    pub(super) fn stop_syncing(&mut self, now: Now, code: ErrorCode) {
        for index in 0..self.links.len() {
            self.disconnect(now, index, Some(code));
        }
        for (token, _) in self.outbox.take_all_waiters() {
            self.actions.push(Action::Reply { token, result: Err(code) });
        }
    }

    /// A member that lacks the key is given it by the others. If that takes too long, those who could may be gone: it says
    /// what is the matter at each relay that it has read to the end.
    pub(super) fn see_to_key(&mut self, now: Now, caught_up: bool) {
        let lacks_key = self.heeded.chosen.is_none() && self.context.roster.is_member(&self.context.me);
        if !lacks_key || !caught_up {
            self.keyless_since_ms = None;
            return;
        }
        let since_ms = *self.keyless_since_ms.get_or_insert(now.mono_ms);
        if now.mono_ms < since_ms + KEYLESS_MS {
            return;
        }
        for link in self.links.iter_mut().filter(|link| link.is_live()) {
            if link.problem.replace(ErrorCode::StaleKey) != Some(ErrorCode::StaleKey) {
                let (relay, code) = (Some(link.relay), ErrorCode::StaleKey);
                self.actions.push(Action::Emit(Event::Failed { relay, code }));
            }
        }
    }

    /// When it says so, unless it has.
    pub(super) fn keyless_due_ms(&self) -> Option<u64> {
        let said = |link: &Link| !link.is_live() || link.problem == Some(ErrorCode::StaleKey);
        self.keyless_since_ms.filter(|_| !self.links.iter().all(said)).map(|since_ms| since_ms + KEYLESS_MS)
    }

    /// The keys that would do, if it lacks them all, and has said so for want of anybody who hands one over.
    #[cfg(feature = "test-utils")]
    pub(crate) fn keys_in_want(&self) -> Option<BTreeSet<KeyId>> {
        let said = |link: &Link| link.problem == Some(ErrorCode::StaleKey);
        let history = self.context.roster.history();
        let newest = history.heads().filter_map(|head| history.keyed(&head.hash)?.key.as_ref());
        let wanted = || newest.map(|key| key.key_id).collect();
        (self.heeded.chosen.is_none() && self.links.iter().any(said)).then(wanted)
    }

    // ── What nobody was offered is sealed again ──

    /// Begins to look through what nobody was offered yet, for what is sealed under another epoch than the current one.
    /// Nothing is offered until that is done.
    pub(super) fn reseal(&mut self) {
        self.resealing = self.outbox.unoffered().filter(|_| self.context.protections.hold(Protection::Resealing));
        if let Some(from) = self.resealing {
            self.outbox.withhold_unoffered();
            self.actions.push(Action::Load(Load::Own { from, bytes: LOAD_BYTES }));
        }
    }

    /// Own rows came. Whether they were asked for to be sealed again.
    pub(super) fn resealed(&mut self, now: Now, rows: &[HeldRow]) -> bool {
        let Some(from) = self.resealing else { return false };
        if rows.first().is_none_or(|row| row.seq != from) {
            // What was asked for before, or what the store has lost: the one is of no use, and the other is shown when
            // it is to be sent.
            if rows.is_empty() {
                self.finish_resealing(now);
            }
            return true;
        }
        let mut ops = Vec::new();
        for row in rows {
            if let Some(again) = self.outbox.reseal(&mut self.context, row) {
                ops.push(StoreOp::Reseal(again));
            }
        }
        if !ops.is_empty() {
            self.actions.push(Action::Store(ops));
        }
        let next = rows.last().map_or(from, |row| row.seq.next());
        if next > self.outbox.head() {
            self.finish_resealing(now);
        } else {
            self.resealing = Some(next);
            self.actions.push(Action::Load(Load::Own { from: next, bytes: LOAD_BYTES }));
        }
        true
    }

    fn finish_resealing(&mut self, now: Now) {
        self.resealing = None;
        self.offer_everything();
        self.hurry(now);
    }

    /// Notes that everything sealed so far may be with somebody from now on, if anybody is there to send it to.
    pub(super) fn offer_everything(&mut self) {
        if self.may_send()
            && self.links.iter().any(Link::is_live)
            && let Some(through) = self.outbox.offer_all()
        {
            self.actions.push(Action::Store(vec![StoreOp::Offered { through }]));
        }
    }
}
