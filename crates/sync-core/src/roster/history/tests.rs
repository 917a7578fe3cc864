//! Commits as devices meet them: at once, in any order, and by devices that are none any more.

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use sync_types::{BlobHash, Seq, limits::COMMITS_WAITING_MAX};

use super::*;
use crate::{
    keys::EpochSecret,
    roster::{
        Change, Copied, Draft, Profile, Roster, Standing,
        tests::{Device, group, shuffle},
    },
};

/// Device 0 founded the group and let the others in, but for the last: device 1 did that.
struct Group {
    devices: Vec<Device>,
    entries: Vec<Bytes>,
    rng: ChaCha20Rng,
}

impl Group {
    fn new(count: u8) -> Self {
        let devices: Vec<_> = (1..=count).map(Device::new).collect();
        let mut entries = vec![devices[0].found(&group())];
        let last = devices.len() - 1;
        entries.extend(devices[1..last].iter().map(|device| devices[0].invite(&group(), device)));
        entries.push(devices[1].invite(&group(), &devices[last]));
        Self { devices, entries, rng: ChaCha20Rng::from_seed([1; 32]) }
    }

    fn id(&self, device: usize) -> DeviceId {
        self.devices[device].id()
    }

    /// The places of these devices, the earliest in the roster first.
    fn by_rank<const N: usize>(&self, mut devices: [usize; N]) -> [usize; N] {
        let entry = |device: &usize| EntryHash::of(&self.entries[*device]);
        devices.sort_by_key(entry);
        devices
    }

    /// A commit of one device, after others: whom it removes, how far those count, and who remains.
    fn commit(&mut self, by: usize, after: &[&Bytes], removed: &[(usize, u64)], remaining: &[usize]) -> Bytes {
        let parents: Vec<_> = after.iter().map(|parent| read(parent)).collect();
        let number = parents.iter().map(|parent| parent.number).max().unwrap_or(0) + 1;
        let mut parents: Vec<_> = parents.into_iter().map(|parent| parent.hash).collect();
        parents.sort_unstable();
        let cutoff = |seq: u64| Cutoff { seq: Seq::new(seq), hash: BlobHash::from_bytes([seq as u8; 32]) };
        let public = |device: &usize| Bytes::copy_from_slice(&self.devices[*device].kem.public());
        let secret = EpochSecret::generate(&mut self.rng);
        let draft = Draft {
            parents,
            number,
            removed: removed.iter().map(|(device, seq)| (self.id(*device), cutoff(*seq))).collect(),
            remaining: remaining.iter().map(|device| (self.id(*device), public(device))).collect(),
            made_at_ms: 1,
            key: Some((&secret, Vec::new())),
        };
        draft.sign(&group(), &self.devices[by].key, &mut self.rng).expect("short enough")
    }

    /// A roster of everything in this order.
    fn roster(&self, commits: &[&Bytes]) -> Roster {
        let mut roster = Roster::new(group());
        for entry in self.entries.iter().chain(commits.iter().copied()) {
            roster.apply(entry.clone()).expect("valid");
        }
        roster
    }

    fn members(&self, roster: &Roster) -> Vec<usize> {
        (0..self.devices.len()).filter(|device| roster.is_member(&self.id(*device))).collect()
    }

    /// Everything arrives twice, in many orders: all come to the same. Who belongs to the group then.
    fn in_any_order(&self, commits: &[&Bytes]) -> Vec<usize> {
        let verdict = |roster: &Roster| {
            let mut heads: Vec<_> = roster.history().heads().map(|head| head.hash).collect();
            heads.sort_unstable();
            let History { verdict, nodes, .. } = roster.history();
            let void: BTreeSet<_> = verdict.void.iter().map(|place| nodes[place].commit.hash).collect();
            (self.members(roster), roster.removed().clone(), heads, void)
        };
        let expected = verdict(&self.roster(commits));
        for seed in 0..40 {
            let all: Vec<_> = self.entries.iter().chain(commits.iter().copied()).cloned().collect();
            let mut arriving = [all.clone(), all].concat();
            shuffle(&mut arriving, &mut ChaCha20Rng::from_seed([seed; 32]));
            let mut roster = Roster::new(group());
            for entry in arriving {
                roster.apply(entry).expect("valid");
            }
            assert_eq!(verdict(&roster), expected, "seed {seed}");
        }
        expected.0
    }
}

