//! Who let whom in, and what follows from that for the order among devices and for those whom a removed one let in.

use std::collections::{BTreeMap, btree_map::Entry as Slot};

use sync_types::DeviceId;

use super::EntryHash;

/// Where a device stands in the roster: how many invitations it is away from the genesis, and then the lowest of the
/// entries that let it in, of those signed by somebody one invitation nearer. What a device signs, and whoever it let in,
/// moves neither itself nor any that stands beside it. Lower is earlier.
pub(crate) type Rank = (usize, EntryHash);

/// Whom each device let in, by the lowest of the entries that say so.
pub(super) type Invited = BTreeMap<DeviceId, BTreeMap<DeviceId, EntryHash>>;

/// Every device that ever joined, by who let it in.
#[derive(Debug)]
pub(super) struct Family<'a> {
    founder: Option<DeviceId>,
    invited: &'a Invited,
    ranks: BTreeMap<DeviceId, Rank>,
}

impl<'a> Family<'a> {
    /// Of these invitations.
    pub(super) fn new(founder: Option<DeviceId>, invited: &'a Invited) -> Self {
        let mut family = Self { founder, invited, ranks: BTreeMap::new() };
        let steps = family.reached(|_| true, []);
        let mut ranks: BTreeMap<_, _> =
            founder.map(|founder| (founder, (0, EntryHash::from_bytes([0; 32])))).into_iter().collect();
        for (inviter, step) in &steps {
            for (device, entry) in invited.get(inviter).into_iter().flatten() {
                if steps[device] == step + 1 {
                    let rank = ranks.entry(*device).or_insert((step + 1, *entry));
                    rank.1 = rank.1.min(*entry);
                }
            }
        }
        family.ranks = ranks;
        family
    }

    /// Whether the one let the other in.
    pub(super) fn let_in(&self, inviter: &DeviceId, device: &DeviceId) -> bool {
        self.invited.get(inviter).is_some_and(|invited| invited.contains_key(device))
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
                    next.extend(
                        self.invited.get(&device).filter(|_| may_invite(&device)).into_iter().flat_map(BTreeMap::keys),
                    );
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
