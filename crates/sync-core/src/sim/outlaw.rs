//! Devices that were removed and don't accept it.
//!
//! An outlaw has its keys, its disk and its open sessions, accomplices that it makes up, and everything on every relay that
//! its keys open. It does not run the engine: what it says is whatever serves it (`outlaw/deeds.rs`), over connections of
//! its own (`outlaw/wire.rs`). Of two each works alone, or they are a gang. Which deed comes when is the seed's choice.
//!
//! What must hold all the same: by an id that is none of its keys' it writes nothing; who removed it, if that counts,
//! stays; neither it nor an accomplice is a member in the end; nobody else is shut out; and together they open nothing that
//! was sealed by a device which knew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use sync_types::{BlobHash, DeviceId, KeyId, RelayGroupId, Seq};

use super::{
    check::Violation,
    network::SessionId,
    removals,
    world::{Happening, World},
};
use crate::{
    engine::Engine,
    keys::{DeviceKem, DeviceKey, Epoch, GroupKeys},
    roster::{EntryHash, Roster},
};

mod deeds;
mod wire;

/// One device that an outlaw speaks for.
#[derive(Clone, Debug)]
struct Identity {
    key: Arc<DeviceKey>,
    kem: Arc<DeviceKem>,
    /// The last that it sealed.
    newest: (Seq, BlobHash),
}

impl Identity {
    fn id(&self) -> DeviceId {
        self.key.device_id()
    }
}

/// A device that was removed and does not accept it.
#[derive(Debug)]
pub(super) struct Outlaw {
    /// Itself, and then whom it made up.
    selves: Vec<Identity>,
    /// The commit that removes it.
    removal: EntryHash,
    remover: DeviceId,
    /// Whoever removed it stands before it in the roster: whatever it says of that one then, the removal counts.
    is_junior: bool,
    pub(super) keys: GroupKeys,
    /// Those of them that it had as a member.
    had: BTreeSet<KeyId>,
    roster: Roster,
    /// By relay, and by the id that it came by.
    sessions: BTreeMap<(usize, RelayGroupId), SessionId>,
    /// What it may say again.
    seen: Vec<Bytes>,
}

impl Outlaw {
    pub(super) fn is(&self, id: &DeviceId) -> bool {
        self.selves[0].id() == *id
    }

    pub(super) fn accomplices(&self) -> impl Iterator<Item = (DeviceId, &DeviceKem)> {
        self.selves[1..].iter().map(|one| (one.id(), &*one.kem))
    }
}

impl World {
    /// A member removes another, and that one does not accept it. Others may do something at the same moment.
    pub(super) fn outlaw_somebody(&mut self) -> Result<(), Violation> {
        let running = |world: &Self, device: &usize| world.devices[*device].engine.is_some();
        let members: Vec<_> = self.survivors().into_iter().filter(|device| running(self, device)).collect();
        if members.len() < 2 {
            return Ok(());
        }
        let first = self.dice.index(members.len());
        let second = (first + 1 + self.dice.index(members.len() - 1)) % members.len();
        let (mut remover, mut outlaw) = (members[first], members[second]);
        // By everything that anybody knows: who paired twice has two entries, and not everybody has both.
        let roster = self.known_to_all();
        let place = |world: &Self, device: usize| roster.place_of(&world.devices[device].id);
        // Rarely one that stands before whoever removes it: such a one may rightly say that it was first.
        let is_junior = place(self, remover) < place(self, outlaw);
        if !is_junior && self.dice.chance(800) {
            (remover, outlaw) = (outlaw, remover);
        }
        let is_junior = is_junior || place(self, remover) < place(self, outlaw);
        let others: Vec<_> = members.into_iter().filter(|device| ![remover, outlaw].contains(device)).collect();
        let (id, by) = (self.devices[outlaw].id, self.devices[remover].id);
        let before = self.devices[outlaw].engine.as_ref().map(|engine| engine.keys().share());
        self.remove_quietly(remover, outlaw)?;
        // One that says how much counts of whom another has removed is none: it falls with that.
        let by_it = |roster: &Roster| {
            let made = |hash: &EntryHash| roster.history().get(hash).is_some_and(|commit| commit.committer == by);
            roster.history().removals().filter(|(device, _)| *device == id).map(|(_, hash)| hash).filter(made).last()
        };
        let removal = self.devices[remover].engine.as_ref().and_then(|engine| by_it(engine.roster()));
        let (Some(removal), Some(keys)) = (removal, before) else {
            // Whoever removes it has crashed over it, and may have stored it.
            self.removals.named.insert(id);
            return Ok(());
        };
        if !others.is_empty() {
            let other = others[self.dice.index(others.len())];
            match self.dice.index(4) {
                0 => self.remove_quietly(other, outlaw)?,
                1 => self.rotate(other)?,
                2 => {
                    let device = self.add_device();
                    self.later(0, Happening::Join { device });
                }
                _ => {}
            }
        }
        self.turn(outlaw, (remover, removal, is_junior), keys);
        Ok(())
    }