fn read(payload: &Bytes) -> Commit {
    Commit::read(&group(), &payload[1..]).expect("a commit")
}

fn is_void(roster: &Roster, commit: &Bytes) -> bool {
    let history = roster.history();
    let place = history.places[&read(commit).hash];
    history.verdict.void.contains(place)
}

#[test]
fn commits_come_to_the_same_in_any_order() {
    let mut net = Group::new(6);
    let first = net.commit(2, &[], &[], &[0, 1, 2, 3, 4, 5]);
    let left = net.commit(0, &[&first], &[(4, 7)], &[0, 1, 2, 3, 5]);
    let right = net.commit(3, &[&first], &[(4, 9), (2, 3)], &[0, 1, 3, 5]);
    let by_removed = net.commit(4, &[&first], &[], &[0, 1, 2, 3, 4, 5]);
    let merged = net.commit(1, &[&left, &right], &[], &[0, 1, 3, 5]);
    let members = net.in_any_order(&[&first, &left, &right, &by_removed, &merged]);
    assert_eq!(members, [0, 1, 3, 5]);
    let roster = net.roster(&[&first, &left, &right, &by_removed, &merged]);
    assert!(roster.history().heads().map(|head| head.hash).eq([read(&merged).hash]));
    assert!(is_void(&roster, &by_removed));
}

#[test]
fn of_two_who_remove_each_other_the_earlier_in_the_roster_stays() {
    let mut net = Group::new(5);
    let [earlier, later] = net.by_rank([2, 3]);
    let by_later = net.commit(later, &[], &[(earlier, 1)], &[0, 1, later, 4]);
    let by_earlier = net.commit(earlier, &[], &[(later, 1)], &[0, 1, earlier, 4]);
    let members = net.in_any_order(&[&by_later, &by_earlier]);
    assert!(members.contains(&earlier) && !members.contains(&later), "{members:?}");
    assert!(is_void(&net.roster(&[&by_later, &by_earlier]), &by_later));
}

#[test]
fn what_a_removed_device_commits_meanwhile_is_void() {
    let mut net = Group::new(4);
    let removal = net.commit(0, &[], &[(2, 4)], &[0, 1, 3]);
    let meanwhile = net.commit(2, &[], &[(3, 0)], &[0, 1, 2]);
    let on_top = net.commit(2, &[&meanwhile], &[], &[0, 1, 2]);
    assert_eq!(net.in_any_order(&[&removal, &meanwhile, &on_top]), [0, 1, 3]);
}

#[test]
fn what_a_removed_device_commits_afterwards_is_refused() {
    let mut net = Group::new(4);
    let removal = net.commit(0, &[], &[(2, 4)], &[0, 1, 3]);
    let afterwards = net.commit(2, &[&removal], &[], &[0, 1, 2, 3]);
    assert_eq!(net.roster(&[&removal]).apply(afterwards), Err(RosterError::InvalidCommit));
    let with_its_box = net.commit(1, &[&removal], &[], &[0, 1, 2, 3]);
    assert_eq!(net.roster(&[&removal]).apply(with_its_box), Err(RosterError::InvalidCommit));
}

#[test]
fn a_commit_without_somebodys_box_is_refused() {
    let mut net = Group::new(4);
    let first = net.commit(0, &[], &[], &[0, 1, 2, 3]);
    let without = net.commit(1, &[&first], &[], &[0, 1, 3]);
    assert_eq!(net.roster(&[&first]).apply(without), Err(RosterError::InvalidCommit));
    let without_its_own = net.commit(1, &[&first], &[], &[0, 2, 3]);
    assert_eq!(net.roster(&[&first]).apply(without_its_own), Err(RosterError::InvalidCommit));
}

