//! Who belongs to the group: a set of signed entries that only grows.
//!
//! It starts with the genesis, and every other device is there because a member vouched for it. Commits take devices out
//! again; see `roster/history.rs`. Entries arrive through the group's own log in any order and more than once; one that
//! builds on what is not known yet waits for that. So devices that hold the same entries agree on the members and their
//! names, however the entries came. The one thing that leaves is a name that is over; see `roster/names.rs`.
//!
//! A device that a removed one let in counts only if a valid commit names it among those that remain, and stays only if
//! whoever removed the inviter does: see `Roster::smuggled`. A removed device that signs for newcomers afterwards, with
//! whatever date, brings nobody in.
//!
//! Invariant: from every device that ever joined a chain of signatures leads to the genesis.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sync_types::{
    DeviceId, ErrorCode, GroupId, KeyId,
    limits::{MEMBERS_MAX, ROSTER_ENTRIES_MAX, UNKNOWN_ENTRIES_MAX},
};

pub(crate) use self::names::NamesChanged;
pub use self::{
    commit::{Commit, Cutoff, NewKey},
    entry::{Copied, Entry, EntryError, EntryHash, Genesis, JoinRequest, Joined, Profile},
    names::Renamed,
};
pub(crate) use self::{
    commit::{Draft, without_boxes},
    entry::{leads_on, leave, lets_in},
    history::History,
};

mod commit;
mod entry;
mod family;
mod history;
mod names;
mod secrets;
pub(crate) mod text;

use self::{
    family::{Family, Invited},
    history::Taken,
    names::Names,
};

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These devices are members now: the entry's, and those that waited for it. Nobody, if it paired twice.
    Added(Vec<DeviceId>),
    /// A member is called something else now.
    Renamed,
    /// A commit that counts, be it that it is void: members, keys and how far envelopes count may have changed.
    Committed,
    /// A member asks to be removed.
    Leaving,
    /// It was there already, or says nothing new.
    Known,
    /// Its signatures hold, but who signed it, or whom it is about, is no member yet. It is applied when that changes.
    Waiting,
    /// Only a newer build understands it. It is kept and handed on.
    Kept,
}

/// Why an entry is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// It is none, or is not signed by whom it names.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The group has a genesis, and it is another one.
    #[error("a second genesis for one group")]
    SecondGenesis,
    /// A device of another app.
    #[error("the device belongs to another app")]
    OtherApp,
    /// As many are here as are kept: [`ROSTER_ENTRIES_MAX`], and [`UNKNOWN_ENTRIES_MAX`] of newer builds.
    #[error("the roster is full")]
    Full,
    /// A commit that does not follow from those it names: by a removed device, for one, or without somebody's secret.
    #[error("a commit that does not follow from those before it")]
    InvalidCommit,
}

impl RosterError {
    /// What a front end may branch on.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Entry(_) | Self::SecondGenesis | Self::InvalidCommit => ErrorCode::PairingFailed,
            Self::OtherApp => ErrorCode::OtherApp,
            Self::Full => ErrorCode::GroupTooLarge,
        }
    }
}

/// A device of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub device: DeviceId,
    /// What to seal to it with.
    pub kem_public: Bytes,
    /// What it says of itself, under the name it has now.
    pub profile: Profile,
    /// Who let it in; none for the device that made the group.
    pub inviter: Option<DeviceId>,
    /// When, by the inviter's clock in Unix milliseconds. For people.
    pub since_ms: u64,
    /// The entry that says so.
    pub entry: EntryHash,
    /// It is a recovery kit, which is on paper and never connects: nobody waits for it. See [`crate::kit`].
    pub is_kit: bool,
}

/// What a sender is to this group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A member.
    Member,
    /// It was one. What it sealed counts up to here.
    Removed(Cutoff),
    /// None that anybody who may has vouched for.
    Stranger,
}

