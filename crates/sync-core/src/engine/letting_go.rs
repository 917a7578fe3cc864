//! Envelopes that this device does not need to keep any more, because a snapshot stands for them.
//!
//! Every row that ever came to rest stays, because it says what is held; what grows is the envelopes in them. One is needed by
//! the app until it has acknowledged it; by whoever has not got it, which is a matter of relays; and by a relay that loses it.
//! Once a snapshot that relays keep has it, and it is not among the newest, who lacks it gets the snapshot instead.
//!
//! Rows are looked through from the front, a few at a time. Those that have to stay are passed over, and met again the next time.
//!
//! Invariant: an own envelope leaves only once every relay has confirmed it.

use sync_types::{DeviceId, Seq};

use super::Engine;
use crate::{
    event::{Action, HeldRow, Load, Now, StoreOp},
    link::Link,
    protection::Protection,
    snapshot::Manifest,
};

/// Envelope bytes that are looked at in one turn.
const STEP_BYTES: usize = 256 * 1024;
/// So often the rows are looked through while a snapshot's are kept.
const LOOKS: u64 = 168;
/// But not more often than this.
const LOOK_MS_MIN: u64 = 1_000;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct LettingGo {
    keep_ms: u64,
    keep_bytes: u64,
    /// The last of this device's own that is gone.
    pub(super) own_gone: Seq,
    /// When rows are looked at next.
    due_ms: u64,
    /// Up to here they were, this time.
    after: u64,
    /// The next ones are being read.
    reading: bool,
}

impl LettingGo {
    pub(super) fn new(keep_ms: u64, keep_bytes: u64, own_gone: Seq) -> Self {
        Self { keep_ms, keep_bytes, own_gone, due_ms: 0, after: 0, reading: false }
    }
}

impl Engine {
    /// Looks at the next rows, if there is more than has to be kept and a snapshot may stand for it.
    pub(super) fn see_to_letting_go(&mut self, now: Now) {
        if self.letting_go_due_ms().is_some_and(|due_ms| now.mono_ms >= due_ms) {
            self.letting_go.reading = true;
            self.actions.push(Action::Load(Load::Front { after: self.letting_go.after, bytes: STEP_BYTES }));
        }
    }

    /// When [`Self::see_to_letting_go`] has something to do.
    pub(super) fn letting_go_due_ms(&self) -> Option<u64> {
        let is_much = self.context.local.kept_bytes > self.letting_go.keep_bytes && !self.letting_go.reading;
        let may = is_much && self.snapshots.after.is_some() && !self.is_between() && !self.context.am_removed();
        let can = || !self.context.protections.hold(Protection::KeptUntilCovered) || self.kept_snapshots().is_some();
        (may && can()).then_some(self.letting_go.due_ms)
    }

    /// Rows came: those that nobody needs are let go of.
    pub(super) fn front_loaded(&mut self, now: Now, after: u64, rows: &[HeldRow], position: u64) {
        if !std::mem::take(&mut self.letting_go.reading) || after != self.letting_go.after {
            return;
        }
        let mut kept_bytes = self.context.local.kept_bytes;
        let mut gone: Vec<(DeviceId, Seq, Seq, u64)> = Vec::new();
        let mut through = rows.is_empty();
        let snapshots = self.kept_snapshots();
        for row in rows {
            let len = row.envelope.len() as u64;
            let is_new = row.held_ms.saturating_add(self.letting_go.keep_ms) > now.wall_ms;
            if is_new || kept_bytes.saturating_sub(len) < self.letting_go.keep_bytes {
                // Those behind it are newer.
                through = true;
                break;
            }
            if !self.may_let_go(row, snapshots.as_deref()) {
                continue;
            }
            kept_bytes -= len;
            match gone.last_mut() {
                Some((sender, _, last, bytes)) if *sender == row.sender && last.next() == row.seq => {
                    (*last, *bytes) = (row.seq, *bytes + len);
                }
                _ => gone.push((row.sender, row.seq, row.seq, len)),
            }
        }
        self.context.local.kept_bytes = kept_bytes;
        let own = gone.iter().filter(|(sender, ..)| *sender == self.context.me).map(|(_, _, last, _)| *last);
        self.letting_go.own_gone = own.max().unwrap_or_default().max(self.letting_go.own_gone);
        if !gone.is_empty() {
            let op = |(sender, first, last, bytes)| StoreOp::LetGo { sender, first, last, bytes };
            self.actions.push(Action::Store(gone.into_iter().map(op).collect()));
        }
        let look_ms = (self.letting_go.keep_ms / LOOKS).max(LOOK_MS_MIN);
        (self.letting_go.after, self.letting_go.due_ms) =
            if through { (0, now.mono_ms + look_ms) } else { (position, now.mono_ms) };
    }

    /// Whether nobody needs this one any more.
    fn may_let_go(&self, row: &HeldRow, snapshots: Option<&[Vec<&Manifest>]>) -> bool {
        // What is damaged here and about to be mended would come back by that.
        let is_mended = self.mending.contains_key(&row.hash);
        if is_mended || row.cursor.is_some_and(|cursor| cursor > self.context.local.app_acked) {
            return false;
        }
        if !self.context.protections.hold(Protection::KeptUntilCovered) {
            return true;
        }
        let is_confirmed = row.sender != self.context.me || self.links.iter().all(|link| link.has(row.seq));
        let covers = |manifest: &&Manifest| manifest.covers(&row.sender, row.seq);
        is_confirmed && snapshots.is_some_and(|relays| relays.iter().all(|kept| kept.iter().any(covers)))
    }

    /// What each relay in reach keeps of members' snapshots; none if one of them keeps none, or nobody is in reach.
    fn kept_snapshots(&self) -> Option<Vec<Vec<&Manifest>>> {
        let live = self.links.iter().filter(|link| link.is_live());
        let kept = |link: &Link| {
            let kept = link.snapshots().filter_map(|id| self.snapshots.get(id));
            let of_members = kept.filter(|sealed| self.context.roster.is_member(&sealed.sender()));
            let manifests: Vec<_> = of_members.map(|sealed| &sealed.manifest).collect();
            (!manifests.is_empty()).then_some(manifests)
        };
        live.map(kept).collect::<Option<Vec<_>>>().filter(|relays| !relays.is_empty())
    }
}
