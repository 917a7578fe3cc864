//! The mailbox that this device keeps itself for an invite of its own.
//!
//! It answers the frames of a relay's, by the same rules, whether they come from the other device (see
//! [`super::door`]) or from the pairing on this one. If a relay has a mailbox for the same invite, who claims this one
//! claims that as well, under the same token: only one joiner has the invite, whichever way it came, and it may go on
//! the other way.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use sync_types::{
    ErrorCode, RequestId,
    invite::MailboxName,
    limits::{INVITE_TTL, MAILBOX_WAIT_MAX},
    mailbox::{Claim, Claimed, Done, Mailbox, MailboxReply, MailboxRequest, Messages, Side, Token, Wait},
    message::Refused,
};
use tokio::{sync::watch, time::timeout};

use super::{MailboxError, Mailboxes};
use crate::random::random;

/// How long a joiner waits for the relay's word. A relay that takes longer is done without, and hears of the joiner all
/// the same: the pairing itself takes one joiner only.
const ELSEWHERE_MAX: Duration = Duration::from_secs(3);

/// See the [module](self).
pub(crate) struct OwnMailbox {
    name: MailboxName,
    ends: Instant,
    /// Nothing, once it is used up.
    kept: Mutex<Option<Mailbox>>,
    /// Changes with every message, and at the end.
    changed: watch::Sender<()>,
    /// Whether somebody has heard that it is used up.
    told: watch::Sender<bool>,
    /// Where the relay keeps the invite's other mailbox.
    elsewhere: Option<Arc<Mailboxes>>,
    /// Held by whoever is about to claim.
    claiming: tokio::sync::Mutex<()>,
}

impl OwnMailbox {
    /// Opens it with the first message, and the relay that has a mailbox for the same invite.
    pub(crate) fn open(
        (name, creator): (MailboxName, Token),
        message: Bytes,
        elsewhere: Option<Mailboxes>,
    ) -> Result<Self, MailboxError> {
        let mailbox = Mailbox::open(creator, message).map_err(|code| MailboxError::refused(code, None))?;
        Ok(Self {
            name,
            ends: Instant::now() + INVITE_TTL,
            kept: Mutex::new(Some(mailbox)),
            changed: watch::Sender::new(()),
            told: watch::Sender::new(false),
            elsewhere: elsewhere.map(Arc::new),
            claiming: tokio::sync::Mutex::default(),
        })
    }

    /// What a relay would answer.
    pub(crate) async fn answer(&self, request: MailboxRequest) -> MailboxReply {
        let (id, reply): (RequestId, Result<MailboxReply, ErrorCode>) = match request {
            // It is open already, and no stranger may open another here.
            MailboxRequest::Create(create) => (create.id, Err(ErrorCode::Unsupported)),
            MailboxRequest::Claim(claim) => (claim.id, self.claim(claim).await.map(MailboxReply::from)),
            MailboxRequest::Post(post) => {
                let posted = self.enter(post.name, &post.token, |mailbox, side| {
                    mailbox.post(side, post.index, post.message, usize::MAX)
                });
                let posted = posted.flatten().inspect(|_| self.changed.send_replace(()));
                (post.id, posted.map(|_| Done { id: post.id }.into()))
            }
            MailboxRequest::Wait(wait) => (wait.id, self.wait(wait).await.map(MailboxReply::from)),
            MailboxRequest::Burn(burn) => {
                let may = self.enter(burn.name, &burn.token, |_, _| ());
                (burn.id, may.map(|()| self.end()).map(|()| Done { id: burn.id }.into()))
            }
        };
        reply.unwrap_or_else(|code| {
            if code == ErrorCode::InviteNotFound && self.is_gone() {
                self.told.send_replace(true);
            }
            Refused { id, code: code.number(), retry_after_ms: 0 }.into()
        })
    }

    /// Takes the joiner's side itself, if nobody has it: who comes from now on is too late.
    pub(crate) fn occupy(&self) {
        let nobody = Token::from_bytes(random());
        let _ = self.with(|mailbox| mailbox.claim(&nobody));
    }

    /// Whether it is used up.
    pub(crate) fn is_gone(&self) -> bool {
        self.lock().is_none()
    }

    /// Waits until it is used up.
    pub(crate) async fn gone(&self) {
        let mut changed = self.changed.subscribe();
        let _ = changed.wait_for(|()| self.is_gone()).await;
    }

    /// Waits until somebody has heard that it is used up.
    pub(crate) async fn told(&self) {
        let _ = self.told.subscribe().wait_for(|told| *told).await;
    }

    /// Ends it, whoever takes part.
    pub(crate) fn end(&self) {
        *self.lock() = None;
        self.changed.send_replace(());
    }

