//! Letting a device in, and being let in, one at a time.
//!
//! A pairing is a task that asks and is answered: it tells a listener what to show, and waits for a person's yes or no.
//! Another one takes its place, which declines the first. Whoever says yes says to which digits, so that nobody approves
//! a device that came while they were still comparing those of another.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use sync_client::{ClientError, ErrorCode, InviteEvent, InviteSession, JoinEvent, JoinSession, SyncClient, qr};
use tokio::sync::{mpsc, oneshot};

use crate::{error::BridgeError, handle::locked};

/// A person answers once; more are of no use to anybody.
const ANSWERS_MAX: usize = 4;

/// Which side of a pairing this device is.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairRequest {
    /// Let another device in.
    Create,
    /// Be let in, with the code or link that the other device shows.
    Join(String),
}

/// An invite, to be shown.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Invite {
    /// To type. None where no relay answers: then there is only the link.
    pub code: Option<String>,
    /// To open, paste or scan.
    pub link: String,
    /// The link as a picture, dark on white.
    pub qr_svg: Option<String>,
    /// When it ceases to work, in Unix milliseconds.
    pub expires_at: u64,
}

/// What a pairing came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// The group.
    pub group_id: String,
    /// Who joined: the other device, or, to the one that joined, itself.
    pub device_id: String,
    /// What that device calls itself; none of this device.
    pub name: Option<String>,
}

/// What a pairing comes to, step by step, told apart by `kind`.
#[derive(Clone, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PairingEvent {
    /// Show this to the person at the other device.
    Invite(Invite),
    /// Nothing to do: the other device has not come yet, or is being looked for.
    Waiting,
    /// Ask whether the other screen shows the same digits.
    Digits {
        /// Six of them.
        digits: String,
        /// What the other device calls itself. Chosen by people: text to show, not to trust.
        name: String,
        /// What it says it runs on.
        platform: String,
    },
    /// The person here said yes; the other one is still to.
    Approved,
    /// Done. The last event.
    Joined(Joined),
    /// It came to nothing. The last event.
    Failed {
        /// Why.
        code: ErrorCode,
        /// The same for people.
        message: String,
    },
}

/// Whoever listens to a pairing.
pub(crate) type Listener = Box<dyn FnMut(PairingEvent) + Send>;

/// The pairing that is under way, if one is.
#[derive(Default)]
pub(crate) struct Desk(Mutex<Option<Running>>);

struct Running {
    answers: mpsc::Sender<()>,
    /// Those that this device shows.
    digits: Arc<Mutex<Option<String>>>,
}

/// How a pairing tells those who asked for it.
pub(crate) struct Begun {
    /// The invite, once it is open.
    pub(crate) invite: oneshot::Receiver<Invite>,
    /// How it ended.
    pub(crate) end: oneshot::Receiver<Result<Joined, BridgeError>>,
}

impl Desk {
    /// Begins one, on the client's runtime. One that is under way is over.
    pub(crate) fn begin(
        &self,
        client: SyncClient,
        request: PairRequest,
        scheme: String,
        listener: Listener,
    ) -> Result<Begun, BridgeError> {
        let session = match request {
            PairRequest::Create => Session::Invite(client.create_invite()?),
            PairRequest::Join(invite) => Session::Join(client.join(&invite)?),
        };
        let (answers, answered) = mpsc::channel(ANSWERS_MAX);
        let digits = Arc::default();
        *locked(&self.0) = Some(Running { answers, digits: Arc::clone(&digits) });
        let (opened, invite) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        let talk = Talk { client, scheme, listener, digits, opened: Some(opened) };
        tokio::spawn(async move {
            // Whoever asked may have stopped waiting.
            let _ = ended.send(talk.run(session, answered).await);
        });
        Ok(Begun { invite, end })
    }

    /// The person says that both screens show these digits.
    pub(crate) async fn approve(&self, digits: &str) -> Result<(), BridgeError> {
        let typed: String = digits.chars().filter(char::is_ascii_digit).collect();
        let (answers, shown) = match &*locked(&self.0) {
            Some(running) => (running.answers.clone(), locked(&running.digits).clone()),
            None => return Err(BridgeError::NothingToApprove),
        };
        match shown {
            None => Err(BridgeError::NothingToApprove),
            Some(shown) if shown != typed => Err(BridgeError::OtherDigits),
            Some(_) => answers.send(()).await.map_err(|_| BridgeError::NothingToApprove),
        }
    }

