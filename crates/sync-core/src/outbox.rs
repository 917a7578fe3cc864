//! What this device sealed and may still owe somebody.
//!
//! An envelope is sealed once, at push, and stored before anything else happens to it. How far each relay has
//! them is the relay's [`crate::link`] to know; here is only what is needed to send them, and who waits for it.
//!
//! Invariant: `seq` and `prev` of the next envelope follow from the newest stored one, so no two differ in content
//! and share a place.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand_core::Rng;
use sync_types::{BlobHash, BlobId, Body, Codec, Envelope, Kind, LocalCursor, PushId, Seq};

use crate::{
    context::Context,
    event::{HeldRow, Now, Pushed, Token, Wait},
    seal,
};

/// Hashes of own envelopes kept in memory. An older one that a relay shows is neither taken for a proof that the relay
/// has ours, nor for one that somebody else seals in this device's name.
pub const OWN_HASHES_MAX: usize = 65_536;

/// Envelope bytes kept in memory for sending. What does not fit is loaded when its turn comes.
const RECENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An own envelope, ready to be sent.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) blob_id: BlobId,
    pub(crate) envelope: Bytes,
    pub(crate) held_ms: u64,
    /// For an app's blob: what to tell about it.
    pub(crate) blob: Option<(LocalCursor, PushId)>,
}

#[derive(Debug)]
struct Waiter {
    token: Token,
    wait: Wait,
    pushed: Pushed,
}

/// Everything this device sealed.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    head: Seq,
    head_hash: BlobHash,
    /// Envelopes up to here were, or may have been, offered to somebody.
    offered: Seq,
    recent: BTreeMap<Seq, Queued>,
    recent_bytes: usize,
    /// The hashes of the newest own envelopes, to know them again when a relay shows them.
    hashes: BTreeMap<Seq, BlobHash>,
    waiters: BTreeMap<Seq, Vec<Waiter>>,
}

impl Outbox {
    pub(crate) fn open(head: Seq, head_hash: BlobHash, offered: Seq, own: Vec<(Seq, BlobHash)>) -> Self {
        let mut hashes: BTreeMap<_, _> = own.into_iter().collect();
        hashes.insert(head, head_hash);
        Self { head, head_hash, offered, hashes, ..Self::default() }
    }

    /// The newest of this device's envelopes.
    pub(crate) fn head(&self) -> Seq {
        self.head
    }

    /// Whether an envelope of this device's that a relay shows is one that it made. None if that is too long ago to
    /// tell.
    pub(crate) fn made(&self, seq: Seq, hash: BlobHash) -> Option<bool> {
        if seq > self.head {
            return Some(false);
        }
        self.hashes.get(&seq).map(|known| *known == hash)
    }

    /// The hash of an own envelope, if it is not too long ago.
    pub(crate) fn hash_of(&self, seq: Seq) -> Option<BlobHash> {
        self.hashes.get(&seq).copied()
    }

    /// The earliest own envelope of which the hash is known, or the next one.
    pub(crate) fn earliest(&self) -> Seq {
        self.hashes.keys().copied().find(|seq| *seq > Seq::START).unwrap_or(self.head.next())
    }

    /// Seals the next envelope. The caller stores the row before it sends anything.
    pub(crate) fn seal(&mut self, context: &mut Context, now: Now, kind: Kind, ttl_s: u32, payload: Bytes) -> HeldRow {
        let mut push_id = [0; PushId::LEN];
        context.rng.fill_bytes(&mut push_id);
        let push_id = PushId::from_bytes(push_id);
        let seq = self.head.next();
        let (prev, time_ms) = (self.head_hash, now.wall_ms);
        let draft = seal::Draft { kind, ttl_s, seq, prev, push_id, time_ms, payload, compress: false };
        let envelope = seal::seal(&context.keys, context.identity.key(), draft, &mut context.rng);
        let hash = envelope.hash();
        let row = HeldRow {
            sender: context.me,
            seq,
            hash,
            kind,
            cursor: (kind == Kind::Data).then(|| context.local.advance_own()),
            push_id,
            time_ms: now.wall_ms,
            held_ms: now.wall_ms,
            late: false,
            envelope: envelope.as_bytes().clone(),
        };
        context.local.hold(&row.envelope);
        self.append(&row);
        row
    }

    /// Keeps an envelope at hand, if there is room.
    pub(crate) fn remember(&mut self, row: &HeldRow) {
        let is_gone = row.envelope.is_empty();
        if is_gone || self.recent_bytes + row.envelope.len() > RECENT_BYTES_MAX || self.recent.contains_key(&row.seq) {
            return;
        }
        self.recent_bytes += row.envelope.len();
        let queued = Queued {
            blob_id: row.hash.blob_id(),
            envelope: row.envelope.clone(),
            held_ms: row.held_ms,
            blob: row.cursor.map(|cursor| (cursor, row.push_id)),
        };
        self.recent.insert(row.seq, queued);
    }

    /// Lets go of what nobody needs any more: everything up to `seq`.
    pub(crate) fn forget_through(&mut self, seq: Seq) {
        while let Some(first) = self.recent.first_entry().filter(|first| *first.key() <= seq) {
            self.recent_bytes -= first.remove().envelope.len();
        }
    }