/// The group's members and the entries that prove them.
#[derive(Debug)]
pub struct Roster {
    group: GroupId,
    genesis: Option<DeviceId>,
    /// Every device that ever joined.
    joined: BTreeMap<DeviceId, Member>,
    /// Those of them that belong to the group now.
    members: BTreeMap<DeviceId, Member>,
    /// Whom each device let in.
    invited: Invited,
    /// The commits whose secrets a device was given when it joined, by each of the entries that let it in. There are
    /// several where a member stopped over one, and another let the device in.
    given: BTreeMap<DeviceId, Vec<BTreeSet<EntryHash>>>,
    /// Every entry that was taken, but for names and commits. Its order is that of [`Self::head`].
    entries: BTreeMap<EntryHash, Bytes>,
    /// In the order they were taken: an inviter's before those of whom it let in.
    taken: Vec<EntryHash>,
    /// Where in `taken` each member came in, and through whom.
    origins: BTreeMap<DeviceId, (usize, Option<DeviceId>)>,
    /// Devices that are others themselves, as another installation: of whom, what they say of it, and the entry.
    copies: BTreeMap<DeviceId, (DeviceId, Copied, EntryHash)>,
    /// How many of them only a newer build understands.
    unknown: usize,
    /// By the device they wait for.
    waiting: BTreeMap<DeviceId, BTreeMap<EntryHash, (Joined, Bytes)>>,
    names: Names,
    history: History,
    /// Devices that asked to be removed.
    leaving: BTreeSet<DeviceId>,
    /// The newest epoch that each device is known to have sealed under, since this was made.
    sealed_under: BTreeMap<DeviceId, KeyId>,
}

impl Roster {
    /// Nobody yet.
    pub fn new(group: GroupId) -> Self {
        Self {
            group,
            genesis: None,
            joined: BTreeMap::new(),
            members: BTreeMap::new(),
            invited: BTreeMap::new(),
            given: BTreeMap::new(),
            entries: BTreeMap::new(),
            taken: Vec::new(),
            unknown: 0,
            origins: BTreeMap::new(),
            copies: BTreeMap::new(),
            waiting: BTreeMap::new(),
            names: Names::default(),
            history: History::default(),
            leaving: BTreeSet::new(),
            sealed_under: BTreeMap::new(),
        }
    }

    /// What was stored of a roster, in the order in which it came.
    ///
    /// # Errors
    /// What is wrong with an entry that cannot have been taken.
    pub(crate) fn of_stored(group: GroupId, stored: &[Bytes]) -> Result<Self, RosterError> {
        let mut roster = Self::new(group);
        let mut wrong = None;
        roster.apply_all(stored.to_vec(), |_, result| match result {
            // One that was stored while it waited for others may turn out not to follow from them.
            Ok(_) | Err(RosterError::InvalidCommit) => {}
            Err(error) => wrong = Some(error),
        });
        wrong.map_or(Ok(roster), Err)
    }

    /// Takes entries that come in no particular order, and those that find no room again as long as others go on: what waits
    /// for one that follows has room then, and what a member let in may find none once it is none. Says of each of the others
    /// what became of it.
    pub(crate) fn apply_all(
        &mut self,
        mut entries: Vec<Bytes>,
        mut each: impl FnMut(Bytes, Result<Change, RosterError>),
    ) {
        loop {
            let mut goes_on = false;
            for entry in std::mem::take(&mut entries) {
                match self.take(entry.clone()) {
                    Err(RosterError::Full) => entries.push(entry),
                    result => {
                        goes_on |= result.as_ref().is_ok_and(|change| *change != Change::Known);
                        each(entry, result);
                    }
                }
                entries.extend(self.history.take_gone());
            }
            if entries.is_empty() || !goes_on {
                return;
            }
        }
    }

    /// Takes the payload of a control envelope.
    ///
    /// # Errors
    /// [`RosterError`]; the roster is as before.
    pub fn apply(&mut self, payload: Bytes) -> Result<Change, RosterError> {
        let taken = self.take(payload);
        // It is stored, and is tried again with everything else at the next start.
        self.history.take_gone();
        taken
    }

    fn take(&mut self, payload: Bytes) -> Result<Change, RosterError> {
        let hash = EntryHash::of(&payload);
        if self.entries.contains_key(&hash) {
            return Ok(Change::Known);
        }
        let entry = Entry::read(&self.group, &payload)?;
        let full = match entry {
            Entry::Unknown => self.unknown >= UNKNOWN_ENTRIES_MAX,
            Entry::Genesis(_) => false,
            // Half of it is for whom members let in.
            Entry::Joined(ref joined) => {
                let share = if self.members.contains_key(&joined.inviter) { 1 } else { 2 };
                self.entries.len() - self.unknown >= ROSTER_ENTRIES_MAX / share
            }
            // One a device that joined, whatever comes; and commits have a bound of their own.
            Entry::Renamed(_) | Entry::Left(_) | Entry::Commit(_) => false,
        };
        if full {
            return Err(RosterError::Full);
        }
        match entry {
            Entry::Genesis(genesis) => self.found(hash, genesis, payload),
            Entry::Joined(joined) => self.join(hash, joined, payload),
            Entry::Renamed(renamed) => self.rename(hash, renamed, payload),
            Entry::Commit(commit) => self.commit(commit, payload),
            Entry::Left(device) => self.leave(hash, device, payload),
            Entry::Unknown => {
                self.unknown += 1;
                self.keep(hash, payload);
                Ok(Change::Kept)
            }
        }
    }