#[test]
fn whom_a_removed_device_lets_in_belongs_only_if_the_removal_counts_it() {
    let mut net = Group::new(4);
    let unknown = net.commit(0, &[], &[(1, 5)], &[0, 2]);
    assert_eq!(net.in_any_order(&[&unknown]), [0, 2]);
    assert_eq!(net.roster(&[&unknown]).standing(&net.id(3)), Standing::Stranger);
    let known = net.commit(0, &[], &[(1, 5)], &[0, 2, 3]);
    assert_eq!(net.in_any_order(&[&known]), [0, 2, 3]);
}

/// A removed device keeps its signing key. It signs for a device of its own, whose commits, whatever they say they
/// follow, neither make anybody a member nor remove anybody.
#[test]
fn whom_a_removed_device_lets_in_does_not_commit_in_its_place() {
    let mut net = Group::new(4);
    let removal = net.commit(0, &[], &[(1, 5)], &[0, 2]);
    let for_itself = net.commit(3, &[], &[], &[0, 1, 2, 3]);
    let against_the_rest = net.commit(3, &[], &[(0, 0), (2, 0)], &[1, 3]);
    assert_eq!(net.in_any_order(&[&removal, &for_itself, &against_the_rest]), [0, 2]);
    let afterwards = net.commit(3, &[&removal], &[], &[0, 2, 3]);
    assert_eq!(net.roster(&[&removal]).apply(afterwards), Err(RosterError::InvalidCommit));
    let vouched_for = net.commit(2, &[&removal], &[], &[0, 2, 3]);
    let afterwards = net.commit(3, &[&vouched_for], &[], &[0, 2, 3]);
    assert_eq!(net.roster(&[&removal, &vouched_for]).apply(afterwards), Err(RosterError::InvalidCommit));
}

#[test]
fn three_who_remove_one_another_in_a_circle_are_judged_alike_everywhere() {
    let mut net = Group::new(5);
    let [a, b, c] = net.by_rank([1, 2, 3]);
    let by_a = net.commit(a, &[], &[(b, 0)], &[0, a, c, 4]);
    let by_b = net.commit(b, &[], &[(c, 0)], &[0, a, b, 4]);
    let by_c = net.commit(c, &[], &[(a, 0)], &[0, b, c, 4]);
    let members = net.in_any_order(&[&by_a, &by_b, &by_c]);
    // The earliest's stands, so the second's is void, and the third's would remove the earliest.
    assert!(members.contains(&a) && !members.contains(&b) && members.contains(&c), "{members:?}");
}

/// A circle of three; somebody who had not heard of the second's has gone on from the third's. The third of the devices, and
/// what they made: the circle by rank, and what goes on.
fn a_circle_that_was_found_out_late(net: &mut Group) -> ([usize; 3], [Bytes; 4]) {
    let [a, b, c] = net.by_rank([1, 2, 3]);
    let by_a = net.commit(a, &[], &[(b, 0)], &[0, a, c, 4]);
    let by_b = net.commit(b, &[], &[(c, 0)], &[0, a, b, 4]);
    let by_c = net.commit(c, &[], &[(a, 0)], &[0, b, c, 4]);
    let goes_on = net.commit(0, &[&by_c], &[], &[0, b, c, 4]);
    ([a, b, c], [by_a, by_b, by_c, goes_on])
}

