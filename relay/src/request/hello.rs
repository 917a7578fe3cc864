//! HELLO: who is there, and for which group.
//!
//! A group is the hash of the public key that opens it, so knowing a group's id opens nothing, and there is
//! nothing to register. The signature covers both ends of this connection and a secret of its TLS session: it is
//! worth nothing on another connection, to another relay, or to whoever recorded it.
//!
//! Whoever comes by an id that is over, and holds its key, is told what the group's members left for him there, and
//! nothing else. It costs nothing that is limited by address: no group is made.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use ed25519_dalek::{Signature, VerifyingKey};
use iroh::endpoint::Connection;
use sync_types::{
    AuthPublic, DeviceId, ErrorCode, RelayCursor, RelayGroupId,
    limits::PROTOCOL_VERSION,
    message::{Hello, Moved, Welcome, features},
    sign,
};
use tokio::sync::watch;

use crate::{
    error::Refusal,
    quota::{Address, Pass},
    retention::wall_ms,
    state::State,
    store::{Greeted, Greeting, GroupLog, Head, random_log_id},
};

/// What a connection says of its other end, and what a greeting is bound to.
pub(crate) struct Peer {
    pub(crate) device: DeviceId,
    /// Of the connection's TLS session, label [`sign::HELLO_EXPORTER_LABEL`].
    pub(crate) exporter: [u8; 32],
}

impl Peer {
    pub(crate) fn of(connection: &Connection) -> Result<Self, ErrorCode> {
        let device = DeviceId::from_bytes(*connection.remote_id().as_bytes());
        let mut exporter = [0; 32];
        connection
            .export_keying_material(&mut exporter, sign::HELLO_EXPORTER_LABEL, &[])
            .map_err(|_| ErrorCode::Internal)?;
        Ok(Self { device, exporter })
    }
}

/// A device that has proved to be of a group.
pub(crate) struct Member {
    pub(crate) device: DeviceId,
    pub(crate) log: Arc<GroupLog>,
    pub(crate) head: watch::Receiver<Head>,
    /// Where the log ended when it entered.
    pub(crate) entered_at: RelayCursor,
    /// What it understands: bits of [`features`].
    pub(crate) features: u64,
    _pass: Pass<DeviceId>,
}

/// What a greeting is answered.
pub(crate) enum Answer {
    Welcome(Member, Welcome),
    /// The group is known by another id. The device keeps its place among connections until it was told.
    Moved(Moved, Pass<DeviceId>),
}

/// Lets a device in, or says why not.
pub(crate) async fn hello(relay: &State, peer: &Peer, from: Address, hello: Hello) -> Result<Answer, Refusal> {
    let device = peer.device;
    verify(relay, peer, &hello)?;
    let pass = relay.quotas.devices.enter(device).ok_or(ErrorCode::TooManyConnections)?;
    if !relay.store.knows(&hello.group) {
        if let Some(packages) = relay.store.packages(&hello.group).await? {
            return moved(packages, &hello, pass);
        }
        let created = relay.quotas.groups.take(from, Instant::now());
        created.map_err(|wait| Refusal::later(ErrorCode::RateLimited, wait))?;
    }
    let greeting = Greeting {
        group: hello.group,
        device,
        read: hello.log_id.map(|log_id| (log_id, hello.last_cursor)),
        new_log_id: random_log_id().map_err(|_| ErrorCode::Internal)?,
        now_ms: relay.clock.at(wall_ms()),
    };
    let Greeted { log, mut head } = relay.store.greet(greeting).await?;
    let end = head.borrow_and_update().clone();
    let read = if hello.log_id == Some(log.log_id) { hello.last_cursor } else { RelayCursor::START };
    let welcome = Welcome {
        version: PROTOCOL_VERSION,
        relay: relay.id,
        log_id: log.log_id,
        max_cursor: end.cursor,
        floor_cursor: end.floor_cursor,
        pending_count: end.cursor.get().saturating_sub(read.max(end.floor_cursor).get()),
        limits: relay.limits(),
        features: features::PRESENCE | features::MOVE | features::RECEIPTS | features::SNAPSHOTS,
    };
    let member = Member { device, log, head, entered_at: end.cursor, features: hello.features, _pass: pass };
    Ok(Answer::Welcome(member, welcome))
}

fn moved(packages: Vec<Bytes>, hello: &Hello, pass: Pass<DeviceId>) -> Result<Answer, Refusal> {
    if hello.features & features::MOVE == 0 {
        return Err(ErrorCode::GroupMoved.into());
    }
    Ok(Answer::Moved(Moved { packages: packages.into() }, pass))
}

fn verify(relay: &State, peer: &Peer, hello: &Hello) -> Result<(), ErrorCode> {
    if hello.version != PROTOCOL_VERSION {
        return Err(ErrorCode::VersionUnsupported);
    }
    let signed = sign::hello(&hello.group, &peer.device, &relay.id, &peer.exporter);
    verify_key(&hello.group, &hello.auth_public, &signed, &hello.signature)
}

/// Whether this is the key that opens a group, and has signed this.
pub(super) fn verify_key(
    group: &RelayGroupId,
    auth_public: &AuthPublic,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), ErrorCode> {
    if *group != RelayGroupId::of(auth_public) {
        return Err(ErrorCode::AuthFailed);
    }
    let key = VerifyingKey::from_bytes(auth_public.as_bytes()).map_err(|_| ErrorCode::AuthFailed)?;
    let signature = Signature::from_slice(signature).map_err(|_| ErrorCode::AuthFailed)?;
    key.verify_strict(signed, &signature).map_err(|_| ErrorCode::AuthFailed)
}
