//! How far this device has come, told to the others; and how far they say to have come.
//!
//! Receipts ride along: nothing waits for one, a relay that refuses one is asked again later, and one that does not know
//! them is never sent any. Each session is told the newest once, so a relay that was wiped or restored has it again.

use std::collections::BTreeMap;

use bytes::Bytes;
use sync_types::{
    BlobHash, DeviceId, ErrorCode, LocalCursor, LogId, RequestId, Seq, message, message::Receipts, wire::AtMost,
};

use super::Engine;
use crate::{
    context::Effects,
    event::{Action, Event, Now, StoreOp},
    link::{Link, telling::Ahead},
    protection::Protection,
    ranges::Ranges,
    receipt::{Reach, Receipt, Signed},
    timing::REFUSED_RETRY_MS,
};

/// What a receipt says of, as it was when this was last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    changes: u64,
    acked: LocalCursor,
    own: Seq,
    /// Of which logs something is read, in one number.
    logs: u64,
}

fn number_of(log_id: LogId) -> u64 {
    let (bytes, _) = log_id.as_bytes().split_first_chunk().expect("an id has sixteen bytes");
    u64::from_be_bytes(*bytes)
}

impl Engine {
    /// Notes what has changed, and tells the others once it is time.
    pub(super) fn see_to_receipts(&mut self, now: Now) {
        self.note_changes(now);
        if !self.may_send_receipts() {
            return;
        }
        let current = self.context.keys.current().key_id();
        let is_old = self.receipts.own().is_some_and(|own| own.envelope.header().key_id != current);
        if is_old || self.is_outdone() || self.receipts.due_ms().is_some_and(|due| now.mono_ms >= due) {
            self.seal_receipt(now);
        }
        self.send_receipts(now);
    }

    /// When [`Self::see_to_receipts`] has something to do.
    pub(super) fn receipt_due_ms(&self) -> Option<u64> {
        let again = self.links.iter().filter_map(Link::receipt_again_ms);
        again.chain(self.receipts.due_ms()).min().filter(|_| self.may_send_receipts())
    }

    /// This device is about to be gone for a while: what it has to say of others' it says now, or nobody hears it until
    /// it is back.
    pub(super) fn part(&mut self, now: Now) {
        self.note_changes(now);
        if self.receipts.has_news() && self.may_send_receipts() {
            self.seal_receipt(now);
            self.send_receipts(now);
        }
    }

    fn note_changes(&mut self, now: Now) {
        let seen = Seen {
            changes: self.inbox.changes(),
            acked: self.context.local.app_acked,
            own: self.links.iter().map(Link::acked_through).min().unwrap_or_default(),
            logs: self.links.iter().filter_map(Link::head).fold(0, |logs, head| logs ^ number_of(head.log_id)),
        };
        let before = std::mem::replace(&mut self.receipts_seen, seen);
        if seen == before {
            return;
        }
        if (seen.changes, seen.acked) != (before.changes, before.acked) {
            self.receipts.changed(now.mono_ms);
        }
        if seen.own > before.own || seen.logs != before.logs {
            self.receipts.own_changed(now.mono_ms);
        }
    }

    fn may_send_receipts(&self) -> bool {
        self.may_send() && !self.is_between() && self.links.iter().any(Link::takes_receipts)
    }

    /// What is held of everybody, this device's own as far as every relay has it.
    fn reached(&self) -> BTreeMap<DeviceId, Reach> {
        let mut reached = self.inbox.reached(&self.context.roster);
        let seq = self.receipts_seen.own;
        let hash = self.outbox.hash_of(seq).unwrap_or(BlobHash::ZERO);
        reached.insert(self.context.me, Reach { seq, hash, holes: Ranges::default() });
        if !self.context.protections.hold(Protection::ReceiptHoles) {
            reached.values_mut().for_each(|reach| reach.holes = Ranges::default());
        }
        reached
    }

    /// The app has applied more.
    pub(super) fn note_applied(&mut self) {
        let local = self.context.local;
        let reached = self.inbox.reached(&self.context.roster);
        self.receipts.note_applied((local.app_acked, local.head), &reached);
    }

    /// An engine is opened: what it holds of others may not have been said by the one before.
    pub(super) fn open_receipts(&mut self, now: Now) {
        self.note_applied();
        let me = self.context.me;
        let receipt = self.what_to_say();
        let of_others = |receipt: &Receipt| {
            let others = receipt.reached.0.iter().filter(|reached| reached.sender != me);
            others.cloned().collect::<Vec<_>>()
        };
        let said = self.receipts.own().map(|own| of_others(&own.receipt)).unwrap_or_default();
        if of_others(&receipt) != said {
            self.receipts.changed(now.mono_ms);
        } else if self.receipts.own().is_some_and(|own| own.receipt.heads != receipt.heads) {
            // What it said to have read may not be there any more.
            self.receipts.own_changed(now.mono_ms);
        }
        self.receipts_seen.changes = self.inbox.changes();
        self.receipts_seen.acked = self.context.local.app_acked;
    }

    fn what_to_say(&mut self) -> Receipt {
        let reached = self.reached();
        let local = self.context.local;
        self.receipts.note_applied((local.app_acked, local.head), &reached);
        self.receipts.remember_place(local.head, &reached);
        let mut applied = self.receipts.applied(&reached);
        applied.insert(self.context.me, Seq::new(u64::MAX));
        let heads = self.links.iter().filter_map(Link::head).collect();
        Receipt::of(&reached, &applied, heads)
    }

