//! What a copied device sealed twice: once under the identity that two installations had, and again under its own.
//!
//! A device that finds that it was copied seals again what it has beyond the part that both have (see
//! `engine/copying.rs`), and says which places those are. Whatever of that comes under the one identity and the other is
//! one blob, by its name, and is handed out once: whichever comes first is in the local log, the other is merely held.
//!
//! The names of what is held there are read when they are first needed. Until then what comes there waits.
//!
//! Invariant: a name counts in its own family only, those who are one device by their own signature, so nobody can
//! take another's blobs for known.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sync_types::{DeviceId, PushId, Seq};

use crate::{
    event::{HeldRow, Load},
    ranges::Ranges,
    roster::Roster,
};

/// Whose names are counted together: the device that all of them were once.
type Family = DeviceId;

/// Places of one sender to read the names of.
#[derive(Clone, Copy, Debug)]
struct Unread {
    sender: DeviceId,
    from: Seq,
    through: Seq,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// The copies whose places are among these.
    known: BTreeSet<DeviceId>,
    /// Where each sender has something that may come under another identity as well.
    places: BTreeMap<DeviceId, (Family, Ranges)>,
    names: BTreeSet<(Family, PushId)>,
    unread: VecDeque<Unread>,
    /// The names are needed.
    wanted: bool,
    asked: bool,
}

impl Copies {
    /// Learns of devices that joined as copies of others.
    pub(crate) fn learn(&mut self, roster: &Roster) {
        for (device, former, copied) in roster.copies() {
            if copied.count() == 0 || !self.known.insert(device) {
                continue;
            }
            let family = first_of(roster, former);
            let own = (Seq::new(2), Seq::new(copied.count() + 1));
            for (sender, (from, through)) in [(former, (copied.from, copied.through)), (device, own)] {
                let (_, places) = self.places.entry(sender).or_insert_with(|| (family, Ranges::default()));
                places.insert_run(from.get(), through.get());
                self.unread.push_back(Unread { sender, from, through });
            }
        }
    }

    /// Whether nobody is known to be a copy that sealed anything again.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether this place is one of those.
    pub(crate) fn concerns(&self, sender: &DeviceId, seq: Seq) -> bool {
        self.family(sender, seq).is_some()
    }

    fn family(&self, sender: &DeviceId, seq: Seq) -> Option<Family> {
        self.places.get(sender).filter(|(_, places)| places.contains(seq)).map(|(family, _)| *family)
    }

    /// Whether what comes at this place has to wait until the names are read. If so, they are going to be.
    pub(crate) fn holds_back(&mut self, sender: &DeviceId, seq: Seq) -> bool {
        let holds = !self.unread.is_empty() && self.family(sender, seq).is_some();
        self.wanted |= holds;
        holds
    }

    /// An envelope is taken. Whether it is one that is not there already under another identity.
    pub(crate) fn is_news(&mut self, sender: &DeviceId, seq: Seq, name: PushId) -> bool {
        self.family(sender, seq).is_none_or(|family| self.names.insert((family, name)))
    }

    /// Whether what stands at this place is held under this name, here or under another identity, as far as is known.
    pub(crate) fn has(&mut self, sender: &DeviceId, seq: Seq, name: PushId) -> bool {
        let Some(family) = self.family(sender, seq) else { return false };
        self.wanted |= !self.unread.is_empty();
        self.names.contains(&(family, name))
    }

    // ── Reading names ──

    /// What is to be read next, if somebody waits for it.
    pub(crate) fn next_load(&mut self, bytes: usize) -> Option<Load> {
        let Unread { sender, from, .. } = *self.unread.front().filter(|_| self.wanted && !self.asked)?;
        self.asked = true;
        Some(Load::Of { sender, from, bytes })
    }

    /// Rows came. Whether all names are known by them.
    pub(crate) fn read(&mut self, sender: DeviceId, from: Seq, rows: &[HeldRow]) -> bool {
        let is_front = |unread: &&mut Unread| (unread.sender, unread.from) == (sender, from);
        let Some(front) = self.unread.front_mut().filter(is_front).filter(|_| self.asked) else { return false };
        self.asked = false;
        let next = rows.last().map(|row| row.seq.next()).filter(|next| *next <= front.through);
        let (through, family) = (front.through, self.places.get(&sender).map(|(family, _)| *family));
        match next {
            Some(next) => front.from = next,
            None => drop(self.unread.pop_front()),
        }
        let names = rows.iter().filter(|row| row.seq <= through).map(|row| row.push_id);
        self.names.extend(family.into_iter().flat_map(|family| names.clone().map(move |name| (family, name))));
        self.wanted &= !self.unread.is_empty();
        self.unread.is_empty()
    }
}

/// The device that this one was before it was any other. A copy joined after whom it is a copy of, so there is an end.
fn first_of(roster: &Roster, device: DeviceId) -> DeviceId {
    let mut first = device;
    let mut seen = BTreeSet::new();
    while let Some((former, _)) = roster.copied(&first).filter(|_| seen.insert(first)) {
        first = former;
    }
    first
}
