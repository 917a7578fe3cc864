//! One relay, as this device deals with it: the connection's phase, how far its log is read, what it has of ours.
//!
//! ```text
//! Idle ──due──▶ Connecting ──up──▶ Greeting ──WELCOME──▶ Live
//!   ▲               │                  │                   │
//!   └───────────────┴───── lost, refused or silent ────────┘   (after a back-off with full jitter)
//! ```
//! Facts about a log are kept under (relay id, log id). A log with another id, one that ends before something it
//! confirmed, or one whose run differs has lost rows: reading starts over, and what is held is offered again.
//!
//! Invariant: only a page moves `pulled`, and only by rows without a hole. An acknowledged push never does.

mod comparing;
mod moving;
mod offering;
mod snapshots;
pub(crate) mod telling;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand_core::Rng;
use sync_types::{
    BlobId, DeviceId, DeviceMsg, ErrorCode, KeyId, LogId, RelayCursor, RelayId, RequestId, Run, Seq,
    limits::PAGE_ROWS_MAX,
    message::{Ack, Limits, Page, Pull, RowKind},
};

use crate::{
    event::{HeldRow, Now, Paved, RelayState},
    examine::Candidate,
    heads::Compared,
    protection::{Protection, Protections},
    ranges::Ranges,
    status::{Connection, RelayStatus},
    timing::{ACK_MS, ACK_ROWS, Backoff, CONNECT_MS, HURRY_MS, SILENCE_MS},
};

/// Where a connection stands. Times are monotonic milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Idle { retry_ms: u64 },
    Connecting { since_ms: u64 },
    Greeting { since_ms: u64 },
    Live,
}

/// A push that was not answered yet.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) what: Offer,
    pub(crate) blob_id: BlobId,
    pub(crate) bytes: usize,
}

/// What a push offers.
#[derive(Debug)]
pub(crate) enum Offer {
    /// An own envelope.
    Own(Seq),
    /// Something this device holds, to a relay that lost it.
    Refill(Box<HeldRow>),
}

/// How a page fits what is read already.
pub(crate) enum Fit {
    /// It goes on where reading stopped.
    Next(NewRows),
    /// It answers an older PULL.
    Stale,
    /// It starts elsewhere, or holds what no relay may send: read again from where reading stopped.
    Broken,
    /// The log is not the one that was read, or not the one that confirmed our pushes.
    Forked,
}

/// The rows of a page, taken apart.
#[derive(Default)]
pub(crate) struct NewRows {
    pub(crate) envelopes: Vec<Candidate>,
    /// When each of those came to the relay, by its clock.
    pub(crate) arrived_ms: Vec<u64>,
    pub(crate) expired: Vec<BlobId>,
    pub(crate) count: u64,
    /// Others have read something else there.
    pub(crate) contradicted: bool,
}

