//! PUSH: keep an envelope, and say so once it is on disk.
//!
//! Pushes are checked as they are read and appended in that order, all that wait at once: while one batch is being
//! committed, the next gathers.

use std::time::Instant;

use sync_types::{
    BlobId, Envelope, EnvelopeError, ErrorCode, Kind, RelayMsg, RequestId,
    limits::{ENVELOPE_OVERHEAD_MAX, IN_FLIGHT_MAX},
    message::{Push, PushAck},
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::{
    connection::Session,
    error::Refusal,
    retention::wall_ms,
    state::State,
    store::{Appended, NewBlob, StoreError},
};

/// A push that was found in order, on its way to the log.
pub(crate) struct Checked {
    id: RequestId,
    blob: NewBlob,
    /// Its share of what the session may hold.
    room: OwnedSemaphorePermit,
}

/// Checks a push, and waits until there is room for it on the way.
pub(crate) async fn check(session: &Session, push: Push) -> Result<Checked, Refusal> {
    let relay = &session.relay;
    session.admit(Instant::now())?;
    let envelope = Envelope::parse(push.envelope).map_err(|error| match error {
        EnvelopeError::TooLarge => ErrorCode::BlobTooLarge,
        EnvelopeError::TooNew { .. } => ErrorCode::Unsupported,
        EnvelopeError::Truncated | EnvelopeError::UnknownKind(_) => ErrorCode::BadEnvelope,
    })?;
    let len = envelope.as_bytes().len();
    if len as u64 > relay.config.storage.max_blob_size + ENVELOPE_OVERHEAD_MAX as u64 {
        return Err(ErrorCode::BlobTooLarge.into());
    }
    let room = session.room(len).await?;
    let now_ms = wall_ms();
    let header = envelope.header();
    let blob = NewBlob {
        blob_id: envelope.blob_id(),
        kind: header.kind,
        key_id: header.key_id,
        sender: header.sender,
        received_ms: now_ms,
        expires_ms: expiry(relay, header.kind, header.ttl_s, push.age_s, relay.clock.at(now_ms)),
        envelope: envelope.as_bytes().clone(),
    };
    if blob.sender == session.member.device {
        session.own().begin(blob.blob_id);
    }
    Ok(Checked { id: push.id, blob, room })
}

/// Appends what was checked and answers it, until there is no more to come.
pub(crate) async fn append_all(session: &Session, mut checked: mpsc::Receiver<Checked>) {
    let mut batch = Vec::new();
    while checked.recv_many(&mut batch, IN_FLIGHT_MAX).await > 0 {
        let (pushes, answers) = append(session, batch.drain(..)).await;
        for (index, (id, blob_id)) in pushes.into_iter().enumerate() {
            let answer = match &answers {
                Ok(answers) => answers[index].map_err(Refusal::from),
                Err(error) => Err(error.clone().into()),
            };
            session.own().settle(&blob_id, answer.ok().map(|appended| appended.cursor));
            session.reply(answered(session, id, blob_id, answer)).await;
        }
    }
}

/// Appends a batch. What it holds of this session's room and of all sessions' is free again when this returns:
/// answers wait for their reader, and nobody else may wait for that.
async fn append(session: &Session, batch: impl Iterator<Item = Checked>) -> (Vec<(RequestId, BlobId)>, Answers) {
    let mut bytes = 0;
    let (pushes, (blobs, _here)): (Vec<_>, (Vec<_>, Vec<_>)) = batch
        .map(|push| {
            bytes += push.blob.envelope.len();
            ((push.id, push.blob.blob_id), (push.blob, push.room))
        })
        .unzip();
    let bytes = u32::try_from(bytes).expect("a batch fits its session's room");
    let _everywhere = session.relay.push_bytes.acquire_many(bytes).await.expect("it is never closed");
    (pushes, session.relay.store.append(&session.member.log, blobs).await)
}

type Answers = Result<Vec<Result<Appended, ErrorCode>>, StoreError>;

fn answered(session: &Session, id: RequestId, blob_id: BlobId, answer: Result<Appended, Refusal>) -> RelayMsg {
    match answer {
        Ok(appended) => {
            session.relay.metrics.pushed.add(1);
            let (cursor, run, timestamp_ms) = (appended.cursor, appended.run, appended.received_ms);
            PushAck { id, blob_id, cursor, run, timestamp_ms }.into()
        }
        Err(refusal) => refusal.answer(id).into(),
    }
}

/// When an envelope's time is over. Control envelopes are what membership rests on: they stay.
fn expiry(relay: &State, kind: Kind, ttl_s: u32, age_s: u32, now_ms: u64) -> Option<u64> {
    let storage = &relay.config.storage;
    let asked = if ttl_s == 0 { storage.default_ttl } else { u64::from(ttl_s) };
    let ttl_s = match (asked, storage.max_ttl) {
        (asked, 0) => asked,
        (0, max) => max,
        (asked, max) => asked.min(max),
    };
    if kind == Kind::Control || ttl_s == 0 {
        return None;
    }
    Some(now_ms.saturating_add(ttl_s.saturating_mul(1_000)).saturating_sub(u64::from(age_s) * 1_000))
}
