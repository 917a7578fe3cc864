//! A relay's double: mailboxes that record what is left in them, and hand out something else.
//!
//! It answers over HTTP and by frames, as relays do, and as honestly but for one message of each pairing. It knows no
//! group and carries no blob.

mod http;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use iroh::{Endpoint, RelayMode, SecretKey, endpoint::presets};
use sync_core::pairing::hostile::Middle;
use sync_types::{
    ErrorCode, FrameBuffer,
    invite::MailboxName,
    limits::ALPN_INVITE,
    mailbox::{Burn, Claim, Claimed, Create, Created, Done, MailboxReply, MailboxRequest, Messages, Post, Token, Wait},
    message::Refused,
};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

/// What is done to the one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trick {
    /// Nothing.
    None,
    /// One bit is flipped, so many thousandths of the way through.
    Flip(usize),
    /// So many thousandths of it are left.
    Cut(usize),
    /// A byte is added.
    Longer,
    /// Another of this pairing's messages comes in its place. The one before is what its reader said itself.
    Instead(u8),
    /// Another comes before it.
    Behind(u8),
    /// The same message of another pairing, which is over.
    Foreign(Bytes),
    /// The same message of the other pairing that is under way, which gets this one's.
    Crossed,
    /// It is never handed out, though whoever left it was told that all is well.
    Withheld,
    /// Whoever leaves it is never answered.
    Swallowed,
    /// Whoever leaves it is told this.
    Refused(ErrorCode),
    /// Nothing is removed when it should be, and whoever comes next may begin anew.
    AnotherGuess,
    /// So many times, whoever comes to open a mailbox is told that there is one of its name.
    Taken(usize),
}

/// See the [module](self).
pub(crate) struct Double {
    inner: Arc<Inner>,
    http: SocketAddr,
    frames: Option<(Endpoint, SocketAddr)>,
    serving: JoinSet<()>,
}

struct Inner {
    trick: Mutex<(u8, Trick)>,
    lifetime_s: u32,
    mailboxes: Mutex<BTreeMap<MailboxName, Mail>>,
    /// The names of those that were not opened.
    taken: Mutex<Vec<MailboxName>>,
    /// With every message, and when a mailbox goes.
    changed: watch::Sender<()>,
    /// Whether the trick was played.
    played: watch::Sender<bool>,
    /// Somebody who has the code and stands between the two, and what they handed on.
    between: Mutex<Option<(Middle, Vec<Bytes>)>>,
}

struct Mail {
    ends: Instant,
    joiner: Option<Token>,
    messages: Vec<Bytes>,
    gone: bool,
}

