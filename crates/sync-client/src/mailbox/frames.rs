//! Mailboxes by frames, over a QUIC connection of their own.
//!
//! The key of that connection is made for it and thrown away: a relay can't tell who pairs. One request is under
//! way at a time; a connection that fails is made anew for the next.

use bytes::Bytes;
use iroh::{
    Endpoint, SecretKey,
    endpoint::{Connection, RecvStream, SendStream, VarInt},
};
use sync_types::{
    FrameBuffer, RequestId,
    limits::ALPN_INVITE,
    mailbox::{MailboxReply, MailboxRequest},
};
use tokio::sync::Mutex;

use super::MailboxError;
use crate::{random::random, resolve::look_up, store::Pin, transport};

const READ_LEN: usize = 64 * 1024;

/// The mailboxes of a relay that is known by its id.
pub(crate) struct FrameMailboxes {
    relay: Pin,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    endpoint: Option<Endpoint>,
    stream: Option<Stream>,
    last_id: RequestId,
}

struct Stream {
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
    frames: FrameBuffer,
}

impl FrameMailboxes {
    pub(super) fn new(relay: Pin) -> Self {
        Self { relay, line: Mutex::default() }
    }

    /// Dropped in the middle, it leaves a connection behind that the next request does not use.
    pub(super) async fn ask(&self, request: MailboxRequest) -> Result<MailboxReply, MailboxError> {
        let mut line = self.line.lock().await;
        line.last_id += 1;
        let id = line.last_id;
        let mut stream = match line.stream.take() {
            Some(stream) => stream,
            None => self.open(&mut line).await.ok_or(MailboxError::Unreachable)?,
        };
        let answer = stream.exchange(numbered(request, id), id).await.ok_or(MailboxError::Unreachable)?;
        line.stream = Some(stream);
        if let MailboxReply::Refused(refused) = answer {
            return Err(refused.into());
        }
        Ok(answer)
    }

    async fn open(&self, line: &mut Line) -> Option<Stream> {
        let endpoint = match &line.endpoint {
            Some(endpoint) => endpoint,
            None => line.endpoint.insert(transport::bind(SecretKey::from_bytes(&random())).await.ok()?),
        };
        let connecting = transport::connect(endpoint, look_up(&self.relay).await, ALPN_INVITE);
        let connection = tokio::time::timeout(transport::CONNECT_TIMEOUT, connecting).await.ok()?.ok()?;
        let (send, recv) = connection.open_bi().await.ok()?;
        Some(Stream { connection, send, recv, frames: FrameBuffer::default() })
    }

    pub(super) async fn close(self) {
        let line = self.line.into_inner();
        if let Some(stream) = line.stream {
            stream.connection.close(VarInt::from_u32(0), b"");
        }
        if let Some(endpoint) = line.endpoint {
            transport::close(&endpoint).await;
        }
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
