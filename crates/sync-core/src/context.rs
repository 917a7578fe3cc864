//! What every part of the engine works with, and what it leaves behind.

use std::sync::Arc;

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use sync_types::{
    BlobHash, BlobId, DeviceId, Envelope, LocalCursor,
    envelope::SIGNATURE_LEN,
    sign::{self, Purpose},
};

use crate::{
    event::{Action, Event, StoreOp},
    identity::Identity,
    keys::GroupKeys,
    protection::{Protection, Protections},
    roster::Roster,
    seal::{Verifier, signature_holds},
};

/// Who this device is, what it can open, who else belongs to the group, and where its log ends.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) me: DeviceId,
    pub(crate) identity: Identity,
    pub(crate) keys: Arc<GroupKeys>,
    pub(crate) roster: Roster,
    pub(crate) local: LocalLog,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) verifier: Verifier,
    pub(crate) protections: Protections,
}

impl Context {
    /// Whether the envelope's own signature is its sender's.
    pub(crate) fn verify(&mut self, envelope: &Envelope) -> bool {
        if !self.protections.hold(Protection::SignatureChecked) {
            return true;
        }
        self.verifier.verify(&self.keys.group_id(), envelope)
    }

    /// Whether an envelope of a newer build is a member's. Every version keeps its sender where this one has it,
    /// and its signature at the end, for just this purpose.
    pub(crate) fn verify_newer(&self, bytes: &Bytes) -> Option<BlobId> {
        let sender = DeviceId::from_slice(bytes.get(23..55)?)?;
        let (signed, signature) = bytes.split_at_checked(bytes.len().checked_sub(SIGNATURE_LEN)?)?;
        let signature = signature.try_into().ok()?;
        let message = sign::message(Purpose::Envelope, self.keys.group_id().as_bytes(), &[signed]);
        let ours = self.roster.is_member(&sender) && signature_holds(&sender, &message, &signature);
        ours.then(|| BlobHash::of_bytes(bytes).blob_id())
    }
}

/// Where the local log ends, and how far the app has read it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LocalLog {
    pub(crate) head: LocalCursor,
    pub(crate) app_acked: LocalCursor,
    /// The newest blob of another device, as far as is known; none is newer.
    pub(crate) others: LocalCursor,
    /// Bytes of all envelopes that this device ever held or the app took by a snapshot, own ones too.
    pub(crate) held_bytes: u64,
    /// Bytes of the envelopes that are on the disk still.
    pub(crate) kept_bytes: u64,
}

impl LocalLog {
    /// The place of the next blob, which is another device's.
    pub(crate) fn advance(&mut self) -> LocalCursor {
        self.others = self.advance_own();
        self.others
    }

    /// An envelope comes to rest.
    pub(crate) fn hold(&mut self, envelope: &Bytes) {
        let len = envelope.len() as u64;
        self.held_bytes = self.held_bytes.saturating_add(len);
        self.kept_bytes = self.kept_bytes.saturating_add(len);
    }

    /// The place of the next blob, which is this device's own: the app knows it already.
    pub(crate) fn advance_own(&mut self) -> LocalCursor {
        self.head = self.head.next();
        self.head
    }
}

/// What one input led to, before it is put in order: durable changes first, then what may be told.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) ops: Vec<StoreOp>,
    pub(crate) events: Vec<Event>,
}

impl Effects {
    pub(crate) fn append(&mut self, mut other: Self) {
        self.ops.append(&mut other.ops);
        self.events.append(&mut other.events);
    }

    /// Durable before visible.
    pub(crate) fn into_actions(self) -> impl Iterator<Item = Action> {
        let store = (!self.ops.is_empty()).then_some(Action::Store(self.ops));
        store.into_iter().chain(self.events.into_iter().map(Action::Emit))
    }
}
