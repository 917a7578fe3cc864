//! One mailbox, as one side of a pairing uses it.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use sync_core::pairing::PairingInput;
use sync_types::{ErrorCode, invite::MailboxName, mailbox::Token};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    error::ClientError,
    mailbox::{MailboxError, Mailboxes},
};

/// How long to leave a relay alone that doesn't answer.
const RETRY: Duration = Duration::from_millis(500);
/// How long before its end a mailbox that is not there any more counts as over: its keeper counts whole seconds, and
/// either side may see to it first.
const OVER: Duration = Duration::from_secs(2);
/// Between two long polls, in case one ends at once.
const POLL_GAP: Duration = Duration::from_millis(50);

/// Which of an invite's rooms somebody came to first: the pairing goes on there.
#[derive(Clone, Default)]
pub(super) struct Chosen(Arc<OnceLock<usize>>);

impl Chosen {
    /// Whether it is this one, which it is if no other was before.
    fn is(&self, place: usize) -> bool {
        *self.0.get_or_init(|| place) == place
    }

    pub(super) fn get(&self) -> Option<usize> {
        self.0.get().copied()
    }
}

/// See the [module](self).
pub(super) struct Room {
    mailboxes: Arc<Mailboxes>,
    name: MailboxName,
    token: Token,
    inputs: mpsc::Sender<PairingInput>,
    /// Its place among an invite's rooms.
    place: usize,
    chosen: Chosen,
    listening: Option<JoinHandle<()>>,
    burnt: bool,
    /// When its keeper removes it.
    pub(super) ends: Instant,
}

impl Room {
    pub(super) fn new(
        mailboxes: Mailboxes,
        (name, token): (MailboxName, Token),
        lifetime: Duration,
        inputs: mpsc::Sender<PairingInput>,
    ) -> Self {
        Self {
            mailboxes: Arc::new(mailboxes),
            name,
            token,
            inputs,
            place: 0,
            chosen: Chosen::default(),
            listening: None,
            burnt: false,
            ends: Instant::now() + lifetime,
        }
    }

    /// One of several.
    pub(super) fn one_of(mut self, chosen: &Chosen, place: usize) -> Self {
        (self.chosen, self.place) = (chosen.clone(), place);
        self
    }

    /// Leaves a message, however often it takes while the mailbox lives. Returns what the state machine has to hear
    /// of if there is no mailbox any more, or its time is over.
    pub(super) async fn post(&mut self, index: u8, message: Bytes) -> Result<Option<PairingInput>, ClientError> {
        self.hush().await;
        loop {
            match self.mailboxes.post(self.name, self.token, index, message.clone()).await {
                Ok(()) => return Ok(None),
                Err(MailboxError::Refused { code: ErrorCode::InviteNotFound, .. }) => {
                    return Ok(Some(gone(self.ends)));
                }
                Err(error) => match pause(error) {
                    Some(pause) if pause < self.left() => tokio::time::sleep(pause).await,
                    // Nobody has answered, and nobody will in time.
                    Some(_) if error == MailboxError::Unreachable => return Ok(Some(PairingInput::Expired)),
                    Some(_) | None => return Err(error.into()),
                },
            }
        }
    }

    /// How long the mailbox still lives.
    fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// From now on, the message of this number becomes an input when it comes; so does the mailbox's end.
    pub(super) async fn listen(&mut self, from: u8) {
        self.hush().await;
        let (mailboxes, inputs) = (Arc::clone(&self.mailboxes), self.inputs.clone());
        let (name, token, ends, chosen, place) = (self.name, self.token, self.ends, self.chosen.clone(), self.place);
        self.listening = Some(tokio::spawn(async move {
            let input = loop {
                match mailboxes.wait(name, token, from).await.map(|messages| messages.into_iter().next()) {
                    Ok(Some(bytes)) => break PairingInput::Message { index: from, bytes },
                    Ok(None) => tokio::time::sleep(POLL_GAP).await,
                    Err(error) => match pause(error) {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => break gone(ends),
                    },
                }
            };
            if chosen.is(place) {
                // A pairing that is over needs no more inputs.
                let _ = inputs.send(input).await;
            }
        }));
    }

    /// Removes the mailbox. If that fails it goes by itself when its time is over.
    pub(super) async fn burn(&mut self) {
        self.hush().await;
        self.burnt = true;
        if let Err(error) = self.mailboxes.burn(self.name, self.token).await {
            tracing::debug!(?error, "an invite could not be removed");
        }
    }

    /// Whether it was removed from here.
    pub(super) fn is_burnt(&self) -> bool {
        self.burnt
    }

    /// Stops listening, and lets go of the line for somebody else.
    pub(super) async fn hush(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
            // Cancelled, or done: either is what was wanted.
            let _ = listening.await;
        }
    }

    /// Lets its keeper go.
    pub(super) async fn leave(mut self) {
        self.hush().await;
        if let Some(mailboxes) = Arc::into_inner(self.mailboxes) {
            mailboxes.close().await;
        }
    }
}

/// What it means that a mailbox of which this was to be the end is not there.
fn gone(ends: Instant) -> PairingInput {
    if ends.saturating_duration_since(Instant::now()) < OVER { PairingInput::Expired } else { PairingInput::Gone }
}

/// How long to wait before the same again, if that may help.
fn pause(error: MailboxError) -> Option<Duration> {
    match error {
        MailboxError::Unreachable => Some(RETRY),
        MailboxError::Refused { code: ErrorCode::RateLimited, retry_after } => Some(retry_after.unwrap_or(RETRY)),
        MailboxError::Refused { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::random::random;

    /// Answers one request on each connection, whatever it is, with this.
    async fn relay_that_says(answer: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_relay_that_wants_to_be_asked_again_at_the_end_of_time_is_not_waited_for() {
        let body = r#"{"error":{"code":"rate_limited","message":""}}"#;
        let head = format!("HTTP/1.1 429 Slow Down\r\nretry-after: {}\r\ncontent-length: {}", u64::MAX, body.len());
        let answer = format!("{head}\r\nconnection: close\r\n\r\n{body}");
        let address = relay_that_says(answer).await.parse().expect("an address");
        let mailboxes = Mailboxes::at(&address, &crate::resolve::http_client().expect("builds"));
        let (inputs, _) = mpsc::channel(1);
        let name = MailboxName::from_random(random());
        let mut room = Room::new(mailboxes, (name, Token::from_bytes(random())), Duration::from_secs(30), inputs);
        let refused = room.post(2, Bytes::from_static(b"message")).await.expect_err("there is no such time");
        assert_eq!(refused.code(), ErrorCode::RateLimited);
    }
}
