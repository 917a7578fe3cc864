//! SNAPSHOT_PART and SNAPSHOT: what stands for the front of a log, kept outside of it, and named to all.
//!
//! A relay can't read one. It checks that the device sends its own, and that the row up to which it is said to cover is of
//! this log; what it stands for its readers know.
//!
//! What is told is two ids at most, which the log has at hand: a change costs a session nothing but a few bytes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sync_types::{
    Envelope, ErrorCode, Kind, RelayCursor, RelayMsg, RequestId, Run,
    message::{Snapshot, SnapshotAck, SnapshotPart, Snapshots, features},
    wire::AtMost,
};
use tokio::sync::OwnedSemaphorePermit;
use tracing::info;

use super::push::parse;
use crate::{
    connection::Session,
    error::Refusal,
    retention::wall_ms,
    store::{NewPart, NewSnapshot},
};

/// Changes within this time are told together.
const PAUSE: Duration = Duration::from_secs(1);

/// An envelope of one that was found in order, on its way to the store.
pub(crate) struct Checked {
    id: RequestId,
    envelope: Envelope,
    what: What,
    /// Its share of what the session may hold.
    room: OwnedSemaphorePermit,
}

enum What {
    Part,
    Manifest { parts: Vec<sync_types::BlobId>, covers: RelayCursor, run: Run },
}

/// Checks a part, and waits until there is room for it on the way.
pub(crate) async fn check_part(session: &Session, part: SnapshotPart) -> Result<Checked, Refusal> {
    check(session, part.id, part.envelope, What::Part).await
}

/// The same for a manifest.
pub(crate) async fn check_manifest(session: &Session, snapshot: Snapshot) -> Result<Checked, Refusal> {
    let Snapshot { id, envelope, parts, covers, run } = snapshot;
    check(session, id, envelope, What::Manifest { parts: parts.0, covers, run }).await
}

async fn check(session: &Session, id: RequestId, envelope: Bytes, what: What) -> Result<Checked, Refusal> {
    session.admit(Instant::now())?;
    let envelope = parse(&session.relay, envelope)?;
    if envelope.header().kind != Kind::Snapshot || envelope.header().sender != session.member.device {
        return Err(ErrorCode::BadEnvelope.into());
    }
    let room = session.room(envelope.as_bytes().len()).await?;
    Ok(Checked { id, envelope, what, room })
}

/// Keeps what was checked, and answers it.
pub(crate) async fn keep(session: &Session, checked: Checked) {
    let id = checked.id;
    let answer: RelayMsg = match kept(session, checked).await {
        Ok(()) => SnapshotAck { id }.into(),
        Err(refusal) => refusal.answer(id).into(),
    };
    session.reply(answer).await;
}

async fn kept(session: &Session, Checked { envelope, what, room: _room, .. }: Checked) -> Result<(), Refusal> {
    let (relay, member) = (&session.relay, &session.member);
    let bytes = u32::try_from(envelope.as_bytes().len()).expect("an envelope is no longer");
    let _everywhere = relay.push_bytes.acquire_many(bytes).await.expect("it is never closed");
    let (blob_id, envelope) = (envelope.blob_id(), envelope.as_bytes().clone());
    let now_ms = relay.clock.at(wall_ms());
    match what {
        What::Part => relay.store.keep_part(&member.log, NewPart { blob_id, envelope, now_ms }).await??,
        What::Manifest { parts, covers, run } => {
            let count = parts.len();
            let snapshot = NewSnapshot { blob_id, envelope, parts, covers, run, now_ms };
            relay.store.publish_snapshot(&member.log, snapshot).await??;
            relay.metrics.snapshots.add(1);
            info!(device = ?member.device, group = ?member.log.group, parts = count, covers = covers.get(), "snapshot kept");
        }
    }
    Ok(())
}

/// Tells a session which there are, and again when that has changed, for as long as it lasts. The first time is before it
/// is answered anything: nothing is read before this was polled, and a short answer waits for no other.
pub(crate) async fn tell(session: &Session) {
    if session.member.features & features::SNAPSHOTS == 0 {
        return;
    }
    let mut kept = session.member.log.snapshots.subscribe();
    loop {
        let manifests = AtMost(kept.borrow_and_update().clone());
        session.reply(Snapshots { manifests }.into()).await;
        tokio::time::sleep(PAUSE).await;
        // The sender lives as long as the session's log.
        if kept.changed().await.is_err() {
            return;
        }
    }
}
