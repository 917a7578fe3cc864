//! A relay as the target plays it: what it was asked, what it said, and what an honest one would say next.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sync_types::{
    BlobHash, BlobId, DeviceId, DeviceMsg, LogId, RelayCursor, RelayId, RelayMsg, RequestId, Run,
    limits::PROTOCOL_VERSION,
    message::{Gap, Limits, Notify, Page, PushAck, Refused, Row, RowKind, Welcome, features},
};

use super::{
    members::Members,
    step::{Refusing, RowSaying, Saying},
};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) id: RelayId,
    /// The device wants a connection.
    pub(super) asked: bool,
    pub(super) up: bool,
    /// Where its log ends, as it last said.
    pub(super) max: u64,
    log_id: LogId,
    pull: Option<RequestId>,
    /// How far the device has read, as it said when it pulled and by what it was sent since.
    read: (u64, Run),
    unanswered: BTreeMap<RequestId, BlobId>,
    /// What it said to have, in each of its logs.
    said: BTreeMap<LogId, BTreeSet<BlobId>>,
}

impl Relay {
    pub(super) fn new(id: RelayId) -> Self {
        let (log_id, said) = (LogId::from_bytes([0; 16]), BTreeMap::new());
        let read = (0, Run::START);
        Self { id, asked: false, up: false, max: 0, log_id, pull: None, read, unanswered: BTreeMap::new(), said }
    }

    /// The connection is no more.
    pub(super) fn gone(&mut self) {
        self.asked = false;
        self.up = false;
        self.pull = None;
        self.unanswered.clear();
    }

    /// Whether it said that its log has this.
    pub(super) fn confirmed(&self, blob_id: &BlobId) -> bool {
        self.said.get(&self.log_id).is_some_and(|said| said.contains(blob_id))
    }

    /// Whether it ever said that one of its logs has this.
    pub(super) fn ever_confirmed(&self, blob_id: &BlobId) -> bool {
        self.said.values().any(|said| said.contains(blob_id))
    }

    /// The device says something.
    pub(super) fn heard(&mut self, message: &DeviceMsg) {
        match message {
            DeviceMsg::Push(push) => {
                self.unanswered.insert(push.id, BlobHash::of_bytes(&push.envelope).blob_id());
            }
            DeviceMsg::Pull(pull) => {
                self.pull = Some(pull.id);
                self.read = (pull.after.get(), pull.run);
            }
            DeviceMsg::Hello(_)
            | DeviceMsg::Ack(_)
            | DeviceMsg::Get(_)
            | DeviceMsg::Move(_)
            | DeviceMsg::Receipt(_)
            | DeviceMsg::SnapshotPart(_)
            | DeviceMsg::Snapshot(_) => {}
        }
    }

    /// Notes what it is about to say, in whichever way it came to say it.
    pub(super) fn note(&mut self, message: &RelayMsg) {
        match message {
            RelayMsg::Welcome(welcome) => {
                self.log_id = welcome.log_id;
                self.max = welcome.max_cursor.get();
            }
            RelayMsg::PushAck(ack) => {
                if self.unanswered.remove(&ack.id) == Some(ack.blob_id) {
                    self.said.entry(self.log_id).or_default().insert(ack.blob_id);
                }
            }
            RelayMsg::Page(page) => {
                let said = self.said.entry(self.log_id).or_default();
                for row in &page.rows.0 {
                    let kind = RowKind::from_number(row.kind);
                    let blob_id = match kind {
                        Some(RowKind::Blob) => Some(BlobHash::of_bytes(&row.bytes).blob_id()),
                        Some(RowKind::Yours | RowKind::Expired) => BlobId::from_slice(&row.bytes),
                        None => None,
                    };
                    said.extend(blob_id.filter(|_| kind != Some(RowKind::Expired)));
                    self.read = (self.read.0 + 1, blob_id.map_or(self.read.1, |id| self.read.1.then(&id)));
                }
            }
            RelayMsg::Gap(gap) => self.read = (gap.floor_cursor.get(), gap.floor_run),
            RelayMsg::Refused(refused) => {
                self.unanswered.remove(&refused.id);
            }
            RelayMsg::Got(_)
            | RelayMsg::Notify(_)
            | RelayMsg::Presence(_)
            | RelayMsg::Receipts(_)
            | RelayMsg::ReceiptAck(_)
            | RelayMsg::Snapshots(_)
            | RelayMsg::SnapshotAck(_)
            | RelayMsg::Moved(_)
            | RelayMsg::MoveAck(_) => {}
        }
    }