/// Between which of them the circle is cut hangs on the one that is void. Who would leave that out comes to something else.
#[test]
fn a_commit_follows_all_that_it_rests_on_void_ones_too() {
    let mut net = Group::new(5);
    let ([a, b, c], [by_a, by_b, by_c, goes_on]) = a_circle_that_was_found_out_late(&mut net);
    // It is void, and decides nothing.
    let junk = net.commit(b, &[], &[(4, 0)], &[0, a, b, c]);
    let mut roster = net.roster(&[&by_a, &by_b, &by_c, &goes_on, &junk]);
    let needed: BTreeSet<_> = [&by_a, &by_b, &goes_on].map(|commit| read(commit).hash).into();
    assert_eq!(roster.grounds().into_iter().collect::<BTreeSet<_>>(), needed);
    let mut members = net.members(&roster);
    members.sort_unstable();
    let of_the_valid = net.commit(c, &[&by_a, &goes_on], &[], &members);
    assert_eq!(roster.apply(of_the_valid), Err(RosterError::InvalidCommit));
    let of_all = net.commit(c, &[&by_a, &by_b, &goes_on], &[], &members);
    assert_eq!(roster.apply(of_all.clone()), Ok(Change::Committed));
    assert_eq!(net.in_any_order(&[&by_a, &by_b, &by_c, &goes_on, &of_all]), members);

    // Where void commits decide nothing, nobody names them.
    let mut net = Group::new(4);
    let removal = net.commit(0, &[], &[(2, 4)], &[0, 1, 3]);
    let void = net.commit(2, &[], &[(3, 0)], &[0, 1, 2]);
    assert_eq!(net.roster(&[&removal, &void]).grounds(), [read(&removal).hash]);
}

#[test]
fn nobody_is_handed_the_key_of_a_void_commit_against_it_before_that_is_settled() {
    let mut net = Group::new(6);
    let [earlier, later] = net.by_rank([2, 3]);
    let others = [0, 1, 4, 5];
    let void = net.commit(later, &[], &[(4, 1)], &[0, 1, earlier, later, 5]);
    let on_top = net.commit(0, &[&void], &[], &[0, 1, earlier, later, 5]);
    let removal = net.commit(earlier, &[], &[(later, 1)], &[0, 1, earlier, 4, 5]);
    let key = |commit: &Bytes| read(commit).key.expect("a new key").key_id;
    let mut roster = net.roster(&[&void, &on_top, &removal]);
    assert!(is_void(&roster, &void) && net.members(&roster).contains(&4));
    let me = net.id(earlier);
    let withheld = |roster: &Roster, from: DeviceId| roster.withheld_from(&me, |device| *device == from);
    assert_eq!(withheld(&roster, net.id(4)), [key(&void), key(&on_top)].into());
    assert_eq!(withheld(&roster, net.id(0)), BTreeSet::new(), "it has a box");

    // Once all others have shown that they know of the removal, none of them removes the remover beside it.
    let merged = net.commit(0, &[&on_top, &removal], &[], &[0, 1, earlier, 4, 5]);
    roster.apply(merged.clone()).expect("valid");
    for device in others.into_iter().filter(|device| *device != 0) {
        assert_eq!(withheld(&roster, net.id(4)).len(), 2, "{device} has not");
        roster.note_epoch(net.id(device), key(&merged));
    }
    assert_eq!(withheld(&roster, net.id(4)), BTreeSet::new());
}

#[test]
fn a_removed_devices_envelopes_count_as_far_as_the_furthest_says() {
    let mut net = Group::new(4);
    let short = net.commit(0, &[], &[(3, 2)], &[0, 1, 2]);
    let far = net.commit(2, &[], &[(3, 8)], &[0, 1, 2]);
    let again = net.commit(1, &[&short, &far], &[(3, 5)], &[0, 1, 2]);
    net.in_any_order(&[&short, &far, &again]);
    let roster = net.roster(&[&short, &far, &again]);
    assert_eq!(roster.removed()[&net.id(3)].seq, Seq::new(8));
}

#[test]
fn of_a_removed_device_a_few_void_commits_are_kept() {
    let mut net = Group::new(3);
    let removal = net.commit(0, &[], &[(1, 5)], &[0, 2]);
    let mut roster = net.roster(&[&removal]);
    for number in 0..COMMITS_VOID_MAX + 4 {
        let void = net.commit(1, &[], &[(2, number as u64)], &[0, 1]);
        let expected = if number < COMMITS_VOID_MAX { Ok(Change::Committed) } else { Err(RosterError::Full) };
        assert_eq!(roster.apply(void), expected, "{number}");
    }
    assert_eq!(roster.history().commits().len(), COMMITS_VOID_MAX + 1);
    assert_eq!(net.members(&roster), [0, 2]);
}

