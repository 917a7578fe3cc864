//! Loading a snapshot: which one, from whom, and what follows once the app has it.
//!
//! A device that has nothing yet asks the first relays that it meets for snapshots before it reads their logs; a device
//! that lacks something for good asks whether one has it. The parts are stored as they come, so a transfer goes on where
//! it stopped. Once all are here the app is told, and what the snapshot covers counts as held when the app says that it
//! has taken it: one transaction. One that it refuses makes way for the next, and with none left the log is read.
//!
//! Invariant: a first snapshot is taken before anything is read, so nothing that it covers is handed out besides.

use bytes::Bytes;
use sync_types::{BlobHash, BlobId, ErrorCode, RelayCursor, message};

use super::Engine;
use crate::{
    context::Effects,
    event::{Action, Event, Now, StoreOp},
    link::Link,
    protection::Protection,
    roster::Standing,
    snapshot::{Sealed, open_roster_part},
    snapshots::{Asked, Loading},
    timing::{SNAPSHOT_ALONE_MS, SNAPSHOT_PATIENCE_MS},
};

impl Engine {
    /// Looks for a snapshot where one is wanted, fetches it, and reads the logs that need not wait for one.
    pub(super) fn see_to_loading(&mut self, now: Now) {
        if self.is_between() {
            return;
        }
        // A removed device loads none, and reads what may make it a member again.
        let is_removed = self.context.am_removed();
        if self.snapshots.after.is_some() && !is_removed {
            self.ask_for_manifests(now);
            self.choose_snapshot();
            self.fetch_parts(now);
            self.tell_if_complete();
            self.lose_patience(now);
        }
        if is_removed || !self.waits_for_snapshot() {
            for index in 0..self.links.len() {
                if self.links[index].is_live() && !self.links[index].reads() {
                    self.skip_covered(index);
                    let pull = self.links[index].pull(now);
                    self.send(index, pull);
                }
            }
        }
    }

    /// Whether no log is to be read yet: this device has nothing, and somebody may have a snapshot for it.
    fn waits_for_snapshot(&self) -> bool {
        let asked = |link: &Link| link.keeps_snapshots() && !link.has_shown_snapshots();
        let chosen = self.snapshots.loading.as_ref().is_some_and(|loading| loading.is_first);
        chosen || (self.may_begin_with_one() && self.links.iter().any(asked))
    }

    /// Whether this device has nothing yet, nothing is on its way, and it has not waited in vain.
    fn may_begin_with_one(&self) -> bool {
        let reads = self.links.iter().any(Link::reads);
        self.snapshots.after.is_some() && !self.snapshots.gave_up && !self.inbox.holds_anything() && !reads
    }

    /// Whatever relays do: without a new part for so long a first snapshot is not waited for any more.
    fn lose_patience(&mut self, now: Now) {
        let complete = self.snapshots.loading.as_ref().is_some_and(Loading::is_complete);
        if complete || !self.waits_for_snapshot() {
            self.snapshots.patience_ms = None;
            return;
        }
        let until_ms = *self.snapshots.patience_ms.get_or_insert(now.mono_ms + SNAPSHOT_PATIENCE_MS);
        if now.mono_ms >= until_ms {
            self.snapshots.patience_ms = None;
            self.snapshots.gave_up = true;
            self.drop_loading(false);
        }
    }

    /// When [`Self::see_to_loading`] has something to do that no message brings.
    pub(super) fn loading_due_ms(&self) -> Option<u64> {
        if self.context.am_removed() || self.is_between() {
            return None;
        }
        let alone_ms = self.snapshots.loading.as_ref().and_then(|loading| loading.alone_since_ms);
        alone_ms.map(|since_ms| since_ms + SNAPSHOT_ALONE_MS).into_iter().chain(self.snapshots.patience_ms).min()
    }

    fn ask_for_manifests(&mut self, now: Now) {
        for index in 0..self.links.len() {
            let news = self.links[index].snapshots().find(|id| self.snapshots.is_news(id)).copied();
            let Some(blob_id) = news else { continue };
            if let Some(id) = self.links[index].ask(now, Asked::Manifest(blob_id)) {
                self.send(index, [message::Get { id, blob_id }.into()]);
            }
        }
    }

