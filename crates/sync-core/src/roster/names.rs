//! What devices are called by now: of everything that members signed about one device's name, the newest.
//!
//! ```text
//! 03 renamed   [renaming, signature]                             by any member, about any member
//! ```
//! Newest is the highest count, then the highest hash: devices that hold the same entries agree, and no clock decides.
//! A name that is over is no part of the roster any more: whoever renames ten thousand times has left one entry.
//!
//! Invariant: at most one entry a member, and [`MEMBERS_MAX`] that wait for their signer or their subject.

use std::collections::{BTreeMap, btree_map::Entry as Slot};

use bytes::Bytes;
use serde_bytes::ByteArray;
use sync_types::{
    DeviceId, GroupId,
    envelope::SIGNATURE_LEN,
    limits::{DEVICE_NAME_LEN_MAX, MEMBERS_MAX},
    sign::{self, Purpose},
    wire::message,
};

use super::{
    Change, EntryError, EntryHash, RosterError,
    entry::{RENAMED, check, decode, encode, tagged},
    text::clean,
};
use crate::keys::DeviceKey;

/// A member calls a device something else from now on.
#[derive(Clone, PartialEq, Eq)]
pub struct Renamed {
    /// Whose name it is.
    pub device: DeviceId,
    /// The name.
    pub name: String,
    /// One more than that of the name before, as far as the signer knew.
    pub count: u64,
    /// Who says so.
    pub signer: DeviceId,
}

impl std::fmt::Debug for Renamed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Renamed({:?}, {}, by {:?})", self.device, self.count, self.signer)
    }
}

message! {
    struct RenamedParts {
        renaming: Bytes,
        signature: ByteArray<SIGNATURE_LEN>,
    }
}

message! {
    struct Renaming {
        device: DeviceId,
        name: String,
        count: u64,
        signer: DeviceId,
    }
}

impl Renamed {
    /// The payload of the entry. The name is cleaned and cut to what a roster takes; none if nothing is left of it.
    pub fn create(group: &GroupId, signer: &DeviceKey, device: DeviceId, name: &str, count: u64) -> Option<Bytes> {
        let name = Self::name_of(name);
        if name.is_empty() {
            return None;
        }
        let renaming = encode(&Renaming { device, name, count, signer: signer.device_id() });
        let signature = signer.sign(&Self::message(group, &renaming));
        Some(tagged(RENAMED, &RenamedParts { renaming, signature: ByteArray::new(signature) }))
    }

    /// What is left of a name once it is cleaned and cut.
    pub(crate) fn name_of(name: &str) -> String {
        clean(name, DEVICE_NAME_LEN_MAX)
    }

    pub(super) fn read(group: &GroupId, parts: &[u8]) -> Result<Self, EntryError> {
        let parts: RenamedParts = decode(parts)?;
        let Renaming { device, name, count, signer, .. } = decode(&parts.renaming)?;
        let fits = name.len() <= DEVICE_NAME_LEN_MAX;
        let name = Some(clean(&name, DEVICE_NAME_LEN_MAX)).filter(|name| fits && !name.is_empty());
        let name = name.ok_or(EntryError::Malformed)?;
        check(&signer, &Self::message(group, &parts.renaming), &parts.signature)?;
        Ok(Self { device, name, count, signer })
    }

    fn message(group: &GroupId, renaming: &[u8]) -> Vec<u8> {
        sign::message(Purpose::Roster, group.as_bytes(), &[&[RENAMED], renaming])
    }
}

#[derive(Debug)]
struct Kept {
    signer: DeviceId,
    count: u64,
    hash: EntryHash,
    name: String,
    payload: Bytes,
}

impl Kept {
    fn is_newer_than(&self, other: &Self) -> bool {
        (self.count, self.hash) > (other.count, other.hash)
    }
}

/// What changed since it was last asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NamesChanged {
    /// Who is called something else.
    pub(crate) renamed: Vec<DeviceId>,
    /// Entries that are no part of the roster any more.
    pub(crate) superseded: Vec<Bytes>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Names {
    /// By whose name it is. Both that device and the signer are members.
    current: BTreeMap<DeviceId, Kept>,
    /// By signer and subject, of which one or both are none yet.
    waiting: BTreeMap<(DeviceId, DeviceId), Kept>,
    changed: NamesChanged,
}

impl Names {
    pub(super) fn of(&self, device: &DeviceId) -> Option<&str> {
        self.current.get(device).map(|kept| kept.name.as_str())
    }

    /// How often the device was renamed, as far as its newest name says.
    pub(super) fn count(&self, device: &DeviceId) -> u64 {
        self.current.get(device).map_or(0, |kept| kept.count)
    }

    /// The names that somebody signed for whom this does not hold, of those it holds for. None that has the last word by
    /// its count: nothing that is signed now could take its place for certain.
    pub(super) fn signed_by_others(&self, is_member: impl Fn(&DeviceId) -> bool) -> Vec<(DeviceId, String)> {
        let orphaned = |(device, kept): &(&DeviceId, &Kept)| {
            is_member(device) && !is_member(&kept.signer) && kept.count < u64::MAX
        };
        let names = self.current.iter().filter(orphaned);
        names.map(|(device, kept)| (*device, kept.name.clone())).collect()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&EntryHash, &Bytes)> {
        self.current.values().map(|kept| (&kept.hash, &kept.payload))
    }

    pub(super) fn take_changed(&mut self) -> NamesChanged {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn apply(
        &mut self,
        hash: EntryHash,
        renamed: Renamed,
        payload: Bytes,
        is_member: impl Fn(&DeviceId) -> bool,
    ) -> Result<Change, RosterError> {
        let Renamed { device, name, count, signer } = renamed;
        let kept = Kept { signer, count, hash, name, payload };
        if is_member(&signer) && is_member(&device) {
            let is_news = self.current.get(&device).is_none_or(|known| kept.is_newer_than(known));
            if is_news {
                self.call(device, kept);
            }
            return Ok(if is_news { Change::Renamed } else { Change::Known });
        }
        let crowded = self.waiting.len() >= MEMBERS_MAX;
        match self.waiting.entry((signer, device)) {
            Slot::Occupied(known) if !kept.is_newer_than(known.get()) => return Ok(Change::Known),
            Slot::Occupied(mut known) => self.changed.superseded.push(known.insert(kept).payload),
            Slot::Vacant(_) if crowded => return Err(RosterError::Full),
            Slot::Vacant(place) => drop(place.insert(kept)),
        }
        Ok(Change::Waiting)
    }

    /// Takes what waited, now that there are more members.
    pub(super) fn settle(&mut self, is_member: impl Fn(&DeviceId) -> bool) {
        let due = self.waiting.extract_if(.., |(signer, device), _| is_member(signer) && is_member(device));
        for ((_, device), kept) in due.collect::<Vec<_>>() {
            if self.current.get(&device).is_none_or(|known| kept.is_newer_than(known)) {
                self.call(device, kept);
            } else {
                self.changed.superseded.push(kept.payload);
            }
        }
    }

    fn call(&mut self, device: DeviceId, kept: Kept) {
        self.changed.renamed.push(device);
        let over = self.current.insert(device, kept);
        self.changed.superseded.extend(over.map(|over| over.payload));
    }
}
