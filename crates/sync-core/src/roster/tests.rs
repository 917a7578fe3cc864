//! The roster as its devices meet it: entries in any order, some of them forged.

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use sync_types::limits::{APP_ID_LEN_MAX, DEVICE_NAME_LEN_MAX};

use super::*;
use crate::keys::{DeviceKem, DeviceKey, GroupRoot};

const APP: &str = "org.example.notes";

pub(super) struct Device {
    pub(super) key: DeviceKey,
    pub(super) kem: DeviceKem,
    profile: Profile,
}

impl Device {
    pub(super) fn new(seed: u8) -> Self {
        Self::named(seed, &format!("device {seed}"), APP)
    }

    fn named(seed: u8, name: &str, app: &str) -> Self {
        Self {
            key: DeviceKey::from_seed(&[seed; 32]),
            kem: DeviceKem::from_bytes(&[seed; 32]),
            profile: Profile::new(name, "test", app).expect("a short app id"),
        }
    }

    pub(super) fn id(&self) -> DeviceId {
        self.key.device_id()
    }

    pub(super) fn found(&self, group: &GroupId) -> Bytes {
        Genesis::create(group, (&self.key, &self.kem), &self.profile, 1)
    }

    fn ask(&self, group: &GroupId) -> JoinRequest {
        JoinRequest::create(group, (&self.key, &self.kem), &self.profile, [9; 32])
    }

    /// The entry of a newcomer that this device lets in.
    pub(super) fn invite(&self, group: &GroupId, newcomer: &Device) -> Bytes {
        self.invite_at(group, newcomer, 2)
    }

    /// The same, made at some time.
    pub(super) fn invite_at(&self, group: &GroupId, newcomer: &Device, joined_at_ms: u64) -> Bytes {
        newcomer.ask(group).admit(group, &self.key, joined_at_ms, &[])
    }
}

pub(super) fn group() -> GroupId {
    GroupRoot::from_bytes(&[7; 32]).group_id()
}

pub(super) fn shuffle<T>(items: &mut [T], rng: &mut ChaCha20Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, usize::try_from(rng.next_u64()).unwrap() % (last + 1));
    }
}

/// Twelve devices: 0 founds, and each of the others is let in by one before it. Device 5 joined twice.
fn family() -> (Vec<Device>, Vec<Bytes>) {
    let devices: Vec<_> = (1..=12).map(Device::new).collect();
    let mut entries = vec![devices[0].found(&group())];
    for (index, inviter) in [(1, 0), (2, 1), (3, 2), (4, 3), (5, 0), (6, 5), (7, 0), (8, 7), (9, 4), (10, 9), (11, 2)] {
        entries.push(devices[inviter].invite(&group(), &devices[index]));
    }
    entries.push(devices[11].invite(&group(), &devices[5]));
    (devices, entries)
}

#[test]
fn entries_make_the_same_roster_in_any_order_and_any_number() {
    let (devices, entries) = family();
    let mut in_order = Roster::new(group());
    for entry in &entries {
        in_order.apply(entry.clone()).expect("valid");
    }
    assert_eq!(in_order.members().len(), devices.len());

    for seed in 0..40 {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let mut arriving = [entries.clone(), entries.clone()].concat();
        shuffle(&mut arriving, &mut rng);
        let mut roster = Roster::new(group());
        let mut added = Vec::new();
        for entry in arriving {
            if let Change::Added(devices) = roster.apply(entry).expect("valid") {
                added.extend(devices);
            }
        }
        assert_eq!(roster.head(), in_order.head(), "seed {seed}");
        assert!(roster.members().eq(in_order.members()), "seed {seed}");
        added.sort();
        assert!(added.iter().eq(roster.members().map(|member| &member.device)), "each is reported once, seed {seed}");

        // What it hands on is whole and in an order that needs no waiting.
        let mut copy = Roster::new(group());
        for (_, entry) in roster.entries() {
            assert_ne!(copy.apply(entry.clone()), Ok(Change::Waiting), "seed {seed}");
        }
        assert_eq!(copy.head(), in_order.head(), "seed {seed}");
        for device in &devices {
            let mut alone = Roster::new(group());
            let lineage: Vec<_> = roster.lineage(&device.id()).collect();
            for (_, entry) in lineage.iter().rev() {
                assert!(matches!(alone.apply(Bytes::clone(entry)), Ok(Change::Added(_))), "seed {seed}");
            }
            assert!(alone.is_member(&device.id()), "seed {seed}");
        }
    }
}

#[test]
fn nobody_is_a_member_without_a_chain_to_the_genesis() {
    let [founder, stranger, friend] = [1, 2, 3].map(Device::new);
    let mut roster = Roster::new(group());
    assert!(matches!(roster.apply(founder.found(&group())), Ok(Change::Added(_))));
    assert_eq!(roster.apply(stranger.invite(&group(), &friend)), Ok(Change::Waiting));
    assert_eq!(roster.apply(friend.invite(&group(), &stranger)), Ok(Change::Waiting));
    assert_eq!(roster.members().len(), 1);
    let both = vec![stranger.id(), friend.id()];
    assert_eq!(roster.apply(founder.invite(&group(), &stranger)), Ok(Change::Added(both)));
}

