//! One group's log as sessions see it: where it ends, and its last rows kept at hand.
//!
//! Whoever reads a log waits on [`GroupLog::head`] and then reads rows after its own position. Nothing is queued
//! for a reader, so none can overflow and a slow one holds nobody up. The tail only saves the database from being
//! asked by every reader for the row that was written a moment ago.
//!
//! Invariant: the head moves only after its rows are on disk, and the tail is a gapless run of rows that ends at
//! the head (or is empty). A log that is over stays so: its rows are in another log of the group's, or gone.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sync_types::{BlobId, DeviceId, LogId, RelayCursor, RelayGroupId, Run, limits::IN_FLIGHT_MAX};
use tokio::sync::watch;

use super::{Span, StoredRow};

/// Where a log ends and begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) cursor: RelayCursor,
    pub(crate) run: Run,
    /// Rows up to here have left.
    pub(crate) floor_cursor: RelayCursor,
    pub(crate) floor_run: Run,
    /// The last row, if it came since the relay started.
    pub(crate) newest: Option<Newest>,
}

impl Head {
    /// An empty log.
    pub(crate) const START: Self = Self {
        cursor: RelayCursor::START,
        run: Run::START,
        floor_cursor: RelayCursor::START,
        floor_run: Run::START,
        newest: None,
    };
}

/// What is said of a row to those who have not asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) blob_id: BlobId,
    pub(crate) sender: DeviceId,
    pub(crate) size: u32,
    pub(crate) received_ms: u64,
}

/// A group's log, shared by the sessions that read it and the writer that extends it.
#[derive(Debug)]
pub(crate) struct GroupLog {
    /// The store's own name for it.
    pub(crate) no: i64,
    pub(crate) group: RelayGroupId,
    pub(crate) log_id: LogId,
    pub(crate) head: watch::Sender<Head>,
    tail: Mutex<Tail>,
    /// How often a receipt was written.
    pub(crate) receipts: watch::Sender<u64>,
    /// The snapshots that are kept, by the ids of their manifests: the newest last.
    pub(crate) snapshots: watch::Sender<Vec<BlobId>>,
    /// True once the group has another log, or is known by another id.
    over: watch::Sender<bool>,
}

impl GroupLog {
    pub(crate) fn new(no: i64, group: RelayGroupId, log_id: LogId, head: Head) -> Self {
        Self {
            no,
            group,
            log_id,
            head: watch::Sender::new(head),
            tail: Mutex::default(),
            receipts: watch::Sender::default(),
            snapshots: watch::Sender::default(),
            over: watch::Sender::default(),
        }
    }

    /// Whether the group has another log, or is known by another id. Then nothing is read or written by this one any more.
    pub(crate) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// The group has another log, or is known by another id.
    pub(crate) fn end(&self) {
        self.over.send_replace(true);
    }

    /// Resolves once it is over.
    pub(crate) async fn ended(&self) {
        // An error means that the sender is gone, which lives as long as `self`.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    pub(crate) fn head(&self) -> Head {
        self.head.borrow().clone()
    }

    pub(crate) fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last rows of a log.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    rows: VecDeque<StoredRow>,
    bytes: usize,
}

impl Tail {
    /// What a device may have pushed without an answer, and as much again: whoever follows while it drains its queue,
    /// itself included, is not sent to the database for rows that were written a moment ago.
    const ROWS_MAX: usize = 2 * IN_FLIGHT_MAX;
    /// Of a log among few.
    const BYTES_MAX: usize = 1024 * 1024;
    /// Of a log among very many.
    const BYTES_MIN: usize = 128 * 1024;
    /// Of all logs, as long as each may have its least.
    const ALL_BYTES: usize = 32 * 1024 * 1024;

