//! Which rows of a log came over this very connection.
//!
//! A device that follows its log need not be sent back what it has just pushed: such a row is served as its blob
//! id. Only this connection's own pushes count, not all of the device's, so that a device whose identity was
//! cloned is shown the envelopes it never made.
//!
//! Invariant: never claims a row that did not come over this connection. It may forget one that did, which costs
//! a transfer.

use std::collections::{BTreeMap, HashSet};

use sync_types::{BlobId, RelayCursor};

/// Separate runs of rows remembered.
const RUNS_MAX: usize = 1_024;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// Pushed, and not yet known where they stand.
    pending: HashSet<BlobId>,
    /// First and last row of each run.
    runs: BTreeMap<u64, u64>,
}

impl Own {
    /// A blob is on its way to the log.
    pub(crate) fn begin(&mut self, blob_id: BlobId) {
        self.pending.insert(blob_id);
    }

    /// The blob has its place, or was refused.
    pub(crate) fn settle(&mut self, blob_id: &BlobId, cursor: Option<RelayCursor>) {
        self.pending.remove(blob_id);
        if let Some(cursor) = cursor {
            self.insert(cursor.get());
        }
    }

    /// Whether the row came over this connection.
    pub(crate) fn contains(&self, cursor: RelayCursor, blob_id: &BlobId) -> bool {
        self.contains_all(cursor, cursor) || self.pending.contains(blob_id)
    }

    /// Whether all rows from `first` to `last` did.
    pub(crate) fn contains_all(&self, first: RelayCursor, last: RelayCursor) -> bool {
        self.runs.range(..=first.get()).next_back().is_some_and(|(_, end)| *end >= last.get())
    }

    fn insert(&mut self, cursor: u64) {
        let (mut first, mut last) = (cursor, cursor);
        if let Some((start, end)) = self.runs.range(..=cursor).next_back() {
            if *end >= cursor {
                return;
            }
            if *end + 1 == cursor {
                first = *start;
            }
        }
        if let Some(end) = self.runs.remove(&(cursor + 1)) {
            last = end;
        }
        self.runs.insert(first, last);
        if self.runs.len() > RUNS_MAX {
            self.runs.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: BlobId = BlobId::from_bytes([1; 16]);

    #[test]
    fn runs_grow_together_in_any_order() {
        let mut own = Own::default();
        for cursor in [5, 3, 4, 9, 4, 8] {
            own.settle(&ID, Some(RelayCursor::new(cursor)));
        }
        assert_eq!(own.runs, BTreeMap::from([(3, 5), (8, 9)]));
        let all = |first, last| own.contains_all(RelayCursor::new(first), RelayCursor::new(last));
        assert!(all(3, 5) && all(4, 4) && all(8, 9));
        assert!(!all(2, 3) && !all(5, 6) && !all(5, 8) && !all(1, 1));
    }

    #[test]
    fn a_row_is_known_before_its_push_is_answered() {
        let mut own = Own::default();
        own.begin(ID);
        assert!(own.contains(RelayCursor::new(7), &ID));
        own.settle(&ID, None);
        assert!(!own.contains(RelayCursor::new(7), &ID));
    }

    #[test]
    fn it_is_bounded() {
        let mut own = Own::default();
        for cursor in 0..3_000 {
            own.settle(&ID, Some(RelayCursor::new(2 * cursor)));
        }
        assert_eq!(own.runs.len(), RUNS_MAX);
    }
}