#[test]
fn a_void_commit_that_a_members_builds_on_has_room() {
    let mut net = Group::new(5);
    let ([a, b, c], [by_a, by_b, by_c, goes_on]) = a_circle_that_was_found_out_late(&mut net);
    let mut roster = net.roster(&[&by_a, &by_c, &goes_on]);
    for number in 0..COMMITS_VOID_MAX {
        let junk = net.commit(b, &[], &[(4, number as u64)], &[0, a, b, c]);
        assert_eq!(roster.apply(junk), Ok(Change::Committed), "{number}");
    }
    assert_eq!(roster.apply(by_b.clone()), Err(RosterError::Full));
    let of_all = net.commit(0, &[&by_a, &by_b, &goes_on], &[], &[0, a, c, 4]);
    assert_eq!(roster.apply(of_all.clone()), Ok(Change::Waiting));
    assert_eq!(roster.apply(by_b), Ok(Change::Committed));
    assert_eq!(roster.grounds(), [read(&of_all).hash]);
}

#[test]
fn commits_whose_parents_never_come_are_bounded() {
    let mut net = Group::new(3);
    let missing = net.commit(0, &[], &[], &[0, 1, 2]);
    let mut roster = net.roster(&[]);
    for number in 0..COMMITS_WAITING_MAX {
        let waits = net.commit(1, &[&missing], &[(2, number as u64)], &[0, 1]);
        assert_eq!(roster.apply(waits), Ok(Change::Waiting), "{number}");
    }
    let one_more = net.commit(1, &[&missing], &[(2, 1_000)], &[0, 1]);
    assert_eq!(roster.apply(one_more), Err(RosterError::Full));
}

#[test]
fn a_copy_stands_behind_the_device_that_it_was_and_a_removed_one_brings_none_in() {
    let mut net = Group::new(3);
    let copy = Device::new(9);
    let profile = Profile::new("copy", "test", "org.example.notes").expect("a short app id");
    let copied = Copied { from: Seq::new(3), through: Seq::new(5), offered: Seq::START, said: Seq::new(2) };
    let entry = copied.admit(&group(), (&net.devices[1].key, &copy.key, &copy.kem), &profile, 2, &[]);
    let removal = net.commit(0, &[], &[(1, 4)], &[0, 2]);

    let mut roster = net.roster(&[]);
    assert_eq!(roster.apply(entry.clone()), Ok(Change::Added(vec![copy.id()])));
    assert_eq!(roster.copied(&copy.id()), Some((net.id(1), copied)));
    assert_eq!(roster.copied(&net.id(1)), None);
    assert!(roster.place_of(&copy.id()) > roster.place_of(&net.id(1)));
    roster.apply(removal.clone()).expect("valid");
    assert!(!roster.is_member(&copy.id()), "it goes with whom it is a copy of, if nobody names it");

    let mut roster = net.roster(&[&removal]);
    assert_eq!(roster.apply(entry.clone()), Ok(Change::Added(vec![])));
    assert!(!roster.is_member(&copy.id()));
    // Whoever removes the one and keeps the other says so.
    let mut devices = vec![copy];
    std::mem::swap(&mut net.devices, &mut devices);
    net.devices.splice(0..0, devices);
    net.entries.push(entry);
    let kept = net.commit(0, &[], &[(1, 4)], &[0, 2, 3]);
    assert!(net.roster(&[&kept]).is_member(&net.id(3)));
}

