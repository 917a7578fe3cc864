//! Mending what the disk has changed, and filling up from a copy of a lost device's profile.
//!
//! Both are the way of a relay that forgets, walked the other way round as well: the logs are read again from their starts,
//! what is damaged here is replaced by what is there under the same hash, and what a relay lacks it is offered. An envelope
//! that is mended stays where it was, under its cursor: the app never sees that anything happened.

use bytes::Bytes;
use sync_types::{Envelope, ErrorCode, Kind, RelayId};

use super::{Engine, sending::age_s};
use crate::{
    context::Effects,
    event::{Action, Damage, HeldRow, Now, StoreOp},
    examine::Candidate,
};

impl Engine {
    /// What the comparison with each relay has come to: how many envelopes it was offered, once that is over.
    pub fn compared(&self) -> impl Iterator<Item = (RelayId, Option<u64>)> + '_ {
        self.links.iter().map(|link| (link.relay, link.compared()))
    }

    pub(super) fn repair(&mut self, now: Now, damage: Damage) {
        if let Some(code) = self.why_not_now() {
            self.actions.push(Action::Admitted { result: Err(code) });
            return;
        }
        self.mending = damage.held.into_iter().map(|(sender, seq, hash)| (hash, (sender, seq))).collect();
        let mut effects = Effects::default();
        self.inbox.let_go_of(&damage.waiting, &damage.parked, &mut effects);
        for snapshot in damage.snapshots {
            self.snapshots.own.take_if(|own| own.id == snapshot);
            if self.snapshots.loading.take_if(|loading| loading.sealed.id == snapshot).is_some() {
                self.snapshots.missed = true;
            }
            effects.ops.push(StoreOp::SnapshotOver { snapshot });
        }
        self.links.iter_mut().for_each(|link| link.compare());
        self.read_anew(now, effects);
    }

    pub(super) fn take_backup(&mut self, now: Now, envelopes: Vec<Bytes>, last: bool) {
        if let Some(code) = self.why_not_now() {
            self.actions.push(Action::Admitted { result: Err(code) });
            return;
        }
        let mut effects = Effects::default();
        let candidates = envelopes.into_iter().map(Candidate::from);
        let seen = self.inbox.receive(&mut self.context, now, candidates, &mut effects);
        self.duty_may_be_due |= !seen.is_empty() && self.context.roster.history().has_void();
        if last {
            self.links.iter_mut().for_each(|link| link.fill_again());
            self.read_anew(now, effects);
        } else {
            self.actions.extend(effects.into_actions());
            self.actions.push(Action::Admitted { result: Ok(()) });
        }
    }

    fn why_not_now(&self) -> Option<ErrorCode> {
        if self.context.am_removed() {
            Some(ErrorCode::Removed)
        } else {
            self.is_between().then_some(ErrorCode::IdentityReused)
        }
    }

    /// Every log is read from its start, on new connections: on those that there are, own envelopes come as names alone. That
    /// this is to be done is stored together with what was let go of.
    fn read_anew(&mut self, now: Now, mut effects: Effects) {
        let known = self.links.iter().filter_map(|link| Some((link.relay, link.state.clone()?)));
        effects.ops.extend(known.map(|(relay, state)| StoreOp::Relay { relay, state }));
        self.actions.extend(effects.into_actions());
        for index in 0..self.links.len() {
            self.disconnect(now, index, None);
            self.links[index].hurry(now, 0);
        }
        self.actions.push(Action::Admitted { result: Ok(()) });
    }

    /// What is damaged here is among these.
    pub(super) fn mend(&mut self, came: &[Candidate], effects: &mut Effects) {
        if self.mending.is_empty() {
            return;
        }
        for candidate in came {
            if let Some((sender, seq)) = self.mending.remove(&candidate.hash()) {
                effects.ops.push(StoreOp::Mend { sender, seq, envelope: candidate.bytes().clone() });
            }
        }
    }

    /// Whether a relay is to be offered this, if it is not seen to hold it. One that lost rows gets everything of others', its
    /// own queue brings the rest. One that is only compared has let go of what expired, and of what everybody has.
    pub(super) fn is_owed(&self, now: Now, index: usize, row: &HeldRow) -> bool {
        let link = &self.links[index];
        let mine = row.sender == self.context.me;
        if !link.only_compares() {
            return !mine;
        }
        if mine && !link.has(row.seq) {
            return false;
        }
        let ttl_s = Envelope::parse(row.envelope.clone()).map_or(0, |envelope| u64::from(envelope.header().ttl_s));
        let (default_s, max_s) = link.limits.as_ref().map_or((0, 0), |limits| (limits.ttl_s_default, limits.ttl_s_max));
        let asked = if ttl_s == 0 { default_s } else { ttl_s };
        let kept_s = [asked, max_s].into_iter().filter(|limit_s| *limit_s > 0).min();
        let expired =
            row.kind != Kind::Control && kept_s.is_some_and(|kept_s| u64::from(age_s(now, row.held_ms)) >= kept_s);
        !expired && (!link.is_cut() || self.is_lacked(row))
    }

    /// Whether some device has not said that it has this.
    fn is_lacked(&self, row: &HeldRow) -> bool {
        let others = self.context.roster.members().filter(|member| !member.is_kit && member.device != self.context.me);
        others.map(|member| member.device).filter(|device| *device != row.sender).any(|device| {
            let said = self.receipts.of(&device).and_then(|signed| signed.receipt.of_sender(&row.sender));
            said.is_none_or(|said| said.received < row.seq)
        })
    }
}