/// One relay.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) relay: RelayId,
    pub(crate) phase: Phase,
    pub(crate) state: Option<RelayState>,
    pub(crate) limits: Option<Limits>,
    pub(crate) max_cursor: RelayCursor,
    /// What the relay refuses, or why it is not connected, where there is a word for it.
    pub(crate) problem: Option<ErrorCode>,
    attempt: u32,
    backoff: Backoff,
    last_id: RequestId,
    /// Something is owed since: an answer the relay has not given.
    owed_since_ms: Option<u64>,
    /// It names more than is read, or was asked for that: up to where it is read, and since when.
    unread_since: Option<(RelayCursor, u64)>,

    // Reading.
    pull_id: Option<RequestId>,
    page_seen: bool,
    /// The log was read to its end on this connection. Before, nothing is offered: somebody may have sealed in this
    /// device's name meanwhile, and then nothing more may be.
    read_through: bool,
    /// The log was found to have lost rows on this connection. Once is a restored backup, twice is a lie.
    regressed: bool,
    /// Sent on this connection, and not yet met as a row: what a `Yours` row may name.
    sent: BTreeSet<BlobId>,
    told: RelayCursor,
    tell_at_ms: Option<u64>,
    /// While the relay is refilled: what its log was seen to hold.
    pub(crate) coverage: BTreeMap<DeviceId, Ranges>,

    // Writing.
    next_own: Seq,
    acked_ahead: Ranges,
    /// `state.mark` is of an earlier connection and not yet compared with the log: until it is, nothing else that
    /// this relay confirms is relied on.
    mark_is_old: bool,
    newer_mark: Option<(RelayCursor, Run)>,
    refused: BTreeMap<Seq, ErrorCode>,
    in_flight: BTreeMap<RequestId, InFlight>,
    in_flight_bytes: usize,
    paused_until_ms: Option<u64>,
    pub(crate) refill: VecDeque<HeldRow>,
    pub(crate) refill_loaded: u64,
    pub(crate) refill_loading: bool,
    /// All that is held was gone through, while another relay's log was still being read.
    pub(crate) refill_went_through: bool,
    /// What waits here was offered too: the last part of refilling.
    pub(crate) refill_waiting: bool,

    /// It is compared with what is held here, or was.
    comparison: Option<comparing::Comparison>,

    // Moving to new keys.
    /// What both ends derive from this connection.
    pub(crate) exporter: [u8; 32],
    /// The epoch this connection was greeted under.
    pub(crate) greeted_under: Option<KeyId>,
    /// MOVEs that were not answered yet, and what is moved to once they are.
    moving: BTreeSet<RequestId>,
    moving_to: Option<Paved>,
    /// The relay is told everything, and not only what it was not told before.
    moving_whole: bool,
    /// It is told everything again then.
    move_again_ms: Option<u64>,
    /// By which keys this device, which is removed, has asked whether it still is, in turn.
    pub(crate) asked_removed: Vec<KeyId>,

    // Receipts, in this session.
    features: u64,
    /// The newest that the relay was told, and the request it went with.
    receipt: (Seq, RequestId),
    /// It did not take that one, and is asked again then.
    receipt_again_ms: Option<u64>,

    // Snapshots, in this session.
    kept: snapshots::Kept,

    // What others have read of this log.
    compared: Compared,
    /// The PULL by which it was asked for what others have read, before it is named.
    asked_for_more: Option<RequestId>,
    /// They are to be asked anew: it is another log, or begun anew.
    heads_due: bool,
    protections: Protections,
}

impl Link {
    pub(crate) fn new(relay: RelayId, state: Option<RelayState>, now: Now, protections: Protections) -> Self {
        // What was seen of its log is not stored: it is read again.
        let compares = state.as_ref().is_some_and(|state| state.compares);
        let mut link = Self::fresh(relay, state, now, protections);
        if compares {
            link.compare();
        }
        link
    }

    fn fresh(relay: RelayId, state: Option<RelayState>, now: Now, protections: Protections) -> Self {
        Self {
            relay,
            phase: Phase::Idle { retry_ms: now.mono_ms },
            limits: None,
            max_cursor: state.as_ref().map_or(RelayCursor::START, |state| state.pulled),
            problem: None,
            attempt: 0,
            backoff: Backoff::default(),
            last_id: 0,
            owed_since_ms: None,
            unread_since: None,
            pull_id: None,
            page_seen: false,
            read_through: false,
            regressed: false,
            sent: BTreeSet::new(),
            told: RelayCursor::START,
            tell_at_ms: None,
            coverage: BTreeMap::new(),
            next_own: state.as_ref().map_or(Seq::START, |state| state.acked).next(),
            acked_ahead: Ranges::default(),
            mark_is_old: false,
            newer_mark: None,
            refused: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            in_flight_bytes: 0,
            paused_until_ms: None,
            refill: VecDeque::new(),
            refill_loaded: 0,
            refill_loading: false,
            refill_went_through: false,
            refill_waiting: false,
            comparison: None,
            exporter: [0; 32],
            greeted_under: None,
            moving: BTreeSet::new(),
            moving_to: None,
            moving_whole: false,
            move_again_ms: None,
            asked_removed: Vec::new(),
            features: 0,
            receipt: (Seq::START, 0),
            receipt_again_ms: None,
            kept: snapshots::Kept::default(),
            compared: Compared::new(protections),
            asked_for_more: None,
            heads_due: state.is_some(),
            protections,
            state,
        }
    }

    // ── The connection ──