#[test]
fn half_the_room_for_what_waits_is_for_members() {
    let mut net = Group::new(4);
    let missing = net.commit(0, &[], &[], &[0, 1, 2, 3]);
    let removal = net.commit(0, &[], &[(1, 5)], &[0, 2, 3]);
    let mut roster = net.roster(&[&removal]);
    for number in 0..COMMITS_WAITING_MAX / 2 {
        let waits = net.commit(1, &[&missing], &[(2, number as u64)], &[0, 1]);
        assert_eq!(roster.apply(waits), Ok(Change::Waiting), "{number}");
    }
    let one_more = net.commit(1, &[&missing], &[(2, 1_000)], &[0, 1]);
    assert_eq!(roster.apply(one_more), Err(RosterError::Full));
    let members = net.commit(2, &[&missing], &[], &[0, 2, 3]);
    assert_eq!(roster.apply(members), Ok(Change::Waiting));
}

/// What it left before anybody had heard of its removal takes no more room than what it leaves after.
#[test]
fn whoever_fills_the_room_for_what_waits_keeps_no_other_member_out() {
    let mut net = Group::new(4);
    let missing = net.commit(0, &[], &[], &[0, 1, 2, 3]);
    let removal = net.commit(0, &[], &[(1, 5)], &[0, 2, 3]);
    let by_another = net.commit(2, &[&missing], &[], &[0, 2, 3]);
    let by_a_third = net.commit(3, &[&missing], &[], &[0, 2, 3]);
    let mut roster = net.roster(&[]);
    for number in 0..COMMITS_WAITING_MAX {
        let waits = net.commit(1, &[&missing], &[(2, number as u64)], &[0, 1]);
        assert_eq!(roster.apply(waits), Ok(Change::Waiting), "{number}");
    }
    assert_eq!(roster.apply(by_another), Ok(Change::Waiting), "while it is a member");
    assert_eq!(roster.apply(removal), Ok(Change::Committed));
    assert_eq!(roster.apply(by_a_third), Ok(Change::Waiting), "and after");
    let one_more = net.commit(1, &[&missing], &[(2, 1_000)], &[0, 1]);
    assert_eq!(roster.apply(one_more), Err(RosterError::Full));
}

/// So many of them each leave one that each has no more than who comes then.
#[test]
fn those_whom_a_device_let_in_to_fill_the_room_keep_nobody_out() {
    let strangers = u8::try_from(COMMITS_WAITING_MAX).expect("few");
    let mut net = Group::new(3 + strangers);
    let missing = net.commit(0, &[], &[], &[0, 1, 2]);
    let mut all = net.by_rank(std::array::from_fn::<_, { COMMITS_WAITING_MAX + 1 }, _>(|index| index + 2)).into_iter();
    let senior = all.next().expect("one stands first");
    let mut roster = net.roster(&[]);
    for one in all {
        let waits = net.commit(one, &[&missing], &[], &[0, one]);
        assert_eq!(roster.apply(waits), Ok(Change::Waiting));
    }
    let by_senior = net.commit(senior, &[&missing], &[], &[0, senior]);
    assert_eq!(roster.apply(by_senior), Ok(Change::Waiting));
    let again = net.commit(senior, &[&missing], &[], &[0, 1, senior]);
    assert_eq!(roster.apply(again), Err(RosterError::Full), "all have as much by now");
}

/// What has given way while what it waits for had not come is not lost to whoever has it all.
#[test]
fn a_set_that_is_complete_is_whole_in_whatever_order_it_is_read() {
    let mut net = Group::new(4);
    let mut line: Vec<Bytes> = Vec::new();
    for number in 0..COMMITS_WAITING_MAX * 2 {
        let parents: Vec<Bytes> = line.last().cloned().into_iter().collect();
        let by = usize::from(number % 9 == 0);
        line.push(net.commit(by, &parents.iter().collect::<Vec<_>>(), &[], &[0, 1, 2, 3]));
    }
    let newest = read(line.last().expect("some")).hash;
    line.reverse();
    let stored: Vec<_> = net.entries.iter().chain(&line).cloned().collect();
    let roster = Roster::of_stored(group(), &stored).expect("all of it follows");
    assert_eq!(roster.history().heads().map(|head| head.hash).collect::<Vec<_>>(), [newest]);
    assert_eq!(roster.history().commits().len(), COMMITS_WAITING_MAX * 2);
}

