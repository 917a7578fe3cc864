//! Who has which epoch's secret, by what the entries and the commits say, and who must not be handed which.

use std::collections::BTreeSet;

use sync_types::{DeviceId, KeyId};

use super::{Commit, EntryHash, Roster};

impl Roster {
    /// The epochs whose secrets `me` must not hand to these devices. A commit that turned out to be void took one of them
    /// out; that may be wrong as long as there may be commits which nobody here has heard of.
    pub(crate) fn withheld_from(&self, me: &DeviceId, is_one: impl Fn(&DeviceId) -> bool) -> BTreeSet<KeyId> {
        if !self.history.has_void() || self.void_stays_void(me) {
            return BTreeSet::new();
        }
        let withheld = self.history.withheld(&self.family()).into_iter();
        withheld.filter(|(_, from)| from.iter().any(&is_one)).map(|(key_id, _)| key_id).collect()
    }

    /// Whether none of the other members makes a commit any more that may make a void one valid.
    fn void_stays_void(&self, me: &DeviceId) -> bool {
        let others = self.members.keys().filter(|device| *device != me);
        self.history.is_settled(others, &self.sealed_under)
    }

    /// Members whom void commits remove, each with the commit, if `me` need not keep these commits' keys from them any more.
    #[cfg(feature = "test-utils")]
    pub(crate) fn forgiven(&self, me: &DeviceId) -> Vec<(DeviceId, EntryHash)> {
        if !self.history.has_void() || !self.is_member(me) || !self.void_stays_void(me) {
            return Vec::new();
        }
        let removed = self.history.void().flat_map(|commit| commit.removed.keys().map(|device| (*device, commit.hash)));
        removed.filter(|(device, _)| self.is_member(device)).collect()
    }

    /// Whom void commits of these take out, by name or with whoever let it in. They may have been shut out by it.
    #[cfg(feature = "test-utils")]
    pub(crate) fn shut_out(&self, by: impl Fn(&DeviceId) -> bool) -> BTreeSet<DeviceId> {
        let family = self.family();
        let void = self.history.shut_out(&family).filter(|(place, _)| by(self.history.committer(*place)));
        void.flat_map(|(_, devices)| devices).collect()
    }

    /// A device has sealed something under this epoch's key: it knows its commit, and all before.
    pub(crate) fn note_epoch(&mut self, device: DeviceId, key_id: KeyId) {
        let known = self.sealed_under.get(&device);
        if known == Some(&key_id) {
            return;
        }
        let number = |key_id: &KeyId| self.history.of_key(key_id).map(|commit| commit.number);
        if number(&key_id) > known.and_then(number) {
            self.sealed_under.insert(device, key_id);
        }
    }

    /// Whether nobody who was removed with a new key had the secret of this epoch: that of a commit, or the group's
    /// first.
    pub(crate) fn is_clean(&self, epoch: Option<&Commit>) -> bool {
        self.history.is_clean(epoch, |device| epoch.is_some_and(|commit| self.may_have_got(device, commit)))
    }

    /// Whether a member has the secret of this commit's epoch, as far as is known here.
    pub(crate) fn has_secret(&self, device: &DeviceId, commit: &Commit) -> bool {
        commit.remaining.contains(device) || self.was_given(device, commit)
    }

    /// The epochs that a member can open what was sealed under: those whose secret it was given, and those that these
    /// lead back to. The group's first is not among them; everybody has that.
    pub(crate) fn reach_of(&self, device: &DeviceId) -> BTreeSet<KeyId> {
        let key_of = |commit: &Commit| commit.key.as_ref().map(|key| key.key_id);
        // A void commit that no valid one builds on is handed to nobody: its key alone leads no further back.
        let handed_on: BTreeSet<_> = self.history.entries().map(|(hash, _)| *hash).collect();
        let mut reach = BTreeSet::new();
        // The newest first: what one opens is older, or beside it.
        loop {
            let before = reach.len();
            for commit in self.history.commits().rev() {
                let Some(key_id) = key_of(commit) else { continue };
                // A void one may never have come to whoever had a box in it.
                let has_it = self.has_secret(device, commit) && !self.history.is_void(&commit.hash);
                if reach.contains(&key_id) || has_it {
                    reach.insert(key_id);
                    if handed_on.contains(&commit.hash) {
                        reach.extend(commit.older_keys());
                    }
                }
            }
            if reach.len() == before {
                return reach;
            }
        }
    }

    /// By whichever entry it came: nobody else can tell which of them ended in its being given anything. A void commit's
    /// secret may have been withheld from whoever let it in.
    fn was_given(&self, device: &DeviceId, commit: &Commit) -> bool {
        let given = self.given.get(device).map(Vec::as_slice).unwrap_or_default();
        !self.history.is_void(&commit.hash)
            && !given.is_empty()
            && given.iter().all(|heads| self.leads_to(heads, commit))
    }

    fn may_have_got(&self, device: &DeviceId, commit: &Commit) -> bool {
        self.given.get(device).into_iter().flatten().any(|heads| self.leads_to(heads, commit))
    }

    fn leads_to(&self, heads: &BTreeSet<EntryHash>, commit: &Commit) -> bool {
        heads.iter().any(|head| self.history.is_within(&commit.hash, head))
    }
}
