//! What a relay is offered of this device's envelopes and of others', and what it has of them.

use sync_types::{
    BlobId, ErrorCode, RelayCursor, RequestId, Run, Seq,
    limits::{IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX},
};

use super::{InFlight, Link, Offer};
use crate::{
    event::{HeldRow, Now},
    protection::Protection,
};

impl Link {
    /// Own envelopes that are not known to be on its disk.
    pub(crate) fn pending(&self, head: Seq) -> u64 {
        let ahead: u64 = self.acked_ahead.to_runs().iter().map(|(first, last)| last.get() - first.get() + 1).sum();
        head.get().saturating_sub(self.acked().get() + ahead)
    }

    /// Whether this own envelope is on its disk.
    pub(crate) fn has(&self, seq: Seq) -> bool {
        seq <= self.acked() || self.acked_ahead.contains(seq)
    }

    /// Everything of ours up to here is on its disk.
    pub(crate) fn acked_through(&self) -> Seq {
        self.acked()
    }

    /// What the relay refuses for good, on this connection.
    pub(crate) fn refusal(&self) -> Option<ErrorCode> {
        self.refused.values().next().copied()
    }

    /// Whether something may be sent now.
    pub(crate) fn has_room(&mut self, now: Now) -> bool {
        // What is over wakes nobody any more.
        self.paused_until_ms = self.paused_until_ms.filter(|until| now.mono_ms < *until);
        self.is_live()
            && self.read_through
            && self.in_flight.len() < IN_FLIGHT_MAX
            && (self.in_flight_bytes < IN_FLIGHT_BYTES_MAX || self.in_flight.is_empty())
            && self.paused_until_ms.is_none()
    }

    /// The next own envelope to offer, if there is one up to `head`.
    pub(crate) fn next_own(&mut self, head: Seq) -> Option<Seq> {
        while self.next_own <= head && (self.has(self.next_own) || self.refused.contains_key(&self.next_own)) {
            self.next_own = self.next_own.next();
        }
        (self.next_own <= head).then_some(self.next_own)
    }

    /// Notes that something is being offered, and under which request id.
    pub(crate) fn offer(&mut self, now: Now, what: Offer, blob_id: BlobId, bytes: usize) -> RequestId {
        if let Offer::Own(seq) = &what {
            self.next_own = seq.next();
        }
        let id = self.next_id();
        self.paused_until_ms = None;
        self.owed_since_ms.get_or_insert(now.mono_ms);
        self.sent.insert(blob_id);
        self.in_flight_bytes += bytes;
        self.in_flight.insert(id, InFlight { what, blob_id, bytes });
        id
    }

    /// The answer to an offer came, one way or the other.
    pub(crate) fn answered(&mut self, id: RequestId) -> Option<InFlight> {
        let in_flight = self.in_flight.remove(&id)?;
        self.in_flight_bytes -= in_flight.bytes;
        Some(in_flight)
    }

    /// The relay confirmed a push at this row: it may not lose that any more.
    pub(crate) fn confirmed(&mut self, cursor: RelayCursor, run: Run) {
        self.max_cursor = self.max_cursor.max(cursor);
        if let Some(state) = self.state.as_mut().filter(|_| !self.protections.hold(Protection::OnlyPagesMoveReaders)) {
            (state.pulled, state.run) = (cursor, run);
        }
        let Some(state) = self.state.as_mut().filter(|state| cursor > state.pulled) else { return };
        let mark = if self.mark_is_old { &mut self.newer_mark } else { &mut state.mark };
        if mark.is_none_or(|(marked, _)| marked < cursor) {
            *mark = Some((cursor, run));
        }
    }

    /// An own envelope is on its disk: it said so, or its log shows it. Whether that is new.
    pub(crate) fn acknowledge(&mut self, seq: Seq) -> bool {
        if self.has(seq) {
            return false;
        }
        self.acked_ahead.insert(seq);
        if !self.mark_is_old {
            self.advance();
        }
        true
    }

    pub(super) fn advance(&mut self) {
        let Some(state) = &mut self.state else { return };
        while self.acked_ahead.remove(state.acked.next()) {
            state.acked = state.acked.next();
        }
    }

    /// The relay wants less, or has no room: offer this again after a while.
    pub(crate) fn pause(&mut self, until_ms: u64, what: Offer) {
        self.paused_until_ms = Some(self.paused_until_ms.map_or(until_ms, |until| until.max(until_ms)));
        match what {
            Offer::Own(seq) => self.next_own = self.next_own.min(seq),
            Offer::Refill(row) => self.refill.push_front(*row),
        }
    }

    /// Nothing is left to offer, however it got there: that there once was no room for it is over.
    pub(crate) fn forgive(&mut self, head: Seq) {
        let full = matches!(self.problem, Some(ErrorCode::GroupFull | ErrorCode::StorageFull));
        if full && self.is_caught_up() && self.pending(head) == 0 && !self.fills() {
            self.problem = None;
        }
    }

    /// Nothing waits for the relay's leave any more.
    pub(crate) fn unpause(&mut self) {
        self.paused_until_ms = None;
    }

    /// The relay will not take this one; the others go on.
    pub(crate) fn refuse(&mut self, seq: Seq, code: ErrorCode) {
        self.refused.insert(seq, code);
    }

    // ── Filling it again ──

    pub(super) fn restart_refill(&mut self) {
        self.refill.clear();
        self.refill_loading = false;
        self.refill_went_through = false;
        self.refill_waiting = false;
        self.refill_loaded = self.fills_from().unwrap_or_default();
    }

    /// Whether the relay's log was seen to hold this.
    pub(crate) fn covers(&self, row: &HeldRow) -> bool {
        self.coverage.get(&row.sender).is_some_and(|ranges| ranges.contains(row.seq))
    }

    /// Whether it was offered this on this connection, and has not shown it since.
    pub(crate) fn has_been_sent(&self, blob_id: &BlobId) -> bool {
        self.sent.contains(blob_id)
    }

    /// Whether everything loaded for refilling is offered and answered.
    pub(crate) fn refill_settled(&self) -> bool {
        self.refill.is_empty() && !self.in_flight.values().any(|flight| matches!(flight.what, Offer::Refill(_)))
    }
}