/// One that is removed grinds entries for itself until one is lower than that of whoever removed it: signed by itself's
/// likes and by whom it let in.
#[test]
fn who_stands_first_is_nothing_that_a_removed_device_can_sign_for() {
    let mut net = Group::new(5);
    let [first, second] = net.by_rank([1, 2]);
    let removal = net.commit(first, &[], &[(second, 5)], &[0, first, 3, 4]);
    let revenge = net.commit(second, &[], &[(first, 5)], &[0, second, 3, 4]);
    let bar = EntryHash::of(&net.entries[first]);
    for by in [3, 4] {
        let lower = (0..).map(|at_ms| net.devices[by].invite_at(&group(), &net.devices[second], at_ms));
        let lower = lower.into_iter().find(|entry| EntryHash::of(entry) < bar).expect("soon");
        net.entries.push(lower);
    }
    let members = net.in_any_order(&[&removal, &revenge]);
    assert!(members.contains(&first) && !members.contains(&second), "{members:?}");
}

/// A removed device lets somebody in, whom a member counts that has not heard of the removal.
#[test]
fn who_came_in_behind_a_removal_is_taken_out_by_whoever_knows() {
    let mut net = Group::new(5);
    let removal = net.commit(0, &[], &[(1, 5)], &[0, 2, 3]);
    let unaware = net.commit(2, &[], &[], &[0, 1, 2, 3, 4]);
    let roster = net.roster(&[&removal, &unaware]);
    assert_eq!(*roster.smuggled(), [net.id(4)].into());
    assert!(!roster.is_clean(Some(&read(&unaware))), "it has that key");
    // It knows both, and would keep itself.
    let by_itself = net.commit(4, &[&removal, &unaware], &[(0, 5)], &[2, 3, 4]);
    let mut roster = net.roster(&[&removal, &unaware]);
    assert_eq!(roster.apply(by_itself), Err(RosterError::InvalidCommit));
    // Nor does it help that somebody counts it once more.
    let again = net.commit(3, &[&removal, &unaware], &[], &[0, 2, 3, 4]);
    let roster = net.roster(&[&removal, &unaware, &again]);
    assert_eq!(*roster.smuggled(), [net.id(4)].into());
    let merged = net.commit(0, &[&again], &[(4, 1)], &[0, 2, 3]);
    let members = net.in_any_order(&[&removal, &unaware, &again, &merged]);
    assert_eq!(members, [0, 2, 3]);
}

#[test]
fn whom_a_remover_keeps_stays() {
    let mut net = Group::new(5);
    let knows = net.commit(0, &[], &[(1, 5)], &[0, 2, 3, 4]);
    let does_not = net.commit(2, &[], &[(1, 5)], &[0, 2, 3]);
    let roster = net.roster(&[&knows, &does_not]);
    assert!(roster.smuggled().is_empty());
    let by_it = net.commit(4, &[&knows, &does_not], &[], &[0, 2, 3, 4]);
    assert_eq!(net.in_any_order(&[&knows, &does_not, &by_it]), [0, 2, 3, 4]);
}

/// One that was removed says that it had removed whoever did that. A member that stands before both hears of that alone, and
/// says how much it holds of the one that it takes to be removed: with that it has taken nobody's side.
#[test]
fn to_say_how_much_counts_removes_nobody() {
    let mut net = Group::new(5);
    let [first, second] = net.by_rank([1, 2]);
    let revenge = net.commit(second, &[], &[(first, 2)], &[0, second, 3, 4]);
    let more = net.commit(0, &[&revenge], &[(first, 7)], &[0, second, 3, 4]);
    let removal = net.commit(first, &[], &[(second, 5)], &[0, first, 3, 4]);
    let members = net.in_any_order(&[&revenge, &more, &removal]);
    assert!(members.contains(&first) && !members.contains(&second), "{members:?}");
    let roster = net.roster(&[&revenge, &more, &removal]);
    assert!(!roster.removed().contains_key(&net.id(first)));
}