    fn found(&mut self, hash: EntryHash, genesis: Genesis, payload: Bytes) -> Result<Change, RosterError> {
        if self.genesis.is_some() {
            return Err(RosterError::SecondGenesis);
        }
        let Genesis { device, kem_public, profile, created_at_ms, .. } = genesis;
        self.genesis = Some(device);
        self.keep(hash, payload);
        let mut added = Vec::new();
        let founder =
            Member { device, kem_public, profile, inviter: None, since_ms: created_at_ms, entry: hash, is_kit: false };
        self.add(founder, &mut added);
        Ok(self.settle(added))
    }

    fn join(&mut self, hash: EntryHash, joined: Joined, payload: Bytes) -> Result<Change, RosterError> {
        if !self.joined.contains_key(&joined.inviter) {
            if self.waiting.values().map(BTreeMap::len).sum::<usize>() >= MEMBERS_MAX {
                return Err(RosterError::Full);
            }
            self.waiting.entry(joined.inviter).or_default().insert(hash, (joined, payload));
            return Ok(Change::Waiting);
        }
        if !self.is_our_app(&joined) {
            return Err(RosterError::OtherApp);
        }
        let mut added = Vec::new();
        self.admit(hash, joined, payload, &mut added);
        Ok(self.settle(added))
    }

    fn rename(&mut self, hash: EntryHash, renamed: Renamed, payload: Bytes) -> Result<Change, RosterError> {
        let device = renamed.device;
        let change = self.names.apply(hash, renamed, payload, |device| self.joined.contains_key(device))?;
        self.call(&device);
        Ok(change)
    }

    fn commit(&mut self, commit: Commit, payload: Bytes) -> Result<Change, RosterError> {
        let family = Family::new(self.genesis, &self.invited);
        let taken = self.history.take(commit, payload, &family, |device| self.members.contains_key(device))?;
        if taken == Taken::Yes {
            self.members = belonging(&self.history, &family, &self.joined);
        }
        Ok(match taken {
            Taken::Yes | Taken::Filled => Change::Committed,
            Taken::Known => Change::Known,
            Taken::Waiting => Change::Waiting,
        })
    }

    fn leave(&mut self, hash: EntryHash, device: DeviceId, payload: Bytes) -> Result<Change, RosterError> {
        if !self.joined.contains_key(&device) {
            return Err(RosterError::Entry(EntryError::Malformed));
        }
        self.keep(hash, payload);
        self.leaving.insert(device);
        Ok(Change::Leaving)
    }

    /// Lets a device have its name.
    fn call(&mut self, device: &DeviceId) {
        let Some(name) = self.names.of(device) else { return };
        for devices in [&mut self.joined, &mut self.members] {
            if let Some(member) = devices.get_mut(device) {
                member.profile.called(name);
            }
        }
    }

    /// Takes what waited for the devices of `added`, and for those added by that, and so on.
    fn settle(&mut self, mut added: Vec<DeviceId>) -> Change {
        let mut next = 0;
        while let Some(device) = added.get(next) {
            next += 1;
            for (hash, (joined, payload)) in self.waiting.remove(device).unwrap_or_default() {
                if self.is_our_app(&joined) && self.entries.len() - self.unknown < ROSTER_ENTRIES_MAX {
                    self.admit(hash, joined, payload, &mut added);
                }
            }
        }
        self.names.settle(|device| self.joined.contains_key(device));
        for device in self.joined.keys().copied().collect::<Vec<_>>() {
            self.call(&device);
        }
        let family = Family::new(self.genesis, &self.invited);
        self.history.weigh(&family);
        self.history.settle(&family, &|device| self.members.contains_key(device));
        self.members = belonging(&self.history, &family, &self.joined);
        added.retain(|device| self.members.contains_key(device));
        Change::Added(added)
    }

