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
            if over.group != group {
                known.to = moving.group;
            }
            let packages = &mut known.packages;
            let left = packages.iter().filter(|(_, package)| *package != over.package);
            others.extend(left.map(|(_, package)| Left { group: over.group, package: package.clone() }));
            if !packages.iter().any(|(_, package)| *package == over.package) {
                packages.push((group, over.package.clone()));
                if packages.len() > MOVED_PACKAGES_MAX {
                    packages.remove(0);
                }
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

    /// What members who went another way have left at the ids that the group of this session went on from.
    pub(super) fn left_aside(
        &self,
        session: SessionId,
        looks_at: impl Fn(&RelayGroupId) -> bool,
    ) -> Option<(SessionId, RelayMsg)> {
        let group = self.sessions.get(&session)?.group.filter(|_| self.protections.hold(Protection::WaysToldOf))?;
        let ids = self.disk.over.iter().filter(|(id, _)| looks_at(id));
        let shared = ids.filter(|(_, over)| over.packages.iter().any(|(to, _)| self.end_of(to) == group));
        let left = shared.flat_map(|(id, over)| over.packages.iter().map(|(to, package)| (*id, to, package)));
        let aside = left.filter(|(_, to, _)| self.end_of(to) != group);
        let others: Vec<_> = aside.map(|(group, _, package)| Left { group, package: package.clone() }).collect();
        let others = others.into_iter().rev().take(MOVED_PACKAGES_MAX).collect::<Vec<_>>();
        (!others.is_empty()).then(|| (session, MoveAck { id: 0, others: AtMost(others) }.into()))
    }
}
