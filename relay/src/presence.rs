//! Who is connected: of each group the devices that have a session, told to the others of that group.
//!
//! It is what the sessions themselves are, so it is kept nowhere but in memory and is over when they are. A crowd that
//! comes and goes is told of once in a while, not one by one.
//!
//! Invariant: a session hears of its own group only, and of no more devices than a group may have.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sync_types::{DeviceId, RelayGroupId, limits::MEMBERS_MAX, message, wire::AtMost};
use tokio::sync::watch;

use crate::connection::Session;

/// Changes within this time are told together.
const PAUSE: Duration = Duration::from_millis(500);

/// What the sessions of a group are told of.
#[derive(Debug, Default)]
struct There {
    /// The devices in the order in which they came, and how many sessions each has.
    devices: Vec<(DeviceId, usize)>,
    /// How often something was left for them at an id that the group went on from.
    aside: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Presence {
    groups: Mutex<BTreeMap<RelayGroupId, watch::Sender<There>>>,
}

impl Presence {
    /// A session begins. It ends when what this returns is dropped.
    pub(crate) fn enter(self: &Arc<Self>, group: RelayGroupId, device: DeviceId) -> Here {
        let mut groups = self.groups();
        let there = groups.entry(group).or_default();
        there.send_modify(|there| match there.devices.iter_mut().find(|(other, _)| *other == device) {
            Some((_, sessions)) => *sessions += 1,
            None => there.devices.push((device, 1)),
        });
        Here { presence: Arc::clone(self), group, device, there: there.subscribe() }
    }

    fn leave(&self, group: &RelayGroupId, device: &DeviceId) {
        let mut groups = self.groups();
        let Some(there) = groups.get(group) else { return };
        there.send_modify(|there| {
            let devices = &mut there.devices;
            devices.iter_mut().filter(|(other, _)| other == device).for_each(|(_, sessions)| *sessions -= 1);
            devices.retain(|(_, sessions)| *sessions > 0);
        });
        if there.borrow().devices.is_empty() {
            groups.remove(group);
        }
    }

    /// Something was left for a group's devices at an id that it went on from: those who are here look.
    pub(crate) fn knock(&self, group: &RelayGroupId) {
        if let Some(there) = self.groups().get(group) {
            there.send_modify(|there| there.aside += 1);
        }
    }

    /// Nothing is done under this lock that could leave half of it behind.
    fn groups(&self) -> MutexGuard<'_, BTreeMap<RelayGroupId, watch::Sender<There>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A device's place among those that are connected.
pub(crate) struct Here {
    presence: Arc<Presence>,
    group: RelayGroupId,
    device: DeviceId,
    there: watch::Receiver<There>,
}

impl Here {
    /// How often something was left for the group's devices.
    pub(crate) fn knocks(&self) -> u64 {
        self.there.borrow().aside
    }

    /// Waits until something more was left for the group's devices than so much; how much it is then. None once nobody
    /// could say so any more.
    pub(crate) async fn knocked(&self, heard: u64) -> Option<u64> {
        let mut there = self.there.clone();
        there.wait_for(|there| there.aside > heard).await.ok().map(|there| there.aside)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.presence.leave(&self.group, &self.device);
    }
}

/// Tells a session who is there, and again when that has changed, for as long as there is anybody: its own device is.
pub(crate) async fn tell(session: &Session) {
    let mut there = session.here.there.clone();
    let mut told = Vec::new();
    loop {
        let devices = named(&there.borrow_and_update());
        if devices != told {
            told.clone_from(&devices);
            session.reply(message::Presence { devices: AtMost(devices) }.into()).await;
        }
        tokio::time::sleep(PAUSE).await;
        if there.changed().await.is_err() {
            return;
        }
    }
}

/// Whoever came first: strangers with the group's key push nobody out who is there already.
fn named(there: &There) -> Vec<DeviceId> {
    there.devices.iter().map(|(device, _)| *device).take(MEMBERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn device(number: u8) -> DeviceId {
        DeviceId::from_bytes([number; 32])
    }

    fn seen(by: &Here) -> Vec<DeviceId> {
        named(&by.there.borrow())
    }

    #[test]
    fn a_crowd_is_named_up_to_a_bound_and_pushes_nobody_out() {
        let presence = Arc::new(Presence::default());
        let group = RelayGroupId::from_bytes([1; 32]);
        let first = presence.enter(group, device(200));
        let crowd = (0..2 * MEMBERS_MAX).map(|number| {
            let mut id = [0; DeviceId::LEN];
            id[..8].copy_from_slice(&number.to_be_bytes());
            presence.enter(group, DeviceId::from_bytes(id))
        });
        let crowd: Vec<_> = crowd.collect();
        assert_eq!((seen(&first).len(), seen(&first)[0]), (MEMBERS_MAX, device(200)));
        drop(crowd);
        assert_eq!(seen(&first), [device(200)]);
    }

    #[test]
    fn who_is_there_is_known_within_the_group_and_nothing_is_left_of_who_went() {
        let presence = Arc::new(Presence::default());
        let [one, other] = [1, 2].map(|number| RelayGroupId::from_bytes([number; 32]));
        let first = presence.enter(one, device(1));
        let stranger = presence.enter(other, device(3));
        let second = presence.enter(one, device(2));
        let again = presence.enter(one, device(2));
        assert_eq!((seen(&first), seen(&stranger)), (vec![device(1), device(2)], vec![device(3)]));
        drop(second);
        assert_eq!(seen(&first), [device(1), device(2)], "it has another session");
        drop(again);
        assert_eq!(seen(&first), [device(1)]);
        drop(first);
        drop(stranger);
        assert!(presence.groups().is_empty());
    }
}
