//! Mailboxes, from the side of a device that pairs.
//!
//! Two ways to the same store on a relay: over HTTP where the relay is known by its web address, so that pairing
//! works where UDP is blocked, and by frames where it is known by its id. By frames, too, to the mailbox that the device
//! that invites keeps itself; that device uses it without any. Every request is repeatable: the same token and the same
//! bytes get the same answer.

mod door;
mod frames;
mod http;
mod own;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use sync_types::{
    ErrorCode,
    invite::{Direct, MailboxName},
    limits::{INVITE_TTL, MAILBOX_WAIT_MAX},
    mailbox::{Burn, Claim, Create, MailboxReply, MailboxRequest, Post, Token, Wait},
    message::Refused,
};

pub(crate) use self::{
    door::{Door, Farewell},
    own::OwnMailbox,
};
use crate::resolve::RelayAddr;

/// Longest wait for an answer to anything but a long poll.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest that a relay can make a device wait before it asks again.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Why a mailbox did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MailboxError {
    /// Nobody answers, or not what was asked.
    Unreachable,
    /// The relay said no, and perhaps when to ask again.
    Refused { code: ErrorCode, retry_after: Option<Duration> },
}

impl MailboxError {
    /// A relay's no, and its word for when to ask again as far as it is believed.
    fn refused(code: ErrorCode, retry_after: Option<Duration>) -> Self {
        Self::Refused { code, retry_after: retry_after.map(|wait| wait.min(RETRY_AFTER_MAX)) }
    }

    /// The more telling one of several relays' answers: a refusal says more than silence, and any other more than
    /// that there is no such invite here.
    pub(crate) fn or_worse(self, other: Self) -> Self {
        let weight = |error: &Self| match error {
            Self::Unreachable => 0,
            Self::Refused { code: ErrorCode::InviteNotFound, .. } => 1,
            Self::Refused { .. } => 2,
        };
        if weight(&other) >= weight(&self) { other } else { self }
    }
}

impl From<Refused> for MailboxError {
    fn from(refused: Refused) -> Self {
        let retry_after = (refused.retry_after_ms > 0).then(|| Duration::from_millis(refused.retry_after_ms.into()));
        Self::refused(refused.error(), retry_after)
    }
}

/// Mailboxes of one kind, in one place.
pub(crate) enum Mailboxes {
    Http(http::HttpMailboxes),
    Frames(Box<frames::FrameMailboxes>),
    Own(Arc<OwnMailbox>),
}

impl Mailboxes {
    /// Those of the relay at an address. One known by its id that was never met is asked nothing yet.
    pub(crate) fn at(address: &RelayAddr, http: &reqwest::Client) -> Self {
        match (address.web(), address.known()) {
            (Some(url), _) => Self::Http(http::HttpMailboxes::new(http.clone(), url.clone())),
            (None, Some(pin)) => Self::Frames(Box::new(frames::FrameMailboxes::new(pin))),
            (None, None) => unreachable!("an address that is no web address says who it is"),
        }
    }

    /// The one that the device that invites keeps itself. Nobody is asked yet; each attempt to connect gives up after
    /// `connect_max`. None if the link names no endpoint there can be.
    pub(crate) fn direct(place: &Direct, connect_max: Duration) -> Option<Self> {
        frames::FrameMailboxes::direct(place, connect_max).map(Box::new).map(Self::Frames)
    }

    /// Opens a mailbox with the first message in it. Answers how long it lives.
    pub(crate) async fn create(
        &self,
        name: MailboxName,
        token: Token,
        message: Bytes,
    ) -> Result<Duration, MailboxError> {
        let reply = self.ask(Create { id: 0, name, token, message }.into()).await?;
        let MailboxReply::Created(created) = reply else { return Err(MailboxError::Unreachable) };
        Ok(lifetime(created.expires_in_s))
    }

