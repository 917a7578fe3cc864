//! Commits as they follow one another, which of them are valid, and what comes of that: who is removed, and under which
//! epoch to seal.
//!
//! Commits form a directed acyclic graph, because two members may commit before they hear of each other. What it means
//! follows from the graph and the order in which devices joined, and from nothing else: no clock, no order of arrival.
//!
//! - A commit **takes out** whom it removes, and with them those who came in through nobody else and whom it does not
//!   count among the remaining: otherwise a removed device could let somebody in afterwards who commits in its place.
//! - A commit is **well formed** if it follows from its ancestors: its committer was not taken out by them, everybody
//!   who had a parent's secret and is not removed has a box, and nobody who is removed has one. It may name void commits
//!   among its parents, because what these remove may decide who is void; nobody is owed anything by those.
//! - A well formed commit is **void** if a valid one that is neither before nor after it takes its committer out. If two
//!   take each other's out, that of the device which is earlier in the roster stands. In a larger circle the earliest
//!   stands, and what would take its committer out does not.
//! - Whoever removes a device that was removed already, as far as it knew, says only that more of it counts. That is for
//!   or against nobody, and nothing where the removal is void: a member that holds more of a removed device than counted
//!   has not judged it.
//! - The removed are those whom valid commits remove; how far their envelopes count is the furthest that one says.
//!
//! Invariant: parents stand before their children.

mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sync_types::{
    DeviceId, KeyId,
    limits::{COMMIT_PARENTS_MAX, COMMITS_MAX, COMMITS_VOID_MAX},
};

use self::waiting::Waiting;
use super::{
    Commit, Cutoff, EntryHash, RosterError,
    family::{Family, Rank},
};

/// Which of the commits, by their place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Set(Vec<u64>);

impl Set {
    fn contains(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word & (1 << (place % 64)) != 0)
    }

    fn insert(&mut self, place: usize) {
        if self.0.len() <= place / 64 {
            self.0.resize(place / 64 + 1, 0);
        }
        self.0[place / 64] |= 1 << (place % 64);
    }

    fn extend(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.0.len() * 64).filter(|place| self.contains(*place))
    }
}

#[derive(Debug)]
struct Node {
    commit: Commit,
    payload: Bytes,
    /// All that came before it.
    before: Set,
    /// Whom it removes who were not removed already by what came before. Of the others it says that more counts.
    anew: BTreeSet<DeviceId>,
}

/// What a set of commits comes to.
#[derive(Clone, Debug, Default)]
struct Verdict {
    void: Set,
    removed: BTreeMap<DeviceId, Cutoff>,
    /// Those among them who were removed with a new key: nothing is sealed any more under a secret that they had.
    locked_out: BTreeSet<DeviceId>,
    /// See [`super::Roster::smuggled`].
    smuggled: BTreeSet<DeviceId>,
    /// Valid commits that no valid one follows.
    heads: Vec<usize>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct History {
    nodes: Vec<Node>,
    places: BTreeMap<EntryHash, usize>,
    /// Those whose parents, or the entries of whose committer or of whom it counts, have not come yet.
    waiting: Waiting,
    /// What has given way there since it was last asked for.
    gone: Vec<Bytes>,
    verdict: Verdict,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It counts from now on, for better or worse.
    Yes,
    /// It is here already; this time it came with its boxes.
    Filled,
    /// It is here already.
    Known,
    /// What it builds on is not here yet.
    Waiting,
}

impl History {
    /// Takes a commit, and those that waited for it. Of the room for what waits, half is for members.
    pub(super) fn take(
        &mut self,
        commit: Commit,
        payload: Bytes,
        family: &Family<'_>,
        is_member: impl Fn(&DeviceId) -> bool,
    ) -> Result<Taken, RosterError> {
        if let Some(place) = self.places.get(&commit.hash) {
            let node = &mut self.nodes[*place];
            if node.commit.has_boxes() || !commit.has_boxes() {
                return Ok(Taken::Known);
            }
            (node.commit, node.payload) = (commit, payload);
            return Ok(Taken::Filled);
        }
        if self.waiting.contains(&commit.hash) {
            return Ok(Taken::Known);
        }
        if is_ready(&commit, &self.places, family) {
            self.insert(commit, payload, family, &is_member)?;
            self.settle(family, &is_member);
            return Ok(Taken::Yes);
        }
        self.gone.extend(self.waiting.add(commit, payload, family, is_member)?);
        Ok(Taken::Waiting)
    }