    /// Takes in loaded rows. If they don't fit beside what is at hand, that is let go of: it can be loaded too.
    pub(crate) fn remember_loaded(&mut self, rows: &[HeldRow]) {
        let bytes: usize = rows.iter().map(|row| row.envelope.len()).sum();
        if self.recent_bytes + bytes > RECENT_BYTES_MAX {
            self.recent.clear();
            self.recent_bytes = 0;
        }
        rows.iter().for_each(|row| self.remember(row));
    }

    pub(crate) fn get(&self, seq: Seq) -> Option<&Queued> {
        self.recent.get(&seq)
    }

    /// The first envelope that nobody was offered, if there is one.
    pub(crate) fn unoffered(&self) -> Option<Seq> {
        (self.offered < self.head).then(|| self.offered.next())
    }

    /// What is at hand of what nobody was offered is not to be sent as it is.
    pub(crate) fn withhold_unoffered(&mut self) {
        for (_, queued) in self.recent.split_off(&self.offered.next()) {
            self.recent_bytes -= queued.envelope.len();
        }
    }

    /// Seals an envelope again that nobody was offered, where it is not sealed under the current epoch or does not
    /// follow the one before it any more. None if it stays as it is.
    pub(crate) fn reseal(&mut self, context: &mut Context, row: &HeldRow) -> Option<HeldRow> {
        let envelope = Envelope::parse(row.envelope.clone()).ok()?;
        let body = seal::open(&context.keys, &envelope).ok()?;
        let before = row.seq.get().checked_sub(1).map(Seq::new).filter(|seq| *seq > Seq::START);
        let prev = before.map_or(Some(BlobHash::ZERO), |seq| self.hashes.get(&seq).copied()).unwrap_or(body.prev);
        if envelope.header().key_id == context.keys.current().key_id() && body.prev == prev {
            return None;
        }
        let envelope = sealed_again(context, (row.kind, &envelope, &body), (row.seq, prev))?;
        let hash = envelope.hash();
        self.hashes.insert(row.seq, hash);
        if row.seq == self.head {
            self.head_hash = hash;
        }
        // One that was sealed meanwhile is at hand as it was.
        if let Some(queued) = self.recent.remove(&row.seq) {
            self.recent_bytes -= queued.envelope.len();
        }
        Some(HeldRow { hash, envelope: envelope.as_bytes().clone(), ..row.clone() })
    }

    /// Seals an envelope of this device's former identity as the next one of this. None if it can't be opened.
    pub(crate) fn adopt(&mut self, context: &mut Context, row: &HeldRow) -> Option<HeldRow> {
        let envelope = Envelope::parse(row.envelope.clone()).ok()?;
        let body = seal::open(&context.keys, &envelope).ok()?;
        let seq = self.head.next();
        let envelope = sealed_again(context, (row.kind, &envelope, &body), (seq, self.head_hash))?;
        let hash = envelope.hash();
        let row = HeldRow { sender: context.me, seq, hash, envelope: envelope.as_bytes().clone(), ..row.clone() };
        self.append(&row);
        Some(row)
    }

    fn append(&mut self, row: &HeldRow) {
        (self.head, self.head_hash) = (row.seq, row.hash);
        self.hashes.insert(row.seq, row.hash);
        if self.hashes.len() > OWN_HASHES_MAX {
            self.hashes.pop_first();
        }
        self.remember(row);
    }

    /// Notes that everything sealed so far is, or is about to be, offered. Whether that is new.
    pub(crate) fn offer_all(&mut self) -> Option<Seq> {
        let new = self.offered < self.head;
        self.offered = self.head;
        new.then_some(self.head)
    }

    pub(crate) fn wait(&mut self, seq: Seq, token: Token, wait: Wait, pushed: Pushed) {
        self.waiters.entry(seq).or_default().push(Waiter { token, wait, pushed });
    }

    pub(crate) fn forget_waiter(&mut self, token: Token) {
        self.waiters.retain(|_, waiters| {
            waiters.retain(|waiter| waiter.token != token);
            !waiters.is_empty()
        });
    }

    /// Everybody who waits.
    pub(crate) fn take_all_waiters(&mut self) -> Vec<(Token, Pushed)> {
        let waiters = std::mem::take(&mut self.waiters).into_values().flatten();
        waiters.map(|waiter| (waiter.token, waiter.pushed)).collect()
    }

    /// The callers who waited for this envelope to be on one relay, or with `on_all` on every relay.
    pub(crate) fn take_waiters(&mut self, seq: Seq, on_all: bool) -> Vec<(Token, Pushed)> {
        let Some(waiters) = self.waiters.get_mut(&seq) else { return Vec::new() };
        let done = waiters.extract_if(.., |waiter| on_all || waiter.wait != Wait::All);
        let done = done.map(|waiter| (waiter.token, waiter.pushed)).collect();
        if waiters.is_empty() {
            self.waiters.remove(&seq);
        }
        done
    }
}

/// The same content at another place, or under another key: as this device seals it now.
fn sealed_again(
    context: &mut Context,
    (kind, envelope, body): (Kind, &Envelope, &Body),
    (seq, prev): (Seq, BlobHash),
) -> Option<Envelope> {
    let draft = seal::Draft {
        kind,
        ttl_s: envelope.header().ttl_s,
        seq,
        prev,
        push_id: body.push_id,
        time_ms: body.time_ms,
        payload: seal::unpack(body).ok()?,
        compress: body.codec != Codec::None as u8,
    };
    Some(seal::seal(&context.keys, context.identity.key(), draft, &mut context.rng))
}
