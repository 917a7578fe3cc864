//! Commits that this device makes: because a person wants it, or because the group needs one and this device's turn has
//! come.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::Rng;
use sync_types::{DeviceId, ErrorCode, KeyId, Kind, limits::COMMIT_OLDER_MAX};

use super::Engine;
use crate::{
    event::{Action, Now, StoreOp},
    keys::EpochSecret,
    protection::Protection,
    roster::{Change, Cutoff, Draft, EntryHash, leave},
    timing::{COVER_MS, DUTY_STEP_MS},
};

/// Why a commit is due that no person asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// There are several newest commits. Every one's key may have gone to somebody whom another removes; and who knows
    /// one of them may never hear of the others, which are told of under their own keys. Or a removed device has let somebody
    /// in behind the back of whoever removed it.
    Merge,
    /// A member has not been given the current key, or one before it: it joined, or committed, while somebody else made
    /// that.
    Cover,
    /// A member asked to be removed.
    Leave,
    /// This device holds more of a removed one than counts: it came before the removal was known here.
    Keep,
    /// A member has a name that a removed device gave, who may have told some of the members and not the others.
    Name,
    /// The current id was ended on a relay by somebody who may not.
    Burnt,
    /// The keys are as old as they may get.
    Rotate,
}

impl Engine {
    /// Removes a device because a person says so.
    pub(super) fn remove(&mut self, now: Now, device: DeviceId, rekey: bool) {
        let result = if device == self.context.me {
            Err(ErrorCode::InvalidArgument)
        } else if self.context.roster.is_member(&device) {
            self.commit(now, &[device].into(), rekey)
        } else {
            Err(ErrorCode::DeviceUnknown)
        };
        self.actions.push(Action::Admitted { result });
    }

    /// New keys because a person says so.
    pub(super) fn rotate(&mut self, now: Now) {
        let result = self.commit(now, &BTreeSet::new(), true);
        self.actions.push(Action::Admitted { result });
    }

    /// Tells the others that this device leaves.
    pub(super) fn leave(&mut self, now: Now) {
        let entry = leave(&self.context.keys.group_id(), self.context.identity.key());
        let result = self.publish(now, entry);
        self.actions.push(Action::Admitted { result });
        self.hurry(now);
        self.pump(now);
    }

