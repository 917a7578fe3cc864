//! Devices that are removed, keys that are rotated, and what a removed device does about it.

use std::{
    cell::{RefCell, RefMut},
    collections::{BTreeMap, BTreeSet},
};

use sync_types::{DeviceId, Envelope, KeyId, Kind, RelayGroupId, Seq};

use super::{check::Violation, device::Device, log::Log, relay::Relay, world::World};
use crate::{
    engine::Engine,
    event::Input,
    handover::open_package,
    keys::{DeviceKem, EpochSecret, GroupKeys},
    roster::{EntryHash, Roster},
    seal,
};

/// See [`World::is_member`] and [`World::is_left`].
#[derive(Debug, Default)]
struct Left {
    known: Vec<Option<usize>>,
    members: BTreeSet<DeviceId>,
    left: BTreeSet<DeviceId>,
}

/// Who was removed by whom, as persons meant it.
#[derive(Debug, Default)]
pub(super) struct Removals {
    /// Commits that persons asked for, of any kind.
    pub(super) asked: u64,
    /// Every device that some commit names, valid or void.
    pub(super) named: BTreeSet<DeviceId>,
    /// From whom what was sealed under which key is kept, and by which commit.
    kept_from: BTreeSet<(DeviceId, KeyId, EntryHash)>,
    /// To whom somebody may have handed which key although a commit removes it: one that was void as far as could be known.
    handed_to: BTreeSet<(DeviceId, KeyId, EntryHash)>,
    /// Who was removed for good and by which commit, as the device that is about to act knows.
    outside: Vec<(DeviceId, EntryHash)>,
    /// Who is left, by everything that anybody knows, and how many entries that was at each of them.
    left: RefCell<Left>,
}

impl Removals {
    pub(super) fn is_empty(&self) -> bool {
        self.asked == 0
    }
}

impl World {
    /// A person at one device removes another.
    pub(super) fn remove(&mut self, device: usize, other: usize, rekey: bool) -> Result<(), Violation> {
        if self.devices[device].engine.is_none() || self.devices[device].dead {
            return Ok(());
        }
        self.removals.asked += 1;
        let id = self.devices[other].id;
        if self.devices[device].engine.as_ref().is_some_and(|engine| engine.roster().is_member(&id)) {
            self.removals.named.insert(id);
        }
        self.feed(device, Input::Remove { device: id, rekey })
    }

    /// A person gives the group new keys.
    pub(super) fn rotate(&mut self, device: usize) -> Result<(), Violation> {
        if self.devices[device].engine.is_none() || self.devices[device].dead {
            return Ok(());
        }
        self.removals.asked += 1;
        self.feed(device, Input::Rotate)
    }

    /// A person takes a device out of the group.
    pub(super) fn leave(&mut self, device: usize) -> Result<(), Violation> {
        if self.devices[device].engine.is_none() || self.devices[device].dead {
            return Ok(());
        }
        self.removals.asked += 1;
        self.removals.named.insert(self.devices[device].id);
        self.feed(device, Input::Leave)
    }

    /// Whether a device is a member, by everything that those know who are not gone. One that a void commit takes out, by
    /// name or with whoever let it in, may have been shut out by it, and is nobody that anything is promised to.
    pub(super) fn is_member(&self, device: usize) -> bool {
        self.removals.is_empty() || self.left().members.contains(&self.devices[device].id)
    }

    /// Whether a device is one of those that have to come to the same: a member that one of the others knows of. A
    /// newcomer is not, whose inviter was shut out before anybody else had heard of it: nobody who could give it the
    /// group's new key will ever know that it is there. It says so (`stale_key`).
    pub(super) fn is_left(&self, device: usize) -> bool {
        self.removals.is_empty() || self.left().left.contains(&self.devices[device].id)
    }

