//! Relays learn of new keys, and hand them to members who were away.
//!
//! A relay knows the group by a hash of its key, so new keys are a new id. Before this device greets a relay that it last
//! met under an older key, it tells it in so many words (MOVE): these ids are over, this is the one from now on, and here
//! is a package for whoever still comes with an old key. Such a member is answered MOVED, opens the package with the key
//! it has, and walks on from commit to commit.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sync_types::{
    DeviceId, DeviceMsg, ErrorCode, KeyId, RelayMsg,
    limits::{MOVE_OVER_MAX, MOVED_BYTES_MAX},
    message::{Move, MoveAck, Moved, Over},
    wire::AtMost,
};

use super::{Engine, epochs::Chosen};
use crate::{
    event::{Action, Event, Now, Paved, StoreOp},
    handover::{open_package, seal_package},
    keys::Epoch,
    link::Phase,
    protection::Protection,
    roster::{Change, Commit, EntryHash, leads_on, without_boxes},
};

impl Engine {
    /// What tells a relay of everything that is new since it was last told; nothing, if it knows.
    pub(super) fn moves(&mut self, now: Now, index: usize) -> Vec<DeviceMsg> {
        let Some(chosen) = self.heeded.chosen.filter(|_| !self.context.am_removed()) else { return Vec::new() };
        let Some(to) = self.to_pave().filter(|_| self.context.protections.hold(Protection::RelaysMoved)) else {
            return Vec::new();
        };
        let paved = self.links[index].paved();
        if paved == Some(to) {
            return Vec::new();
        }
        let mut batches: Vec<Vec<(KeyId, Bytes)>> = vec![Vec::new()];
        let mut room = MOVED_BYTES_MAX;
        for (key_id, package) in self.packages(chosen, paved.map(|paved| paved.head)) {
            let batch = batches.last().expect("there is one");
            if batch.len() == MOVE_OVER_MAX || (package.len() > room && !batch.is_empty()) {
                batches.push(Vec::new());
                room = MOVED_BYTES_MAX;
            }
            room = room.saturating_sub(package.len());
            batches.last_mut().expect("there is one").push((key_id, package));
        }
        let messages: Vec<_> = batches.into_iter().map(|batch| self.move_message(index, chosen, batch)).collect();
        let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
        self.links[index].moves(now, ids, to);
        messages.into_iter().map(DeviceMsg::from).collect()
    }

    /// What relays are to be told of by now; nothing, while the group is in its first epoch.
    pub(super) fn to_pave(&self) -> Option<Paved> {
        let head = self.heeded.chosen.and_then(|chosen| chosen.head)?;
        Some(Paved { head, known: self.heeded.known })
    }

    /// Tells relays what has become known since they were told: there may be others under other keys.
    pub(super) fn pave(&mut self, now: Now) {
        for index in 0..self.links.len() {
            self.links[index].forget_moves(now);
            if self.links[index].is_live() && !self.links[index].is_moving() {
                let moves = self.moves(now, index);
                self.send(index, moves);
            }
        }
    }

    fn move_message(&mut self, index: usize, chosen: Chosen, batch: Vec<(KeyId, Bytes)>) -> Move {
        let link = &mut self.links[index];
        let id = link.next_id();
        let ends = (&self.context.me, &link.relay, &link.exporter);
        let keys = &self.context.keys;
        let secret = keys.get(&chosen.key_id).expect("what is chosen is known").secret();
        let auth = secret.relay_auth(&link.relay);
        let group = auth.relay_group_id();
        let over = batch.into_iter().filter_map(|(key_id, package)| {
            let old = keys.get(&key_id)?.secret().relay_auth(&link.relay);
            let signature = old.sign_move(ends, &group, &package).to_vec().into();
            Some(Over { group: old.relay_group_id(), auth_public: old.public(), signature, package })
        });
        let members = self.context.roster.members().map(|member| member.device);
        Move {
            id,
            group,
            auth_public: auth.public(),
            signature: auth.sign_move(ends, &group, &[]).to_vec().into(),
            over: AtMost(over.collect()),
            remaining: AtMost(members.collect()),
        }
    }