    /// The message, if there is something to answer.
    pub(super) fn say(&self, saying: Saying, members: &Members, own: &[Bytes]) -> Option<RelayMsg> {
        Some(match saying {
            Saying::Welcome { log, max, version, stranger } => Welcome {
                version: version.unwrap_or(PROTOCOL_VERSION),
                relay: if stranger { RelayId::from_bytes([8; 32]) } else { self.id },
                log_id: LogId::from_bytes([u8::from(log); 16]),
                max_cursor: RelayCursor::new(max.map_or(self.max, u64::from)),
                floor_cursor: RelayCursor::START,
                pending_count: 0,
                limits: limits(),
                features: if log { features::RECEIPTS } else { 0 },
            }
            .into(),
            Saying::Page { after, rows, max } => {
                let rows: Vec<_> = rows.into_iter().map(|row| made(row, members, own)).collect();
                let after = after.map_or(self.read.0, u64::from);
                let max = max.map_or(after + rows.len() as u64, u64::from);
                let (after, max_cursor) = (RelayCursor::new(after), RelayCursor::new(max));
                Page { id: self.pull?, after, rows: rows.into(), max_cursor }.into()
            }
            Saying::PushAck { which, blob, cursor } => {
                let (id, blob_id) = nth(self.unanswered.iter(), which)?;
                let blob_id = if blob { BlobId::from_bytes([which; 16]) } else { *blob_id };
                let cursor = RelayCursor::new(cursor.map_or(self.max + 1, u64::from));
                let run = if cursor.get() == self.read.0 + 1 { self.read.1.then(&blob_id) } else { Run::START };
                PushAck { id: *id, blob_id, cursor, run, timestamp_ms: 0 }.into()
            }
            Saying::Gap { floor, other_pull } => {
                let id = if other_pull { 0 } else { self.pull? };
                Gap { id, floor_cursor: RelayCursor::new(floor.into()), floor_run: Run::START }.into()
            }
            Saying::Refused { what, code, retry_after_ms } => {
                let id = match what {
                    Refusing::Connection => 0,
                    Refusing::Pull => self.pull?,
                    Refusing::Push { which } => *nth(self.unanswered.keys(), which)?,
                    Refusing::Nothing { id } => id,
                };
                Refused { id, code, retry_after_ms }.into()
            }
            Saying::Notify => Notify {
                blob_id: BlobId::from_bytes([0; 16]),
                cursor: RelayCursor::new(self.max + 1),
                sender: DeviceId::from_bytes([0; 32]),
                size: 0,
                timestamp_ms: 0,
            }
            .into(),
        })
    }
}

fn made(row: RowSaying, members: &Members, own: &[Bytes]) -> Row {
    let envelope = |of: &[Bytes], which: u8| nth(of.iter(), which).cloned().unwrap_or_default();
    let id = |bytes: &Bytes| Bytes::copy_from_slice(BlobHash::of_bytes(bytes).blob_id().as_bytes());
    let (kind, bytes) = match row {
        RowSaying::Made { which } => (RowKind::Blob as u8, envelope(&members.envelopes, which)),
        RowSaying::Altered { which, at, with } => {
            let mut bytes = envelope(&members.envelopes, which).to_vec();
            let at = usize::from(at) % bytes.len();
            bytes[at] ^= with;
            (RowKind::Blob as u8, bytes.into())
        }
        RowSaying::Own { which } => (RowKind::Blob as u8, envelope(own, which)),
        RowSaying::Id { yours, own: of_own, which } => {
            let kind = if yours { RowKind::Yours } else { RowKind::Expired };
            (kind as u8, id(&envelope(if of_own { own } else { &members.envelopes }, which)))
        }
        RowSaying::Raw { kind, bytes } => (kind, bytes.into()),
    };
    Row { kind, timestamp_ms: 0, bytes }
}

fn nth<T>(items: impl ExactSizeIterator<Item = T>, which: u8) -> Option<T> {
    let len = items.len();
    let mut items = items;
    (len > 0).then(|| items.nth(usize::from(which) % len)).flatten()
}

fn limits() -> Limits {
    Limits { blob_len_max: 200, group_bytes_max: 1 << 20, ttl_s_default: 0, ttl_s_max: 0, burst: 100, per_minute: 100 }
}