#[test]
fn every_byte_of_an_entry_is_vouched_for() {
    let [founder, newcomer] = [1, 2].map(Device::new);
    let genesis = founder.found(&group());
    let joined = founder.invite(&group(), &newcomer);
    for (index, entry) in [&genesis, &joined].into_iter().flat_map(|entry| (1..entry.len()).map(move |i| (i, entry))) {
        let mut altered = entry.to_vec();
        altered[index] ^= 1;
        assert!(Entry::read(&group(), &altered).is_err(), "byte {index}");
    }
    for entry in [&genesis, &joined] {
        assert!(Entry::read(&group(), entry).is_ok());
        let other = GroupRoot::from_bytes(&[8; 32]).group_id();
        assert_eq!(Entry::read(&other, entry), Err(EntryError::BadSignature));
        for len in 0..entry.len() {
            assert!(Entry::read(&group(), &entry[..len]).is_err());
        }
    }
}

#[test]
fn a_group_has_one_genesis() {
    let mut roster = Roster::new(group());
    let genesis = Device::new(1).found(&group());
    assert!(matches!(roster.apply(genesis.clone()), Ok(Change::Added(_))));
    assert_eq!(roster.apply(genesis), Ok(Change::Known));
    assert_eq!(roster.apply(Device::new(2).found(&group())), Err(RosterError::SecondGenesis));
    assert_eq!(roster.members().len(), 1);
}

#[test]
fn a_device_of_another_app_does_not_join() {
    let [founder, member] = [1, 2].map(Device::new);
    let other = Device::named(3, "other", "org.example.tasks");
    let mut roster = Roster::new(group());
    roster.apply(founder.found(&group())).unwrap();
    assert_eq!(roster.apply(founder.invite(&group(), &other)), Err(RosterError::OtherApp));
    assert_eq!(roster.apply(member.invite(&group(), &other)), Ok(Change::Waiting));
    assert_eq!(roster.apply(founder.invite(&group(), &member)), Ok(Change::Added(vec![member.id()])));
    assert!(!roster.is_member(&other.id()));
}

#[test]
fn an_entry_of_a_newer_build_is_kept_and_counted() {
    let mut roster = Roster::new(group());
    roster.apply(Device::new(1).found(&group())).unwrap();
    let before = roster.head();
    let newer = Bytes::from_static(&[200, 0x90]);
    assert_eq!(roster.apply(newer.clone()), Ok(Change::Kept));
    assert_eq!(roster.apply(newer.clone()), Ok(Change::Known));
    assert_ne!(roster.head(), before);
    assert!(roster.entries().any(|(_, entry)| *entry == newer));
    assert_eq!(roster.apply(Bytes::new()), Err(RosterError::Entry(EntryError::Malformed)));
}

#[test]
fn what_strangers_send_is_bounded() {
    let founder = Device::new(1);
    let mut roster = Roster::new(group());
    roster.apply(founder.found(&group())).unwrap();
    let stranger = Device::new(2);
    let request = Device::new(3).ask(&group());
    let mut waiting = 0;
    while roster.apply(request.admit(&group(), &stranger.key, waiting, &[])) == Ok(Change::Waiting) {
        waiting += 1;
    }
    assert_eq!(usize::try_from(waiting).unwrap(), MEMBERS_MAX);
    assert!(roster.apply(founder.invite(&group(), &Device::new(4))).is_ok(), "members are not held up by that");

    let mut number = 0;
    while roster.apply(Bytes::from(vec![200, number])) == Ok(Change::Kept) && number < u8::MAX {
        number += 1;
    }
    assert_eq!(usize::from(number), UNKNOWN_ENTRIES_MAX);
    assert!(
        roster.apply(founder.invite(&group(), &stranger)).is_ok(),
        "what nobody understands takes no member's room"
    );
}

#[test]
fn names_are_bounded_and_cleaned() {
    let long = "x".repeat(10_000);
    let device = Device::named(1, &long, APP);
    assert_eq!(device.profile.name().len(), DEVICE_NAME_LEN_MAX);
    assert_eq!(Profile::new("a", "b", &"x".repeat(APP_ID_LEN_MAX + 1)), None);
}

#[test]
fn a_profile_does_not_print() {
    let device = Device::named(1, "canary", "canary");
    for entry in [device.found(&group()), Device::new(2).invite(&group(), &device)] {
        let entry = Entry::read(&group(), &entry).unwrap();
        assert!(!format!("{entry:?}").contains("canary"));
    }
}

/// The entry by which one device names another.
fn call(signer: &Device, subject: &Device, name: &str, count: u64) -> Bytes {
    Renamed::create(&group(), &signer.key, subject.id(), name, count).expect("a name")
}

fn name_of(roster: &Roster, device: &Device) -> String {
    roster.member(&device.id()).expect("a member").profile.name().to_owned()
}

