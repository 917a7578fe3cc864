//! A relay whose disk changes what is on it.

use std::collections::BTreeSet;

use bytes::Bytes;
use sync_types::{ErrorCode, LogId};

use super::{Outgoing, Relay, refuse};
use crate::{protection::Protection, sim::log::Log};

impl Relay {
    /// An envelope of some log is not what it was. A relay that notices begins another log with the others; what it says to
    /// those who are there. None if there is nothing to change, or nobody to notice.
    pub(crate) fn damage(&mut self, now_ms: u64) -> Option<Outgoing> {
        let rows = self.disk.logs.iter().flat_map(|(group, log)| (0..log.rows.len()).map(move |place| (*group, place)));
        let rows: Vec<_> =
            rows.filter(|(group, place)| self.disk.logs[group].rows[*place].envelope.is_some()).collect();
        if rows.is_empty() || !self.up {
            return None;
        }
        let (group, place) = rows[self.dice.index(rows.len())];
        let row = &mut self.disk.logs.get_mut(&group)?.rows[place];
        if !self.protections.hold(Protection::DamageNoticed) {
            let mut changed = row.envelope.take()?.to_vec();
            *changed.last_mut()? ^= 1;
            row.envelope = Some(Bytes::from(changed));
            return None;
        }
        row.envelope = None;
        let damaged = row.blob_id;
        let mut old = self.disk.logs.remove(&group)?;
        old.ids.remove(&damaged);
        self.lose(BTreeSet::from([damaged]));
        let mut log = Log::new(LogId::from_bytes(self.dice.bytes()));
        if let Some(snapshots) = self.disk.snapshots.remove(&old.id) {
            self.disk.snapshots.insert(log.id, snapshots.covering_nothing());
        }
        log.merge(old, now_ms);
        self.disk.logs.insert(group, log);
        self.disk.receipts.remove(&group);
        self.acked.values_mut().for_each(|acked| *acked = 0);
        let ended: Vec<_> =
            self.sessions.iter().filter(|(_, state)| state.group == Some(group)).map(|(id, _)| *id).collect();
        let mut out = Outgoing::new();
        for session in ended {
            out.extend(refuse(session, 0, ErrorCode::GroupMoved));
            self.sessions.remove(&session);
            self.pending.retain(|(of, _)| *of != session);
        }
        Some(out)
    }
}