    /// Who is meant to be removed here is an outlaw, and nobody that may be missing.
    fn remove_quietly(&mut self, device: usize, outlaw: usize) -> Result<(), Violation> {
        let named = self.removals.named.clone();
        self.remove(device, outlaw, true)?;
        self.removals.named = named;
        Ok(())
    }

    fn turn(&mut self, device: usize, (remover, removal, is_junior): (usize, EntryHash, bool), keys: GroupKeys) {
        let state = &self.devices[device];
        let mut roster = Roster::new(self.keys.group_id());
        for entry in &state.disk.roster {
            let _ = roster.apply(entry.clone());
        }
        let newest = state.disk.own().last().map(|row| (row.seq, row.hash)).unwrap_or_default();
        let itself = Identity { key: Arc::clone(&state.key), kem: Arc::clone(&state.kem), newest };
        let mut sessions = BTreeMap::new();
        for (relay, session) in state.sessions.clone() {
            let Some(relay) = self.relay_index(&relay) else { continue };
            // The session goes on; only its engine does not.
            self.sessions.remove(&session);
            if let Some(group) = self.relays[relay].group_of_session(session) {
                sessions.insert((relay, group), session);
            }
        }
        let outlaw = Outlaw {
            selves: vec![itself],
            removal,
            remover: self.devices[remover].id,
            is_junior,
            had: keys.epochs().map(Epoch::key_id).collect(),
            keys,
            roster,
            sessions,
            seen: Vec::new(),
        };
        self.devices[device].crash();
        self.devices[device].dead = true;
        self.outlaws.push(outlaw);
        let outlaw = self.outlaws.len() - 1;
        let left_ms = self.plan.duration_ms.saturating_sub(self.now_ms) + 20_000;
        for _ in 0..self.dice.range(3, 12) {
            // At once, while relays are being told, or whenever.
            let delay = if self.dice.chance(500) { self.dice.range(1, 400) } else { self.dice.range(400, left_ms) };
            self.later(delay, Happening::Deed { outlaw });
        }
    }

    /// Whether this is an outlaw, or made up by one.
    pub(super) fn is_outlawed(&self, id: &DeviceId) -> bool {
        self.outlaws.iter().flat_map(|outlaw| &outlaw.selves).any(|one| one.id() == *id)
    }

    /// Whether another outlaw than this one, or whom it let in, was a member who had this key: it may have handed that to
    /// anybody.
    pub(super) fn was_given_away(&self, to: &DeviceId, key_id: &KeyId) -> bool {
        let mut others = self.outlaws.iter().filter(|outlaw| !outlaw.is(to));
        let survivors = self.survivors();
        let engines = survivors.iter().filter_map(|device| self.devices[*device].engine.as_ref());
        let commits: Vec<_> = engines.filter_map(|engine| engine.roster().history().of_key(key_id)).collect();
        others.any(|outlaw| {
            let (itself, accomplices) = outlaw.selves.split_first().expect("it is one");
            let members = accomplices.iter().map(Identity::id).filter(|id| self.has_become_a_member(id));
            let mut given = members.chain([itself.id()]);
            outlaw.had.contains(key_id) || given.any(|id| commits.iter().any(|commit| commit.remaining.contains(&id)))
        })
    }