    /// What has given way to others that wait, since this was last asked.
    pub(super) fn take_gone(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.gone)
    }

    /// Takes what waited, now that there is more to build on. Whether there was anything.
    pub(super) fn settle(&mut self, family: &Family<'_>, is_member: &impl Fn(&DeviceId) -> bool) -> bool {
        let mut any = false;
        while let Some((commit, payload)) = self.waiting.take(|commit| is_ready(commit, &self.places, family)) {
            any |= self.insert(commit, payload, family, is_member).is_ok();
        }
        any
    }

    /// Weighs everything anew, after a device's place in the roster may have changed.
    pub(super) fn weigh(&mut self, family: &Family<'_>) {
        let mut all = Set::default();
        for place in 0..self.nodes.len() {
            all.insert(place);
            self.nodes[place].anew = self.removes_anew(place, family);
        }
        self.verdict = self.judge(&all, family);
        let is_left = |device: &DeviceId| !self.verdict.removed.contains_key(device);
        let valid: Vec<_> = all.iter().filter(|place| !self.verdict.void.contains(*place)).collect();
        let vouched = valid.iter().flat_map(|place| self.nodes[*place].commit.remaining.iter().copied());
        let counted = family.reached(is_left, vouched);
        let kept = family.reached(is_left, self.kept(&valid, family));
        self.verdict.smuggled =
            counted.into_keys().filter(|device| is_left(device) && !kept.contains_key(device)).collect();
    }

    /// Whom a commit removes who was not removed already, as far as its committer knew.
    fn removes_anew(&self, place: usize, family: &Family<'_>) -> BTreeSet<DeviceId> {
        let Node { commit, before, .. } = &self.nodes[place];
        let mut anew: BTreeSet<_> = commit.removed.keys().copied().collect();
        if before.iter().any(|other| self.nodes[other].commit.removed.keys().any(|device| anew.contains(device))) {
            let then = self.judge(before, family);
            anew.retain(|device| !then.removed.contains_key(device));
        }
        anew
    }

    /// Whom a removed device had let in, and those kept who removed it.
    fn kept(&self, valid: &[usize], family: &Family<'_>) -> BTreeSet<DeviceId> {
        let mut kept = BTreeSet::new();
        for Node { commit, anew, .. } in valid.iter().map(|place| &self.nodes[*place]) {
            let let_in = |device: &&DeviceId| anew.iter().any(|inviter| family.let_in(inviter, device));
            kept.extend(commit.remaining.iter().filter(let_in));
        }
        kept
    }

    fn insert(
        &mut self,
        commit: Commit,
        payload: Bytes,
        family: &Family<'_>,
        is_member: &impl Fn(&DeviceId) -> bool,
    ) -> Result<(), RosterError> {
        if self.nodes.len() >= COMMITS_MAX {
            return Err(RosterError::Full);
        }
        let mut before = Set::default();
        let parents: Vec<_> = commit.parents.iter().map(|parent| self.places[parent]).collect();
        for parent in &parents {
            before.extend(&self.nodes[*parent].before);
            before.insert(*parent);
        }
        self.check(&commit, &parents, &before, family)?;
        let (place, committer, hash) = (self.nodes.len(), commit.committer, commit.hash);
        self.nodes.push(Node { commit, payload, before, anew: BTreeSet::new() });
        self.places.insert(hash, place);
        self.weigh(family);
        // Whoever was removed can go on making commits that were never valid, in its own name and in others' that it makes
        // up. A few are kept, because what makes one void may turn out to be void itself.
        let shares = |other: &DeviceId| *other == committer || (!is_member(other) && !is_member(&committer));
        let void = self.verdict.void.iter().filter(|place| shares(&self.nodes[*place].commit.committer)).count();
        // One that a member's commit builds on is kept in any case.
        let is_needed = self.waiting.has_child_of(&hash, is_member);
        if self.verdict.void.contains(place) && void > COMMITS_VOID_MAX && !is_needed {
            self.nodes.pop();
            self.places.remove(&hash);
            self.weigh(family);
            return Err(RosterError::Full);
        }
        Ok(())
    }