    fn left(&self) -> RefMut<'_, Left> {
        let is_here = |device: &&Device| device.joined && !device.dead;
        let known = self.devices.iter().map(|device| is_here(&device).then_some(device.disk.roster.len())).collect();
        let mut cached = self.removals.left.borrow_mut();
        if cached.known != known {
            let roster = self.known_to_all();
            // That an outlaw says so is nothing that shuts anybody out.
            let shut_out = roster.shut_out(|committer| !self.is_outlawed(committer));
            let members = roster.members().map(|member| member.device);
            let members = members.filter(|device| !shut_out.contains(device));
            let members: BTreeSet<_> = members.filter(|device| !roster.smuggled().contains(device)).collect();
            let rosters = self.devices.iter().filter(is_here).filter(|device| members.contains(&device.id));
            let rosters: BTreeMap<_, _> = rosters.map(|device| (device.id, self.roster_of([device]))).collect();
            let mut left: BTreeSet<_> = rosters.keys().copied().collect();
            while left.len() > 1 {
                let knows = |one: &DeviceId, other: &DeviceId| rosters[one].entry_of(other).is_some();
                let is_known = |device| left.iter().any(|other| other != device && knows(other, device));
                let unknown: BTreeSet<_> = left.iter().filter(|device| !is_known(*device)).copied().collect();
                if unknown.is_empty() {
                    break;
                }
                left.retain(|device| !unknown.contains(device));
            }
            *cached = Left { known, members, left };
        }
        cached
    }

    /// The roster that everything makes which those know who are not gone.
    pub(super) fn known_to_all(&self) -> Roster {
        self.roster_of(self.devices.iter().filter(|device| device.joined && !device.dead))
    }

    /// The roster that everything makes which these know.
    fn roster_of<'a>(&self, devices: impl IntoIterator<Item = &'a Device>) -> Roster {
        let entries: BTreeSet<_> = devices.into_iter().flat_map(|device| &device.disk.roster).collect();
        // The genesis first; everything else waits for what it builds on.
        let mut entries: Vec<_> = entries.into_iter().cloned().collect();
        entries.sort_by_key(|entry| entry.first().copied());
        Roster::of_stored(self.keys.group_id(), &entries).expect("devices have taken them")
    }

    /// The log that those who are left use on a relay.
    pub(super) fn log_in_use<'a>(&self, relay: &'a Relay) -> Option<&'a Log> {
        relay.log_of(&self.group_in_use(relay)?)
    }

    /// The id that those who are left know the group by on a relay.
    pub(super) fn group_in_use(&self, relay: &Relay) -> Option<RelayGroupId> {
        let survivors = self.survivors();
        let engine = survivors.iter().find_map(|device| self.devices[*device].engine.as_ref())?;
        Some(engine.keys().current().secret().relay_auth(&relay.id).relay_group_id())
    }
}

/// A device is about to act: notes whom it knows to be removed for good.
pub(super) fn about_to_act(world: &mut World, device: usize) {
    let Some(roster) = world.devices[device].engine.as_ref().map(Engine::roster) else { return };
    world.removals.outside = roster.history().removals().collect();
}

/// A device has acted: notes whom it may have handed its keys to.
pub(super) fn has_acted(world: &mut World, device: usize) {
    let Device { id, engine: Some(engine), .. } = &world.devices[device] else { return };
    let forgiven = engine.roster().forgiven(id);
    let key_ids = || engine.keys().epochs().map(|epoch| epoch.key_id());
    let handed = forgiven.iter().flat_map(|(id, commit)| key_ids().map(move |key_id| (*id, key_id, *commit)));
    world.removals.handed_to.extend(handed);
}

/// Own envelopes after a place are decided to be sent from now on. Whoever the sender knew to be removed for good has no
/// key for them, and never gets one: see [`nobody_outside_reads`].
pub(super) fn offered_from(world: &mut World, device: usize, before: Seq) {
    let (state, outside) = (&world.devices[device], &world.removals.outside);
    let offered = state.disk.own().filter(|row| row.seq > before && row.seq <= state.disk.offered());
    let keys = offered.filter_map(|row| Envelope::parse(row.envelope.clone()).ok()).map(|row| row.header().key_id);
    let kept: Vec<_> = keys.flat_map(|key_id| outside.iter().map(move |(id, commit)| (*id, key_id, *commit))).collect();
    world.removals.kept_from.extend(kept);
}

