//! Envelopes as a relay hands them over: which of them a member made, and what is inside.
//!
//! Authentic is what carries its sender's own signature, or what an authentic envelope of the same sender names
//! as its predecessor: so a run of envelopes costs one verification, its last one's. A run ends at a body that
//! can't be opened, since `prev` is inside. Control envelopes are always verified by themselves.

use std::collections::BTreeSet;

use bytes::Bytes;
use sync_types::{BlobHash, BlobId, Codec, DeviceId, Envelope, EnvelopeError, KeyId, Kind, PushId, Seq};

use crate::{
    context::Context,
    event::ParkReason,
    seal::{self, OpenError},
};

/// An envelope a member made, opened as far as the engine needs it. The payload stays sealed: whoever reads the
/// local log opens it again.
#[derive(Debug)]
pub(crate) struct Authentic {
    pub(crate) sender: DeviceId,
    pub(crate) seq: Seq,
    pub(crate) prev: BlobHash,
    pub(crate) hash: BlobHash,
    pub(crate) kind: Kind,
    /// What it is sealed under.
    pub(crate) key_id: KeyId,
    pub(crate) push_id: PushId,
    pub(crate) time_ms: u64,
    /// The opened payload of a control envelope.
    pub(crate) control: Option<Bytes>,
    pub(crate) bytes: Bytes,
}

/// An envelope a member made that is of no use here.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) blob_id: BlobId,
    pub(crate) reason: ParkReason,
    pub(crate) bytes: Bytes,
}

impl Unreadable {
    /// A second envelope for a place that is taken.
    pub(crate) fn forked(envelope: &Authentic) -> Self {
        Self { blob_id: envelope.hash.blob_id(), reason: ParkReason::Forked, bytes: envelope.bytes.clone() }
    }

    /// A control envelope whose entry is not one.
    pub(crate) fn malformed(envelope: &Authentic) -> Self {
        Self { blob_id: envelope.hash.blob_id(), reason: ParkReason::Unreadable, bytes: envelope.bytes.clone() }
    }
}

/// What an envelope turned out to be.
#[derive(Debug)]
pub(crate) enum Examined {
    /// A member's, or a stranger's that holds the group's key.
    Authentic(Authentic),
    /// A member's, signed, but not readable here.
    Unreadable(Unreadable),
    /// Made or altered by somebody else.
    NotAuthentic,
}

/// Bytes that may be an envelope, and their hash, which is taken once.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    hash: BlobHash,
    bytes: Bytes,
}

impl Candidate {
    pub(crate) fn blob_id(&self) -> BlobId {
        self.hash.blob_id()
    }

    pub(crate) fn hash(&self) -> BlobHash {
        self.hash
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl From<Bytes> for Candidate {
    fn from(bytes: Bytes) -> Self {
        Self { hash: BlobHash::of_bytes(&bytes), bytes }
    }
}

/// Examines envelopes in the order a relay holds them; the answers come in the same order.
pub(crate) fn examine(context: &mut Context, envelopes: impl IntoIterator<Item = Candidate>) -> Vec<Examined> {
    let opened: Vec<_> = envelopes.into_iter().map(|candidate| open(context, candidate)).collect();
    let mut vouched: BTreeSet<(DeviceId, BlobHash)> = BTreeSet::new();
    let mut examined: Vec<_> = opened.into_iter().rev().map(|opened| judge(context, &mut vouched, opened)).collect();
    examined.reverse();
    examined
}

#[expect(clippy::large_enum_variant, reason = "nearly all of them are of the large one")]
enum Opened {
    Envelope(Envelope, Authentic),
    Unopened(Envelope, ParkReason),
    TooNew(Bytes),
    NotAuthentic,
}

fn open(context: &Context, Candidate { hash, bytes }: Candidate) -> Opened {
    let envelope = match Envelope::parse(bytes.clone()) {
        Ok(envelope) => envelope,
        Err(EnvelopeError::TooNew { .. } | EnvelopeError::UnknownKind(_)) => return Opened::TooNew(bytes),
        Err(EnvelopeError::Truncated | EnvelopeError::TooLarge) => return Opened::NotAuthentic,
    };
    if matches!(envelope.header().kind, Kind::Receipt | Kind::Snapshot) {
        // Of no log's business: whoever put it there is not its sender.
        return Opened::NotAuthentic;
    }
    let body = match seal::open(&context.keys, &envelope) {
        Ok(body) => body,
        Err(OpenError::UnknownKey) => return Opened::Unopened(envelope, ParkReason::KeyMissing),
        Err(OpenError::NotAuthentic | OpenError::Malformed) => {
            return Opened::Unopened(envelope, ParkReason::Unreadable);
        }
    };
    let header = envelope.header();
    // Packed payloads are tried once here, so that what can't be unpacked is found before it is handed out.
    let payload = match (header.kind, Codec::from_number(body.codec)) {
        (Kind::Data, Some(Codec::None)) => Ok(None),
        (Kind::Control, _) => seal::unpack(&body).map(Some),
        (Kind::Data | Kind::Snapshot | Kind::Receipt | Kind::ContentManifest, _) => seal::unpack(&body).map(|_| None),
    };
    let Ok(control) = payload else { return Opened::Unopened(envelope, ParkReason::Unreadable) };
    let authentic = Authentic {
        sender: header.sender,
        seq: body.seq,
        prev: body.prev,
        hash,
        kind: header.kind,
        key_id: header.key_id,
        push_id: body.push_id,
        time_ms: body.time_ms,
        control,
        bytes,
    };
    Opened::Envelope(envelope, authentic)
}

fn judge(context: &mut Context, vouched: &mut BTreeSet<(DeviceId, BlobHash)>, opened: Opened) -> Examined {
    match opened {
        Opened::Envelope(envelope, authentic) => {
            let named = authentic.kind != Kind::Control && vouched.contains(&(authentic.sender, authentic.hash));
            if named || context.verify(&envelope) {
                vouched.insert((authentic.sender, authentic.prev));
                Examined::Authentic(authentic)
            } else {
                Examined::NotAuthentic
            }
        }
        Opened::Unopened(envelope, reason) => {
            if context.roster.is_member(&envelope.header().sender) && context.verify(&envelope) {
                Examined::Unreadable(Unreadable {
                    blob_id: envelope.blob_id(),
                    reason,
                    bytes: envelope.as_bytes().clone(),
                })
            } else {
                Examined::NotAuthentic
            }
        }
        Opened::TooNew(bytes) => match context.verify_newer(&bytes) {
            Some(blob_id) => Examined::Unreadable(Unreadable { blob_id, reason: ParkReason::TooNew, bytes }),
            None => Examined::NotAuthentic,
        },
        Opened::NotAuthentic => Examined::NotAuthentic,
    }
}