    /// Whether a commit follows from what came before it.
    fn check(&self, commit: &Commit, parents: &[usize], before: &Set, family: &Family<'_>) -> Result<(), RosterError> {
        let then = self.judge(before, family);
        let is_removed = |device: &DeviceId| then.removed.contains_key(device) || commit.removed.contains_key(device);
        let number = parents.iter().map(|parent| self.nodes[*parent].commit.number).max().unwrap_or(0);
        let standing = parents.iter().filter(|parent| !then.void.contains(**parent));
        let mut owed = standing.flat_map(|parent| &self.nodes[*parent].commit.remaining);
        let valid: Vec<_> = before.iter().filter(|place| !then.void.contains(*place)).collect();
        let belonged = family.reached(|device| !then.removed.contains_key(device), self.kept(&valid, family));
        let follows = number.checked_add(1) == Some(commit.number)
            && commit.remaining.contains(&commit.committer)
            && belonged.contains_key(&commit.committer)
            && !commit.remaining.iter().any(is_removed)
            && owed.all(|device| commit.remaining.contains(device) || is_removed(device));
        if follows { Ok(()) } else { Err(RosterError::InvalidCommit) }
    }

    /// See the [module](self).
    fn judge(&self, within: &Set, family: &Family<'_>) -> Verdict {
        let removing = within.iter().filter(|place| !self.nodes[*place].anew.is_empty());
        let removing: BTreeMap<usize, BTreeSet<DeviceId>> =
            removing.map(|place| (place, self.left_by(place, family))).collect();
        let kills = |one: usize, other: usize| self.kills(one, other, &removing, family);
        let killers: BTreeMap<usize, Vec<usize>> = within
            .iter()
            .map(|place| (place, removing.keys().copied().filter(|other| kills(*other, place)).collect()))
            .filter(|(_, killers): &(usize, Vec<usize>)| !killers.is_empty())
            .collect();
        let (mut void, mut stands) = (Set::default(), Set::default());
        let mut open: BTreeSet<usize> = killers.keys().copied().collect();
        while !open.is_empty() {
            let is_valid = |place: &usize| !killers.contains_key(place) || stands.contains(*place);
            let fallen = open.iter().copied().find(|place| killers[place].iter().any(is_valid));
            let standing = open.iter().copied().find(|place| killers[place].iter().all(|other| void.contains(*other)));
            if let Some(place) = fallen {
                void.insert(place);
                open.remove(&place);
            } else {
                // A circle, each of which removes the next: the earliest of them stands, and what would remove it does not.
                let earliest = || open.iter().copied().min_by_key(|place| self.seniority(*place, family));
                let place = standing.or_else(earliest).expect("some are open");
                stands.insert(place);
                open.remove(&place);
                for killer in &killers[&place] {
                    if open.remove(killer) {
                        void.insert(*killer);
                    }
                }
            }
        }
        let valid: Vec<_> = within.iter().filter(|place| !void.contains(*place)).collect();
        let mut verdict = Verdict { void, ..Verdict::default() };
        let out: BTreeSet<_> = valid.iter().flat_map(|place| &self.nodes[*place].anew).collect();
        for place in &valid {
            let commit = &self.nodes[*place].commit;
            // That more of a device counts is nothing, where what removed it turned out to be void.
            for (device, cutoff) in commit.removed.iter().filter(|(device, _)| out.contains(device)) {
                let furthest = verdict.removed.entry(*device).or_insert(*cutoff);
                *furthest = (*furthest).max(*cutoff);
                if commit.key.is_some() {
                    verdict.locked_out.insert(*device);
                }
            }
        }
        let followed = valid.iter().fold(Set::default(), |mut followed, place| {
            followed.extend(&self.nodes[*place].before);
            followed
        });
        verdict.heads = valid.into_iter().filter(|place| !followed.contains(*place)).collect();
        verdict
    }

