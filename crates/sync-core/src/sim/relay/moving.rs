//! A relay is told that a group is another from now on, and tells others.

use std::collections::BTreeSet;

use sync_types::{
    ErrorCode, RelayGroupId, RelayMsg,
    limits::MOVED_PACKAGES_MAX,
    message::{Left, Move, MoveAck},
    sign,
    wire::AtMost,
};

use super::{Outgoing, Over, Relay, Session, is_signed, refuse};
use crate::{protection::Protection, sim::network::SessionId};

impl Relay {
    /// Ids are over, and the group is another from now on.
    pub(super) fn move_group(
        &mut self,
        session: SessionId,
        exporter: &[u8; 32],
        moving: Move,
        now_ms: u64,
    ) -> Outgoing {
        let Some(state) = self.sessions.get(&session) else { return Vec::new() };
        let signed =
            |group, package: &[u8]| sign::moved(group, (&state.device, &self.id, exporter), &moving.group, package);
        let new = (&moving.group, &moving.auth_public);
        let all_signed = is_signed(new, &signed(&moving.group, &[]), &moving.signature)
            && moving.over.0.iter().all(|over| {
                let ends = over.group != moving.group;
                ends && is_signed(
                    (&over.group, &over.auth_public),
                    &signed(&over.group, &over.package),
                    &over.signature,
                )
            });
        if !all_signed {
            return refuse(session, moving.id, ErrorCode::AuthFailed);
        }
        // The one who says so may be behind itself, and finds out by its greeting. Whoever holds a key that is over writes
        // nothing by it, and so moves nothing there either.
        let holds = self.protections.hold(Protection::OverTakesNothing);
        let group = if holds { moving.group } else { self.end_of(&moving.group) };
        let is_over = |group: &RelayGroupId| moving.over.0.iter().any(|over| over.group == *group);
        if self.disk.over.contains_key(&group) || is_over(&group) {
            return refuse(session, moving.id, ErrorCode::GroupMoved);
        }
        let mut logs: Vec<_> = moving.over.0.iter().filter_map(|over| self.disk.logs.remove(&over.group)).collect();
        logs.sort_by_key(|log| std::cmp::Reverse(log.rows.len()));
        for log in logs {
            match self.disk.logs.get_mut(&group) {
                Some(known) => known.merge(log, now_ms),
                None => drop(self.disk.logs.insert(group, log)),
            }
        }
        self.acked.retain(|device, _| moving.remaining.0.contains(device));
        // Sealed under keys that are over: whoever remains says it anew.
        moving.over.0.iter().for_each(|over| drop(self.disk.receipts.remove(&over.group)));
        let mut others = Vec::new();
        for over in &moving.over.0 {
            let known = self.disk.over.entry(over.group).or_insert_with(|| Over { to: group, packages: Vec::new() });
            let own = Some(&over.package);
            let left = known.packages.iter().rev().filter_map(|(_, package)| package.clone());
            let left = left.filter(|package| Some(package) != own);
            others.extend(left.map(|package| Left { group: over.group, package }));
            if !known.packages.iter().any(|(_, package)| package.as_ref() == own) {
                known.packages.retain(|(to, package)| *to != group || package.is_some());
                known.packages.push((group, own.cloned()));
                self.make_room(&over.group);
            }
        }
        others.truncate(MOVED_PACKAGES_MAX);
        let mut out = vec![(session, MoveAck { id: moving.id, others: AtMost(others) }.into())];
        let ended = |state: &Session| moving.over.0.iter().any(|over| Some(over.group) == state.group);
        let ended: Vec<_> = self.sessions.iter().filter(|(_, state)| ended(state)).map(|(id, _)| *id).collect();
        for session in ended {
            out.extend(refuse(session, 0, ErrorCode::GroupMoved));
            self.sessions.remove(&session);
            self.pending.retain(|(of, _)| *of != session);
        }
        // Who went another way from one of these ids hears of this one, as the one who comes now hears of theirs.
        for session in self.sessions.keys().copied().filter(|id| *id != session).collect::<Vec<_>>() {
            if self.sessions[&session].group != Some(group) {
                out.extend(self.left_aside(session, |id| is_over(id)));
            }
        }
        // What another log held is news for those who follow this one.
        for session in self.sessions.keys().copied().collect::<Vec<_>>() {
            out.extend(self.pages(session));
        }
        out
    }

    /// Where a group is by now that went to this id.
    pub(super) fn end_of(&self, group: &RelayGroupId) -> RelayGroupId {
        let (mut group, mut met) = (*group, BTreeSet::new());
        while let Some(over) = self.disk.over.get(&group).filter(|_| met.insert(group)) {
            group = over.to;
        }
        group
    }

    fn has_log(&self, to: &RelayGroupId) -> bool {
        self.disk.logs.contains_key(&self.end_of(to))
    }

    /// At an id there is room for so many packages. The newest of each group that has a log stays before all others, and if
    /// even those are too many, it stays known that the group went on from here.
    fn make_room(&mut self, id: &RelayGroupId) {
        let Some(over) = self.disk.over.get(id) else { return };
        let mut met = BTreeSet::new();
        let is_first: Vec<_> =
            over.packages.iter().rev().map(|(to, _)| self.has_log(to) && met.insert(self.end_of(to))).collect();
        let mut packages: Vec<_> = over.packages.iter().cloned().zip(is_first.into_iter().rev()).enumerate().collect();
        packages.sort_by_key(|(no, (_, is_first))| std::cmp::Reverse((*is_first, *no)));
        for (_, ((_, package), _)) in packages.iter_mut().skip(MOVED_PACKAGES_MAX) {
            *package = None;
        }
        packages.retain(|(_, ((_, package), is_first))| package.is_some() || *is_first);
        packages.sort_by_key(|(no, _)| *no);
        let kept = packages.into_iter().map(|(_, (left, _))| left).collect();
        self.disk.over.entry(*id).and_modify(|over| over.packages = kept);
    }

    /// What members who went another way have left at the ids that the group of this session went on from.
    pub(super) fn left_aside(
        &self,
        session: SessionId,
        looks_at: impl Fn(&RelayGroupId) -> bool,
    ) -> Option<(SessionId, RelayMsg)> {
        let group = self.sessions.get(&session)?.group.filter(|_| self.protections.hold(Protection::WaysToldOf))?;
        let ids = self.disk.over.iter().filter(|(id, _)| looks_at(id));
        let shared = ids.filter(|(_, over)| over.packages.iter().any(|(to, _)| self.end_of(to) == group));
        let left = shared.flat_map(|(id, over)| over.packages.iter().map(move |(to, package)| (id, to, package)));
        let aside = left.filter(|(_, to, _)| self.end_of(to) != group);
        let mut others: Vec<_> =
            aside.filter_map(|(id, to, package)| Some((to, Left { group: *id, package: package.clone()? }))).collect();
        others.reverse();
        // What leads to a log before all others.
        others.sort_by_key(|(to, _)| !self.has_log(to));
        let others: Vec<_> = others.into_iter().map(|(_, left)| left).take(MOVED_PACKAGES_MAX).collect();
        (!others.is_empty()).then(|| (session, MoveAck { id: 0, others: AtMost(others) }.into()))
    }
}
