//! Snapshots of the app's state, on their way out: made where the local log stands, kept here until there is a newer one,
//! sent to every relay that has none as good. Loading one is in [`super::loading`].

use bytes::Bytes;
use sync_types::{
    BlobHash, BlobId, ErrorCode, LocalCursor, RelayCursor, RequestId, Run,
    limits::{PAYLOAD_LEN_MAX, SNAPSHOT_HOLES_MAX, SNAPSHOT_LEN_MAX},
    message,
    wire::AtMost,
};

use super::Engine;
use crate::{
    event::{Action, Event, HeldRow, Load, Now, StoreOp},
    link::Link,
    protection::Protection,
    ranges::Ranges,
    snapshot::{Content, count, covered},
    snapshots::{Asked, Place},
    timing::{REFUSED_RETRY_MS, REMOVAL_HEARD_MS, SNAPSHOT_AGAIN_MS, SNAPSHOT_STEP_MS},
};

impl Engine {
    /// Seals what the app gave as its state at a cursor, and keeps it for the relays.
    pub(super) fn publish_snapshot(&mut self, now: Now, up_to: LocalCursor, bytes: Bytes) {
        let result = self.try_publish(now, up_to, bytes);
        self.actions.push(Action::Admitted { result });
        self.hurry(now);
    }

    fn try_publish(&mut self, now: Now, up_to: LocalCursor, bytes: Bytes) -> Result<(), ErrorCode> {
        if self.context.am_removed() {
            return Err(ErrorCode::Removed);
        }
        if self.is_between() {
            return Err(ErrorCode::IdentityReused);
        }
        if self.snapshots.after.is_none() {
            return Err(ErrorCode::InvalidArgument);
        }
        if bytes.len() > SNAPSHOT_LEN_MAX {
            return Err(ErrorCode::SnapshotTooLarge);
        }
        let place = self.snapshots.place(up_to).filter(|place| place.others <= self.context.local.app_acked);
        let Place { covered, heads, bytes: held_bytes, .. } = place.cloned().ok_or(ErrorCode::SnapshotOutdated)?;
        let limits = self.links.iter().filter_map(Link::blob_len_max);
        let piece = limits.filter_map(|len| usize::try_from(len).ok()).fold(PAYLOAD_LEN_MAX, usize::min);
        let maker = (&*self.context.keys, &**self.context.identity.key());
        let content = Content { covered, heads, held_bytes, bytes, piece };
        let sealed = content.seal(maker, &self.context.roster, now, &mut self.context.rng);
        let (sealed, parts) = sealed.ok_or(ErrorCode::SnapshotTooLarge)?;
        let parts = parts.into_iter().map(|part| (part.hash().blob_id(), part.as_bytes().clone())).collect();
        self.actions.push(Action::Store(vec![StoreOp::Snapshot {
            snapshot: sealed.id,
            own: true,
            manifest: sealed.envelope.as_bytes().clone(),
            parts,
        }]));
        self.snapshots.own = Some(sealed);
        self.snapshots.due_ms = None;
        self.links.iter_mut().for_each(Link::send_anew);
        Ok(())
    }

    /// Remembers where the local log stands, if all that is here is in it: an app's snapshot is of such a place.
    pub(super) fn note_place(&mut self, now: Now) {
        if self.snapshots.after.is_none() || self.is_between() || self.context.am_removed() {
            return;
        }
        let local = self.context.local;
        self.note_complete_heads(now);
        let heads = self.snapshots.complete.clone();
        let known = self.snapshots.last_place();
        let changes = (self.inbox.changes(), self.outbox.head());
        let is_known = known.is_some_and(|place| place.cursor == local.head && place.heads == heads);
        let settled =
            self.inbox.is_settled(&self.context.roster) || !self.context.protections.hold(Protection::SnapshotSettled);
        if (is_known && self.snapshots.changes == changes) || !settled {
            return;
        }
        self.snapshots.changes = changes;
        let mut room = SNAPSHOT_HOLES_MAX;
        let mut all = self.inbox.covered(&self.context.roster, &mut room);
        let head = self.outbox.head();
        // What nobody was offered may be sealed again.
        let hash = self.outbox.hash_of(head).filter(|_| self.outbox.unoffered().is_none());
        all.push(covered(self.context.me, (head, hash.unwrap_or(BlobHash::ZERO)), &Ranges::default(), &mut room));
        let bytes = local.held_bytes;
        self.snapshots.stand(Place { cursor: local.head, others: local.others, covered: all, heads, bytes });
    }

