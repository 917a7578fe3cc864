//! What a joiner gets once both people agreed: the keys, who belongs to the group, and where everything stands.
//!
//! It may be larger than a mailbox message, so it travels in up to [`PARTS_MAX`] of them. A roster of some fifty devices
//! fits; of a larger one as much goes as there is room for (always the chain from the genesis to the joiner), and the
//! rest by hash. Those entries are control envelopes in the group's log like any other, so the joiner gets them from
//! a relay; that they prove themselves makes it safe, and that they are named makes it complete.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_bytes::ByteArray;
use sync_types::{
    BlobHash, DeviceId, GroupId, Seq,
    limits::{
        MAILBOX_MESSAGE_LEN_MAX, MAILBOX_MESSAGES_MAX, RELAY_NAME_LEN_MAX, RELAYS_MAX, ROSTER_ENTRIES_MAX,
        UNKNOWN_ENTRIES_MAX,
    },
    wire::{AtMost, decode_exact, message},
};
use zeroize::Zeroizing;

use super::{
    PairingError,
    noise::TAG_LEN,
    wire::{PART_OVERHEAD, say_part},
};
use crate::{
    keys::GroupKeys,
    roster::{EntryHash, Roster, RosterError, head_of, without_boxes},
    stored::{Secrets, StoredGroup},
};

/// The number of the first part's message.
pub(super) const FIRST_PART: u8 = 6;
/// Parts that a mailbox takes: the creator's share of the messages that are left.
const PARTS_MAX: usize = (MAILBOX_MESSAGES_MAX - FIRST_PART as usize) / 2;
/// Bytes of the grant in one part.
const PIECE_LEN_MAX: usize = MAILBOX_MESSAGE_LEN_MAX - 1 - TAG_LEN - PART_OVERHEAD;
/// Bytes of the longest grant.
pub(super) const GRANT_LEN_MAX: usize = PARTS_MAX * PIECE_LEN_MAX;

message! {
    /// How far a sender's envelopes are known to go.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Place {
        /// Whose.
        pub sender: DeviceId,
        /// The last one that is held, with all before it.
        pub seq: Seq,
        /// Its hash.
        pub hash: BlobHash,
    }
}

/// What the creator hands over. The joiner is in the roster already.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// The keys, all of them: what is still on relays may be sealed under any.
    pub keys: &'a GroupKeys,
    /// Who belongs to the group.
    pub roster: &'a Roster,
    /// How far the creator holds each sender's envelopes, so that a relay can't hide any of them from the joiner.
    pub frontier: &'a [Place],
    /// The relays the group uses, as a person would name them, for a joiner that came another way.
    pub relays: &'a [String],
}

/// What makes a device a member.
#[derive(Debug)]
pub struct Membership {
    /// Everything secret, now with the group's keys.
    pub secrets: Secrets,
    /// The roster's entries, in an order to apply them in. This device is a member by them.
    pub roster: Vec<Bytes>,
    /// Entries that did not fit. They come through the group's log.
    pub missing: Vec<EntryHash>,
    /// How far the inviter held each sender's envelopes.
    pub frontier: Vec<Place>,
    /// The relays the group uses.
    pub relays: Vec<String>,
}

message! {
    struct GrantFields {
        keys: StoredGroup,
        head: ByteArray<32>,
        entries: AtMost<ENTRIES_MAX, Bytes>,
        missing: AtMost<ENTRIES_MAX, ByteArray<32>>,
        frontier: AtMost<ROSTER_ENTRIES_MAX, Place>,
        relays: AtMost<RELAYS_MAX, String>,
    }
}

/// Entries of a roster, each member's name among them.
const ENTRIES_MAX: usize = 2 * ROSTER_ENTRIES_MAX + UNKNOWN_ENTRIES_MAX;
/// Bytes of the longest commit that is handed over with its boxes: there is room for a large group's, and little else.
const HEAD_LEN_MAX: usize = GRANT_LEN_MAX / 4;
/// Bytes an entry adds to its own length, beyond what its hash would take: the head of a byte string.
const ENTRY_OVERHEAD: usize = 3;