/// Guarantee 5, at the end: a removed device, with everything that its disk and the relays hold, has none of the keys of
/// what was sealed by those who knew of its removal.
pub(super) fn nobody_outside_reads(world: &World) -> Result<(), Violation> {
    // Whom a commit removes that turned out to be void, for those who are left, is a member after all, and is handed the
    // keys there have been; that somebody removes it again later does not take them back. Nobody is left where devices
    // removed one another in a circle: each of them may rightly take another for a member as long as it has not heard of
    // the third, hand keys on to it, and never hear of that, because the third is shut out. So nothing is promised to
    // them. The same goes for what a void commit would have kept from a member, once all members are known to have heard:
    // that commit stands after all, if somebody who is taken to be removed had removed that member first, and is heard of
    // only then.
    let survivors = world.survivors();
    if survivors.is_empty() {
        return Ok(());
    }
    let rosters = || survivors.iter().filter_map(|device| world.devices[*device].engine.as_ref()).map(Engine::roster);
    let counts = |commit: &EntryHash| rosters().all(|roster| roster.history().stands(commit));
    let mut kept_from: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let kept = world.removals.kept_from.difference(&world.removals.handed_to);
    for (id, key_id, _) in kept.filter(|(_, _, commit)| counts(commit)) {
        kept_from.entry(*id).or_default().insert(*key_id);
    }
    for (device, kept) in world.devices.iter().filter_map(|device| Some((device, kept_from.get(&device.id)?))) {
        let keys = everything_it_could_learn(world, device);
        if let Some(key_id) =
            kept.iter().find(|key_id| keys.get(key_id).is_some() && !world.was_given_away(&device.id, key_id))
        {
            let what = format!("{:?} was removed, and has the key {key_id:?} of what was sealed since", device.id);
            return Err(Violation::new("5 membership", what));
        }
    }
    Ok(())
}

/// What a removed device can come to know, or an outlaw and its accomplices together.
fn everything_it_could_learn(world: &World, device: &Device) -> GroupKeys {
    let mut keys = device.engine.as_ref().map_or_else(|| device.keys.share(), |engine| engine.keys().share());
    let mut roster = Roster::new(world.keys.group_id());
    for entry in &device.disk.roster {
        let _ = roster.apply(entry.clone());
    }
    let mut selves = vec![(device.id, &*device.kem)];
    for outlaw in world.outlaws.iter().filter(|outlaw| outlaw.is(&device.id)) {
        let theirs = outlaw.accomplices().filter(|(id, _)| !world.has_become_a_member(id)).collect::<Vec<_>>();
        // What it learnt by one who has become a member is nothing that it was to be kept from.
        if theirs.len() == outlaw.accomplices().count() {
            for epoch in outlaw.keys.epochs() {
                keys.insert(epoch.number(), EpochSecret::from_bytes(epoch.secret().as_bytes()));
            }
        }
        selves.extend(theirs);
    }
    learn(&world.relays, &selves, &mut keys, &mut roster);
    keys
}

/// Opens everything on every relay that these keys open, and whatever is in it for one of these devices.
pub(super) fn learn(relays: &[Relay], selves: &[(DeviceId, &DeviceKem)], keys: &mut GroupKeys, roster: &mut Roster) {
    let group = keys.group_id();
    let mut known = BTreeSet::new();
    loop {
        let before = keys.epochs().len();
        let packages = relays.iter().flat_map(Relay::packages);
        let opened: Vec<_> = packages
            .flat_map(|package| keys.epochs().filter_map(|old| open_package(old, &group, package)).collect::<Vec<_>>())
            .flatten()
            .collect();
        let rows = relays.iter().flat_map(Relay::logs).flat_map(|log| &log.rows);
        let controls = rows.filter_map(|row| Envelope::parse(row.envelope.clone()?).ok());
        let controls = controls.filter(|envelope| envelope.header().kind == Kind::Control);
        let told = controls.filter_map(|envelope| seal::unpack(&seal::open(keys, &envelope).ok()?).ok());
        for entry in told.collect::<Vec<_>>().into_iter().chain(opened) {
            if known.insert(entry.clone()) {
                let _ = roster.apply(entry);
            }
        }
        for commit in roster.history().commits() {
            let Some(key) = &commit.key else { continue };
            if keys.get(&key.key_id).is_none() {
                let secrets = selves.iter().filter_map(|(id, kem)| commit.secret(&group, (id, kem)));
                secrets.for_each(|secret| _ = keys.insert(commit.number, secret));
            }
            let older = keys.get(&key.key_id).map(|epoch| commit.older(&group, epoch.secret(), |_| true));
            for (_, secret) in older.into_iter().flatten() {
                keys.insert(0, secret);
            }
        }
        if keys.epochs().len() == before {
            return;
        }
    }
}

/// Those who are left seal under one key, and none of them waits for one.
pub(super) fn everybody_has_the_key(world: &World) -> Result<(), Violation> {
    let survivors = world.survivors();
    let key = |device: &usize| world.devices[*device].engine.as_ref().map(|engine| engine.keys().current().key_id());
    match survivors.iter().find(|device| key(device) != survivors.first().and_then(key)) {
        Some(device) => Err(Violation::new("5 membership", format!("device {device} seals under another key"))),
        None => Ok(()),
    }
}