    /// Whether somebody who was made up by an outlaw belongs to the group after all: a member that removed the outlaw
    /// itself counts it among those that remain, because it came in before that, as far as could be known there. Or such
    /// a one has let it in, or an outlaw of whose removal nobody is left who has heard.
    pub(super) fn has_become_a_member(&self, id: &DeviceId) -> bool {
        let outlaws: Vec<_> = self.outlaws.iter().map(|outlaw| outlaw.selves[0].id()).collect();
        let survivors = self.survivors();
        let engines = survivors.iter().filter_map(|device| self.devices[*device].engine.as_ref());
        engines.map(Engine::roster).any(|roster| {
            let commits: Vec<_> = roster.history().commits().filter(|one| roster.history().stands(&one.hash)).collect();
            let is_counted = |id: &DeviceId| {
                let mut counts = commits.iter().filter(|commit| commit.remaining.contains(id));
                counts.any(|commit| outlaws.iter().any(|outlaw| commit.removed.contains_key(outlaw)))
            };
            let inviter = |id: &DeviceId| roster.member(id).and_then(|member| member.inviter);
            let let_in = |id: &DeviceId| inviter(id).is_some_and(|by| outlaws.contains(&by) && roster.is_member(&by));
            let mut line = std::iter::successors(Some(*id), inviter).take_while(|id| !outlaws.contains(id));
            line.any(|id| is_counted(&id) || let_in(&id))
        })
    }
}

/// Outlaws whose removal counts for everybody who is left.
fn outside(world: &World) -> impl Iterator<Item = &Outlaw> {
    let survivors = world.survivors();
    world.outlaws.iter().filter(move |outlaw| {
        let mut engines = survivors.iter().filter_map(|device| world.devices[*device].engine.as_ref());
        engines.all(|engine| engine.roster().history().stands(&outlaw.removal))
    })
}

/// At rest nobody takes an outlaw for a member, or whom it made up.
pub(super) fn nobody_came_back(world: &World) -> Result<(), Violation> {
    for outlaw in outside(world) {
        for device in world.survivors() {
            let Some(engine) = &world.devices[device].engine else { continue };
            let is_back = |id: &DeviceId| engine.roster().is_member(id) && !world.has_become_a_member(id);
            if let Some(one) = outlaw.selves.iter().map(Identity::id).find(is_back) {
                let what =
                    format!("{:?} was removed, and device {device} takes {one:?} for a member", outlaw.selves[0].id());
                return Err(Violation::new("5 membership", what));
            }
        }
    }
    Ok(())
}

/// At rest everybody is a member whom no person removed and no outlaw let in, and a removal counts that was made by
/// somebody before the outlaw in the roster.
pub(super) fn nobody_is_locked_out(world: &World) -> Result<(), Violation> {
    let juniors = world.outlaws.iter().all(|outlaw| outlaw.is_junior);
    if world.outlaws.is_empty() || !world.removals.named.is_empty() || !juniors {
        return Ok(());
    }
    // One whose remover was removed itself before anybody else had heard of it counts for nobody.
    let members = world.survivors();
    let heard = |outlaw: &&Outlaw| members.iter().any(|device| world.devices[*device].id == outlaw.remover);
    if world.outlaws.iter().filter(heard).count() < world.outlaws.len() {
        return Ok(());
    }
    if outside(world).count() < world.outlaws.len() {
        return Err(Violation::new("5 membership", "a removal does not count any more".to_owned()));
    }
    let is_outlaw = |device: usize| world.outlaws.iter().any(|outlaw| outlaw.is(&world.devices[device].id));
    let survivors = world.survivors();
    for device in 0..world.devices.len() {
        let state = &world.devices[device];
        let mut line = std::iter::successors(Some(device), |device| world.devices[*device].inviter);
        if !state.joined || state.dead || line.any(is_outlaw) || survivors.contains(&device) {
            continue;
        }
        return Err(Violation::new("5 membership", format!("device {device} is locked out")));
    }
    Ok(())
}

/// Everything that an outlaw's keys open, and what is in it for it.
fn learn(world: &World, outlaw: &mut Outlaw) {
    let selves: Vec<_> = outlaw.selves.iter().map(|one| (one.id(), &*one.kem)).collect();
    removals::learn(&world.relays, &selves, &mut outlaw.keys, &mut outlaw.roster);
}