    /// Remembers how far the logs are read, as long as nothing of them was refused that may count after all: what a removed
    /// device has sealed counts as far as any member held it, and those say so once they hear of the removal.
    fn note_complete_heads(&mut self, now: Now) {
        let heard = self.context.roster.has_heard_of_removals(&self.context.me) && self.duty.is_none();
        let settled = heard && !self.inbox.may_have_refused(&self.context.roster);
        let since_ms = settled.then(|| self.snapshots.complete_since_ms.unwrap_or(now.mono_ms));
        self.snapshots.complete_since_ms = since_ms;
        let wait_ms = if self.context.roster.removed().is_empty() { 0 } else { REMOVAL_HEARD_MS };
        let holds = !self.context.protections.hold(Protection::SnapshotSettled);
        if holds || since_ms.is_some_and(|since_ms| now.mono_ms >= since_ms + wait_ms) {
            self.snapshots.complete = self.links.iter().filter_map(Link::head).collect();
        }
    }

    /// Asks the app for a snapshot, if it is worth it and nobody who joined earlier has made one.
    pub(super) fn see_to_need(&mut self, now: Now) {
        self.snapshots.wake_ms = None;
        let Some(after) = self.snapshots.after else { return };
        let place = self.snapshots.last_place().filter(|place| place.cursor == self.context.local.head);
        let ready = place.filter(|place| place.others <= self.context.local.app_acked).map(|place| place.cursor);
        let heard = self.links.iter().any(|link| link.has_shown_snapshots() && link.is_caught_up());
        let roster = &self.context.roster;
        let known = place.map(|place| &place.covered[..]).unwrap_or_default();
        let (most, most_bytes) = self.snapshots.most(known, |device| roster.is_member(device));
        let bytes = place.map_or(0, |place| place.bytes).saturating_sub(most_bytes);
        let enough = after.is_due(count(known).saturating_sub(most), bytes);
        let is_due = heard && self.snapshots.loading.is_none() && enough;
        if !is_due {
            self.snapshots.due_ms = None;
            return;
        }
        let turn_ms = now.mono_ms + roster.place_of(&self.context.me) as u64 * SNAPSHOT_STEP_MS;
        let due_ms = *self.snapshots.due_ms.get_or_insert(turn_ms);
        if let Some(up_to) = ready.filter(|_| now.mono_ms >= due_ms) {
            // An app that makes none is asked again, but not at once.
            self.snapshots.due_ms = Some(now.mono_ms + SNAPSHOT_AGAIN_MS);
            self.actions.push(Action::Emit(Event::SnapshotNeeded { up_to }));
        }
        self.snapshots.wake_ms = self.snapshots.due_ms.filter(|due_ms| now.mono_ms < *due_ms);
    }

    // ── To the relays ──

    /// Sends each relay this device's newest, if it has none that covers as much.
    pub(super) fn send_snapshots(&mut self, now: Now) {
        self.links.iter_mut().for_each(|link| link.wait_for_room(now));
        if !self.may_send() || self.is_between() {
            return;
        }
        let Some(own) = &self.snapshots.own else { return };
        if !self.links.iter().any(|link| link.has_shown_snapshots() && !link.has_snapshot(&own.id)) {
            return;
        }
        let (id, parts) = (own.id, own.manifest.parts.0.clone());
        let known = self.snapshots.last_place().map(|place| place.covered.clone()).unwrap_or_default();
        let worth = own.manifest.worth(&known);
        for index in 0..self.links.len() {
            if !self.links[index].has_shown_snapshots() {
                continue;
            }
            // What a member says to cover counts as far as it can be so.
            let kept = self.links[index].snapshots().filter_map(|kept| self.snapshots.get(kept));
            let of_members = kept.filter(|sealed| self.context.roster.is_member(&sealed.sender()));
            let best = of_members.map(|sealed| sealed.manifest.worth(&known)).max();
            if best.is_some_and(|best| best >= worth) {
                continue;
            }
            let Some(part) = self.links[index].next_part(&id) else { continue };
            if let Some(part) = parts.get(part) {
                let relay = self.links[index].relay;
                self.actions.push(Action::Load(Load::SnapshotPart { relay, snapshot: id, part: *part }));
            } else {
                self.publish_to(now, index);
            }
        }
    }

