//! Mailboxes over QUIC, for devices that know the relay by its id and not by an HTTP address.
//!
//! A request may wait for the other device's message, so a few are answered side by side; more are not read.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use iroh::endpoint::{Connection, VarInt};
use sync_types::{
    DecodeError, ErrorCode, RawFrame, RequestId,
    limits::MAILBOX_WAIT_MAX,
    mailbox::{Claimed, Created, Done, MailboxReply, MailboxRequest, Messages},
    message::Refused,
};
use tokio::{
    task::JoinSet,
    time::{timeout, timeout_at},
};

use crate::{
    error::Refusal,
    link::{FrameReader, FrameWriter, LinkError, STALL},
    quota::Address,
    state::State,
};

/// Requests answered side by side.
const SIDE_BY_SIDE: usize = 4;
/// How long a peer may be silent: longer than any request waits. One that has more to ask comes back.
const IDLE: Duration = MAILBOX_WAIT_MAX.saturating_add(Duration::from_secs(10));
/// How long a peer may take to hear why its connection ends.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Serves one connection to its end.
pub(crate) async fn serve(relay: &Arc<State>, connection: &Connection, from: Address) {
    let Ok(Ok((send, receive))) = timeout(STALL, connection.accept_bi()).await else { return };
    let (mut reader, mut writer) = (FrameReader::new(receive), FrameWriter::new(send));
    let end = tokio::select! {
        end = converse(relay, from, &mut reader, &mut writer) => end,
        () = relay.stopping() => Err(LinkError::Fault(ErrorCode::ShuttingDown)),
    };
    if let Err(LinkError::Fault(code)) = end {
        relay.metrics.refused.add(1);
        writer.queue(MailboxReply::from(Refusal::from(code).answer(0)).to_frame());
    }
    let _ = timeout(LAST_WORD, writer.finish()).await;
    connection.close(VarInt::from_u32(0), b"goodbye");
}

async fn converse(
    relay: &Arc<State>,
    from: Address,
    reader: &mut FrameReader,
    writer: &mut FrameWriter,
) -> Result<(), LinkError> {
    let (mut answers, mut asked) = (JoinSet::new(), tokio::time::Instant::now());
    loop {
        tokio::select! {
            frame = timeout_at(asked + IDLE, reader.next()), if answers.len() < SIDE_BY_SIDE => {
                let frame = frame.map_err(|_| LinkError::Fault(ErrorCode::IdleTimeout))?;
                let Some(frame) = frame? else { return Ok(()) };
                asked = tokio::time::Instant::now();
                let request = read(&frame)?;
                let relay = Arc::clone(relay);
                answers.spawn(async move {
                    match request {
                        Ok(request) => answer(&relay, from, request).await,
                        Err(refused) => refused.into(),
                    }
                });
            }
            Some(answer) = answers.join_next() => {
                writer.queue(answer.map_err(|_| LinkError::Fault(ErrorCode::Internal))?.to_frame());
                writer.flush().await?;
            }
        }
    }
}

/// Reads a request, or what to answer if it is of a kind that only a newer relay knows.
fn read(frame: &RawFrame) -> Result<Result<MailboxRequest, Refused>, LinkError> {
    match MailboxRequest::from_frame(frame) {
        Ok(request) => Ok(Ok(request)),
        Err(DecodeError::UnknownType { id, .. }) => Ok(Err(Refusal::from(ErrorCode::Unsupported).answer(id))),
        Err(DecodeError::Malformed { .. }) => Err(LinkError::Fault(ErrorCode::Malformed)),
    }
}

async fn answer(relay: &State, from: Address, request: MailboxRequest) -> MailboxReply {
    let (mailboxes, now) = (&relay.mailboxes, Instant::now());
    let (id, reply): (RequestId, Result<MailboxReply, Refusal>) = match request {
        MailboxRequest::Create(create) => {
            let id = create.id;
            let created = mailboxes.create(from, create.name, &create.token, create.message, now);
            (id, created.map(|expires_in_s| Created { id, expires_in_s }.into()))
        }
        MailboxRequest::Claim(claim) => {
            let (id, claimed) = (claim.id, mailboxes.claim(from, claim.name, &claim.token, now));
            let reply = claimed.map(|taken| Claimed { id, expires_in_s: taken.expires_in_s, message: taken.message });
            (id, reply.map(MailboxReply::from))
        }
        MailboxRequest::Post(post) => {
            let posted = mailboxes.post(from, post.name, &post.token, post.index, post.message, now);
            (post.id, posted.map(|()| Done { id: post.id }.into()))
        }
        MailboxRequest::Wait(wait) => {
            let patience = Duration::from_millis(wait.wait_ms.into());
            let messages = mailboxes.wait(from, wait.name, &wait.token, wait.from, patience).await;
            (wait.id, messages.map(|messages| Messages { id: wait.id, messages: messages.into() }.into()))
        }
        MailboxRequest::Burn(burn) => {
            let burnt = mailboxes.burn(from, burn.name, &burn.token, now);
            (burn.id, burnt.map(|()| Done { id: burn.id }.into()))
        }
    };
    reply.unwrap_or_else(|refusal| refusal.answer(id).into())
}