    /// Takes the one that covers most, if one is wanted.
    fn choose_snapshot(&mut self) {
        let asked = |link: &Link| link.keeps_snapshots() && !link.has_shown_snapshots();
        if self.snapshots.loading.is_some() || !self.snapshots.missed || self.links.iter().any(asked) {
            return;
        }
        let is_first = self.may_begin_with_one();
        let has = |sealed: &&Sealed| self.links.iter().any(|link| link.has_snapshot(&sealed.id));
        let helps = |sealed: &&Sealed| is_first || self.inbox.lacks_of(&sealed.manifest);
        let is_new = |sealed: &&Sealed| !self.snapshots.is_taken(&sealed.id);
        let offered = self.snapshots.known().filter(is_new).filter(has).filter(helps);
        // One of a device that was removed since is better than none: what it covers may be nowhere else.
        let is_member = |sealed: &Sealed| self.context.roster.is_member(&sealed.sender());
        let best = offered.max_by_key(|sealed| (is_member(sealed), sealed.manifest.envelopes(), sealed.id)).cloned();
        self.snapshots.missed = self.links.iter().all(|link| !link.keeps_snapshots());
        let Some(sealed) = best else { return };
        self.actions.push(Action::Store(vec![StoreOp::Snapshot {
            snapshot: sealed.id,
            own: false,
            manifest: sealed.envelope.as_bytes().clone(),
            parts: Vec::new(),
        }]));
        let have = Default::default();
        self.snapshots.loading = Some(Loading { sealed, have, is_first, told: false, alone_since_ms: None });
    }

    /// Asks for what is missing of it: the roster first.
    fn fetch_parts(&mut self, now: Now) {
        let Some(loading) = &mut self.snapshots.loading else { return };
        if loading.is_complete() {
            loading.alone_since_ms = None;
            return;
        }
        let id = loading.sealed.id;
        let having = self.links.iter().enumerate().filter(|(_, link)| link.has_snapshot(&id));
        let having: Vec<_> = having.map(|(index, _)| index).collect();
        if having.is_empty() {
            let live = self.links.iter().any(Link::is_live);
            let since_ms = *loading.alone_since_ms.get_or_insert(now.mono_ms);
            loading.alone_since_ms = loading.alone_since_ms.filter(|_| live);
            if live && now.mono_ms >= since_ms + SNAPSHOT_ALONE_MS {
                self.drop_loading(false);
            }
            return;
        }
        loading.alone_since_ms = None;
        let parts = loading.sealed.manifest.parts.0.iter().enumerate();
        let missing = parts.filter(|(_, part)| !loading.have.contains(*part)).map(|(place, part)| (place, *part));
        for (place, part) in missing.collect::<Vec<_>>() {
            // From all that have it in turn: one that gives nothing hides nobody.
            let index = having[place % having.len()];
            if self.links.iter().any(|link| link.is_asked_for(&part)) {
                continue;
            }
            let Some(id) = self.links[index].ask(now, Asked::Part(part)) else { continue };
            self.send(index, [message::Get { id, blob_id: part }.into()]);
        }
    }

    /// A relay sends what it was asked for.
    pub(super) fn got(&mut self, now: Now, index: usize, got: message::Got) {
        let blob_id = BlobHash::of_bytes(&got.envelope).blob_id();
        match self.links[index].asked(got.id) {
            Some(Asked::Manifest(id) | Asked::Part(id)) if id != blob_id => {
                self.disconnect(now, index, Some(ErrorCode::Malformed));
            }
            Some(Asked::Manifest(id)) => self.got_manifest(id, got.envelope),
            Some(Asked::Part(part)) => self.got_part(now, part, got.envelope),
            Some(Asked::Keep(_) | Asked::Publish(_)) | None => {}
        }
    }

    fn got_manifest(&mut self, id: BlobId, bytes: Bytes) {
        let sealed = Sealed::open(&self.context.keys, bytes);
        match sealed.filter(|sealed| self.context.verify(&sealed.envelope)) {
            Some(sealed) => {
                self.snapshots.learn(sealed);
                self.snapshots.missed = true;
            }
            None => self.snapshots.refuse(id),
        }
    }

