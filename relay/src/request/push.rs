//! PUSH: keep an envelope, and say so once it is on disk.
//!
//! Pushes are checked as they are read and appended in that order, all that wait at once (see [`super::write`]).

use std::time::Instant;

use bytes::Bytes;
use sync_types::{
    BlobId, Envelope, EnvelopeError, ErrorCode, Kind, RelayMsg, RequestId,
    limits::ENVELOPE_OVERHEAD_MAX,
    message::{Push, PushAck},
};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    config::Storage,
    connection::Session,
    error::Refusal,
    retention::wall_ms,
    state::State,
    store::{Appended, NewBlob, StoreError},
};

/// What arrives is kept this long, or for all of its time if that is shorter, however old it is said to be.
const ARRIVAL_S: u64 = 3_600;

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
    let envelope = parse(relay, push.envelope)?;
    if let Kind::Receipt | Kind::Snapshot = envelope.header().kind {
        // In no log: see RECEIPT and SNAPSHOT.
        return Err(ErrorCode::BadEnvelope.into());
    }
    let room = session.room(envelope.as_bytes().len()).await?;
    let now_ms = wall_ms();
    let header = envelope.header();
    let blob = NewBlob {
        blob_id: envelope.blob_id(),
        kind: header.kind,
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

/// An envelope no larger than this relay takes.
pub(super) fn parse(relay: &State, bytes: Bytes) -> Result<Envelope, ErrorCode> {
    let envelope = Envelope::parse(bytes).map_err(|error| match error {
        EnvelopeError::TooLarge => ErrorCode::BlobTooLarge,
        EnvelopeError::TooNew { .. } => ErrorCode::Unsupported,
        EnvelopeError::Truncated | EnvelopeError::UnknownKind(_) => ErrorCode::BadEnvelope,
    })?;
    let len_max = relay.config.storage.max_blob_size + ENVELOPE_OVERHEAD_MAX as u64;
    if envelope.as_bytes().len() as u64 > len_max { Err(ErrorCode::BlobTooLarge) } else { Ok(envelope) }
}

/// Appends what was checked, all at once, and answers it.
pub(crate) async fn append_all(session: &Session, batch: Vec<Checked>) {
    if batch.is_empty() {
        return;
    }
    let (pushes, answers) = append(session, batch).await;
    let answers: Vec<_> = match answers {
        Ok(answers) => answers.into_iter().map(|answer| answer.map_err(Refusal::from)).collect(),
        Err(error) => pushes.iter().map(|_| Err(error.clone().into())).collect(),
    };
    // All of them before the first answer, which may have to wait for its reader: the session's own reads see these
    // rows already.
    for ((_, blob_id), answer) in pushes.iter().zip(&answers) {
        session.own().settle(blob_id, answer.as_ref().ok().map(|appended| appended.cursor));
    }
    for ((id, blob_id), answer) in pushes.into_iter().zip(answers) {
        session.reply(answered(session, id, blob_id, answer)).await;
    }
}

/// Appends a batch. What it holds of this session's room and of all sessions' is free again when this returns:
/// answers wait for their reader, and nobody else may wait for that.
async fn append(session: &Session, batch: Vec<Checked>) -> (Vec<(RequestId, BlobId)>, Answers) {
    let mut bytes = 0;
    let (pushes, (blobs, _here)): (Vec<_>, (Vec<_>, Vec<_>)) = batch
        .into_iter()
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
    let left_s = if kind == Kind::Control { None } else { left_s(&relay.config.storage, ttl_s, age_s) };
    left_s.map(|left_s| now_ms.saturating_add(left_s.saturating_mul(1_000)))
}

/// How long an envelope of this age is kept from now on.
///
/// Its age is what its device's clock says, and that may have been set by years between the push and now. So it only
/// counts against a time that was asked for, and even then nothing is dead on arrival.
fn left_s(storage: &Storage, ttl_s: u32, age_s: u32) -> Option<u64> {
    let asked = if ttl_s == 0 { storage.default_ttl } else { u64::from(ttl_s) };
    let kept_s = match (asked, storage.max_ttl) {
        (asked, 0) => asked,
        (0, max) => max,
        (asked, max) => asked.min(max),
    };
    let age_s = if ttl_s == 0 { 0 } else { u64::from(age_s) };
    (kept_s > 0).then(|| kept_s.saturating_sub(age_s).max(kept_s.min(ARRIVAL_S)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const HOUR_S: u32 = 3_600;
    const WEEK_S: u64 = 7 * 24 * 3_600;

    fn storage(default_ttl: u64, max_ttl: u64) -> Storage {
        Storage { default_ttl, max_ttl, ..Config::default().storage }
    }

    #[test]
    fn an_age_counts_against_a_time_that_was_asked_for() {
        let storage = storage(WEEK_S, 0);
        assert_eq!(left_s(&storage, 24 * HOUR_S, 0), Some(24 * 3_600));
        assert_eq!(left_s(&storage, 24 * HOUR_S, 5 * HOUR_S), Some(19 * 3_600));
        assert_eq!(left_s(&storage, 0, 5 * HOUR_S), Some(WEEK_S));
    }

    #[test]
    fn nothing_is_dead_on_arrival_whatever_its_devices_clock_says() {
        let storage = storage(WEEK_S, 0);
        for age_s in [24 * HOUR_S, 10 * 365 * 24 * HOUR_S, u32::MAX] {
            assert_eq!(left_s(&storage, 24 * HOUR_S, age_s), Some(ARRIVAL_S));
            assert_eq!(left_s(&storage, 60, age_s), Some(60));
            assert_eq!(left_s(&storage, 0, age_s), Some(WEEK_S));
        }
    }

    #[test]
    fn the_relay_has_the_last_word() {
        assert_eq!(left_s(&storage(0, 0), 0, 7), None);
        assert_eq!(left_s(&storage(0, WEEK_S), 0, 7), Some(WEEK_S));
        assert_eq!(left_s(&storage(WEEK_S, 1), HOUR_S, u32::MAX), Some(1));
    }
}
