//! Who belongs to the group: a set of signed entries that only grows.
//!
//! It starts with the genesis, and every other device is there because a member vouched for it. Entries arrive
//! through the group's own log in any order and more than once; one whose inviter is not known yet waits for that.
//! So devices that hold the same entries agree on the members and their names, however the entries came. The one thing
//! that leaves is a name that is over; see `roster/names.rs`.
//!
//! Invariant: from every member a chain of signatures leads to the genesis.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sync_types::{
    DeviceId, ErrorCode, GroupId,
    limits::{MEMBERS_MAX, ROSTER_ENTRIES_MAX, UNKNOWN_ENTRIES_MAX},
};

pub(crate) use self::names::NamesChanged;
pub use self::{
    entry::{Entry, EntryError, EntryHash, Genesis, JoinRequest, Joined, Profile},
    names::Renamed,
};

mod entry;
mod names;
pub(crate) mod text;

use self::names::Names;

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These devices are members now: the entry's, and those that waited for it. Nobody, if it paired twice.
    Added(Vec<DeviceId>),
    /// A member is called something else now.
    Renamed,
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
}

impl RosterError {
    /// What a front end may branch on.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Entry(_) | Self::SecondGenesis => ErrorCode::PairingFailed,
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
}

/// The group's members and the entries that prove them.
#[derive(Debug)]
pub struct Roster {
    group: GroupId,
    genesis: Option<DeviceId>,
    members: BTreeMap<DeviceId, Member>,
    /// Every entry that was taken, but for names. Its order is that of [`Self::head`].
    entries: BTreeMap<EntryHash, Bytes>,
    /// In the order they were taken: an inviter's before those of whom it let in.
    taken: Vec<EntryHash>,
    /// Where in `taken` each member came in, and through whom.
    origins: BTreeMap<DeviceId, (usize, Option<DeviceId>)>,
    /// How many of them only a newer build understands.
    unknown: usize,
    /// By the device they wait for.
    waiting: BTreeMap<DeviceId, BTreeMap<EntryHash, (Joined, Bytes)>>,
    names: Names,
}

impl Roster {
    /// Nobody yet.
    pub fn new(group: GroupId) -> Self {
        Self {
            group,
            genesis: None,
            members: BTreeMap::new(),
            entries: BTreeMap::new(),
            taken: Vec::new(),
            unknown: 0,
            origins: BTreeMap::new(),
            waiting: BTreeMap::new(),
            names: Names::default(),
        }
    }

    /// Takes the payload of a control envelope.
    ///
    /// # Errors
    /// [`RosterError`]; the roster is as before.
    pub fn apply(&mut self, payload: Bytes) -> Result<Change, RosterError> {
        let hash = EntryHash::of(&payload);
        if self.entries.contains_key(&hash) {
            return Ok(Change::Known);
        }
        let entry = Entry::read(&self.group, &payload)?;
        let full = match entry {
            Entry::Unknown => self.unknown >= UNKNOWN_ENTRIES_MAX,
            Entry::Genesis(_) | Entry::Joined(_) => self.entries.len() - self.unknown >= ROSTER_ENTRIES_MAX,
            // One a member, whatever comes.
            Entry::Renamed(_) => false,
        };
        if full {
            return Err(RosterError::Full);
        }
        match entry {
            Entry::Genesis(genesis) => self.found(hash, genesis, payload),
            Entry::Joined(joined) => self.join(hash, joined, payload),
            Entry::Renamed(renamed) => self.rename(hash, renamed, payload),
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
        let founder = Member { device, kem_public, profile, inviter: None, since_ms: created_at_ms, entry: hash };
        self.add(founder, &mut added);
        self.settle(&mut added);
        Ok(Change::Added(added))
    }

    fn join(&mut self, hash: EntryHash, joined: Joined, payload: Bytes) -> Result<Change, RosterError> {
        if !self.is_member(&joined.inviter) {
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
        self.settle(&mut added);
        Ok(Change::Added(added))
    }

    fn rename(&mut self, hash: EntryHash, renamed: Renamed, payload: Bytes) -> Result<Change, RosterError> {
        let device = renamed.device;
        let change = self.names.apply(hash, renamed, payload, |device| self.members.contains_key(device))?;
        self.call(&device);
        Ok(change)
    }

    /// Lets a member have its name.
    fn call(&mut self, device: &DeviceId) {
        if let (Some(member), Some(name)) = (self.members.get_mut(device), self.names.of(device)) {
            member.profile.called(name);
        }
    }

    /// Takes what waited for the devices of `added`, and for those added by that, and so on.
    fn settle(&mut self, added: &mut Vec<DeviceId>) {
        let mut next = 0;
        while let Some(device) = added.get(next) {
            next += 1;
            for (hash, (joined, payload)) in self.waiting.remove(device).unwrap_or_default() {
                if self.is_our_app(&joined) && self.entries.len() - self.unknown < ROSTER_ENTRIES_MAX {
                    self.admit(hash, joined, payload, added);
                }
            }
        }
        self.names.settle(|device| self.members.contains_key(device));
        for device in self.members.keys().copied().collect::<Vec<_>>() {
            self.call(&device);
        }
    }

    /// The entry's inviter is a member. A device that paired twice has two entries. Both stay; the one with the lower hash speaks for it, on every
    /// device alike.
    fn admit(&mut self, hash: EntryHash, joined: Joined, payload: Bytes, added: &mut Vec<DeviceId>) {
        self.keep(hash, payload);
        let JoinRequest { device, kem_public, profile, .. } = joined.request;
        let member = Member {
            device,
            kem_public,
            profile,
            inviter: Some(joined.inviter),
            since_ms: joined.joined_at_ms,
            entry: hash,
        };
        match self.members.get_mut(&device) {
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
        self.members.insert(member.device, member);
    }

    fn keep(&mut self, hash: EntryHash, payload: Bytes) {
        self.entries.insert(hash, payload);
        self.taken.push(hash);
    }

    fn is_our_app(&self, joined: &Joined) -> bool {
        self.app_id() == Some(joined.request.profile.app_id())
    }

    /// Which group.
    pub fn group_id(&self) -> GroupId {
        self.group
    }

    /// The app the group was made for, once the genesis is here.
    pub fn app_id(&self) -> Option<&str> {
        self.genesis.as_ref().and_then(|device| self.members.get(device)).map(|founder| founder.profile.app_id())
    }

    /// All members, by id.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// One member.
    pub fn member(&self, device: &DeviceId) -> Option<&Member> {
        self.members.get(device)
    }

    /// The entry that speaks for a member.
    pub fn entry_of(&self, device: &DeviceId) -> Option<&Bytes> {
        self.members.get(device).and_then(|member| self.entries.get(&member.entry))
    }

    /// Whether the device belongs to the group.
    pub fn is_member(&self, device: &DeviceId) -> bool {
        self.members.contains_key(device)
    }

    /// Whether nobody should be invited any more. Two members who let somebody in at once may take the group over
    /// [`MEMBERS_MAX`]; those stay.
    pub fn is_full(&self) -> bool {
        self.members.len() >= MEMBERS_MAX
    }

    /// The count that a new name of this device takes.
    pub(crate) fn next_count(&self, device: &DeviceId) -> u64 {
        self.names.count(device).saturating_add(1)
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

    /// The entries, an inviter's always before those of whom it let in, and the names last.
    pub fn entries(&self) -> impl Iterator<Item = (&EntryHash, &Bytes)> {
        self.taken.iter().map(|hash| (hash, &self.entries[hash])).chain(self.names.entries())
    }
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