    fn got_part(&mut self, now: Now, part: BlobId, envelope: Bytes) {
        let Some(loading) = &mut self.snapshots.loading else { return };
        if !loading.sealed.manifest.parts.0.contains(&part) || loading.have.contains(&part) {
            return;
        }
        if !loading.sealed.manifest.fits(&self.context.keys, &part, &envelope) {
            self.drop_loading(true);
            return;
        }
        loading.have.insert(part);
        self.snapshots.patience_ms = None;
        let snapshot = loading.sealed.id;
        let entries =
            loading.sealed.manifest.roster().contains(&part).then(|| open_roster_part(&self.context.keys, &envelope));
        let (done, total) = loading.progress();
        let mut effects = Effects::default();
        effects.ops.push(StoreOp::SnapshotPart { snapshot, part, envelope });
        effects.events.push(Event::SnapshotProgress { snapshot, done, total });
        for entry in entries.flatten().into_iter().flatten() {
            self.inbox.learn_entry(&mut self.context, now, &entry, &mut effects);
        }
        self.actions.extend(effects.into_actions());
        if self.is_a_strangers() {
            self.drop_loading(true);
        }
    }

    /// Whether nobody whom the roster in the snapshot lets in has made it.
    fn is_a_strangers(&self) -> bool {
        let known = self.snapshots.loading.as_ref().filter(|loading| loading.has_roster());
        known.is_some_and(|known| self.context.roster.standing(&known.sealed.sender()) == Standing::Stranger)
    }

    fn tell_if_complete(&mut self) {
        if self.is_a_strangers() {
            self.drop_loading(true);
            return;
        }
        let Some(loading) = self.snapshots.loading.as_mut().filter(|loading| loading.is_complete() && !loading.told)
        else {
            return;
        };
        loading.told = true;
        let (snapshot, sender) = (loading.sealed.id, loading.sealed.sender());
        self.actions.push(Action::Emit(Event::SnapshotReady { snapshot, sender }));
    }

    /// The snapshot that is being loaded is of no use.
    fn drop_loading(&mut self, for_good: bool) {
        let Some(loading) = self.snapshots.loading.take() else { return };
        let snapshot = loading.sealed.id;
        if for_good {
            self.snapshots.refuse(snapshot);
        }
        self.snapshots.missed = true;
        self.actions.push(Action::Store(vec![StoreOp::SnapshotOver { snapshot }]));
    }

    /// The app has taken the snapshot, or refuses it.
    pub(super) fn snapshot_loaded(&mut self, now: Now, snapshot: BlobId, taken: bool) {
        let is_it = |loading: &&Loading| loading.sealed.id == snapshot && loading.is_complete();
        let result = match self.snapshots.loading.as_ref().filter(is_it) {
            None => Err(ErrorCode::NoSnapshot),
            Some(_) if taken => {
                self.take_snapshot(now);
                Ok(())
            }
            Some(_) => {
                self.drop_loading(true);
                Ok(())
            }
        };
        self.actions.push(Action::Admitted { result });
    }

    fn take_snapshot(&mut self, now: Now) {
        let Some(loading) = self.snapshots.loading.take() else { return };
        let manifest = &loading.sealed.manifest;
        let mut effects = Effects::default();
        let held_bytes = self.context.local.held_bytes.max(manifest.bytes);
        self.context.local.held_bytes = held_bytes;
        effects.ops.push(StoreOp::HeldBytes { at_least: held_bytes });
        if self.context.protections.hold(Protection::SnapshotCovers) {
            self.inbox.cover(&mut self.context, now, &manifest.covered.0, &mut effects);
        }
        self.snapshots.heads = manifest.heads.0.clone();
        self.snapshots.take(loading.sealed.id);
        effects.ops.push(StoreOp::SnapshotOver { snapshot: loading.sealed.id });
        for index in 0..self.links.len() {
            if self.skip_covered(index) {
                let link = &self.links[index];
                effects.ops.extend(link.state.clone().map(|state| StoreOp::Relay { relay: link.relay, state }));
            }
        }
        self.actions.extend(effects.into_actions());
        self.note_applied();
    }

    /// Goes on in a relay's log behind what a snapshot covers, if nothing of it is read. Whether that is so now.
    fn skip_covered(&mut self, index: usize) -> bool {
        let link = &mut self.links[index];
        let log_id = link.state.as_ref().map(|state| state.log_id);
        let head = self.snapshots.heads.iter().find(|head| Some(head.log_id) == log_id);
        let is_new = !link.reads() && link.pulled() == RelayCursor::START;
        head.filter(|_| is_new).is_some_and(|head| link.skip_to(head.cursor, head.run))
    }
}