    /// For each epoch that is over what its members need, but for what a relay has that was told of `paved`. The newest
    /// first: those are who may still come.
    fn packages(&self, chosen: Chosen, paved: Option<EntryHash>) -> Vec<(KeyId, Bytes)> {
        let Some(head) = chosen.head else { return Vec::new() };
        let group = self.context.keys.group_id();
        let mut epochs: Vec<_> = self.context.keys.epochs().filter(|epoch| epoch.key_id() != chosen.key_id).collect();
        epochs.sort_by_key(|epoch| std::cmp::Reverse((epoch.number(), epoch.key_id())));
        let fresh = epochs.into_iter().filter_map(|epoch| {
            let steps = self.steps(epoch, head)?;
            let known = paved.filter(|paved| self.is_over(epoch, *paved));
            let is_news = known.and_then(|paved| self.steps(epoch, paved)).is_none_or(|before| before != steps);
            is_news.then(|| (epoch.key_id(), seal_package(epoch, &group, &self.with_devices(steps, epoch))))
        });
        fresh.filter(|(_, package)| package.len() <= MOVED_BYTES_MAX).take(MOVE_OVER_MAX).collect()
    }

    /// Commits, and before them how their committers came in, and those that remain and had no key of this epoch's:
    /// whoever is away may have heard of none of them, and can't go on from a commit without knowing who it is for.
    fn with_devices(&self, steps: Vec<Bytes>, from: &Epoch) -> Vec<Bytes> {
        let roster = &self.context.roster;
        let history = roster.history();
        let hashes: BTreeSet<_> = steps.iter().map(|step| EntryHash::of(step)).collect();
        let commits: Vec<_> = history.commits().filter(|commit| hashes.contains(&commit.hash)).collect();
        let known = history.of_key(&from.key_id()).map(|commit| &commit.remaining);
        let is_news = |device: &&DeviceId| known.is_none_or(|known| !known.contains(*device));
        let remaining = commits.iter().flat_map(|commit| &commit.remaining).filter(is_news);
        let devices: BTreeSet<_> = commits.iter().map(|commit| &commit.committer).chain(remaining).collect();
        let entries: BTreeMap<_, _> = devices.into_iter().flat_map(|device| roster.lineage(device)).collect();
        entries.into_values().cloned().chain(steps).collect()
    }

    /// Whether an epoch was over at a commit, and known to be by whoever knew that.
    fn is_over(&self, epoch: &Epoch, at: EntryHash) -> bool {
        let history = self.context.roster.history();
        let in_force = history.keyed(&at).and_then(|commit| commit.key.as_ref());
        let came_before = history.of_key(&epoch.key_id()).is_none_or(|commit| history.is_within(&commit.hash, &at));
        came_before && in_force.is_some_and(|key| key.key_id != epoch.key_id())
    }

    /// The commits that lead a member of one epoch on: to the next, if that has a box for everybody who belongs to the
    /// group now; else all the way.
    fn steps(&self, epoch: &Epoch, head: EntryHash) -> Option<Vec<Bytes>> {
        let roster = &self.context.roster;
        let history = roster.history();
        let from = history.of_key(&epoch.key_id()).map(|commit| commit.hash);
        let next = history.next_towards(from.as_ref(), &head);
        let covers = |next: &&Commit| roster.members().all(|member| roster.has_secret(&member.device, next));
        let suits = next.filter(|next| next.has_boxes()).filter(covers);
        history.between(from.as_ref(), &suits.map_or(head, |next| next.hash)).filter(|steps| !steps.is_empty())
    }