    /// Adds the rows that were just written, and lets go of the oldest. Room is shared with so many logs.
    pub(crate) fn extend(&mut self, rows: impl IntoIterator<Item = StoredRow>, logs: u64) {
        let logs = usize::try_from(logs).unwrap_or(usize::MAX).max(1);
        let bytes_max = (Self::ALL_BYTES / logs).clamp(Self::BYTES_MIN, Self::BYTES_MAX);
        for row in rows {
            if self.rows.back().is_some_and(|last| last.cursor.next() != row.cursor) {
                self.clear();
            }
            self.bytes += row.len();
            self.rows.push_back(row);
            while self.rows.len() > Self::ROWS_MAX || self.bytes > bytes_max {
                let Some(oldest) = self.rows.pop_front() else { break };
                self.bytes -= oldest.len();
            }
        }
    }

    /// Forgets all rows: the next ones will not follow on from them.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The rows of a span, if they are all here.
    pub(crate) fn read(&self, span: Span) -> Option<Vec<StoredRow>> {
        let first = self.rows.front()?.cursor.get();
        let skip = usize::try_from(span.after.next().get().checked_sub(first)?).ok()?;
        if skip > self.rows.len() {
            return None;
        }
        Some(within(span, self.rows.iter().skip(skip).cloned()))
    }
}

/// As many of the rows as the span takes.
pub(super) fn within(span: Span, rows: impl Iterator<Item = StoredRow>) -> Vec<StoredRow> {
    let mut bytes = 0;
    let mut taken = Vec::new();
    for row in rows {
        bytes += row.len();
        if taken.len() == span.rows_max || (bytes > span.bytes_max && !taken.is_empty()) {
            break;
        }
        taken.push(row);
    }
    taken
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn row(cursor: u64, len: usize) -> StoredRow {
        StoredRow {
            cursor: RelayCursor::new(cursor),
            blob_id: BlobId::from_bytes([0; 16]),
            received_ms: 0,
            expires_ms: None,
            envelope: Some(Bytes::from(vec![0; len])),
        }
    }

    fn span(after: u64, rows_max: usize) -> Span {
        Span { after: RelayCursor::new(after), rows_max, bytes_max: 1_000 }
    }

    #[test]
    fn a_tail_answers_only_what_it_holds_whole() {
        let mut tail = Tail::default();
        assert_eq!(tail.read(span(0, 9)), None);
        tail.extend((5..9).map(|cursor| row(cursor, 10)), 1);
        assert_eq!(tail.read(span(3, 9)), None, "row 4 is not here");
        assert_eq!(tail.read(span(4, 2)).expect("here").len(), 2);
        assert_eq!(tail.read(span(8, 9)), Some(Vec::new()));
        assert_eq!(tail.read(span(9, 9)), None);
        tail.extend([row(20, 10)], 1);
        assert_eq!(tail.read(span(6, 9)), None, "rows 9 to 19 are not here");
        assert_eq!(tail.read(span(19, 9)).expect("here").len(), 1);
    }

    #[test]
    fn a_tail_is_bounded_in_rows_and_in_bytes() {
        let mut tail = Tail::default();
        tail.extend((1..10_000).map(|cursor| row(cursor, 1)), 1);
        assert_eq!(tail.rows.len(), Tail::ROWS_MAX);
        for (logs, bytes_max) in [(1, Tail::BYTES_MAX), (64, Tail::ALL_BYTES / 64), (1_000_000, Tail::BYTES_MIN)] {
            tail.clear();
            tail.extend((10_000..10_010).map(|cursor| row(cursor, bytes_max / 4)), logs);
            assert_eq!((tail.rows.len(), tail.bytes), (4, bytes_max));
            tail.extend([row(10_010, bytes_max * 2)], logs);
            assert_eq!((tail.rows.len(), tail.bytes), (0, 0));
        }
    }

    #[test]
    fn one_row_always_fits_a_span() {
        let rows = || [row(1, 2_000), row(2, 1)].into_iter();
        assert_eq!(within(span(0, 9), rows()).len(), 1);
        assert_eq!(within(span(0, 9), [row(1, 500), row(2, 500), row(3, 1)].into_iter()).len(), 2);
    }
}