    /// Takes the joiner's side. Answers how long the mailbox lives, and its first message.
    pub(crate) async fn claim(&self, name: MailboxName, token: Token) -> Result<(Duration, Bytes), MailboxError> {
        let reply = self.ask(Claim { id: 0, name, token }.into()).await?;
        let MailboxReply::Claimed(claimed) = reply else { return Err(MailboxError::Unreachable) };
        Ok((lifetime(claimed.expires_in_s), claimed.message))
    }

    /// Leaves a message.
    pub(crate) async fn post(
        &self,
        name: MailboxName,
        token: Token,
        index: u8,
        message: Bytes,
    ) -> Result<(), MailboxError> {
        let reply = self.ask(Post { id: 0, name, token, index, message }.into()).await?;
        let MailboxReply::Done(_) = reply else { return Err(MailboxError::Unreachable) };
        Ok(())
    }

    /// The messages from a number on; none if none came in the time a mailbox lets one wait.
    pub(crate) async fn wait(&self, name: MailboxName, token: Token, from: u8) -> Result<Vec<Bytes>, MailboxError> {
        let wait_ms = u32::try_from(MAILBOX_WAIT_MAX.as_millis()).expect("seconds fit");
        let reply = self.ask(Wait { id: 0, name, token, from, wait_ms }.into()).await?;
        let MailboxReply::Messages(messages) = reply else { return Err(MailboxError::Unreachable) };
        Ok(messages.messages.0)
    }

    /// Removes the mailbox.
    pub(crate) async fn burn(&self, name: MailboxName, token: Token) -> Result<(), MailboxError> {
        let reply = self.ask(Burn { id: 0, name, token }.into()).await?;
        let MailboxReply::Done(_) = reply else { return Err(MailboxError::Unreachable) };
        Ok(())
    }

    /// Sends one request, numbered by whoever carries it, and waits for its answer.
    async fn ask(&self, request: MailboxRequest) -> Result<MailboxReply, MailboxError> {
        let patience = match &request {
            MailboxRequest::Wait(_) => MAILBOX_WAIT_MAX + ANSWER_TIMEOUT,
            MailboxRequest::Create(_)
            | MailboxRequest::Claim(_)
            | MailboxRequest::Post(_)
            | MailboxRequest::Burn(_) => ANSWER_TIMEOUT,
        };
        let answer = async {
            match self {
                Self::Http(mailboxes) => mailboxes.ask(request, patience).await,
                Self::Frames(mailboxes) => mailboxes.ask(request).await,
                Self::Own(mailbox) => {
                    let answer = mailbox.answer(request).await;
                    if let MailboxReply::Refused(refused) = answer { Err(refused.into()) } else { Ok(answer) }
                }
            }
        };
        tokio::time::timeout(patience, answer).await.unwrap_or(Err(MailboxError::Unreachable))
    }

    /// Says goodbye, so that the relay need not wait for a silence.
    pub(crate) async fn close(self) {
        match self {
            Self::Http(_) | Self::Own(_) => {}
            Self::Frames(mailboxes) => mailboxes.close().await,
        }
    }
}

/// How long a mailbox lives by its relay's word. None outlives an invite.
fn lifetime(expires_in_s: u32) -> Duration {
    Duration::from_secs(expires_in_s.into()).min(INVITE_TTL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_stretches_neither_an_invite_nor_a_pause() {
        assert_eq!(lifetime(30), Duration::from_secs(30));
        assert_eq!(lifetime(u32::MAX), INVITE_TTL);
        let code = ErrorCode::RateLimited.number();
        let after = |retry_after_ms| MailboxError::from(Refused { id: 1, code, retry_after_ms });
        let refused = |retry_after| MailboxError::Refused { code: ErrorCode::RateLimited, retry_after };
        assert_eq!([after(0), after(1_000)], [refused(None), refused(Some(Duration::from_secs(1)))]);
        assert_eq!(after(u32::MAX), refused(Some(RETRY_AFTER_MAX)));
    }
}