impl Double {
    /// One that does this to the message of that number, and whose mailboxes live for so many seconds.
    pub(crate) async fn new(at: u8, trick: Trick, lifetime_s: u32) -> Self {
        let inner = Arc::new(Inner {
            trick: Mutex::new((at, trick)),
            lifetime_s,
            mailboxes: Mutex::default(),
            taken: Mutex::default(),
            changed: watch::Sender::new(()),
            played: watch::Sender::new(false),
            between: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let http = listener.local_addr().expect("bound");
        let mut serving = JoinSet::new();
        serving.spawn(http::serve(Arc::clone(&inner), listener));
        Self { inner, http, frames: None, serving }
    }

    /// It answers frames as well.
    pub(crate) async fn with_frames(mut self) -> Self {
        let endpoint = Endpoint::builder(presets::Minimal)
            .secret_key(SecretKey::from_bytes(&[0xD0; 32]))
            .relay_mode(RelayMode::Disabled)
            .alpns(vec![ALPN_INVITE.to_vec()])
            .bind()
            .await
            .expect("a free port");
        let port = endpoint.bound_sockets().iter().find(|socket| socket.is_ipv4()).expect("IPv4").port();
        self.serving.spawn(serve_frames(Arc::clone(&self.inner), endpoint.clone()));
        self.frames = Some((endpoint, SocketAddr::from(([127, 0, 0, 1], port))));
        self
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Its address for those who reach it by frames.
    pub(crate) fn direct(&self) -> String {
        let (endpoint, place) = self.frames.as_ref().expect("it answers frames");
        format!("{}@{place}", endpoint.id())
    }

    /// Every message of the only pairing, as it was left.
    pub(crate) fn record(&self) -> Vec<Bytes> {
        let mailboxes = self.inner.mailboxes();
        let [mail] = &mailboxes.values().collect::<Vec<_>>()[..] else { panic!("one pairing") };
        mail.messages.clone()
    }

    /// The name of the only mailbox, if one was opened, and those that were said to be taken.
    pub(crate) fn names(&self) -> (Option<MailboxName>, Vec<MailboxName>) {
        let mailboxes = self.inner.mailboxes();
        assert!(mailboxes.len() <= 1, "one pairing");
        (mailboxes.keys().next().copied(), self.inner.taken().clone())
    }

    /// From now on somebody stands between the two who has the code.
    pub(crate) fn stand_between(&self, middle: Middle) {
        *self.inner.between.lock().expect("no panics here") = Some((middle, Vec::new()));
    }

    /// No more tricks.
    pub(crate) fn behave(&self) {
        self.inner.trick.lock().expect("no panics here").1 = Trick::None;
    }

    /// Waits until the trick was played.
    pub(crate) async fn has_played(&self) {
        let _ = self.inner.played.subscribe().wait_for(|played| *played).await;
    }

    pub(crate) fn was_played(&self) -> bool {
        *self.inner.played.borrow()
    }
}

impl Inner {
    fn mailboxes(&self) -> MutexGuard<'_, BTreeMap<MailboxName, Mail>> {
        self.mailboxes.lock().expect("no panics here")
    }

    fn taken(&self) -> MutexGuard<'_, Vec<MailboxName>> {
        self.taken.lock().expect("no panics here")
    }

    /// What is done to this message.
    fn trick(&self, index: usize) -> Trick {
        let (at, trick) = &*self.trick.lock().expect("no panics here");
        if usize::from(*at) == index { trick.clone() } else { Trick::None }
    }

    fn gives_another_guess(&self) -> bool {
        self.trick.lock().expect("no panics here").1 == Trick::AnotherGuess
    }

    fn plays(&self) {
        self.played.send_replace(true);
    }

    async fn answer(&self, request: MailboxRequest) -> MailboxReply {
        let (id, reply) = match request {
            MailboxRequest::Create(Create { id, name, message, .. }) => (id, self.create(id, name, message)),
            MailboxRequest::Claim(Claim { id, name, token }) => (id, self.claim(id, name, token).await),
            MailboxRequest::Post(Post { id, name, index, message, .. }) => {
                (id, self.post(id, name, index.into(), message).await)
            }
            MailboxRequest::Wait(Wait { id, name, from, wait_ms, .. }) => {
                let patience = Duration::from_millis(wait_ms.into());
                let waited = timeout(patience, self.hand_out(name, from.into())).await.unwrap_or(Ok(Vec::new()));
                (id, waited.map(|messages| Messages { id, messages: messages.into() }.into()))
            }
            MailboxRequest::Burn(Burn { id, name, .. }) => (id, self.burn(id, name)),
        };
        reply.unwrap_or_else(|code| Refused { id, code: code.number(), retry_after_ms: 0 }.into())
    }

    fn create(&self, id: u32, name: MailboxName, message: Bytes) -> Result<MailboxReply, ErrorCode> {
        if let Trick::Taken(times) = self.trick(0)
            && self.taken().len() < times
        {
            self.taken().push(name);
            self.plays();
            return Err(ErrorCode::InviteNameTaken);
        }
        let ends = Instant::now() + Duration::from_secs(self.lifetime_s.into());
        let mail = Mail { ends, joiner: None, messages: vec![message], gone: false };
        self.mailboxes().insert(name, mail);
        self.changed.send_replace(());
        Ok(Created { id, expires_in_s: self.lifetime_s }.into())
    }

    async fn claim(&self, id: u32, name: MailboxName, token: Token) -> Result<MailboxReply, ErrorCode> {
        {
            let mut mailboxes = self.mailboxes();
            let mail = mailboxes.get_mut(&name).filter(|mail| !mail.gone).ok_or(ErrorCode::InviteNotFound)?;
            let is_another = *mail.joiner.get_or_insert(token) != token;
            if is_another && !self.gives_another_guess() {
                return Err(ErrorCode::InviteClaimed);
            }
            if is_another {
                mail.joiner = Some(token);
                mail.messages.truncate(1);
                self.plays();
            }
        }
        let messages = self.hand_out(name, 0).await?;
        let left = self.mailboxes()[&name].ends.saturating_duration_since(Instant::now()).as_secs();
        let expires_in_s = u32::try_from(left).expect("short");
        Ok(Claimed { id, expires_in_s, message: messages[0].clone() }.into())
    }

    async fn post(&self, id: u32, name: MailboxName, index: usize, message: Bytes) -> Result<MailboxReply, ErrorCode> {
        let trick = self.trick(index);
        if trick == Trick::Swallowed {
            self.plays();
            return std::future::pending().await;
        }
        if let Trick::Refused(code) = trick {
            self.plays();
            return Err(code);
        }
        let mut mailboxes = self.mailboxes();
        let mail = mailboxes.get_mut(&name).filter(|mail| !mail.gone).ok_or(ErrorCode::InviteNotFound)?;
        if mail.messages.len() == index {
            mail.messages.push(message);
            self.changed.send_replace(());
        }
        Ok(Done { id }.into())
    }

    fn burn(&self, id: u32, name: MailboxName) -> Result<MailboxReply, ErrorCode> {
        if !self.gives_another_guess() {
            let mut mailboxes = self.mailboxes();
            mailboxes.get_mut(&name).filter(|mail| !mail.gone).ok_or(ErrorCode::InviteNotFound)?.gone = true;
            self.changed.send_replace(());
        }
        Ok(Done { id }.into())
    }

    /// The message of this number once it is there, or what is handed out in its place.
    async fn hand_out(&self, name: MailboxName, index: usize) -> Result<Vec<Bytes>, ErrorCode> {
        let message = self.left(|other| *other == name, index).await?;
        if let Some((middle, handed_on)) = &mut *self.between.lock().expect("no panics here") {
            // Each message once, and one after the other.
            if handed_on.len() == index {
                let number = u8::try_from(index).expect("a few");
                handed_on.push(middle.hand_on(number, &message));
            }
            return Ok(vec![handed_on[index].clone()]);
        }
        let trick = self.trick(index);
        let per_mille = |of: usize| (message.len() * of / 1_000).min(message.len() - 1);
        let earlier = |index: u8| self.mailboxes()[&name].messages[usize::from(index)].clone();
        let handed = match trick {
            Trick::None | Trick::Swallowed | Trick::Refused(_) | Trick::AnotherGuess | Trick::Taken(_) => {
                return Ok(vec![message]);
            }
            Trick::Flip(at) => {
                let mut altered = message.to_vec();
                altered[per_mille(at)] ^= 0x10;
                vec![altered.into()]
            }
            Trick::Cut(to) => vec![message.slice(..per_mille(to))],
            Trick::Longer => vec![[&message[..], &[0]].concat().into()],
            Trick::Instead(other) => vec![earlier(other)],
            Trick::Behind(other) => vec![earlier(other), message],
            Trick::Foreign(other) => vec![other],
            Trick::Crossed => vec![self.left(|other| *other != name, index).await?],
            Trick::Withheld => {
                self.plays();
                // It ends with the mailbox, as everything.
                self.left(|other| *other == name, usize::MAX).await?;
                unreachable!("nobody leaves so many")
            }
        };
        self.plays();
        Ok(handed)
    }

    /// The message of this number, as it was left in the one mailbox that is meant.
    async fn left(&self, meant: impl Fn(&MailboxName) -> bool, index: usize) -> Result<Bytes, ErrorCode> {
        let mut changed = self.changed.subscribe();
        loop {
            {
                let mailboxes = self.mailboxes();
                if let Some((_, mail)) = mailboxes.iter().find(|(name, _)| meant(name)) {
                    match mail.messages.get(index) {
                        // What was left in another mailbox can be handed out whatever became of that.
                        Some(message) if !mail.gone || self.trick(index) == Trick::Crossed => {
                            return Ok(message.clone());
                        }
                        _ if mail.gone => return Err(ErrorCode::InviteNotFound),
                        _ => {}
                    }
                }
            }
            let _ = changed.changed().await;
        }
    }
}

async fn serve_frames(inner: Arc<Inner>, endpoint: Endpoint) {
    let mut lines = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        let inner = Arc::clone(&inner);
        lines.spawn(async move {
            let Ok(connection) = incoming.await else { return };
            let Ok((mut send, mut recv)) = connection.accept_bi().await else { return };
            let mut frames = FrameBuffer::default();
            while let Ok(Some(chunk)) = recv.read_chunk(64 * 1024).await {
                frames.extend(&chunk);
                while let Ok(Some(frame)) = frames.next_frame() {
                    let request = MailboxRequest::from_frame(&frame).expect("a client's request");
                    let reply = inner.answer(request).await;
                    if send.write_chunk(reply.to_frame()).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}