    /// The entry's inviter joined. A device that paired twice has two entries. Both stay; the one with the lower hash
    /// speaks for it, on every device alike.
    fn admit(&mut self, hash: EntryHash, joined: Joined, payload: Bytes, added: &mut Vec<DeviceId>) {
        self.keep(hash, payload);
        let JoinRequest { device, kem_public, profile, .. } = joined.request;
        if let Some(copied) = joined.copied
            && self.copies.get(&device).is_none_or(|(.., known)| hash < *known)
        {
            self.copies.insert(device, (joined.inviter, copied, hash));
        }
        let lowest = self.invited.entry(joined.inviter).or_default().entry(device).or_insert(hash);
        *lowest = hash.min(*lowest);
        self.given.entry(device).or_default().push(joined.heads.into_iter().collect());
        let member = Member {
            device,
            kem_public,
            profile,
            inviter: Some(joined.inviter),
            since_ms: joined.joined_at_ms,
            entry: hash,
            is_kit: joined.is_kit,
        };
        match self.joined.get_mut(&device) {
            None => self.add(member, added),
            Some(known) if known.inviter.is_some() && hash < known.entry => {
                *known = member;
                self.call(&device);
            }
            Some(_) => {}
        }
    }

    fn add(&mut self, member: Member, added: &mut Vec<DeviceId>) {
        self.origins.insert(member.device, (self.taken.len() - 1, member.inviter));
        added.push(member.device);
        self.joined.insert(member.device, member);
    }

    fn keep(&mut self, hash: EntryHash, payload: Bytes) {
        self.entries.insert(hash, payload);
        self.taken.push(hash);
    }

    fn is_our_app(&self, joined: &Joined) -> bool {
        self.app_id() == Some(joined.request.profile.app_id())
    }

    // ── Who belongs to it ──

    /// Which group.
    pub fn group_id(&self) -> GroupId {
        self.group
    }

    /// The app the group was made for, once the genesis is here.
    pub fn app_id(&self) -> Option<&str> {
        self.genesis.as_ref().and_then(|device| self.joined.get(device)).map(|founder| founder.profile.app_id())
    }

    /// The entry that the group began with, once it is here.
    pub fn genesis(&self) -> Option<EntryHash> {
        self.genesis.as_ref().and_then(|device| self.joined.get(device)).map(|founder| founder.entry)
    }

    /// All members, by id.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// One member.
    pub fn member(&self, device: &DeviceId) -> Option<&Member> {
        self.members.get(device)
    }

    /// The entry that speaks for a device that ever joined.
    pub fn entry_of(&self, device: &DeviceId) -> Option<&Bytes> {
        self.joined.get(device).and_then(|member| self.entries.get(&member.entry))
    }

    /// Whether the device belongs to the group.
    pub fn is_member(&self, device: &DeviceId) -> bool {
        self.members.contains_key(device)
    }

    /// What a sender is to the group.
    pub fn standing(&self, device: &DeviceId) -> Standing {
        match self.history.removed().get(device) {
            _ if self.members.contains_key(device) => Standing::Member,
            Some(cutoff) if self.joined.contains_key(device) => Standing::Removed(*cutoff),
            Some(_) | None => Standing::Stranger,
        }
    }

    /// Who was removed, and how far their envelopes count.
    pub fn removed(&self) -> &BTreeMap<DeviceId, Cutoff> {
        self.history.removed()
    }

    /// Members that a removed device let in, and of whom nobody knew that removed it: some who had not heard of that yet
    /// took them for members. They may have come in after it. The next commit of somebody who has heard takes them out.
    pub(crate) fn smuggled(&self) -> &BTreeSet<DeviceId> {
        self.history.smuggled()
    }

    /// What to seal to a device with that ever joined.
    pub(crate) fn kem_public_of(&self, device: &DeviceId) -> Option<&Bytes> {
        self.joined.get(device).map(|member| &member.kem_public)
    }

    /// When the group was made, by the founder's clock in Unix milliseconds; the end of time while that isn't known.
    pub(crate) fn founded_at_ms(&self) -> u64 {
        let founder = self.genesis.as_ref().and_then(|device| self.joined.get(device));
        founder.map_or(u64::MAX, |founder| founder.since_ms)
    }

    /// Members that asked to be removed.
    pub fn leaving(&self) -> impl Iterator<Item = &DeviceId> {
        self.leaving.iter().filter(|device| self.members.contains_key(device))
    }

