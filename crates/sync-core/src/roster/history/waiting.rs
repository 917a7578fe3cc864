//! Commits that wait for what they build on, and who has how much of the room for them.
//!
//! Anybody who has or had a key can make up commits that wait for ever. Half of the room is for members'. Once there is
//! none left, a member's commit takes the place of another: of one by those who are no members, if they have more than
//! half by now because they were members then, or else of a member's. Whoever has most of it gives way, and of those the one
//! that came into the group last. So nobody who fills the room keeps others out, nor by whom it lets in for that.
//!
//! What has given way may be one that is needed: it is tried again as long as that brings anything on. That comes to an end,
//! because shares only get more equal.

use std::collections::BTreeMap;

use bytes::Bytes;
use sync_types::{DeviceId, limits::COMMITS_WAITING_MAX};

use super::{Commit, EntryHash, Family, RosterError};

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<EntryHash, (Commit, Bytes)>);

impl Waiting {
    pub(super) fn contains(&self, hash: &EntryHash) -> bool {
        self.0.contains_key(hash)
    }

    /// Lets one wait. Which one has given way to it.
    pub(super) fn add(
        &mut self,
        commit: Commit,
        payload: Bytes,
        family: &Family<'_>,
        is_member: impl Fn(&DeviceId) -> bool,
    ) -> Result<Option<Bytes>, RosterError> {
        let is_full = self.0.len() >= COMMITS_WAITING_MAX;
        let mut gone = None;
        if is_member(&commit.committer) {
            if is_full {
                let gives_way = self.gives_way_to(&commit.committer, family, is_member).ok_or(RosterError::Full)?;
                gone = self.0.remove(&gives_way).map(|(_, payload)| payload);
            }
        } else if is_full || self.of_strangers(is_member) >= COMMITS_WAITING_MAX / 2 {
            return Err(RosterError::Full);
        }
        self.0.insert(commit.hash, (commit, payload));
        Ok(gone)
    }

    /// Which one gives its place up to this member's.
    fn gives_way_to(
        &self,
        member: &DeviceId,
        family: &Family<'_>,
        is_member: impl Fn(&DeviceId) -> bool,
    ) -> Option<EntryHash> {
        let strangers = self.of_strangers(&is_member) > COMMITS_WAITING_MAX / 2;
        let mut shares: BTreeMap<DeviceId, Vec<EntryHash>> = BTreeMap::new();
        for (hash, (commit, _)) in &self.0 {
            shares.entry(commit.committer).or_default().push(*hash);
        }
        // One that never joined stands behind all who did.
        let place = |device: &DeviceId| (family.rank(device).is_none(), family.rank(device));
        let own = (shares.get(member).map_or(0, Vec::len) + 1, place(member));
        let candidates = shares.into_iter().filter(|(device, _)| strangers != is_member(device));
        let (device, most) = candidates.max_by_key(|(device, share)| (share.len(), place(device)))?;
        most.last().copied().filter(|_| strangers || (most.len(), place(&device)) > own)
    }

    fn of_strangers(&self, is_member: impl Fn(&DeviceId) -> bool) -> usize {
        self.0.values().filter(|(commit, _)| !is_member(&commit.committer)).count()
    }

    /// Takes out one that need not wait any more.
    pub(super) fn take(&mut self, is_ready: impl Fn(&Commit) -> bool) -> Option<(Commit, Bytes)> {
        let hash = self.0.iter().find(|(_, (commit, _))| is_ready(commit)).map(|(hash, _)| *hash)?;
        self.0.remove(&hash)
    }

    /// Whether a member's waits for this one, among others.
    pub(super) fn has_child_of(&self, parent: &EntryHash, is_member: impl Fn(&DeviceId) -> bool) -> bool {
        self.0.values().any(|(commit, _)| is_member(&commit.committer) && commit.parents.contains(parent))
    }
}
