//! Mailboxes by frames, over a QUIC connection of their own.
//!
//! The key of that connection is made for it and thrown away: a relay can't tell who pairs. One request is under
//! way at a time; a connection that fails is made anew for the next.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use iroh::{
    Endpoint, EndpointAddr, EndpointId, SecretKey, TransportAddr,
    endpoint::{ApplicationClose, Connection, ConnectionError, RecvStream, SendStream, VarInt},
};
use sync_types::{
    ErrorCode, FrameBuffer, RequestId,
    invite::Direct,
    limits::ALPN_INVITE,
    mailbox::{MailboxReply, MailboxRequest},
};
use tokio::sync::Mutex;

use super::{MailboxError, door::OVER};
use crate::{random::random, resolve::look_up, store::Pin, transport};

const READ_LEN: usize = 64 * 1024;
/// A device that has answered and then can't be reached for so long has gone, and its invite with it. A relay may come
/// back.
const GONE: Duration = Duration::from_secs(20);

/// How long whoever ends a conversation may take to say why.
const REASON_MAX: Duration = Duration::from_secs(2);

/// The mailboxes of a relay that is known by its id, or of the device that invites.
pub(crate) struct FrameMailboxes {
    keeper: Keeper,
    /// How long an attempt may take as long as nobody has answered.
    connect_max: Duration,
    line: Mutex<Line>,
}

/// Who keeps them.
enum Keeper {
    Relay(Pin),
    Device(EndpointAddr),
}

#[derive(Default)]
struct Line {
    endpoint: Option<Endpoint>,
    stream: Option<Stream>,
    /// The newest connection, for what it may still say when a request on it was dropped.
    connection: Option<Connection>,
    last_id: RequestId,
    /// Somebody has answered.
    heard: bool,
    /// Since when nobody does.
    silent: Option<Instant>,
}

struct Stream {
    send: SendStream,
    recv: RecvStream,
    frames: FrameBuffer,
}

impl FrameMailboxes {
    pub(super) fn new(relay: Pin) -> Self {
        Self { keeper: Keeper::Relay(relay), connect_max: transport::CONNECT_TIMEOUT, line: Mutex::default() }
    }

    pub(super) fn direct(place: &Direct, connect_max: Duration) -> Option<Self> {
        let id = EndpointId::from_bytes(&place.endpoint).ok()?;
        let addresses: BTreeSet<_> = place.addresses.iter().copied().map(TransportAddr::Ip).collect();
        let keeper = Keeper::Device(EndpointAddr::from_parts(id, addresses));
        Some(Self { keeper, connect_max, line: Mutex::default() })
    }

    /// Dropped in the middle, it leaves a connection behind that the next request does not use.
    pub(super) async fn ask(&self, request: MailboxRequest) -> Result<MailboxReply, MailboxError> {
        let mut line = self.line.lock().await;
        line.last_id += 1;
        let id = line.last_id;
        let mut stream = match line.stream.take() {
            Some(stream) => stream,
            None => match self.open(&mut line).await {
                Some(stream) => stream,
                None => return Err(self.silence(&mut line).await),
            },
        };
        let Some(answer) = stream.exchange(numbered(request, id), id).await else {
            return Err(self.silence(&mut line).await);
        };
        line.stream = Some(stream);
        (line.heard, line.silent) = (true, None);
        if let MailboxReply::Refused(refused) = answer {
            return Err(refused.into());
        }
        Ok(answer)
    }

    /// What it means that nobody answers.
    async fn silence(&self, line: &mut Line) -> MailboxError {
        let silent = line.silent.get_or_insert_with(Instant::now).elapsed();
        match self.keeper {
            Keeper::Device(_) if line.is_over().await || line.heard && silent > GONE => {
                MailboxError::refused(ErrorCode::InviteNotFound, None)
            }
            Keeper::Device(_) | Keeper::Relay(_) => MailboxError::Unreachable,
        }
    }

    async fn open(&self, line: &mut Line) -> Option<Stream> {
        let endpoint = match &line.endpoint {
            Some(endpoint) => endpoint,
            None => line.endpoint.insert(transport::bind(SecretKey::from_bytes(&random())).await.ok()?),
        };
        let address = match &self.keeper {
            Keeper::Relay(pin) => look_up(pin).await,
            Keeper::Device(address) => address.clone(),
        };
        let connecting = transport::connect(endpoint, address, ALPN_INVITE);
        let patience = if line.heard { transport::CONNECT_TIMEOUT } else { self.connect_max };
        let connection = tokio::time::timeout(patience, connecting).await.ok()?.ok()?;
        let (send, recv) = connection.open_bi().await.ok()?;
        if let Some(before) = line.connection.replace(connection.clone()) {
            before.close(VarInt::from_u32(0), b"");
        }
        Some(Stream { send, recv, frames: FrameBuffer::default() })
    }

    pub(super) async fn close(self) {
        let line = self.line.into_inner();
        if let Some(connection) = line.connection {
            connection.close(VarInt::from_u32(0), b"");
        }
        if let Some(endpoint) = line.endpoint {
            transport::close(&endpoint).await;
        }
    }
}

impl Line {
    /// Whether the device that invites has said, by how it closed the connection, that the invite is used up.
    async fn is_over(&self) -> bool {
        let Some(connection) = &self.connection else { return false };
        let closed = tokio::time::timeout(REASON_MAX, connection.closed()).await;
        matches!(closed, Ok(ConnectionError::ApplicationClosed(ApplicationClose { error_code, .. })) if error_code == OVER)
    }
}

impl Stream {
    async fn exchange(&mut self, request: Bytes, id: RequestId) -> Option<MailboxReply> {
        self.send.write_chunk(request).await.ok()?;
        loop {
            while let Some(frame) = self.frames.next_frame().ok()? {
                let reply = MailboxReply::from_frame(&frame).ok()?;
                // 0 refuses the connection as a whole; an older number is an answer nobody waited for.
                if [0, id].contains(&id_of(&reply)) {
                    return Some(reply);
                }
            }
            self.frames.extend(&self.recv.read_chunk(READ_LEN).await.ok()??);
        }
    }
}

fn numbered(mut request: MailboxRequest, id: RequestId) -> Bytes {
    match &mut request {
        MailboxRequest::Create(create) => create.id = id,
        MailboxRequest::Claim(claim) => claim.id = id,
        MailboxRequest::Post(post) => post.id = id,
        MailboxRequest::Wait(wait) => wait.id = id,
        MailboxRequest::Burn(burn) => burn.id = id,
    }
    request.to_frame()
}

fn id_of(reply: &MailboxReply) -> RequestId {
    match reply {
        MailboxReply::Created(created) => created.id,
        MailboxReply::Claimed(claimed) => claimed.id,
        MailboxReply::Done(done) => done.id,
        MailboxReply::Messages(messages) => messages.id,
        MailboxReply::Refused(refused) => refused.id,
    }
}