impl Grant<'_> {
    /// The grant in parts, as they are sealed into messages.
    pub(super) fn to_parts(self, joiner: &DeviceId) -> Result<Vec<Zeroizing<Vec<u8>>>, PairingError> {
        let lineage: Vec<_> = self.roster.lineage(joiner).collect();
        // No keys for a device that nobody could see and remove.
        if lineage.is_empty() {
            return Err(PairingError::GroupTooLarge);
        }
        // What the joiner can't do without: how it and whoever made a commit came in, and the commits, which decide under
        // which key it seals.
        let committers = self.roster.history().commits().map(|commit| commit.committer);
        let lineages = committers.flat_map(|device| self.roster.lineage(&device).collect::<Vec<_>>()).chain(lineage);
        let needed: BTreeSet<_> = lineages.map(|(hash, _)| *hash).chain(self.commits()).collect();
        let (first, others): (Vec<_>, Vec<_>) = self.roster.entries().partition(|(hash, _)| needed.contains(hash));

        // With every entry named by its hash, this much room is left to put entries there instead.
        let bare_commits: Vec<_> = first.iter().map(|(hash, entry)| self.in_grant(hash, entry)).collect();
        let first: Vec<_> = first.iter().zip(&bare_commits).map(|((hash, _), entry)| (*hash, entry)).collect();
        let needed = first.len();
        let all = [first, others].concat();
        let bare = self.encode(&[], &all)?;
        let mut room = GRANT_LEN_MAX.checked_sub(bare.len()).ok_or(PairingError::GroupTooLarge)?;
        let fitting = all
            .iter()
            .take_while(|(_, entry)| match room.checked_sub(entry.len() + ENTRY_OVERHEAD) {
                Some(rest) => {
                    room = rest;
                    true
                }
                None => false,
            })
            .count();
        if fitting < needed {
            return Err(PairingError::GroupTooLarge);
        }
        let bytes = self.encode(&all[..fitting], &all[fitting..])?;
        let mut pieces = bytes.chunks(PIECE_LEN_MAX).peekable();
        let mut parts = Vec::with_capacity(PARTS_MAX);
        while let Some(piece) = pieces.next() {
            parts.push(say_part(pieces.peek().is_none(), piece));
        }
        Ok(parts)
    }

    /// An entry as a joiner is given it. Of the commits only the newest have their boxes, with which it can tell relays
    /// what they were not told by anybody else.
    fn in_grant(&self, hash: &EntryHash, entry: &Bytes) -> Bytes {
        let newest = self.roster.history().is_head(hash);
        if newest && entry.len() <= HEAD_LEN_MAX { entry.clone() } else { without_boxes(entry) }
    }

    fn commits(&self) -> impl Iterator<Item = EntryHash> {
        self.roster.history().commits().map(|commit| commit.hash)
    }

    fn encode(
        self,
        whole: &[(&EntryHash, &Bytes)],
        named: &[(&EntryHash, &Bytes)],
    ) -> Result<Zeroizing<Vec<u8>>, PairingError> {
        if self.relays.len() > RELAYS_MAX || self.frontier.len() > ROSTER_ENTRIES_MAX {
            return Err(PairingError::GroupTooLarge);
        }
        let fields = GrantFields {
            keys: StoredGroup::of(self.keys),
            head: ByteArray::new(self.roster.head()),
            entries: AtMost(whole.iter().map(|(_, entry)| Bytes::clone(entry)).collect()),
            missing: AtMost(named.iter().map(|(hash, _)| ByteArray::new(*hash.as_bytes())).collect()),
            frontier: AtMost(self.frontier.to_vec()),
            relays: AtMost(self.relays.to_vec()),
        };
        // Large enough from the start: a vector that grows leaves its old bytes behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * GRANT_LEN_MAX));
        rmp_serde::encode::write(&mut *bytes, &fields).expect("a grant always encodes into memory");
        Ok(bytes)
    }
}

/// A grant whose parts were put together, checked by what it claims: that these are the keys of the group the invite
/// named, that the roster is whole, and that the joiner is in it.
pub(super) struct Granted {
    pub(super) keys: GroupKeys,
    pub(super) roster: Vec<Bytes>,
    pub(super) missing: Vec<EntryHash>,
    pub(super) frontier: Vec<Place>,
    pub(super) relays: Vec<String>,
}