    /// Whether all these devices are known to know every valid commit that removes somebody: each has made a commit that
    /// follows it, or has sealed under such a one's key. Nobody of them makes one any more beside any of those, so what
    /// is void stays void.
    pub(super) fn is_settled<'a>(
        &self,
        mut devices: impl Iterator<Item = &'a DeviceId>,
        sealed_under: &BTreeMap<DeviceId, KeyId>,
    ) -> bool {
        let valid = (0..self.nodes.len()).filter(|place| !self.verdict.void.contains(*place));
        let removing: Vec<_> = valid.filter(|place| !self.nodes[*place].anew.is_empty()).collect();
        devices.all(|device| {
            let sealed_under = sealed_under.get(device);
            let is_theirs = |commit: &Commit| {
                commit.committer == *device || commit.key.as_ref().is_some_and(|key| Some(&key.key_id) == sealed_under)
            };
            let mut known = Set::default();
            for (place, node) in self.nodes.iter().enumerate().filter(|(_, node)| is_theirs(&node.commit)) {
                known.extend(&node.before);
                known.insert(place);
            }
            removing.iter().all(|place| known.contains(*place))
        })
    }

    /// For each epoch of a commit who must not be handed its secret, though a member as far as is known here: whom a void
    /// commit takes out that it is, or follows, or whose secret its own opens. That one is void may turn out to be void
    /// itself. Whoever has a box has the secret anyway.
    pub(super) fn withheld(&self, family: &Family<'_>) -> BTreeMap<KeyId, BTreeSet<DeviceId>> {
        let taken_out: BTreeMap<_, _> = self.shut_out(family).collect();
        let mut withheld: BTreeMap<KeyId, BTreeSet<DeviceId>> = BTreeMap::new();
        if taken_out.is_empty() {
            return withheld;
        }
        for (place, node) in self.nodes.iter().enumerate() {
            let Some(key) = &node.commit.key else { continue };
            let past = taken_out.iter().filter(|(other, _)| **other == place || node.before.contains(**other));
            let devices = past.flat_map(|(_, devices)| devices).filter(|id| !node.commit.remaining.contains(id));
            withheld.entry(key.key_id).or_default().extend(devices);
        }
        loop {
            let before: usize = withheld.values().map(BTreeSet::len).sum();
            for commit in self.commits() {
                let Some(key) = &commit.key else { continue };
                let opened = commit.older_keys().filter_map(|older| withheld.get(&older)).flatten();
                let devices: Vec<_> = opened.filter(|id| !commit.remaining.contains(id)).copied().collect();
                withheld.entry(key.key_id).or_default().extend(devices);
            }
            if withheld.values().map(BTreeSet::len).sum::<usize>() == before {
                return withheld;
            }
        }
    }

    /// What a commit names as its parents that is to say everything which is known: the valid commits that no valid one
    /// follows, and, where these would come to something else by themselves, the void ones that make the difference. No
    /// others: not everybody has room for those.
    pub(super) fn grounds(&self, family: &Family<'_>) -> Vec<EntryHash> {
        let (heads, void) = (&self.verdict.heads, &self.verdict.void);
        let same = |void: &[usize]| {
            let mut before = Set::default();
            for place in heads.iter().chain(void) {
                before.extend(&self.nodes[*place].before);
                before.insert(*place);
            }
            let then = self.judge(&before, family);
            let alike = before.iter().all(|place| then.void.contains(place) == self.verdict.void.contains(place));
            alike && then.removed == self.verdict.removed
        };
        // The newest first: an older one may come with it.
        let mut needed = Vec::new();
        for place in (0..self.nodes.len()).rev().filter(|place| void.contains(*place)) {
            if heads.len() + needed.len() >= COMMIT_PARENTS_MAX || same(&needed) {
                break;
            }
            needed.push(place);
        }
        for place in needed.clone() {
            let others: Vec<_> = needed.iter().copied().filter(|other| *other != place).collect();
            if same(&others) {
                needed = others;
            }
        }
        let grounds = heads.iter().chain(&needed).take(COMMIT_PARENTS_MAX);
        grounds.map(|place| self.nodes[*place].commit.hash).collect()
    }

    /// Whether some commits are void.
    pub(crate) fn has_void(&self) -> bool {
        self.verdict.void.iter().next().is_some()
    }

    /// Whether a commit is void.
    pub(super) fn is_void(&self, hash: &EntryHash) -> bool {
        self.places.get(hash).is_some_and(|place| self.verdict.void.contains(*place))
    }

    /// Void commits, each with whom it takes out; those that take out nobody are none of them.
    pub(super) fn shut_out(&self, family: &Family<'_>) -> impl Iterator<Item = (usize, BTreeSet<DeviceId>)> {
        let void = self.verdict.void.iter();
        void.filter(|place| !self.nodes[*place].anew.is_empty()).map(|place| {
            let left = self.left_by(place, family);
            (place, family.devices().copied().filter(|device| !left.contains(device)).collect())
        })
    }

    /// Whom a commit does not take out.
    fn left_by(&self, place: usize, family: &Family<'_>) -> BTreeSet<DeviceId> {
        let Node { commit: Commit { remaining, .. }, anew, .. } = &self.nodes[place];
        let left = family.reached(|device| !anew.contains(device), remaining.iter().copied());
        left.into_keys().filter(|device| !anew.contains(device)).collect()
    }

    /// Whether the one, if it is valid, makes the other void. `removing` are those that take somebody out, each with
    /// whom it doesn't.
    fn kills(
        &self,
        one: usize,
        other: usize,
        removing: &BTreeMap<usize, BTreeSet<DeviceId>>,
        family: &Family<'_>,
    ) -> bool {
        let (a, b) = (&self.nodes[one], &self.nodes[other]);
        let apart = one != other && !a.before.contains(other) && !b.before.contains(one);
        let takes_out =
            |place: usize, device: &DeviceId| removing.get(&place).is_some_and(|left| !left.contains(device));
        apart
            && takes_out(one, &b.commit.committer)
            && !(takes_out(other, &a.commit.committer)
                && family.rank(&b.commit.committer) < family.rank(&a.commit.committer))
    }

    fn seniority(&self, place: usize, family: &Family<'_>) -> (Option<Rank>, EntryHash) {
        let commit = &self.nodes[place].commit;
        (family.rank(&commit.committer), commit.hash)
    }

    // ── What comes of it ──

    /// Who is removed, and how far their envelopes count.
    pub(super) fn removed(&self) -> &BTreeMap<DeviceId, Cutoff> {
        &self.verdict.removed
    }

    /// See [`super::Roster::smuggled`].
    pub(super) fn smuggled(&self) -> &BTreeSet<DeviceId> {
        &self.verdict.smuggled
    }

    /// Whether a valid commit counts this device among those that remain.
    pub(super) fn vouches_for(&self, device: &DeviceId) -> bool {
        let mut valid = self.valid();
        valid.any(|node| node.commit.remaining.contains(device))
    }

    /// The valid commits and what they build on, parents before their children, with what they were read from.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&EntryHash, &Bytes)> {
        let mut needed = Set::default();
        for head in &self.verdict.heads {
            needed.extend(&self.nodes[*head].before);
            needed.insert(*head);
        }
        let nodes = self.nodes.iter().enumerate().filter(move |(place, _)| needed.contains(*place));
        nodes.map(|(_, node)| (&node.commit.hash, &node.payload))
    }

    fn valid(&self) -> impl Iterator<Item = &Node> {
        let void = &self.verdict.void;
        self.nodes.iter().enumerate().filter(|(place, _)| !void.contains(*place)).map(|(_, node)| node)
    }

    /// Whom valid commits with a new key remove, each with the commit.
    #[cfg(feature = "test-utils")]
    pub(crate) fn removals(&self) -> impl Iterator<Item = (DeviceId, EntryHash)> + '_ {
        let keyed = self.valid().filter(|node| node.commit.key.is_some());
        keyed.flat_map(|node| node.anew.iter().map(|device| (*device, node.commit.hash)))
    }

    /// Who made the commit at this place.
    #[cfg(feature = "test-utils")]
    pub(super) fn committer(&self, place: usize) -> &DeviceId {
        &self.nodes[place].commit.committer
    }

    /// Whether a commit is here, and valid.
    #[cfg(feature = "test-utils")]
    pub(crate) fn stands(&self, hash: &EntryHash) -> bool {
        self.places.contains_key(hash) && !self.is_void(hash)
    }

    /// All commits that are kept, void ones too.
    pub(crate) fn commits(&self) -> impl DoubleEndedIterator<Item = &Commit> + ExactSizeIterator {
        self.nodes.iter().map(|node| &node.commit)
    }

    /// A hash of all commits that are kept.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for hash in self.places.keys() {
            hasher.update(hash.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// A commit of this hash, if it is here and not waiting.
    pub(crate) fn get(&self, hash: &EntryHash) -> Option<&Commit> {
        self.places.get(hash).map(|place| &self.nodes[*place].commit)
    }

    /// The void ones among them.
    pub(crate) fn void(&self) -> impl Iterator<Item = &Commit> {
        self.verdict.void.iter().map(|place| &self.nodes[place].commit)
    }

    /// Valid commits that no valid one follows.
    pub(crate) fn heads(&self) -> impl Iterator<Item = &Commit> {
        self.verdict.heads.iter().map(|place| &self.nodes[*place].commit)
    }

    /// Whether an entry is such a commit: of these alone the boxes are handed on.
    pub(crate) fn is_head(&self, entry: &EntryHash) -> bool {
        self.heads().any(|head| head.hash == *entry)
    }

    /// Whether one commit is the other, or comes before it.
    pub(crate) fn is_within(&self, one: &EntryHash, other: &EntryHash) -> bool {
        match (self.places.get(one), self.places.get(other)) {
            (Some(a), Some(b)) => a == b || self.nodes[*b].before.contains(*a),
            (None, _) | (_, None) => false,
        }
    }

    /// The commit whose epoch is in force at this one: itself, or the one that it strikes devices off. None for a
    /// group's first epoch.
    pub(crate) fn keyed(&self, hash: &EntryHash) -> Option<&Commit> {
        let mut commit = self.get(hash)?;
        while commit.key.is_none() {
            commit = self.get(commit.parents.first()?)?;
        }
        Some(commit)
    }

    /// The epoch's commit; none for a group's first epoch, and for one that is not known.
    pub(crate) fn of_key(&self, key_id: &KeyId) -> Option<&Commit> {
        self.commits().find(|commit| commit.key.as_ref().is_some_and(|key| key.key_id == *key_id))
    }

    /// Whether nobody who was removed, with a new key at that, or is going to be, had this epoch's secret, or may be handed
    /// it yet: somebody who made it beside the removal, and did not know that the device was there, may hear of the device
    /// first, and hands it over as to a member. `given` are those who got it when they joined.
    pub(super) fn is_clean(&self, epoch: Option<&Commit>, given: impl Fn(&DeviceId) -> bool) -> bool {
        let Verdict { locked_out, smuggled, .. } = &self.verdict;
        let Some(commit) = epoch else { return locked_out.is_empty() && smuggled.is_empty() };
        let has_it = |device: &DeviceId| commit.remaining.contains(device) || given(device);
        let knows = |other: &Node| self.is_within(&other.commit.hash, &commit.hash);
        let told_of: BTreeSet<_> = self.valid().filter(|node| knows(node)).flat_map(|node| &node.anew).collect();
        !locked_out.union(smuggled).any(has_it) && locked_out.iter().all(|device| told_of.contains(device))
    }

    /// What somebody needs who knows one commit (or none) and all before it, to know another and all before that, and its
    /// key: payloads, parents first. None if the boxes of the last are not here.
    pub(crate) fn between(&self, from: Option<&EntryHash>, to: &EntryHash) -> Option<Vec<Bytes>> {
        let wanted = *self.places.get(to)?;
        let known = from.and_then(|hash| self.places.get(hash)).copied();
        let mut places = self.nodes[wanted].before.clone();
        places.insert(wanted);
        let is_known =
            |place: &usize| known.is_some_and(|known| known == *place || self.nodes[known].before.contains(*place));
        let needed = places.iter().filter(|place| !is_known(place)).map(|place| self.nodes[place].payload.clone());
        self.nodes[wanted].commit.has_boxes().then(|| needed.collect())
    }

    /// The commit that begins the next epoch on the way from one (or from the group's first epoch) to another: the
    /// earliest that stands, with a key, that the one comes before. None if it does not lead there.
    pub(crate) fn next_towards(&self, from: Option<&EntryHash>, to: &EntryHash) -> Option<&Commit> {
        let to = *self.places.get(to)?;
        let from = from.map(|hash| self.places.get(hash).copied());
        let follows = |place: usize| match from {
            None => true,
            Some(from) => from.is_some_and(|from| self.nodes[place].before.contains(from)),
        };
        let void = &self.verdict.void;
        let on_the_way =
            |place: &usize| *place == to || (self.nodes[to].before.contains(*place) && !void.contains(*place));
        let places = (0..self.nodes.len()).filter(on_the_way);
        places
            .filter(|place| follows(*place))
            .map(|place| &self.nodes[place].commit)
            .find(|commit| commit.key.is_some())
    }
}

/// Whether everything is here that a commit names but whom it removes. A device that nobody can say how it came in is
/// owed a box that nobody can make.
fn is_ready(commit: &Commit, places: &BTreeMap<EntryHash, usize>, family: &Family<'_>) -> bool {
    commit.parents.iter().all(|parent| places.contains_key(parent))
        && commit.remaining.iter().chain([&commit.committer]).all(|device| family.rank(device).is_some())
}

#[cfg(test)]
mod tests;
