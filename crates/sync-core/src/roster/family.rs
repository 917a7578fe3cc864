//! Who let whom in, and what follows from that for the order among devices and for those whom a removed one let in.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry as Slot};

use sync_types::DeviceId;

use super::EntryHash;

/// Where a device stands in the roster: how many invitations it is away from the genesis, and its entry. Lower is
/// earlier.
pub(crate) type Rank = (usize, EntryHash);

/// Every device that ever joined, by who let it in.
#[derive(Debug)]
pub(super) struct Family<'a> {
    founder: Option<DeviceId>,
    invited: &'a BTreeMap<DeviceId, BTreeSet<DeviceId>>,
    ranks: BTreeMap<DeviceId, Rank>,
}

impl<'a> Family<'a> {
    /// Of these invitations; `entry` knows what speaks for each device that joined.
    pub(super) fn new(
        founder: Option<DeviceId>,
        invited: &'a BTreeMap<DeviceId, BTreeSet<DeviceId>>,
        entry: impl Fn(&DeviceId) -> EntryHash,
    ) -> Self {
        let mut family = Self { founder, invited, ranks: BTreeMap::new() };
        let steps = family.reached(|_| true, []);
        family.ranks = steps.into_iter().map(|(device, step)| (device, (step, entry(&device)))).collect();
        family
    }

    /// Where the device stands; none for one that never joined.
    pub(super) fn rank(&self, device: &DeviceId) -> Option<Rank> {
        self.ranks.get(device).copied()
    }

    /// Every device that joined.
    pub(super) fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        self.ranks.keys()
    }

    /// The devices that invitations lead to, from the genesis and these others, each with how many it took; as far as
    /// those who invite may.
    pub(super) fn reached(
        &self,
        may_invite: impl Fn(&DeviceId) -> bool,
        others: impl IntoIterator<Item = DeviceId>,
    ) -> BTreeMap<DeviceId, usize> {
        let mut reached = BTreeMap::new();
        let mut step: Vec<_> = self.founder.into_iter().chain(others).collect();
        for steps in 0.. {
            let mut next = Vec::new();
            for device in step {
                if let Slot::Vacant(place) = reached.entry(device) {
                    place.insert(steps);
                    next.extend(self.invited.get(&device).filter(|_| may_invite(&device)).into_iter().flatten());
                }
            }
            if next.is_empty() {
                break;
            }
            step = next;
        }
        reached
    }
}