    /// Makes a commit of everything that is known: its parents are all that nothing follows yet.
    pub(super) fn commit(&mut self, now: Now, removing: &BTreeSet<DeviceId>, rekey: bool) -> Result<(), ErrorCode> {
        if self.is_between() {
            return Err(ErrorCode::IdentityReused);
        }
        let roster = &self.context.roster;
        if !roster.is_member(&self.context.me) {
            return Err(ErrorCode::Removed);
        }
        // Who was let in behind somebody's back makes no commit that would keep it.
        if (!rekey && self.heeded.chosen.is_none()) || roster.smuggled().contains(&self.context.me) {
            return Err(ErrorCode::StaleKey);
        }
        // Of a removed one more counts from now on. One that a removed one let in, and nobody knew of who removed that, is
        // out itself, and what came of it before that was known counts.
        let joined = |device: &DeviceId| roster.kem_public_of(device).is_some();
        let beyond = self.inbox.beyond(roster).into_iter().filter(joined);
        let smuggled = roster.smuggled().iter().filter(|_| rekey).copied();
        let removed = removing.iter().copied().chain(beyond).chain(smuggled);
        let removed: BTreeMap<DeviceId, Cutoff> = removed.map(|device| (device, self.inbox.held(&device))).collect();
        let mut remaining: BTreeMap<_, _> =
            roster.members().map(|member| (member.device, member.kem_public.clone())).collect();
        remaining.retain(|device, _| !removed.contains_key(device));

        let history = roster.history();
        // Without a key there is one epoch to go on with, and so one parent.
        let chosen = self.heeded.chosen.and_then(|chosen| chosen.head);
        let mut parents: Vec<EntryHash> = if rekey { roster.grounds() } else { chosen.into_iter().collect() };
        parents.sort_unstable();
        let number = parents.iter().filter_map(|hash| history.get(hash)).map(|head| head.number).max().unwrap_or(0);
        let before = parents.iter().map(|hash| history.keyed(hash).and_then(|commit| commit.key.as_ref()));
        let mut before: BTreeSet<_> =
            before.filter_map(|key| key.map(|key| key.key_id).or_else(|| self.context.first_key())).collect();
        if parents.is_empty() {
            before.extend(self.context.first_key());
        }
        // What this device can open, and somebody who remains can't.
        let keys = &self.context.keys;
        for device in remaining.keys() {
            let reach = roster.reach_of(device);
            let epochs = history.commits().filter_map(|commit| commit.key.as_ref()).map(|key| key.key_id);
            before.extend(epochs.filter(|key_id| !reach.contains(key_id)));
        }
        // Nobody gets what a commit would have kept from it, be that void as far as is known here.
        let withheld = self.withheld_from(|device| remaining.contains_key(device));
        before.retain(|key_id| !withheld.contains(key_id));
        let older = before.iter().filter_map(|key_id| keys.get(key_id)).take(COMMIT_OLDER_MAX).collect();
        let secret = EpochSecret::generate(&mut self.context.rng);
        let draft = Draft {
            parents,
            number: number.checked_add(1).ok_or(ErrorCode::GroupTooLarge)?,
            removed,
            remaining,
            made_at_ms: now.wall_ms,
            key: rekey.then_some((&secret, older)),
        };
        let group = self.context.keys.group_id();
        let entry = draft.sign(&group, self.context.identity.key(), &mut self.context.rng);
        let entry = entry.ok_or(ErrorCode::GroupTooLarge)?;
        match self.context.roster.apply(entry.clone()) {
            Ok(Change::Committed) => {}
            Ok(_) => return Err(ErrorCode::Internal),
            Err(error) => return Err(error.code()),
        }
        // On the disk before anybody hears of it, and told under the new key.
        self.context.learn_epochs();
        let row = self.outbox.seal(&mut self.context, now, Kind::Control, 0, entry.clone());
        self.actions.push(Action::Store(vec![StoreOp::Roster { entry }, StoreOp::PutOwn(row)]));
        self.duty = None;
        self.burnt = None;
        self.heed_commits(now);
        Ok(())
    }

    /// See [`crate::roster::Roster::withheld_from`].
    fn withheld_from(&self, is_one: impl Fn(&DeviceId) -> bool) -> BTreeSet<KeyId> {
        let withheld = self.context.roster.withheld_from(&self.context.me, is_one);
        if self.context.protections.hold(Protection::VoidKeysWithheld) { withheld } else { BTreeSet::new() }
    }

    /// Whether there is a member that must not be handed this key yet, and so none is that lacks it.
    #[cfg(feature = "test-utils")]
    pub(crate) fn withholds(&self, key_id: &KeyId) -> bool {
        self.withheld_from(|device| self.context.roster.is_member(device)).contains(key_id)
    }