impl Granted {
    pub(super) fn read(bytes: &[u8], group: &GroupId, app_id: &str, joiner: &DeviceId) -> Result<Self, PairingError> {
        let fields: GrantFields = decode_exact(bytes).map_err(|_| PairingError::Broken)?;
        let keys = fields.keys.into_keys().filter(|keys| keys.group_id() == *group).ok_or(PairingError::Broken)?;
        let missing: Vec<_> =
            fields.missing.0.into_iter().map(|hash| EntryHash::from_bytes(hash.into_array())).collect();

        let mut roster = Roster::new(*group);
        let mut named: BTreeSet<_> = missing.iter().copied().collect();
        for entry in &fields.entries.0 {
            named.insert(EntryHash::of(entry));
            roster.apply(entry.clone()).map_err(|error| match error {
                RosterError::OtherApp => PairingError::OtherApp,
                RosterError::Entry(_) | RosterError::SecondGenesis | RosterError::InvalidCommit | RosterError::Full => {
                    PairingError::Broken
                }
            })?;
        }
        let is_whole = head_of(named.iter()) == *fields.head;
        let is_member = roster.is_member(joiner) && roster.app_id() == Some(app_id);
        let relays_fit = fields.relays.0.iter().all(|relay| relay.len() <= RELAY_NAME_LEN_MAX);
        if !(is_whole && is_member && relays_fit) {
            return Err(PairingError::Broken);
        }
        let (AtMost(entries), AtMost(frontier), AtMost(relays)) = (fields.entries, fields.frontier, fields.relays);
        Ok(Self { keys, roster: entries, missing, frontier, relays })
    }
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::{
        keys::{DeviceKem, DeviceKey, EpochSecret},
        pairing::wire::hear_part,
        roster::{Change, Genesis, JoinRequest, Profile},
    };

    struct Group {
        keys: GroupKeys,
        roster: Roster,
        devices: Vec<DeviceKey>,
    }

    impl Group {
        /// The first device founds; `inviter_of` says who lets each other one in.
        fn new(members: usize, inviter_of: impl Fn(usize) -> usize) -> Self {
            let mut rng = ChaCha20Rng::from_seed([1; 32]);
            let keys = GroupKeys::generate(&mut rng);
            let id = keys.group_id();
            let mut roster = Roster::new(id);
            let mut devices: Vec<DeviceKey> = Vec::new();
            // One KEM key for all: making them is slow, and nothing here looks at them.
            let kem = DeviceKem::generate(&mut rng);
            for index in 0..members {
                let device = DeviceKey::generate(&mut rng);
                let profile = Profile::new(&"x".repeat(64), "platform", "app").unwrap();
                let entry = match index {
                    0 => Genesis::create(&id, (&device, &kem), &profile, 1),
                    _ => JoinRequest::create(&id, (&device, &kem), &profile, [0; 32]).admit(
                        &id,
                        &devices[inviter_of(index)],
                        2,
                        &[],
                    ),
                };
                assert!(matches!(roster.apply(entry), Ok(Change::Added(_))));
                devices.push(device);
            }
            Self { keys, roster, devices }
        }

        fn joiner(&self) -> DeviceId {
            self.devices.last().expect("somebody").device_id()
        }

        fn parts(&self, frontier: &[Place]) -> Result<Vec<Zeroizing<Vec<u8>>>, PairingError> {
            let grant = Grant { keys: &self.keys, roster: &self.roster, frontier, relays: &[] };
            grant.to_parts(&self.joiner())
        }

        fn read(&self, bytes: &[u8]) -> Result<Granted, PairingError> {
            Granted::read(bytes, &self.keys.group_id(), "app", &self.joiner())
        }

        fn frontier(&self) -> Vec<Place> {
            let place = |device: &DeviceKey| Place {
                sender: device.device_id(),
                seq: Seq::new(u64::MAX),
                hash: BlobHash::from_bytes([7; 32]),
            };
            self.devices.iter().map(place).collect()
        }
    }

    fn join(parts: &[Zeroizing<Vec<u8>>]) -> Vec<u8> {
        parts.iter().flat_map(|part| hear_part(part).expect("a part").1.to_vec()).collect()
    }

