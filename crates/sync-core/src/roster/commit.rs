//! A commit: a member ends one epoch and begins another, removes devices, or both.
//!
//! ```text
//! 04 commit    [core, signature, boxes]                          by a member
//! core         [parents, number, removed, remaining, committer, made at, key or nil]
//! key          [key id, the parents' secrets under the new one, hash of the boxes]
//! ```
//! A box a device that remains, in the order of `remaining`, holds the new secret for it alone. The boxes are not part
//! of what is signed but by their hash, so a commit can be handed on without: to whoever has the secret anyway. A commit
//! without a key only strikes devices off.
//!
//! Invariant: a [`Commit`] exists only with a signature that holds and boxes that are those it names. Whether it is
//! valid is [`super::history`]'s question.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand_core::CryptoRng;
use serde_bytes::ByteArray;
use sync_types::{
    BlobHash, DeviceId, GroupId, KeyId, Seq,
    envelope::SIGNATURE_LEN,
    limits::{COMMIT_OLDER_MAX, COMMIT_PARENTS_MAX, CONTROL_LEN_MAX, MEMBERS_MAX},
    sign::{self, Purpose},
    wire::{AtMost, message},
};

use super::{
    EntryHash,
    entry::{COMMIT, EntryError, check, decode, encode, tagged},
};
use crate::{
    handover::{self, BOX_LEN, OLDER_LEN},
    keys::{DeviceKem, DeviceKey, Epoch, EpochSecret},
};

message! {
    /// How far a removed device's envelopes count: up to this one, by its place and its hash.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Cutoff {
        /// The last one that counts; 0 for none.
        pub seq: Seq,
        /// Its hash.
        pub hash: BlobHash,
    }
}

/// What takes devices out of the group and gives it new keys, as the roster holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// What names it, with boxes or without.
    pub hash: EntryHash,
    /// The commits it follows, in ascending order; none if it is a group's first.
    pub parents: Vec<EntryHash>,
    /// One more than the highest of its parents', from 1.
    pub number: u32,
    /// Whom it removes, and how far their envelopes count.
    pub removed: BTreeMap<DeviceId, Cutoff>,
    /// Everybody else, as far as the committer knew.
    pub remaining: BTreeSet<DeviceId>,
    /// Who made it.
    pub committer: DeviceId,
    /// The committer's clock then, in Unix milliseconds.
    pub made_at_ms: u64,
    /// The epoch it begins, if it does.
    pub key: Option<NewKey>,
}

/// The epoch that a commit begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// What names its secret.
    pub key_id: KeyId,
    older: Vec<(KeyId, Bytes)>,
    boxes: Vec<Bytes>,
}

message! {
    struct Parts {
        core: Bytes,
        signature: ByteArray<SIGNATURE_LEN>,
        boxes: AtMost<MEMBERS_MAX, Bytes>,
    }
}

message! {
    struct Core {
        parents: AtMost<COMMIT_PARENTS_MAX, ByteArray<32>>,
        number: u32,
        removed: AtMost<MEMBERS_MAX, Removal>,
        remaining: AtMost<MEMBERS_MAX, DeviceId>,
        committer: DeviceId,
        made_at_ms: u64,
        key: Option<KeyParts>,
    }
}

message! {
    struct Removal {
        device: DeviceId,
        cutoff: Cutoff,
    }
}

message! {
    struct KeyParts {
        key_id: KeyId,
        older: AtMost<COMMIT_OLDER_MAX, Older>,
        boxes: ByteArray<32>,
    }
}

message! {
    struct Older {
        key_id: KeyId,
        sealed: Bytes,
    }
}

/// What a commit is to say.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) parents: Vec<EntryHash>,
    pub(crate) number: u32,
    pub(crate) removed: BTreeMap<DeviceId, Cutoff>,
    /// With the keys to seal to.
    pub(crate) remaining: BTreeMap<DeviceId, Bytes>,
    pub(crate) made_at_ms: u64,
    /// The new epoch's secret and the epochs it follows, if there is to be one.
    pub(crate) key: Option<(&'a EpochSecret, Vec<&'a Epoch>)>,
}

impl Draft<'_> {
    /// The payload of the entry. None if it would be longer than one may be, or a device's key is none.
    pub(crate) fn sign(self, group: &GroupId, committer: &DeviceKey, rng: &mut impl CryptoRng) -> Option<Bytes> {
        let mut boxes = Vec::new();
        let parents = parents_hash(&self.parents);
        let key = match self.key {
            Some((secret, older)) => {
                let key_id = secret.key_id(group);
                let purpose = handover::Purpose { group, parents: &parents, key_id: &key_id };
                for (device, kem_public) in &self.remaining {
                    boxes.push(purpose.seal(secret, (device, kem_public), rng)?);
                }
                let older = older
                    .into_iter()
                    .map(|old| Older { key_id: old.key_id(), sealed: handover::seal_older(secret, group, old, rng) });
                Some(KeyParts { key_id, older: AtMost(older.collect()), boxes: ByteArray::new(boxes_hash(&boxes)) })
            }
            None => None,
        };
        let core = encode(&Core {
            parents: AtMost(self.parents.iter().map(|hash| ByteArray::new(*hash.as_bytes())).collect()),
            number: self.number,
            removed: AtMost(self.removed.into_iter().map(|(device, cutoff)| Removal { device, cutoff }).collect()),
            remaining: AtMost(self.remaining.into_keys().collect()),
            committer: committer.device_id(),
            made_at_ms: self.made_at_ms,
            key,
        });
        let signature = ByteArray::new(committer.sign(&signed(group, &core)));
        let payload = tagged(COMMIT, &Parts { core, signature, boxes: AtMost(boxes) });
        (payload.len() <= CONTROL_LEN_MAX).then_some(payload)
    }
}