    /// Seals what there is to say, if it is not what was said last.
    fn seal_receipt(&mut self, now: Now) {
        let receipt = self.what_to_say();
        if self.receipts.says(&receipt, &self.context.keys) && !self.is_outdone() {
            self.receipts.settle();
            return;
        }
        let count = self.receipts.own().map_or(Seq::START, |own| own.count).max(self.said_by_copies()).next();
        let maker = (&*self.context.keys, &**self.context.identity.key());
        let signed = Signed::seal(maker, now, count, receipt, &mut self.context.rng);
        let (device, envelope) = (self.context.me, signed.envelope.as_bytes().clone());
        // Before anybody has it: a count is never given twice.
        self.actions.push(Action::Store(vec![StoreOp::Receipt { device, envelope }]));
        self.receipts.sealed(now.mono_ms, signed);
    }

    /// The count of the newest receipt that an installation said in this device's name, before it was another one.
    fn said_by_copies(&self) -> Seq {
        let copies = self.context.roster.copies().filter(|(_, former, _)| *former == self.context.me);
        copies.map(|(.., copied)| copied.said).max().unwrap_or(Seq::START)
    }

    /// Whether what such a one said is taken for newer than what this device has said.
    fn is_outdone(&self) -> bool {
        self.receipts.own().is_some_and(|own| own.count <= self.said_by_copies())
    }

    /// Each session is told the newest, once.
    fn send_receipts(&mut self, now: Now) {
        let Some(own) = self.receipts.own() else { return };
        let (count, envelope) = (own.count, own.envelope.as_bytes().clone());
        for index in 0..self.links.len() {
            if let Some(id) = self.links[index].tell_receipt(now, count) {
                let envelope = envelope.clone();
                self.send(index, [message::Receipt { id, envelope }.into()]);
            }
        }
    }

    /// A relay does not take a receipt. Whether it was one that was refused.
    pub(super) fn receipt_refused(
        &mut self,
        now: Now,
        index: usize,
        id: RequestId,
        code: ErrorCode,
        wait_ms: u32,
    ) -> bool {
        let again = matches!(code, ErrorCode::RateLimited | ErrorCode::StorageFull);
        let wait_ms = u64::from(wait_ms).max(REFUSED_RETRY_MS);
        self.links[index].receipt_answered(id, again.then_some(now.mono_ms + wait_ms))
    }

    /// A relay says how far others have come.
    pub(super) fn hear_receipts(&mut self, receipts: Receipts) {
        for bytes in receipts.envelopes.0 {
            self.hear_receipt(bytes);
        }
    }

    /// What could not be read when less was known of devices and keys.
    pub(super) fn retry_receipts(&mut self) {
        let known = (self.context.roster.members().len(), self.context.keys.epochs().len());
        for bytes in self.receipts.take_unread(known) {
            self.hear_receipt(bytes);
        }
    }

    /// Logs that are new here are held to what others have read of them, and all to what they have read by now.
    pub(super) fn see_to_heads(&mut self, now: Now) {
        for index in 0..self.links.len() {
            let mut news = false;
            if self.links[index].take_heads_due() {
                for (device, receipt) in self.receipts.others() {
                    news |= self.context.roster.is_member(device)
                        && self.links[index].hear_heads(*device, &receipt.heads.0);
                }
            }
            match self.links[index].look_ahead(now, |device| self.context.roster.is_member(device)) {
                Ahead::Fine => {}
                Ahead::Ask(pull) => self.send(index, Some(pull)),
                Ahead::Contradicted => news = true,
            }
            if news {
                self.contradicted(index);
            }
        }
    }

    /// A relay shows this device something else than what another has read there.
    pub(super) fn contradicted(&mut self, index: usize) {
        let relay = self.links[index].relay;
        if let Some(state) = self.links[index].state.clone() {
            self.actions.push(Action::Store(vec![StoreOp::Relay { relay, state }]));
        }
        self.actions.push(Action::Emit(Event::RelayContradicted { relay }));
    }

    fn hear_receipt(&mut self, bytes: Bytes) {
        let Some(sender) = Signed::sender_of(&bytes) else { return };
        if sender == self.context.me {
            return;
        }
        let signed = Signed::open(&self.context.keys, bytes.clone()).filter(|_| self.context.roster.is_member(&sender));
        let Some(signed) = signed else {
            self.receipts.keep_unread(sender, bytes);
            return;
        };
        // Who seals under which key may settle what is void. It may be all that a device seals that has nothing to push.
        let has_void = self.context.roster.history().has_void();
        if (has_void || !self.context.roster.removed().is_empty()) && self.context.verify(&signed.envelope) {
            self.context.roster.note_epoch(sender, signed.envelope.header().key_id);
            self.duty_may_be_due |= has_void;
        }
        let is_newer = self.receipts.of(&sender).is_none_or(|before| before.count < signed.count);
        let any = !self.context.protections.hold(Protection::NewestReceipt);
        if !(is_newer || any) || !self.context.verify(&signed.envelope) {
            return;
        }
        let mut effects = Effects::default();
        if let Some(own) = signed.receipt.of_sender(&sender) {
            self.inbox.expect(sender, own.received, &mut effects);
        }
        self.actions.extend(effects.into_actions());
        let AtMost(heads) = signed.receipt.heads.clone();
        let is_news = self.receipts.take(signed);
        for index in 0..self.links.len() {
            if self.links[index].hear_heads(sender, &heads) {
                self.contradicted(index);
            }
        }
        self.actions.push(Action::Note(vec![StoreOp::Receipt { device: sender, envelope: bytes }]));
        if is_news {
            self.actions.push(Action::Emit(Event::ReceivedBy { device: sender }));
        }
    }
}