    /// Whether nobody should be invited any more. Two members who let somebody in at once may take the group over
    /// [`MEMBERS_MAX`]; those stay.
    pub fn is_full(&self) -> bool {
        self.members.len() >= MEMBERS_MAX
    }

    /// Where a device stands among the members, from 0: who joined earlier is ahead.
    pub(crate) fn place_of(&self, device: &DeviceId) -> usize {
        let family = self.family();
        let Some(rank) = family.rank(device) else { return self.members.len() };
        self.members.keys().filter(|other| family.rank(other).is_some_and(|other| other < rank)).count()
    }

    fn family(&self) -> Family<'_> {
        Family::new(self.genesis, &self.invited)
    }

    /// Of which device this one is a copy, and what it says of that.
    pub fn copied(&self, device: &DeviceId) -> Option<(DeviceId, Copied)> {
        self.copies.get(device).map(|(former, copied, _)| (*former, *copied))
    }

    /// Every device that joined as a copy of another, with that one.
    pub(crate) fn copies(&self) -> impl Iterator<Item = (DeviceId, DeviceId, Copied)> {
        self.copies.iter().map(|(device, (former, copied, _))| (*device, *former, *copied))
    }

    // ── Commits ──

    /// What a commit that takes account of everything known here follows.
    pub(crate) fn grounds(&self) -> Vec<EntryHash> {
        self.history.grounds(&self.family())
    }

    /// Whether everybody else is known to have heard of every removal: from then on nobody says any more that more of a
    /// removed device's counts than is known here.
    pub(crate) fn has_heard_of_removals(&self, me: &DeviceId) -> bool {
        // A kit holds nothing and says nothing.
        let others = self.members.values().filter(|member| member.device != *me && !member.is_kit);
        let others = others.map(|member| &member.device);
        self.removed().is_empty() || self.history.is_settled(others, &self.sealed_under)
    }

    /// The commits.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// The count that a new name of this device takes.
    pub(crate) fn next_count(&self, device: &DeviceId) -> u64 {
        self.names.count(device).saturating_add(1)
    }

    /// Members' names that a device gave which is none any more. It may have told some of the members, and never will tell
    /// the others.
    pub(crate) fn orphaned_names(&self) -> Vec<(DeviceId, String)> {
        self.names.signed_by_others(|device| self.is_member(device))
    }

    /// What names have changed since this was last asked, and which entries are over by that.
    pub(crate) fn take_names_changed(&mut self) -> NamesChanged {
        self.names.take_changed()
    }

    /// `head = BLAKE3-derive_key("0k-sync/1 roster", hashes of the entries, in ascending order)`
    pub fn head(&self) -> [u8; 32] {
        let hashes: BTreeSet<_> = self.entries().map(|(hash, _)| hash).collect();
        head_of(hashes.into_iter())
    }

    /// The entries that make the device a member, from its own back to the genesis.
    pub fn lineage(&self, device: &DeviceId) -> impl Iterator<Item = (&EntryHash, &Bytes)> {
        let first = self.origins.get(device);
        std::iter::successors(first, |(_, inviter)| self.origins.get(inviter.as_ref()?))
            .map(|(index, _)| (&self.taken[*index], &self.entries[&self.taken[*index]]))
    }

    /// The entries, an inviter's always before those of whom it let in, then the commits that are valid and what they
    /// build on, and the names last.
    pub fn entries(&self) -> impl Iterator<Item = (&EntryHash, &Bytes)> {
        let taken = self.taken.iter().map(|hash| (hash, &self.entries[hash]));
        taken.chain(self.history.entries()).chain(self.names.entries())
    }
}

/// Who is a member: those that joined and count, less the removed.
fn belonging(
    history: &History,
    family: &Family<'_>,
    joined: &BTreeMap<DeviceId, Member>,
) -> BTreeMap<DeviceId, Member> {
    let removed = history.removed();
    let vouched = family.devices().copied().filter(|device| history.vouches_for(device));
    let counting = family.reached(|device| !removed.contains_key(device), vouched);
    let members = counting.into_keys().filter(|device| !removed.contains_key(device));
    members.map(|device| (device, joined[&device].clone())).collect()
}

/// See [`Roster::head`]. The hashes are in ascending order.
pub(crate) fn head_of<'a>(hashes: impl Iterator<Item = &'a EntryHash>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("0k-sync/1 roster");
    for hash in hashes {
        hasher.update(hash.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests;
