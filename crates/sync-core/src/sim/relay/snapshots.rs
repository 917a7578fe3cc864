//! What a relay does about snapshots: keeps two, tells of them, and drops rows that both cover.

use std::collections::BTreeMap;

use bytes::Bytes;
use sync_types::{
    BlobHash, BlobId, ErrorCode, LogId, RelayMsg,
    limits::SNAPSHOTS_KEPT,
    message::{Get, Got, Snapshot, SnapshotAck, SnapshotPart, Snapshots},
    wire::AtMost,
};

use super::{Database, Outgoing, Relay, refuse};
use crate::{protection::Protection, sim::network::SessionId};

#[derive(Clone, Debug)]
struct Kept {
    id: BlobId,
    manifest: Bytes,
    parts: Vec<BlobId>,
    covers: u64,
}

/// A group's, by its log.
#[derive(Clone, Debug, Default)]
pub(super) struct OfLog {
    kept: Vec<Kept>,
    parts: BTreeMap<BlobId, Bytes>,
}

impl OfLog {
    /// They are of rows that have other numbers now.
    pub(super) fn covering_nothing(mut self) -> Self {
        self.kept.iter_mut().for_each(|kept| kept.covers = 0);
        self
    }
}

impl Database {
    fn snapshots_of(&mut self, log: LogId) -> &mut OfLog {
        self.snapshots.entry(log).or_default()
    }
}

impl Relay {
    fn log_id_of(&self, session: SessionId) -> Option<LogId> {
        let group = self.sessions.get(&session)?.group?;
        Some(self.disk.logs.get(&group)?.id)
    }

    /// Which there are, for a session that wants to know.
    pub(super) fn told_of_snapshots(&self, session: SessionId) -> Option<(SessionId, RelayMsg)> {
        self.sessions.get(&session).filter(|state| state.snapshots)?;
        let kept = self.disk.snapshots.get(&self.log_id_of(session)?).map(|of| &of.kept);
        let manifests: Vec<_> = kept.into_iter().flatten().map(|kept| kept.id).collect();
        Some((session, Snapshots { manifests: AtMost(manifests) }.into()))
    }

    pub(super) fn keep_part(&mut self, session: SessionId, part: SnapshotPart) -> Outgoing {
        let Some(log) = self.log_id_of(session) else { return Vec::new() };
        if self.dice.chance(self.full) {
            return refuse(session, part.id, ErrorCode::GroupFull);
        }
        let blob_id = BlobHash::of_bytes(&part.envelope).blob_id();
        self.disk.snapshots_of(log).parts.insert(blob_id, part.envelope);
        vec![(session, SnapshotAck { id: part.id }.into())]
    }

    pub(super) fn keep_snapshot(&mut self, session: SessionId, snapshot: Snapshot) -> Outgoing {
        let Some(log_id) = self.log_id_of(session) else { return Vec::new() };
        let covers = snapshot.covers.get();
        let log = self.disk.logs.values().find(|log| log.id == log_id);
        let run = log.and_then(|log| log.run_at(covers));
        let of_log = self.disk.snapshots_of(log_id);
        let id = BlobHash::of_bytes(&snapshot.envelope).blob_id();
        if of_log.kept.iter().any(|kept| kept.id == id) {
            return vec![(session, SnapshotAck { id: snapshot.id }.into())];
        }
        let refusal = if snapshot.parts.0.iter().any(|part| !of_log.parts.contains_key(part)) {
            Some(ErrorCode::NotFound)
        } else if covers > 0 && run != Some(snapshot.run) {
            Some(ErrorCode::LogForked)
        } else if of_log.kept.last().is_some_and(|newest| newest.covers > covers) {
            Some(ErrorCode::SnapshotOutdone)
        } else {
            None
        };
        if let Some(code) = refusal {
            return refuse(session, snapshot.id, code);
        }
        of_log.kept.push(Kept { id, manifest: snapshot.envelope, parts: snapshot.parts.0, covers });
        if of_log.kept.len() > SNAPSHOTS_KEPT {
            of_log.kept.remove(0);
            let OfLog { kept, parts } = of_log;
            parts.retain(|part, _| kept.iter().any(|kept| kept.parts.contains(part)));
        }
        let mut out = vec![(session, SnapshotAck { id: snapshot.id }.into())];
        let there = self.sessions.keys().copied().filter(|other| self.log_id_of(*other) == Some(log_id));
        out.extend(there.collect::<Vec<_>>().into_iter().filter_map(|other| self.told_of_snapshots(other)));
        out
    }

    pub(super) fn get_snapshot(&self, session: SessionId, get: &Get) -> Outgoing {
        let of_log = self.log_id_of(session).and_then(|log| self.disk.snapshots.get(&log));
        let manifest =
            of_log.and_then(|of| of.kept.iter().find(|kept| kept.id == get.blob_id)).map(|kept| &kept.manifest);
        match manifest.or_else(|| of_log.and_then(|of| of.parts.get(&get.blob_id))) {
            Some(envelope) => vec![(session, Got { id: get.id, envelope: envelope.clone() }.into())],
            None => refuse(session, get.id, ErrorCode::NotFound),
        }
    }

    /// How many it keeps, of all groups.
    pub(crate) fn snapshots(&self) -> usize {
        self.disk.snapshots.values().map(|of| of.kept.len()).sum()
    }

    /// Rows leave that the older snapshot covers as well, and everybody has.
    pub(super) fn drop_covered(&mut self, seen: u64) {
        let acked = seen;
        let seen = if self.protections.hold(Protection::CoveredByAll) { acked } else { u64::MAX };
        for log in self.disk.logs.values_mut() {
            let kept = self.disk.snapshots.get(&log.id).map(|of| &of.kept).filter(|kept| kept.len() == SNAPSHOTS_KEPT);
            if let Some(older) = kept.and_then(|kept| kept.first()) {
                self.dropped_unread |= older.covers.min(seen) > acked;
                log.cut_front(older.covers.min(seen));
            }
        }
    }
}
