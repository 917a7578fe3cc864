//! MOVE: a group has a new key, and is known by that key's hash from now on.
//!
//! Whoever holds the keys of ids may end them, in favour of one whose key he holds as well. All signatures are bound to
//! this connection, as a greeting is, so a MOVE that was recorded moves nothing. What is left at the old ids is sealed by
//! the device: the relay only hands it out.
//!
//! Leaving something at an id costs what a new group does, once for all ids of a MOVE: it takes room here for months.
//! A repetition leaves nothing, and costs no more than any request.
//!
//! It may come before the greeting, so that a device enters by the new id at once: its signatures say all that there is to
//! know. The answer brings what others have left under the same ids, and those who went another way from one of them are
//! told what is left there now, so that two who move a group at once hear of each other.

use std::time::Instant;

use bytes::Bytes;
use sync_types::{
    DeviceId, ErrorCode, RelayGroupId, RelayMsg, RequestId,
    limits::{MOVED_BYTES_MAX, MOVED_PACKAGES_MAX},
    message::{Left, Move, MoveAck, features},
    sign,
};
use tokio::sync::OwnedSemaphorePermit;
use tracing::info;

use super::hello::verify_key;
use crate::{connection::Session, error::Refusal, quota::Address, retention::wall_ms, state::State, store::Moving};

/// A MOVE that was found in order, on its way to the store.
pub(crate) struct Checked {
    id: RequestId,
    group: RelayGroupId,
    over: Vec<(RelayGroupId, Bytes)>,
    remaining: Vec<DeviceId>,
    bytes: u32,
    /// Its share of what the session may hold.
    _room: Option<OwnedSemaphorePermit>,
}

/// Who says so, and over which connection.
pub(crate) struct Mover<'a> {
    pub(crate) relay: &'a State,
    pub(crate) device: DeviceId,
    pub(crate) from: Address,
    /// What signatures are bound to: see [`super::hello::Peer`].
    pub(crate) exporter: &'a [u8; 32],
}

/// Checks a session's MOVE, and waits until there is room for it on the way.
pub(crate) async fn check(session: &Session, message: Move) -> Result<Checked, Refusal> {
    session.admit(Instant::now())?;
    let mut checked = verify(&session.mover(), message)?;
    checked._room = Some(session.room(checked.bytes as usize).await?);
    Ok(checked)
}

fn verify(mover: &Mover<'_>, message: Move) -> Result<Checked, Refusal> {
    let Move { id, group, auth_public, signature, over, remaining } = message;
    let bytes: usize = over.0.iter().map(|over| over.package.len()).sum();
    if bytes > MOVED_BYTES_MAX || over.0.iter().any(|over| over.group == group) {
        return Err(ErrorCode::Malformed.into());
    }
    let ends = (&mover.device, &mover.relay.id, mover.exporter);
    verify_key(&group, &auth_public, &sign::moved(&group, ends, &group, &[]), &signature)?;
    for over in &over.0 {
        let signed = sign::moved(&over.group, ends, &group, &over.package);
        verify_key(&over.group, &over.auth_public, &signed, &over.signature)?;
    }
    let bytes = u32::try_from(bytes).expect("at most MOVED_BYTES_MAX");
    let over = over.0.into_iter().map(|over| (over.group, over.package)).collect();
    Ok(Checked { id, group, over, remaining: remaining.0, bytes, _room: None })
}

/// Performs a session's MOVE and answers it.
pub(crate) async fn perform(session: &Session, checked: Checked) {
    session.reply(answer(&session.mover(), checked).await).await;
}

/// Performs a MOVE that comes before the greeting.
pub(crate) async fn perform_early(mover: &Mover<'_>, message: Move) -> RelayMsg {
    let id = message.id;
    let limited = |wait| Refusal::later(ErrorCode::RateLimited, wait);
    let admitted = mover.relay.quotas.messages.take(mover.device, Instant::now()).map_err(limited);
    match admitted.and_then(|()| verify(mover, message)) {
        Ok(checked) => answer(mover, checked).await,
        Err(refusal) => refusal.answer(id).into(),
    }
}

async fn answer(mover: &Mover<'_>, checked: Checked) -> RelayMsg {
    let (id, ours) = (checked.id, checked.over.clone());
    let done = match perform_checked(mover, checked).await {
        Ok(()) => others(mover.relay, &ours).await,
        Err(refusal) => Err(refusal),
    };
    match done {
        Ok(others) => MoveAck { id, others: others.into() }.into(),
        Err(refusal) => refusal.answer(id).into(),
    }
}

/// What others have left under these ids, the newest first, as much as fits an answer.
async fn others(relay: &State, ours: &[(RelayGroupId, Bytes)]) -> Result<Vec<Left>, Refusal> {
    let mut others = Vec::new();
    let mut room = MOVED_BYTES_MAX;
    for (group, own) in ours {
        let packages = relay.store.packages(group).await?.unwrap_or_default();
        for package in packages.into_iter().rev().filter(|package| package != own) {
            if others.len() == MOVED_PACKAGES_MAX || package.len() > room {
                return Ok(others);
            }
            room -= package.len();
            others.push(Left { group: *group, package });
        }
    }
    Ok(others)
}

/// Tells a session what was left by those who went another way from an id that its group went on from: what there is, and
/// what comes.
pub(crate) async fn tell(session: &Session) {
    if session.member.features & features::MOVE == 0 {
        return;
    }
    let mut heard = Some(session.here.knocks());
    while let Some(knocks) = heard {
        // Before the answer is read from anywhere, so that what waits for a slow reader is a position.
        let Some(place) = session.place().await else { return };
        let others = session.relay.store.aside(&session.member.log.group).await.unwrap_or_default();
        if others.is_empty() {
            drop(place);
        } else {
            let others: Vec<_> = others.into_iter().map(|(group, package)| Left { group, package }).collect();
            place.send(&MoveAck { id: 0, others: others.into() }.into());
        }
        heard = session.here.knocked(knocks).await;
    }
}

async fn perform_checked(mover: &Mover<'_>, checked: Checked) -> Result<(), Refusal> {
    let (relay, Checked { group, over, remaining, bytes, _room, .. }) = (mover.relay, checked);
    let _everywhere = relay.push_bytes.acquire_many(bytes).await.expect("it is never closed");
    let leave = relay.quotas.groups.take(mover.from, Instant::now());
    let now_ms = relay.clock.at(wall_ms());
    let ids: Vec<_> = over.iter().map(|(id, _)| *id).collect();
    let moving = Moving { group, over, remaining, may_add: leave.is_ok(), now_ms };
    let answer = relay.store.move_group(moving).await;
    let moved = answer.as_ref().ok().and_then(|answer| answer.ok()).filter(|moved| moved.packages > 0);
    let Some(moved) = moved else {
        if leave.is_ok() {
            relay.quotas.groups.give_back(&mover.from);
        }
        return match (answer?, leave) {
            (Err(ErrorCode::RateLimited), Err(wait)) => Err(Refusal::later(ErrorCode::RateLimited, wait)),
            (Err(code), _) => Err(code.into()),
            (Ok(_), _) => Ok(()),
        };
    };
    for other in relay.store.ways_from(&ids, &group).await? {
        relay.presence.knock(&other);
    }
    relay.metrics.moved.add(1);
    info!(device = ?mover.device, ?group, packages = moved.packages, logs = moved.logs, merged = moved.merged, "group moved");
    Ok(())
}