    /// Lets the relay go.
    pub(crate) async fn close(self) {
        if let Some(relay) = self.elsewhere.and_then(Arc::into_inner) {
            relay.close().await;
        }
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed, ErrorCode> {
        if claim.name != self.name {
            return Err(ErrorCode::InviteNotFound);
        }
        let _claiming = self.claiming.lock().await;
        if !self.with(|mailbox| mailbox.is_claimed())? {
            self.claim_elsewhere(claim.token).await?;
        }
        let message = self.with(|mailbox| mailbox.claim(&claim.token)).flatten()?;
        let left = self.ends.saturating_duration_since(Instant::now()).as_secs();
        Ok(Claimed { id: claim.id, expires_in_s: u32::try_from(left).unwrap_or(u32::MAX), message })
    }

    /// A relay that has given the invite to somebody else says so. One that says anything else, or nothing, has not.
    async fn claim_elsewhere(&self, token: Token) -> Result<(), ErrorCode> {
        let Some(relay) = &self.elsewhere else { return Ok(()) };
        let asked = tokio::spawn(claim_at(Arc::clone(relay), self.name, token));
        match timeout(ELSEWHERE_MAX, asked).await.map(|asked| asked.unwrap_or(Err(MailboxError::Unreachable))) {
            Ok(Err(MailboxError::Refused { code: ErrorCode::InviteClaimed, .. })) => Err(ErrorCode::InviteClaimed),
            Ok(Ok(_) | Err(_)) | Err(_) => Ok(()),
        }
    }

    async fn wait(&self, wait: Wait) -> Result<Messages, ErrorCode> {
        let mut changed = self.changed.subscribe();
        let read = || self.enter(wait.name, &wait.token, |mailbox, _| mailbox.messages_from(wait.from));
        let deadline = tokio::time::Instant::now() + Duration::from_millis(wait.wait_ms.into()).min(MAILBOX_WAIT_MAX);
        loop {
            let messages = read()?;
            if !messages.is_empty() || tokio::time::timeout_at(deadline, changed.changed()).await.is_err() {
                return Ok(Messages { id: wait.id, messages: messages.into() });
            }
        }
    }

    /// Does something with it for someone who should hold one of its tokens.
    fn enter<T>(
        &self,
        name: MailboxName,
        token: &Token,
        what: impl FnOnce(&mut Mailbox, Side) -> T,
    ) -> Result<T, ErrorCode> {
        let side = |mailbox: &mut Mailbox| mailbox.side(token).filter(|_| name == self.name);
        let done = self.with(|mailbox| side(mailbox).map(|side| what(mailbox, side)))?;
        done.ok_or(ErrorCode::InviteNotFound)
    }

    /// Does something with it while it lives.
    fn with<T>(&self, what: impl FnOnce(&mut Mailbox) -> T) -> Result<T, ErrorCode> {
        let mut kept = self.lock();
        let living = kept.as_mut().filter(|_| Instant::now() < self.ends);
        living.map(what).ok_or(ErrorCode::InviteNotFound)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Mailbox>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Asked = Pin<Box<dyn Future<Output = Result<(Duration, Bytes), MailboxError>> + Send>>;

/// In a box, because a mailbox that is asked might be of this kind, as far as the compiler knows.
fn claim_at(relay: Arc<Mailboxes>, name: MailboxName, token: Token) -> Asked {
    Box::pin(async move { relay.claim(name, token).await })
}

#[cfg(test)]
mod tests {
    use sync_types::mailbox::{Burn, Post};

    use super::*;

    const CREATOR: Token = Token::from_bytes([1; 16]);
    const JOINER: Token = Token::from_bytes([2; 16]);
    const STRANGER: Token = Token::from_bytes([3; 16]);

    fn name() -> MailboxName {
        MailboxName::from_random([1; 5])
    }

    fn opened() -> OwnMailbox {
        let opened = OwnMailbox::open((name(), CREATOR), Bytes::from_static(b"m0"), None);
        opened.unwrap_or_else(|error| panic!("{error:?}"))
    }

    async fn refused(mailbox: &OwnMailbox, request: impl Into<MailboxRequest>) -> Option<ErrorCode> {
        let answer = mailbox.answer(request.into()).await;
        if let MailboxReply::Refused(refused) = answer { Some(refused.error()) } else { None }
    }

    fn claim(token: Token) -> Claim {
        Claim { id: 1, name: name(), token }
    }

    fn wait(token: Token, from: u8) -> Wait {
        Wait { id: 1, name: name(), token, from, wait_ms: 25_000 }
    }

    #[tokio::test]
    async fn one_joiner_has_it_and_the_two_sides_hear_each_other() {
        let mailbox = opened();
        assert_eq!(refused(&mailbox, wait(JOINER, 0)).await, Some(ErrorCode::InviteNotFound), "not claimed yet");
        assert_eq!(refused(&mailbox, claim(JOINER)).await, None);
        assert_eq!(refused(&mailbox, claim(JOINER)).await, None, "asked again");
        assert_eq!(refused(&mailbox, claim(STRANGER)).await, Some(ErrorCode::InviteClaimed));
        assert_eq!(refused(&mailbox, wait(STRANGER, 0)).await, Some(ErrorCode::InviteNotFound));

        let post = Post { id: 2, name: name(), token: JOINER, index: 1, message: Bytes::from_static(b"m1") };
        let (heard, posted) = tokio::join!(mailbox.answer(wait(CREATOR, 1).into()), refused(&mailbox, post));
        assert_eq!(posted, None);
        let MailboxReply::Messages(heard) = heard else { panic!("{heard:?}") };
        assert_eq!(heard.messages.0, [Bytes::from_static(b"m1")]);

        let burn = Burn { id: 3, name: name(), token: STRANGER };
        assert_eq!(refused(&mailbox, burn).await, Some(ErrorCode::InviteNotFound));
        let burn = Burn { id: 3, name: name(), token: JOINER };
        let (heard, burnt) = tokio::join!(refused(&mailbox, wait(CREATOR, 2)), refused(&mailbox, burn));
        assert_eq!((heard, burnt), (Some(ErrorCode::InviteNotFound), None));
        assert!(mailbox.is_gone());
        mailbox.told().await;
    }

    #[tokio::test]
    async fn who_comes_after_somebody_else_came_by_a_relay_is_too_late() {
        let mailbox = opened();
        mailbox.occupy();
        assert_eq!(refused(&mailbox, claim(JOINER)).await, Some(ErrorCode::InviteClaimed));

        let mailbox = opened();
        assert_eq!(refused(&mailbox, claim(JOINER)).await, None);
        mailbox.occupy();
        assert_eq!(refused(&mailbox, claim(JOINER)).await, None, "who is there may stay");
    }
}