    /// There is no connection, and none is attempted just now.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle { .. })
    }

    pub(crate) fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Live, and read to the end it last named.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.is_live() && self.page_seen && self.pulled() >= self.max_cursor
    }

    /// The connection came up for nothing, or broke: whoever is removed is in no hurry to try again.
    pub(crate) fn rest_until(&mut self, retry_ms: u64) {
        if let Phase::Idle { .. } = self.phase {
            self.phase = Phase::Idle { retry_ms };
        }
    }

    /// Whether a connection should be opened now.
    pub(crate) fn is_due(&self, now: Now) -> bool {
        matches!(self.phase, Phase::Idle { retry_ms } if now.mono_ms >= retry_ms)
    }

    /// Tries sooner than planned, but not more often than a person would.
    pub(crate) fn hurry(&mut self, now: Now, last_attempt_ms: u64) {
        if let Phase::Idle { retry_ms } = &mut self.phase {
            *retry_ms = (*retry_ms).min((last_attempt_ms + HURRY_MS).max(now.mono_ms));
        }
    }

    /// The connection is gone. Whatever was unanswered is owed again, and another attempt is due after a while.
    pub(crate) fn lost(&mut self, now: Now, reason: Option<ErrorCode>, rng: &mut impl Rng) {
        let met = matches!(self.phase, Phase::Greeting { .. });
        self.phase = Phase::Idle { retry_ms: now.mono_ms + self.backoff.failed(now.mono_ms, met, rng) };
        self.attempt = self.attempt.saturating_add(1);
        self.problem = reason.or(self.problem);
        self.pull_id = None;
        self.page_seen = false;
        self.read_through = false;
        self.regressed = false;
        self.owed_since_ms = None;
        self.unread_since = None;
        self.tell_at_ms = None;
        self.sent.clear();
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.paused_until_ms = None;
        self.refused.clear();
        self.moving.clear();
        self.moving_to = None;
        self.move_again_ms = None;
        self.features = 0;
        self.forget_snapshots();
        self.heads_due = true;
        self.compared.pause(now.mono_ms);
        self.receipt = (Seq::START, 0);
        self.receipt_again_ms = None;
        self.acked_ahead = Ranges::default();
        self.next_own = self.acked().next();
        self.restart_refill();
    }

    /// The relay has owed an answer, or a connection has not come up, for too long.
    pub(crate) fn is_silent(&self, now: Now) -> bool {
        self.deadline_ms().is_some_and(|deadline| now.mono_ms >= deadline)
    }

    fn deadline_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Idle { .. } => None,
            Phase::Connecting { since_ms } | Phase::Greeting { since_ms } => Some(since_ms + CONNECT_MS),
            Phase::Live => {
                let unread = self.unread_since.map(|(_, since_ms)| since_ms);
                [self.owed_since_ms, unread].into_iter().flatten().min().map(|since_ms| since_ms + SILENCE_MS)
            }
        }
    }

    /// When [`crate::Engine`] has to look at this link again.
    pub(crate) fn wake_at(&self) -> Option<u64> {
        let retry = match self.phase {
            Phase::Idle { retry_ms } => Some(retry_ms),
            Phase::Connecting { .. } | Phase::Greeting { .. } | Phase::Live => None,
        };
        let withheld = self.compared.due_ms(self.state.as_ref());
        let again = self.move_again_ms;
        let kept = self.send_again_ms();
        [retry, self.deadline_ms(), self.tell_at_ms, self.paused_until_ms, withheld, again, kept]
            .into_iter()
            .flatten()
            .min()
    }

    /// Something came from the relay: it lives, and if that was asked for, it has more time for the rest.
    pub(crate) fn heard(&mut self, now: Now, is_answer: bool) {
        let since_ms = self.owed_since_ms.filter(|_| !is_answer).unwrap_or(now.mono_ms);
        self.owed_since_ms = self.owes().then_some(since_ms);
        // Of a log only rows are an answer: a relay could name more for ever.
        let before = self.unread_since.filter(|(pulled, _)| *pulled == self.pulled());
        let unread = self.reads() && !self.is_caught_up();
        self.unread_since = unread.then(|| before.unwrap_or((self.pulled(), now.mono_ms)));
    }

    fn owes(&self) -> bool {
        !self.in_flight.is_empty() || !self.moving.is_empty() || self.is_asked()
    }

    pub(crate) fn next_id(&mut self) -> RequestId {
        self.last_id = self.last_id.wrapping_add(1).max(1);
        self.last_id
    }

    // ── Its log ──

    pub(crate) fn pulled(&self) -> RelayCursor {
        self.state.as_ref().map_or(RelayCursor::START, |state| state.pulled)
    }

    /// The largest payload it takes, if it ever said so.
    pub(crate) fn blob_len_max(&self) -> Option<u64> {
        let said = self.limits.as_ref().map(|limits| limits.blob_len_max);
        said.or(self.state.as_ref().and_then(|state| state.blob_len_max))
    }

    fn acked(&self) -> Seq {
        self.state.as_ref().map_or(Seq::START, |state| state.acked)
    }

    /// WELCOME: the log is the one known, or another. Whether it lost what it once had.
    pub(crate) fn welcomed(
        &mut self,
        now: Now,
        log_id: LogId,
        max: RelayCursor,
        limits: Limits,
        holding: bool,
    ) -> bool {
        self.phase = Phase::Live;
        self.attempt = 0;
        self.backoff = Backoff::default();
        self.problem = None;
        self.limits = Some(limits);
        self.max_cursor = max;
        self.owed_since_ms = Some(now.mono_ms);
        let regressed = match &self.state {
            None => {
                self.begin_log(log_id, holding);
                false
            }
            Some(state) => {
                let mark = state.mark.filter(|_| self.protections.hold(Protection::MarkCompared));
                let confirmed = mark.map_or(RelayCursor::START, |(cursor, _)| cursor).max(state.pulled);
                state.log_id != log_id || max < confirmed
            }
        };
        if regressed {
            self.begin_log(log_id, holding);
        }
        if let Some(state) = &mut self.state {
            state.blob_len_max = self.limits.as_ref().map(|limits| limits.blob_len_max);
        }
        let state = self.state.as_ref();
        self.mark_is_old = state.is_some_and(|state| state.mark.is_some_and(|(marked, _)| marked > state.pulled));
        self.newer_mark = None;
        regressed
    }

    /// Starts over with a log: nothing of it is read, and it has nothing of ours.
    pub(crate) fn begin_log(&mut self, log_id: LogId, holding: bool) {
        self.state = Some(RelayState {
            log_id,
            pulled: RelayCursor::START,
            run: Run::START,
            acked: Seq::START,
            mark: None,
            refill: (holding && self.protections.hold(Protection::Refilling)).then_some(0),
            compares: false,
            blob_len_max: self.blob_len_max(),
            paved: None,
            contradictions: Vec::new(),
        });
        self.compared = Compared::new(self.protections);
        self.heads_due = true;
        // What this relay lacked when last met is not what a relay lacks that was wiped.
        self.moving_to = self.moving_to.take().filter(|_| self.moving_whole);
        self.told = RelayCursor::START;
        self.page_seen = false;
        self.read_through = false;
        self.acked_ahead = Ranges::default();
        self.mark_is_old = false;
        self.newer_mark = None;
        self.next_own = Seq::START.next();
        self.coverage.clear();
        self.restart_refill();
    }

    /// The log has lost rows. Whether that may be: the second time on a connection it is a lie.
    pub(crate) fn may_regress(&mut self) -> bool {
        !std::mem::replace(&mut self.regressed, true)
    }

    /// Reads the log again from its start, though nothing is wrong with it. It is still held to what was read: a log
    /// that ends before that, or differs there, has lost rows.
    pub(crate) fn reread(&mut self) {
        if let Some(state) = &mut self.state {
            read_again(state);
        }
    }

    /// Asks for everything after what is read, and for what comes then.
    pub(crate) fn pull(&mut self, now: Now) -> Option<DeviceMsg> {
        let id = self.next_id();
        let state = self.state.as_ref()?;
        let pull = Pull { id, after: state.pulled, run: state.run, limit: PAGE_ROWS_MAX, follow: true };
        self.pull_id = Some(id);
        self.page_seen = false;
        self.unread_since = Some((pull.after, now.mono_ms));
        Some(DeviceMsg::Pull(pull))
    }

    /// The log is asked for, and what comes of it is taken.
    pub(crate) fn reads(&self) -> bool {
        self.pull_id.is_some()
    }

    pub(crate) fn is_pull(&self, id: RequestId) -> bool {
        self.pull_id == Some(id)
    }

    /// Takes a page apart, and moves on if it fits.
    pub(crate) fn read(&mut self, page: Page) -> Fit {
        let Some(state) = self.state.as_mut().filter(|_| self.pull_id == Some(page.id)) else { return Fit::Stale };
        if page.after != state.pulled && self.protections.hold(Protection::PagesContiguous) {
            return Fit::Broken;
        }
        let (mut cursor, mut run) = (page.after, state.run);
        let mut new = NewRows::default();
        for row in page.rows.0 {
            let blob_id = match RowKind::from_number(row.kind) {
                Some(RowKind::Blob) => {
                    let candidate = Candidate::from(row.bytes);
                    let blob_id = candidate.blob_id();
                    self.sent.remove(&blob_id);
                    new.envelopes.push(candidate);
                    new.arrived_ms.push(row.timestamp_ms);
                    blob_id
                }
                Some(RowKind::Expired) => {
                    let Some(blob_id) = BlobId::from_slice(&row.bytes) else { return Fit::Broken };
                    new.expired.push(blob_id);
                    blob_id
                }
                Some(RowKind::Yours) => {
                    let known = BlobId::from_slice(&row.bytes).filter(|blob_id| self.sent.remove(blob_id));
                    let Some(blob_id) = known else { return Fit::Broken };
                    blob_id
                }
                None => return Fit::Broken,
            };
            cursor = cursor.next();
            run = run.then(&blob_id);
            new.count += 1;
            let broken = |(marked, confirmed): (RelayCursor, Run)| marked == cursor && confirmed != run;
            let holds = self.protections.hold(Protection::MarkCompared);
            if holds && [state.mark, self.newer_mark].into_iter().flatten().any(broken) {
                return Fit::Forked;
            }
            new.contradicted |= self.compared.pass(cursor, run, state);
        }
        (state.pulled, state.run) = (cursor, run);
        self.max_cursor = page.max_cursor.max(cursor);
        self.page_seen = true;
        self.read_through |= self.is_caught_up();
        self.settle_mark();
        Fit::Next(new)
    }

    /// The relay has no rows up to the floor any more.
    pub(crate) fn skip_to(&mut self, floor: RelayCursor, run: Run) -> bool {
        let Some(state) = self.state.as_mut().filter(|state| state.pulled < floor) else { return false };
        (state.pulled, state.run) = (floor, run);
        self.compared.pass(floor, run, state);
        self.note_cut();
        self.settle_mark();
        true
    }

    /// Reading has passed the old mark without finding another run: what the relay confirmed since counts.
    fn settle_mark(&mut self) {
        let Some(state) = self.state.as_mut().filter(|_| self.mark_is_old) else { return };
        if state.mark.is_none_or(|(marked, _)| marked <= state.pulled) {
            self.mark_is_old = false;
            state.mark = self.newer_mark.take().or(state.mark);
            self.advance();
        }
    }

    /// Tells the relay how far its log is held here, if it is time.
    pub(crate) fn tell(&mut self, now: Now) -> Option<DeviceMsg> {
        let pulled = self.pulled();
        if !self.is_live() || pulled <= self.told {
            self.tell_at_ms = None;
            return None;
        }
        let at = *self.tell_at_ms.get_or_insert(now.mono_ms + ACK_MS);
        if now.mono_ms < at && pulled.get() - self.told.get() < ACK_ROWS {
            return None;
        }
        self.told = pulled;
        self.tell_at_ms = None;
        Some(DeviceMsg::Ack(Ack { cursor: pulled }))
    }

    pub(crate) fn status(&self, head: Seq) -> RelayStatus {
        RelayStatus {
            relay: self.relay,
            connection: match self.phase {
                Phase::Live => Connection::Connected,
                Phase::Idle { .. } | Phase::Connecting { .. } | Phase::Greeting { .. } if self.attempt > 0 => {
                    Connection::Reconnecting { attempt: self.attempt }
                }
                Phase::Connecting { .. } | Phase::Greeting { .. } => Connection::Connecting,
                Phase::Idle { .. } => Connection::Disconnected,
            },
            log_id: self.state.as_ref().map(|state| state.log_id),
            pulled: self.pulled(),
            max_cursor: self.max_cursor,
            pending: self.pending(head),
            refilling: self.fills(),
            room: self.limits.as_ref().map(|limits| limits.group_bytes_max),
            problem: self.refusal().or(self.problem),
            contradictions: self.state.as_ref().map(|state| state.contradictions.clone()).unwrap_or_default(),
        }
    }
}

/// Of a log that is read from its start, and that no own envelope is known to be in: the device is another one.
pub(crate) fn starts_over(mut state: RelayState) -> RelayState {
    read_again(&mut state);
    RelayState { acked: Seq::START, ..state }
}

fn read_again(state: &mut RelayState) {
    if state.mark.is_none_or(|(marked, _)| marked < state.pulled) && state.pulled > RelayCursor::START {
        state.mark = Some((state.pulled, state.run));
    }
    (state.pulled, state.run) = (RelayCursor::START, Run::START);
}