impl Commit {
    pub(super) fn read(group: &GroupId, parts: &[u8]) -> Result<Self, EntryError> {
        let parts: Parts = decode(parts)?;
        let core: Core = decode(&parts.core)?;
        let parents: Vec<_> = core.parents.0.into_iter().map(|hash| EntryHash::from_bytes(hash.into_array())).collect();
        let AtMost(remaining) = core.remaining;
        let removed: Vec<_> = core.removed.0.into_iter().map(|removal| (removal.device, removal.cutoff)).collect();
        let ascending = parents.is_sorted_by(|a, b| a < b)
            && remaining.is_sorted_by(|a, b| a < b)
            && removed.is_sorted_by(|(a, _), (b, _)| a < b);
        let key = core.key.map(|key| NewKey::read(key, parts.boxes.0, remaining.len())).transpose()?;
        let has_room = core.number > 0 && (key.is_some() || parents.len() <= 1);
        if !ascending || !has_room {
            return Err(EntryError::Malformed);
        }
        check(&core.committer, &signed(group, &parts.core), &parts.signature)?;
        Ok(Self {
            hash: hash_of(&parts.core, &parts.signature),
            parents,
            number: core.number,
            removed: removed.into_iter().collect(),
            remaining: remaining.into_iter().collect(),
            committer: core.committer,
            made_at_ms: core.made_at_ms,
            key,
        })
    }

    /// The new epoch's secret, out of this device's box.
    pub(crate) fn secret(&self, group: &GroupId, (me, kem): (&DeviceId, &DeviceKem)) -> Option<EpochSecret> {
        let key = self.key.as_ref()?;
        let place = self.remaining.iter().position(|device| device == me)?;
        let parents = parents_hash(&self.parents);
        handover::Purpose { group, parents: &parents, key_id: &key.key_id }.open(key.boxes.get(place)?, (me, kem))
    }

    /// The secrets of epochs before, for a holder of the new one.
    pub(crate) fn older(
        &self,
        group: &GroupId,
        new: &EpochSecret,
        wanted: impl Fn(&KeyId) -> bool,
    ) -> Vec<(KeyId, EpochSecret)> {
        let older = self.key.iter().flat_map(|key| &key.older);
        older
            .filter(|(key_id, _)| wanted(key_id))
            .filter_map(|(key_id, sealed)| Some((*key_id, handover::open_older(new, group, key_id, sealed)?)))
            .collect()
    }

    /// The epochs whose secrets its own opens.
    pub(crate) fn older_keys(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.key.iter().flat_map(|key| &key.older).map(|(key_id, _)| *key_id)
    }

    /// Whether the boxes came with it.
    pub(crate) fn has_boxes(&self) -> bool {
        self.key.as_ref().is_none_or(|key| key.boxes.len() == self.remaining.len())
    }
}

impl NewKey {
    fn read(parts: KeyParts, boxes: Vec<Bytes>, count: usize) -> Result<Self, EntryError> {
        let AtMost(older) = parts.older;
        let boxes_fit = boxes.len() == count
            && boxes.iter().all(|sealed| sealed.len() == BOX_LEN)
            && boxes_hash(&boxes) == *parts.boxes;
        let older_fit = older.iter().all(|older| older.sealed.len() == OLDER_LEN);
        if !(boxes.is_empty() || boxes_fit) || !older_fit {
            return Err(EntryError::Malformed);
        }
        let older = older.into_iter().map(|older| (older.key_id, older.sealed)).collect();
        Ok(Self { key_id: parts.key_id, older, boxes })
    }
}

/// The commit without its boxes, for a device that was given the secret another way.
pub(crate) fn without_boxes(payload: &Bytes) -> Bytes {
    let parts = payload.strip_prefix(&[COMMIT]).and_then(|parts| decode::<Parts>(parts).ok());
    parts.map_or_else(
        || payload.clone(),
        |parts| tagged(COMMIT, &Parts { core: parts.core, signature: parts.signature, boxes: AtMost(Vec::new()) }),
    )
}

/// The hash of a commit's payload, which is the same with its boxes and without. None if it is no commit.
pub(super) fn hash_of_payload(payload: &[u8]) -> Option<EntryHash> {
    let parts: Parts = decode(payload.strip_prefix(&[COMMIT])?).ok()?;
    Some(hash_of(&parts.core, &parts.signature))
}

/// `BLAKE3-derive_key("0k-sync/1 commit", core ‖ signature)`
fn hash_of(core: &[u8], signature: &[u8; SIGNATURE_LEN]) -> EntryHash {
    let mut hasher = blake3::Hasher::new_derive_key("0k-sync/1 commit");
    hasher.update(core).update(signature);
    EntryHash::from_bytes(*hasher.finalize().as_bytes())
}

fn signed(group: &GroupId, core: &[u8]) -> Vec<u8> {
    sign::message(Purpose::Commit, group.as_bytes(), &[core])
}

/// `BLAKE3(parents, one after the other)`
fn parents_hash(parents: &[EntryHash]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for hash in parents {
        hasher.update(hash.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// `BLAKE3(boxes, one after the other)`
fn boxes_hash(boxes: &[Bytes]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for sealed in boxes {
        hasher.update(sealed);
    }
    *hasher.finalize().as_bytes()
}