    /// The person says no, or wants to stop. Nothing happens where there is nothing to stop.
    pub(crate) fn deny(&self) {
        // The pairing declines when nobody can answer it any more.
        locked(&self.0).take();
    }
}

enum Session {
    Invite(InviteSession),
    Join(JoinSession),
}

/// What either side's session says.
enum Said {
    Invite(Invite),
    Digits { digits: String, name: String, platform: String },
    Joined(Joined),
    Failed(BridgeError),
}

impl Session {
    async fn next(&mut self, client: &SyncClient, scheme: &str) -> Said {
        let group = || client.group_id().map(|group| group.to_string());
        match self {
            Self::Invite(session) => match session.next().await {
                Some(InviteEvent::Invite { code, link, expires_at_s }) => {
                    let link = link.to_text(scheme);
                    Said::Invite(Invite {
                        code: code.map(|code| code.to_text()),
                        qr_svg: qr::svg(&link).ok(),
                        link,
                        expires_at: expires_at_s.saturating_mul(1_000),
                    })
                }
                Some(InviteEvent::Digits { digits, name, platform }) => {
                    Said::Digits { digits: digits.to_string(), name, platform }
                }
                Some(InviteEvent::Joined { device_id, name }) => match group() {
                    Ok(group_id) => {
                        Said::Joined(Joined { group_id, device_id: device_id.to_string(), name: Some(name) })
                    }
                    Err(error) => Said::Failed(error.into()),
                },
                Some(InviteEvent::Failed(error)) => Said::Failed(error.into()),
                None => Said::Failed(ClientError::Closed.into()),
            },
            Self::Join(session) => match session.next().await {
                Some(JoinEvent::Digits { digits, name, platform }) => {
                    Said::Digits { digits: digits.to_string(), name, platform }
                }
                Some(JoinEvent::Joined { group_id, device_id }) => Said::Joined(Joined {
                    group_id: group_id.to_string(),
                    device_id: device_id.to_string(),
                    name: None,
                }),
                Some(JoinEvent::Failed(error)) => Said::Failed(error.into()),
                None => Said::Failed(ClientError::Closed.into()),
            },
        }
    }

    async fn approve(&self) {
        match self {
            Self::Invite(session) => session.approve().await,
            Self::Join(session) => session.approve().await,
        }
    }
}

/// One pairing, from its first event to its last.
struct Talk {
    client: SyncClient,
    scheme: String,
    listener: Listener,
    digits: Arc<Mutex<Option<String>>>,
    opened: Option<oneshot::Sender<Invite>>,
}

impl Talk {
    async fn run(mut self, session: Session, answered: mpsc::Receiver<()>) -> Result<Joined, BridgeError> {
        let ended = self.converse(session, answered).await;
        locked(&self.digits).take();
        (self.listener)(match &ended {
            Ok(joined) => PairingEvent::Joined(joined.clone()),
            Err(error) => PairingEvent::Failed { code: error.code(), message: error.to_string() },
        });
        ended
    }

    async fn converse(
        &mut self,
        mut session: Session,
        mut answered: mpsc::Receiver<()>,
    ) -> Result<Joined, BridgeError> {
        if matches!(session, Session::Join(_)) {
            (self.listener)(PairingEvent::Waiting);
        }
        let mut approved = false;
        loop {
            tokio::select! {
                said = session.next(&self.client, &self.scheme) => match said {
                    Said::Invite(invite) => {
                        if let Some(opened) = self.opened.take() {
                            // Whoever asked may have stopped waiting.
                            let _ = opened.send(invite.clone());
                        }
                        (self.listener)(PairingEvent::Invite(invite));
                        (self.listener)(PairingEvent::Waiting);
                    }
                    Said::Digits { digits, name, platform } => {
                        *locked(&self.digits) = Some(digits.clone());
                        (self.listener)(PairingEvent::Digits { digits, name, platform });
                    }
                    Said::Joined(joined) => return Ok(joined),
                    Said::Failed(error) => return Err(error),
                },
                answer = answered.recv() => match answer {
                    Some(_) if approved => {}
                    Some(_) => {
                        approved = true;
                        session.approve().await;
                        (self.listener)(PairingEvent::Approved);
                    }
                    // Dropping the session declines.
                    None => return Err(BridgeError::PairingOver),
                },
            }
        }
    }
}