    #[test]
    fn a_small_group_fits_and_a_large_one_is_named() {
        for (members, whole) in [(2, true), (30, true), (250, false)] {
            let group = Group::new(members, |index| (index - 1) / 2);
            let frontier = group.frontier();
            let parts = group.parts(&frontier).expect("fits");
            assert!(parts.len() <= PARTS_MAX);
            for (index, part) in parts.iter().enumerate() {
                assert!(1 + part.len() + TAG_LEN <= MAILBOX_MESSAGE_LEN_MAX);
                assert_eq!(hear_part(part).expect("a part").0, index + 1 == parts.len());
            }
            let granted = group.read(&join(&parts)).expect("sound");
            assert_eq!(granted.missing.is_empty(), whole, "{members}");
            assert_eq!(granted.roster.len() + granted.missing.len(), members);
            assert_eq!(granted.frontier, frontier);

            // With what comes through the log the joiner's roster is the creator's.
            let mut roster = Roster::new(group.keys.group_id());
            let rest = group.roster.entries().filter(|(hash, _)| granted.missing.contains(hash));
            for entry in granted.roster.iter().chain(rest.map(|(_, entry)| entry)) {
                roster.apply(entry.clone()).expect("valid");
            }
            assert_eq!(roster.head(), group.roster.head());
            assert!(roster.members().eq(group.roster.members()));
        }
    }

    #[test]
    fn a_chain_that_does_not_fit_is_refused_rather_than_cut() {
        assert!(Group::new(40, |index| index - 1).parts(&[]).is_ok());
        assert_eq!(Group::new(80, |index| index - 1).parts(&[]).err(), Some(PairingError::GroupTooLarge));
    }

    #[test]
    fn keys_that_leave_no_room_are_refused() {
        let mut group = Group::new(2, |_| 0);
        for number in 1..1_000u32 {
            let mut secret = [0; 32];
            secret[..4].copy_from_slice(&number.to_be_bytes());
            group.keys.insert(number, EpochSecret::from_bytes(&secret));
        }
        let granted = group.read(&join(&group.parts(&[]).expect("fits"))).expect("sound");
        assert_eq!(granted.keys.epochs().len(), 1_000);
        let place = group.frontier()[0];
        assert!(group.parts(&[place; ROSTER_ENTRIES_MAX]).is_ok());
        assert_eq!(group.parts(&[place; ROSTER_ENTRIES_MAX + 1]).err(), Some(PairingError::GroupTooLarge));
    }

    #[test]
    fn a_grant_must_be_of_the_group_whole_and_about_the_joiner() {
        let group = Group::new(4, |_| 0);
        let bytes = join(&group.parts(&[]).expect("fits"));
        let id = group.keys.group_id();
        let joiner = group.joiner();
        assert!(Granted::read(&bytes, &id, "app", &joiner).is_ok());
        let stranger = DeviceId::from_bytes([9; 32]);
        assert!(Granted::read(&bytes, &id, "app", &stranger).is_err(), "not about the joiner");
        assert!(Granted::read(&bytes, &GroupId::from_bytes([9; 32]), "app", &joiner).is_err(), "another group");
        assert!(Granted::read(&bytes, &id, "other", &joiner).is_err(), "another app");
        assert!(Granted::read(&bytes[..bytes.len() - 1], &id, "app", &joiner).is_err(), "cut off");

        let fields = |head, entries: Vec<Bytes>, relay: String| GrantFields {
            keys: StoredGroup::of(&group.keys),
            head: ByteArray::new(head),
            entries: AtMost(entries),
            missing: AtMost(Vec::new()),
            frontier: AtMost(Vec::new()),
            relays: AtMost(vec![relay]),
        };
        let read = |fields: &GrantFields| group.read(&rmp_serde::to_vec(fields).expect("encodes")).map(|_| ());
        let entries: Vec<_> = group.roster.entries().map(|(_, entry)| entry.clone()).collect();
        let head = group.roster.head();
        assert_eq!(read(&fields(head, entries.clone(), "relay".into())), Ok(()));
        let other = GroupKeys::generate(&mut ChaCha20Rng::from_seed([2; 32]));
        let with_other_keys =
            GrantFields { keys: StoredGroup::of(&other), ..fields(head, entries.clone(), "relay".into()) };
        assert_eq!(read(&with_other_keys), Err(PairingError::Broken), "another group's keys");
        let without = [&entries[..1], &entries[2..]].concat();
        assert_eq!(read(&fields(head, without, "relay".into())), Err(PairingError::Broken), "a member is kept back");
        let headless = entries[1..].to_vec();
        let its_head = head_of(headless.iter().map(|entry| EntryHash::of(entry)).collect::<BTreeSet<_>>().iter());
        assert_eq!(read(&fields(its_head, headless, "relay".into())), Err(PairingError::Broken), "no genesis");
        let long = "r".repeat(RELAY_NAME_LEN_MAX + 1);
        assert_eq!(read(&fields(head, entries, long)), Err(PairingError::Broken), "an endless relay");
    }
}
