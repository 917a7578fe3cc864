//! Devices that give one another names, at once and again and again.

use super::{check::Violation, world::World};
use crate::{
    event::Input,
    roster::{Member, Roster},
};

impl World {
    /// A device that runs calls some device something new.
    pub(super) fn rename_random(&mut self, device: usize) -> Result<(), Violation> {
        let subject = self.dice.index(self.devices.len());
        let name = format!("name {}", self.dice.range(0, 9));
        self.rename(device, subject, &name)
    }

    /// A device calls another something, if it runs and knows of it.
    pub(super) fn rename(&mut self, device: usize, subject: usize, name: &str) -> Result<(), Violation> {
        let subject = self.devices[subject].id;
        if self.devices[device].engine.is_none() || self.devices[device].dead {
            return Ok(());
        }
        self.feed(device, Input::Rename { device: subject, name: name.to_owned() })
    }
}

/// At rest everybody has the same roster, and on its disk nothing that is no part of it.
pub(super) fn everybody_agrees(world: &World) -> Result<(), Violation> {
    let mut heads = Vec::new();
    for device in world.survivors() {
        let state = &world.devices[device];
        let Some(engine) = &state.engine else { continue };
        let stored = Roster::of_stored(world.keys.group_id(), &state.disk.roster);
        let stored = stored.map_err(|error| Violation::new("1 no loss", error.to_string()))?;
        let roster = engine.roster();
        // Commits that were void, or of which nothing came, are kept on the disk as well.
        let as_many = state.disk.roster.len() == roster.entries().count() || !world.removals.is_empty();
        if stored.head() != roster.head() || !as_many {
            return Err(Violation::new("1 no loss", format!("device {device} stores another roster than it goes by")));
        }
        // A device that paired twice has two entries, and one that a removed device published may be with some and not
        // with others: who belongs to the group, and under which name, is what everybody agrees on. An outlaw of whose
        // removal nobody is left who has heard may call itself this and that.
        let name = |member: &Member| (!world.is_outlawed(&member.device)).then(|| member.profile.name().to_owned());
        let members = roster.members().map(|member| (member.device, name(member)));
        heads.push((device, members.collect::<Vec<_>>(), world.removals.is_empty().then(|| roster.head())));
    }
    let agrees = |(_, members, head): &&(usize, Vec<_>, Option<_>)| (members, head) != (&heads[0].1, &heads[0].2);
    match heads.iter().find(agrees) {
        Some((device, ..)) => {
            Err(Violation::new("1 no loss", format!("device {device} has another roster than the first")))
        }
        None => Ok(()),
    }
}