    /// All parts are there: says what they are.
    fn publish_to(&mut self, now: Now, index: usize) {
        let Some(own) = &self.snapshots.own else { return };
        let link = &mut self.links[index];
        let log_id = link.state.as_ref().map(|state| state.log_id);
        let head = own.manifest.heads.0.iter().find(|head| Some(head.log_id) == log_id && !link.lacks_place(&own.id));
        let envelope = own.envelope.as_bytes().clone();
        let parts = own.manifest.parts.clone();
        let Some(id) = link.ask(now, Asked::Publish(own.id)) else { return };
        let (covers, run) = head.map(|head| (head.cursor, head.run)).unwrap_or((RelayCursor::START, Run::START));
        self.send(index, [message::Snapshot { id, envelope, parts, covers, run }.into()]);
    }

    /// A part was read from the disk, to be sent.
    pub(super) fn part_loaded(
        &mut self,
        now: Now,
        index: usize,
        (snapshot, part): (BlobId, BlobId),
        rows: Vec<HeldRow>,
    ) {
        let Some(own) = self.snapshots.own.as_ref().filter(|own| own.id == snapshot) else { return };
        if !own.manifest.parts.0.contains(&part) {
            return;
        }
        let Some(row) = rows.into_iter().next() else {
            self.links[index].stop_sending(snapshot, None);
            return;
        };
        if !self.links[index].keeps_snapshots() {
            return;
        }
        if let Some(id) = self.links[index].ask(now, Asked::Keep(snapshot)) {
            self.send(index, [message::SnapshotPart { id, envelope: row.envelope }.into()]);
        }
    }

    /// A relay keeps what it was sent.
    pub(super) fn snapshot_acked(&mut self, index: usize, id: RequestId) {
        let Some(own) = self.snapshots.own.as_ref().map(|own| own.id) else { return };
        match self.links[index].asked(id) {
            Some(Asked::Keep(id)) if id == own => self.links[index].part_kept(),
            Some(Asked::Publish(id)) if id == own => {
                self.links[index].published(own);
                let relay = self.links[index].relay;
                self.actions.push(Action::Emit(Event::SnapshotKept { snapshot: own, relay }));
            }
            // Of one before, of which nothing more is said.
            Some(Asked::Keep(_) | Asked::Publish(_) | Asked::Manifest(_) | Asked::Part(_)) | None => {}
        }
    }

    /// A relay does not take what it was sent, or does not hold what it was asked for.
    pub(super) fn snapshot_refused(&mut self, now: Now, index: usize, asked: Asked, code: ErrorCode, wait_ms: u32) {
        match asked {
            Asked::Manifest(id) => self.links[index].lacks_snapshot(id),
            Asked::Part(_) => {
                if let Some(id) = self.snapshots.loading.as_ref().map(|loading| loading.sealed.id) {
                    self.links[index].lacks_snapshot(id);
                }
            }
            Asked::Keep(id) | Asked::Publish(id) => {
                let Some(own) = self.snapshots.own.as_ref().map(|own| own.id).filter(|own| *own == id) else { return };
                if code == ErrorCode::LogForked && self.links[index].publish_without_place(own) {
                    // A log that was restored from a copy: it does not reach that far any more.
                    return;
                }
                let again = [ErrorCode::RateLimited, ErrorCode::GroupFull, ErrorCode::StorageFull, ErrorCode::NotFound];
                let wait_ms = u64::from(wait_ms).max(REFUSED_RETRY_MS);
                let again_ms = again.contains(&code).then_some(now.mono_ms + wait_ms);
                self.links[index].stop_sending(own, again_ms);
                // That a newer one covers more is nobody's loss.
                if code != ErrorCode::SnapshotOutdone && code != ErrorCode::RateLimited {
                    let relay = Some(self.links[index].relay);
                    self.actions.push(Action::Emit(Event::Failed { relay, code }));
                }
            }
        }
    }

    /// A relay says which it keeps.
    pub(super) fn hear_snapshots(
        &mut self,
        index: usize,
        manifests: AtMost<{ sync_types::limits::SNAPSHOTS_KEPT }, BlobId>,
    ) {
        self.links[index].show_snapshots(manifests.0);
        self.snapshots.missed = true;
        let links = &self.links;
        self.snapshots.forget(|id| links.iter().any(|link| link.has_snapshot(id)));
    }
}