    /// The relay knows the group by another id: what members left for those who come late.
    pub(super) fn moved(&mut self, now: Now, index: usize, moved: Moved) {
        let under = self.links[index].greeted_under;
        self.take_packages(now, moved.packages.0.into_iter().filter_map(|package| Some((under?, package))));
        if self.context.am_removed() {
            self.rest(now, index);
            return;
        }
        let next = self.heeded.chosen.map(|chosen| chosen.key_id);
        let stays = next.is_none() || next == under;
        // An id that is over although no commit says so was ended by somebody who is no member any more, and only a new
        // epoch gives the group another.
        self.burnt = next.filter(|_| stays);
        self.duty_may_be_due = true;
        if !matches!(self.links[index].phase, Phase::Idle { .. }) {
            self.disconnect(now, index, Some(if stays { ErrorCode::StaleKey } else { ErrorCode::GroupMoved }));
        }
        if stays {
            let link = &mut self.links[index];
            if link.problem.replace(ErrorCode::StaleKey) != Some(ErrorCode::StaleKey) {
                let relay = Some(link.relay);
                self.actions.push(Action::Emit(Event::Failed { relay, code: ErrorCode::StaleKey }));
            }
        } else {
            self.links[index].hurry(now, 0);
        }
    }

    /// Takes the commits that others left for holders of older keys. Whether there was anything new.
    fn take_packages(&mut self, now: Now, packages: impl IntoIterator<Item = (KeyId, Bytes)>) -> bool {
        let group = self.context.keys.group_id();
        let mut entries = BTreeSet::new();
        for (key_id, package) in packages {
            let commits = self.context.keys.get(&key_id).and_then(|epoch| open_package(epoch, &group, &package));
            // Anybody who ever had the key may have left it: only what a package is for is read.
            entries.extend(commits.into_iter().flatten().filter(|entry| leads_on(entry)));
        }
        let (mut ops, mut joined) = (Vec::new(), Vec::new());
        self.context.roster.apply_all(entries.into_iter().collect(), |entry, result| {
            match result {
                Ok(Change::Committed) => ops.push(StoreOp::Superseded { entry: without_boxes(&entry) }),
                Ok(Change::Added(devices)) => joined.extend(devices),
                Ok(Change::Waiting) => {}
                Ok(Change::Known | Change::Renamed | Change::Leaving | Change::Kept) | Err(_) => return,
            }
            ops.push(StoreOp::Roster { entry });
        });
        let is_news = !ops.is_empty();
        if is_news {
            self.actions.push(Action::Store(ops));
            self.actions.extend(joined.into_iter().map(|device| Action::Emit(Event::DeviceJoined { device })));
            self.heed_commits(now);
        }
        is_news
    }

    /// A MOVE was answered, and with it came what others had left under the same ids.
    pub(super) fn move_acked(&mut self, now: Now, index: usize, ack: MoveAck) {
        // What comes unasked was left at an id that this device's group had gone on from: somebody went another way.
        let expected = ack.id == 0 || self.move_answered(index, ack.id);
        if !expected || ack.others.0.is_empty() {
            return;
        }
        let (relay, keys) = (self.links[index].relay, &self.context.keys);
        let ids: BTreeMap<_, _> =
            keys.epochs().map(|epoch| (epoch.secret().relay_auth(&relay).relay_group_id(), epoch.key_id())).collect();
        let left = ack.others.0.into_iter().filter_map(|left| Some((*ids.get(&left.group)?, left.package)));
        if !self.take_packages(now, left) && ack.id == 0 {
            self.links[index].move_again(now);
        }
    }

    /// Whether a message belongs to moving, and so may come before the welcome.
    pub(super) fn is_of_moving(&self, index: usize, message: &RelayMsg) -> bool {
        match message {
            RelayMsg::Moved(_) | RelayMsg::MoveAck(_) => true,
            RelayMsg::Refused(_) | RelayMsg::Welcome(_) => true,
            RelayMsg::PushAck(_)
            | RelayMsg::Page(_)
            | RelayMsg::Gap(_)
            | RelayMsg::Got(_)
            | RelayMsg::Presence(_)
            | RelayMsg::Notify(_)
            | RelayMsg::Receipts(_)
            | RelayMsg::ReceiptAck(_)
            | RelayMsg::Snapshots(_)
            | RelayMsg::SnapshotAck(_) => !matches!(self.links[index].phase, Phase::Greeting { .. }),
        }
    }

    /// A MOVE was answered, one way or the other.
    pub(super) fn move_answered(&mut self, index: usize, id: u32) -> bool {
        let answered = self.links[index].moved(id);
        if answered && self.links[index].pave() {
            self.note_relay(index);
        }
        answered
    }
}