    /// What this device owes its group, and how long it leaves that to others.
    fn due(&mut self, now: Now) -> Option<(Duty, u64)> {
        let roster = &self.context.roster;
        let me = self.context.me;
        let is_out = !roster.is_member(&me) || roster.smuggled().contains(&me);
        if is_out || self.is_between() || !self.context.protections.hold(Protection::DutiesDone) {
            return None;
        }
        let history = roster.history();
        let turn_ms = || roster.place_of(&me) as u64 * DUTY_STEP_MS;
        let Some(chosen) = self.heeded.chosen else {
            let is_clean = |head: &crate::roster::Commit| roster.is_clean(history.keyed(&head.hash));
            return (!history.heads().any(is_clean)).then(|| (Duty::Merge, turn_ms()));
        };
        if history.heads().nth(1).is_some() || !roster.smuggled().is_empty() {
            return Some((Duty::Merge, turn_ms()));
        }
        let epoch = chosen.head.and_then(|head| history.keyed(&head));
        let epochs = history.commits().filter_map(|commit| commit.key.as_ref()).map(|key| key.key_id);
        let withheld = self.withheld_from(|device| roster.is_member(device));
        let is_ours = |key_id: &KeyId| self.context.keys.get(key_id).is_some() && !withheld.contains(key_id);
        let ours: Vec<_> = epochs.filter(is_ours).collect();
        let uncovered = |device: &DeviceId| {
            let reach = roster.reach_of(device);
            epoch.is_some_and(|commit| !roster.has_secret(device, commit))
                || ours.iter().any(|key_id| !reach.contains(key_id))
        };
        let mut uncovered = roster.members().filter(|member| uncovered(&member.device)).peekable();
        if uncovered.peek().is_some() {
            let mine = uncovered.any(|member| member.inviter == Some(me));
            return Some((Duty::Cover, if mine { 0 } else { COVER_MS + turn_ms() }));
        }
        if roster.leaving().any(|device| *device != me) {
            return Some((Duty::Leave, turn_ms()));
        }
        if !self.inbox.beyond(roster).is_empty() {
            return Some((Duty::Keep, turn_ms()));
        }
        if !roster.orphaned_names().is_empty() && self.context.protections.hold(Protection::NamesAdopted) {
            return Some((Duty::Name, turn_ms()));
        }
        if self.burnt == Some(chosen.key_id) {
            return Some((Duty::Burnt, turn_ms()));
        }
        (self.keys_last_ms(now)? == 0).then(|| (Duty::Rotate, turn_ms()))
    }

    /// For how long the group's keys are young enough yet, if they may get too old.
    fn keys_last_ms(&self, now: Now) -> Option<u64> {
        let (roster, chosen) = (&self.context.roster, self.heeded.chosen?);
        let epoch = roster.history().of_key(&chosen.key_id);
        let made_at_ms = epoch.map_or_else(|| roster.founded_at_ms(), |commit| commit.made_at_ms);
        Some(self.rotate_after_ms?.saturating_sub(now.wall_ms.saturating_sub(made_at_ms)))
    }

    /// Does what is due, once it is this device's turn and it has heard what others have done. `caught_up`: some relay is
    /// connected, and all that are were read to their end.
    pub(super) fn see_to_duties(&mut self, now: Now, caught_up: bool) {
        self.see_to_duty(now, caught_up);
        let at_ms = self.duty.map(|(_, at_ms)| at_ms);
        let due_ms = || self.keys_last_ms(now).map(|last_ms| now.mono_ms.saturating_add(last_ms));
        self.duty_wake_ms = at_ms.or_else(due_ms).filter(|at_ms| now.mono_ms < *at_ms);
    }

    fn see_to_duty(&mut self, now: Now, caught_up: bool) {
        // Looked for when something may have changed, not with every message.
        if !std::mem::take(&mut self.duty_may_be_due) && self.duty.is_none() && self.rotate_after_ms.is_none() {
            return;
        }
        let Some((duty, wait_ms)) = self.due(now) else {
            self.duty = None;
            return;
        };
        let at_ms = match self.duty {
            Some((known, at_ms)) if known == duty => at_ms,
            Some(_) | None => {
                let jitter = if wait_ms == 0 { 0 } else { self.context.rng.next_u64() % 1_000 };
                now.mono_ms + wait_ms + jitter
            }
        };
        self.duty = Some((duty, at_ms));
        // A relay at which no key of this device's is good any more tells it nothing else.
        let shut_out = self.links.iter().any(|link| link.problem == Some(ErrorCode::StaleKey));
        let heard = caught_up || shut_out;
        if heard && now.mono_ms >= at_ms {
            let me = self.context.me;
            let leaving: BTreeSet<_> = self.context.roster.leaving().copied().filter(|device| *device != me).collect();
            let done = match duty {
                Duty::Name => self.adopt_names(now),
                Duty::Merge | Duty::Cover | Duty::Leave | Duty::Keep | Duty::Burnt | Duty::Rotate => {
                    self.commit(now, &leaving, true)
                }
            };
            if done.is_err() {
                // What keeps it from being done now may be over after a while.
                self.duty = Some((duty, now.mono_ms + COVER_MS));
            }
        }
    }
}
