//! Letting a device in, and being let in.
//!
//! sync-core decides ([`sync_core::pairing`]); here its messages are carried to and from a mailbox, a relay's or one that
//! the device that invites keeps itself; its questions put to a person, and its outcome made durable. Both sides are
//! streams of events with two answers, [`approve`](InviteSession::approve) and [`deny`](InviteSession::deny). Dropping a
//! session declines.

mod invite;
mod join;
mod room;
mod rooms;

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use sync_core::pairing::{Digits, PairingInput};
use sync_types::{DeviceId, ErrorCode, GroupId, Invite, InviteCode, InviteLink};
use tokio::sync::mpsc;

pub(crate) use self::join::enter;

use crate::{client::SyncClient, error::ClientError, mailbox::MailboxError};

/// Inputs that wait for the state machine. There are only ever a few.
const INPUTS_MAX: usize = 8;
/// A session has at most three events.
const EVENTS_MAX: usize = 4;

/// What an invite comes to, step by step.
#[derive(Debug)]
pub enum InviteEvent {
    /// Show one of these to the person at the other device. Whoever has either gets as far as the digits.
    Invite {
        /// To type. None where no relay answered: a code leads to one, while a link leads to this device, too.
        code: Option<InviteCode>,
        /// To open, paste or scan: see [`crate::qr`].
        link: InviteLink,
        /// When it ceases to work, in Unix seconds.
        expires_at_s: u64,
    },
    /// Somebody came with the invite. Ask whether the other screen shows the same digits.
    Digits {
        /// Six of them.
        digits: Digits,
        /// What the other device calls itself.
        name: String,
        /// What it says it runs on.
        platform: String,
    },
    /// The other device is in the group and knows it. The last event.
    Joined {
        /// Who it is.
        device_id: DeviceId,
        /// What it calls itself.
        name: String,
    },
    /// It came to nothing. The last event.
    Failed(ClientError),
}

/// What an attempt to join comes to, step by step.
#[derive(Debug)]
pub enum JoinEvent {
    /// The invite was right. Ask whether the other screen shows the same digits.
    Digits {
        /// Six of them.
        digits: Digits,
        /// What the other device calls itself.
        name: String,
        /// What it says it runs on.
        platform: String,
    },
    /// This device is in the group. The last event.
    Joined {
        /// Which group.
        group_id: GroupId,
        /// Who this device is there.
        device_id: DeviceId,
    },
    /// It came to nothing. The last event.
    Failed(ClientError),
}

macro_rules! session {
    ($(#[$doc:meta])* $name:ident, $event:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            inputs: mpsc::Sender<PairingInput>,
            events: mpsc::Receiver<$event>,
        }

        impl $name {
            /// The next event; none after the last.
            pub async fn next(&mut self) -> Option<$event> {
                self.events.recv().await
            }

            /// The person says that both screens show the same digits.
            pub async fn approve(&self) {
                self.answer(PairingInput::Approve).await;
            }

            /// The person says that they don't, or wants to stop.
            pub async fn deny(&self) {
                self.answer(PairingInput::Deny).await;
            }

            async fn answer(&self, input: PairingInput) {
                // A session that is over has told how it ended.
                let _ = self.inputs.send(input).await;
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // One that is over needs no answer, and one that nobody answers ends when its time is over.
                let _ = self.inputs.try_send(PairingInput::Deny);
            }
        }
    };
}

session! {
    /// An invite that is open. Dropping it declines whoever comes.
    InviteSession, InviteEvent
}
session! {
    /// An attempt to join that is under way. Dropping it declines.
    JoinSession, JoinEvent
}

impl SyncClient {
    /// Opens an invite, by short code and by link. While it is open, this device answers at addresses that the link
    /// names; so a link leads here without any relay, from where these can be reached. A profile without a group starts
    /// one first, with itself as its only member.
    ///
    /// # Errors
    /// `closed`. Everything else is told by [`InviteEvent::Failed`].
    pub fn create_invite(&self) -> Result<InviteSession, ClientError> {
        self.not_closed()?;
        let (inbox, inputs) = Inbox::new();
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let client = self.clone();
        tokio::spawn(async move {
            let last = match invite::run(client, inbox, &tell).await {
                Ok(joined) => joined,
                Err(error) => InviteEvent::Failed(error),
            };
            // Nobody may be listening any more.
            let _ = tell.send(last).await;
        });
        Ok(InviteSession { inputs, events })
    }

    /// Joins a group with the code or the link that one of its devices shows. A link is tried on that device itself
    /// first, then on the relays it names as well as on this profile's. Nothing of this device is shared before its
    /// person has approved; then the relays of the device that invites are added to this profile's own.
    ///
    /// # Errors
    /// `invalid_code`, `already_in_group`, `closed`. Everything else is told by [`JoinEvent::Failed`].
    pub fn join(&self, invite: &str) -> Result<JoinSession, ClientError> {
        let invite: Invite = invite.parse().map_err(|_| ClientError::Refused(ErrorCode::InvalidCode))?;
        match self.in_group() {
            Err(ClientError::NoGroup) => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(ClientError::AlreadyInGroup),
        }
        let (inbox, inputs) = Inbox::new();
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let client = self.clone();
        tokio::spawn(async move {
            let last = match join::run(client, invite, inbox, &tell).await {
                Ok(joined) => joined,
                Err(error) => JoinEvent::Failed(error),
            };
            // Nobody may be listening any more.
            let _ = tell.send(last).await;
        });
        Ok(JoinSession { inputs, events })
    }
}

/// Where a state machine's inputs come together: the person's answers and the other side's messages.
struct Inbox {
    inputs: mpsc::Receiver<PairingInput>,
    messages: mpsc::Sender<PairingInput>,
}

impl Inbox {
    fn new() -> (Self, mpsc::Sender<PairingInput>) {
        let (sender, inputs) = mpsc::channel(INPUTS_MAX);
        (Self { inputs, messages: sender.clone() }, sender)
    }

    /// The next input.
    async fn next(&mut self, ends: Instant) -> PairingInput {
        let next = tokio::time::timeout_at(ends.into(), self.inputs.recv()).await;
        next.map_or(PairingInput::Expired, |input| input.expect("this side of the channel holds a sender, too"))
    }

    /// Waits for some work to be done, unless an input comes meanwhile that leads to something else: a person stops, or
    /// time is over. A relay that doesn't answer keeps nobody.
    async fn meanwhile<T, A>(
        &mut self,
        ends: Instant,
        work: impl Future<Output = T>,
        mut hear: impl FnMut(PairingInput) -> Vec<A>,
    ) -> Result<T, Vec<A>> {
        let mut work = pin!(work);
        loop {
            let input = tokio::select! {
                done = &mut work => return Ok(done),
                input = self.next(ends) => input,
            };
            let over = matches!(input, PairingInput::Expired);
            let actions = hear(input);
            if !actions.is_empty() {
                return Err(actions);
            }
            // Time is over only once.
            if over {
                return Ok(work.await);
            }
        }
    }
}

impl From<MailboxError> for ClientError {
    fn from(error: MailboxError) -> Self {
        match error {
            MailboxError::Unreachable => Self::Offline,
            MailboxError::Refused { code, retry_after: _ } => Self::Refused(code),
        }
    }
}

/// When something of that age ends, by the device's clock in Unix seconds.
fn unix_s_in(duration: Duration) -> u64 {
    crate::clock::wall_ms() / 1_000 + duration.as_secs()
}
