//! One group's log on a relay, as PROTOCOL.md describes it.

use std::collections::BTreeSet;

use bytes::Bytes;
use sync_types::{BlobId, DeviceId, Envelope, LogId, Run};

use super::network::SessionId;

#[derive(Clone, Debug)]
pub(crate) struct LogRow {
    pub(crate) blob_id: BlobId,
    pub(crate) run: Run,
    pub(crate) envelope: Option<Bytes>,
    pub(crate) at_ms: u64,
    /// Since when it is in this log, and not in one that was merged into it.
    pub(crate) here_ms: u64,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) over: SessionId,
}

impl LogRow {
    /// A device sent it, rather than the relay making it up.
    pub(crate) fn was_pushed(&self) -> bool {
        self.over != 0
    }

    /// Whether its time to live has ended.
    pub(crate) fn is_over(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at| at <= now_ms)
    }
}

/// One group's log. Row `i` has cursor `floor + 1 + i`.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) id: LogId,
    pub(crate) rows: Vec<LogRow>,
    pub(crate) floor: u64,
    pub(crate) floor_run: Run,
    pub(crate) ids: BTreeSet<BlobId>,
}

impl Log {
    pub(crate) fn new(id: LogId) -> Self {
        Self { id, rows: Vec::new(), floor: 0, floor_run: Run::START, ids: BTreeSet::new() }
    }

    pub(crate) fn head(&self) -> u64 {
        self.floor + self.rows.len() as u64
    }

    /// Whether the envelope is in the log, or has left it when its time was over.
    pub(crate) fn ever_had(&self, blob_id: &BlobId) -> bool {
        self.ids.contains(blob_id)
    }

    pub(crate) fn run_at(&self, cursor: u64) -> Option<Run> {
        match cursor.checked_sub(self.floor)? {
            0 => Some(self.floor_run),
            above => self.rows.get(above as usize - 1).map(|row| row.run),
        }
    }

    pub(crate) fn find(&self, blob_id: &BlobId) -> Option<(u64, &LogRow)> {
        let index = self.rows.iter().position(|row| row.blob_id == *blob_id)?;
        Some((self.floor + 1 + index as u64, &self.rows[index]))
    }

    /// Appends an envelope. Where it stands.
    pub(crate) fn append(&mut self, blob_id: BlobId, row: NewRow) -> (u64, Run) {
        let run = self.run_at(self.head()).unwrap_or(self.floor_run).then(&blob_id);
        let NewRow { envelope, at_ms, expires_ms, over } = row;
        self.rows.push(LogRow { blob_id, run, envelope: Some(envelope), at_ms, here_ms: at_ms, expires_ms, over });
        (self.head(), run)
    }

    /// Takes in what another log holds and this one does not.
    pub(crate) fn merge(&mut self, other: Self, now_ms: u64) {
        for row in other.rows {
            let Some(envelope) = row.envelope.filter(|_| self.ids.insert(row.blob_id)) else { continue };
            let LogRow { blob_id, at_ms, expires_ms, over, .. } = row;
            self.append(blob_id, NewRow { envelope, at_ms, expires_ms, over });
            self.rows.last_mut().expect("just appended").here_ms = now_ms;
        }
        self.ids.extend(other.ids);
    }

    /// The first row after this one that is not of this sender was never there.
    pub(crate) fn drop_one(&mut self, after: u64, sender: &DeviceId) {
        let is_theirs = |bytes: &Bytes| Envelope::parse(bytes.clone()).is_ok_and(|it| it.header().sender == *sender);
        let after = after.saturating_sub(self.floor) as usize;
        let rows = self.rows.iter().enumerate().skip(after);
        let place = rows.filter(|(_, row)| !row.envelope.as_ref().is_none_or(is_theirs)).map(|(place, _)| place).next();
        if let Some(place) = place {
            self.ids.remove(&self.rows.remove(place).blob_id);
            let mut run = place.checked_sub(1).map_or(self.floor_run, |before| self.rows[before].run);
            for row in &mut self.rows[place..] {
                run = run.then(&row.blob_id);
                row.run = run;
            }
        }
    }

    /// The last rows are gone, as if they had never come.
    pub(crate) fn cut(&mut self, count: usize) -> Vec<BlobId> {
        let rows = self.rows.split_off(self.rows.len().saturating_sub(count));
        for row in &rows {
            self.ids.remove(&row.blob_id);
        }
        rows.into_iter().map(|row| row.blob_id).collect()
    }

    /// The rows up to this one leave altogether.
    pub(crate) fn cut_front(&mut self, through: u64) {
        let count = through.min(self.head()).saturating_sub(self.floor) as usize;
        if let Some(last) = self.rows.drain(..count).last() {
            self.floor += count as u64;
            self.floor_run = last.run;
        }
    }

    /// Envelopes whose time is over leave; what everybody has seen of that leaves altogether.
    pub(crate) fn clean_up(&mut self, now_ms: u64, seen: u64) {
        for row in &mut self.rows {
            if row.is_over(now_ms) {
                row.envelope = None;
            }
        }
        while self.floor < seen && self.rows.first().is_some_and(|row| row.envelope.is_none()) {
            let row = self.rows.remove(0);
            self.floor += 1;
            self.floor_run = row.run;
        }
    }
}

/// An envelope on its way into a log.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    pub(crate) envelope: Bytes,
    pub(crate) at_ms: u64,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) over: SessionId,
}
