//! Commits that wait for what they build on, and who has how much of the room for them.
//!
//! Anybody who has or had a key can make up commits that wait for ever. Half of the room is for members'. Once there is
//! none left, a member's commit takes the place of another: of one by those who are no members, if they have more than
//! half by now because they were members then, or of the member that has most. So whoever fills the room keeps nobody
//! else's out, and a member that is taken for one of the group until its removal is heard of neither.

use std::collections::BTreeMap;

use bytes::Bytes;
use sync_types::{DeviceId, limits::COMMITS_WAITING_MAX};

use super::{Commit, EntryHash, RosterError};

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<EntryHash, (Commit, Bytes)>);

impl Waiting {
    pub(super) fn contains(&self, hash: &EntryHash) -> bool {
        self.0.contains_key(hash)
    }

    /// Lets one wait.
    pub(super) fn add(
        &mut self,
        commit: Commit,
        payload: Bytes,
        is_member: impl Fn(&DeviceId) -> bool,
    ) -> Result<(), RosterError> {
        let is_full = self.0.len() >= COMMITS_WAITING_MAX;
        if is_member(&commit.committer) {
            if is_full {
                let gives_way = self.gives_way_to(&commit.committer, is_member).ok_or(RosterError::Full)?;
                self.0.remove(&gives_way);
            }
        } else if is_full || self.of_strangers(&is_member).count() >= COMMITS_WAITING_MAX / 2 {
            return Err(RosterError::Full);
        }
        self.0.insert(commit.hash, (commit, payload));
        Ok(())
    }

    /// Which one gives its place up to this member's.
    fn gives_way_to(&self, member: &DeviceId, is_member: impl Fn(&DeviceId) -> bool) -> Option<EntryHash> {
        if self.of_strangers(&is_member).count() > COMMITS_WAITING_MAX / 2 {
            return self.of_strangers(&is_member).last();
        }
        let mut shares: BTreeMap<DeviceId, Vec<EntryHash>> = BTreeMap::new();
        for (hash, (commit, _)) in self.0.iter().filter(|(_, (commit, _))| is_member(&commit.committer)) {
            shares.entry(commit.committer).or_default().push(*hash);
        }
        let own = shares.get(member).map_or(0, Vec::len);
        let most = shares.into_values().max_by_key(Vec::len)?;
        most.last().copied().filter(|_| most.len() > own + 1)
    }

    fn of_strangers(&self, is_member: impl Fn(&DeviceId) -> bool) -> impl Iterator<Item = EntryHash> {
        let others = self.0.iter().filter(move |(_, (commit, _))| !is_member(&commit.committer));
        others.map(|(hash, _)| *hash)
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