#[test]
fn the_same_names_come_of_the_same_entries_in_any_order() {
    let (devices, mut entries) = family();
    let stranger = Device::new(99);
    for count in 1..=3 {
        for signer in [0, 4, 9, 11] {
            entries.push(call(
                &devices[signer],
                &devices[5],
                &format!("five, by {signer} for the {count}th time"),
                count,
            ));
        }
    }
    entries.push(call(&devices[11], &devices[0], "the first", 1));
    entries.push(call(&stranger, &devices[3], "a stranger's word", 1_000));
    entries.push(call(&devices[3], &stranger, "nobody", 1));

    let mut in_order = Roster::new(group());
    entries.iter().for_each(|entry| drop(in_order.apply(entry.clone()).expect("valid")));
    assert!(name_of(&in_order, &devices[5]).ends_with("for the 3th time"));
    assert_eq!(
        (name_of(&in_order, &devices[0]), name_of(&in_order, &devices[3])),
        ("the first".into(), "device 4".into())
    );
    for seed in 0..40 {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let mut arriving = [entries.clone(), entries.clone()].concat();
        shuffle(&mut arriving, &mut rng);
        let (mut roster, mut stored) = (Roster::new(group()), Vec::new());
        for entry in arriving {
            let change = roster.apply(entry.clone()).expect("valid");
            if change != Change::Known && !stored.contains(&entry) {
                stored.push(entry);
            }
            let over = roster.take_names_changed().superseded;
            stored.retain(|entry| !over.contains(entry));
        }
        assert_eq!(roster.head(), in_order.head(), "seed {seed}");
        assert!(roster.members().eq(in_order.members()), "seed {seed}");
        // What is stored makes the same roster again, and so does what is handed on. Nothing else is stored but the two
        // that wait for ever.
        assert_eq!(stored.len(), roster.entries().count() + 2, "seed {seed}");
        let given: Vec<_> = roster.entries().map(|(_, entry)| entry.clone()).collect();
        for entries in [stored, given] {
            let mut again = Roster::new(group());
            entries.into_iter().for_each(|entry| drop(again.apply(entry).expect("valid")));
            assert_eq!(again.head(), in_order.head(), "seed {seed}");
            assert!(again.members().eq(in_order.members()), "seed {seed}");
        }
    }
}

#[test]
fn ten_thousand_names_leave_one_entry() {
    let [founder, phone] = [1, 2].map(Device::new);
    let mut roster = Roster::new(group());
    roster.apply(founder.found(&group())).unwrap();
    roster.apply(founder.invite(&group(), &phone)).unwrap();
    let mut last = 0;
    for number in 1..=10_000 {
        let count = roster.next_count(&founder.id());
        assert_eq!(roster.apply(call(&phone, &founder, &format!("name {number}"), count)), Ok(Change::Renamed));
        last = roster.take_names_changed().superseded.len();
    }
    assert_eq!((roster.entries().count(), last), (3, 1));
    assert_eq!(name_of(&roster, &founder), "name 10000");
    assert_eq!(roster.apply(call(&founder, &founder, "an old one", 9_999)), Ok(Change::Known));
    assert_eq!(roster.take_names_changed(), NamesChanged::default(), "what is old leaves nothing behind");
}

#[test]
fn names_of_strangers_are_bounded() {
    let [founder, stranger] = [1, 2].map(Device::new);
    let mut roster = Roster::new(group());
    roster.apply(founder.found(&group())).unwrap();
    let mut waiting = 0;
    let about = |number: u64| DeviceId::from_bytes(*blake3::hash(&number.to_be_bytes()).as_bytes());
    let named = |number| Renamed::create(&group(), &stranger.key, about(number), "x", 1).unwrap();
    while roster.apply(named(waiting)) == Ok(Change::Waiting) {
        waiting += 1;
    }
    assert_eq!((usize::try_from(waiting).unwrap(), roster.entries().count()), (MEMBERS_MAX, 1));
    assert_eq!(roster.apply(call(&founder, &founder, "still heard", 1)), Ok(Change::Renamed));
}

#[test]
fn every_byte_of_a_name_is_vouched_for_and_it_shows_nothing_hidden() {
    let [founder, phone] = [1, 2].map(Device::new);
    let entry = call(&phone, &founder, " a\u{202e}b  c ", 1);
    let Ok(Entry::Renamed(renamed)) = Entry::read(&group(), &entry) else { panic!("valid") };
    assert_eq!((renamed.name.as_str(), renamed.device, renamed.signer), ("ab c", founder.id(), phone.id()));
    assert!(!format!("{renamed:?}").contains("ab c"));
    for index in 1..entry.len() {
        let mut altered = entry.to_vec();
        altered[index] ^= 1;
        assert!(Entry::read(&group(), &altered).is_err(), "byte {index}");
    }
    assert_eq!(Renamed::create(&group(), &phone.key, founder.id(), " \u{200b}\n", 1), None);
    let long = call(&phone, &founder, &"x".repeat(10_000), 1);
    let Ok(Entry::Renamed(renamed)) = Entry::read(&group(), &long) else { panic!("valid") };
    assert_eq!(renamed.name.len(), DEVICE_NAME_LEN_MAX);
}
