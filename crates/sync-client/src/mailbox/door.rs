//! Where the other device reaches a mailbox that this one keeps.
//!
//! An endpoint with a key of its own, there for one invite and for as long as that is open. It talks to nobody by
//! itself. Whoever comes is a stranger until the mailbox knows its token: only a few are let in at once, none for long,
//! and one who asks for what isn't there is shown out.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use iroh::{
    Endpoint, SecretKey,
    endpoint::{Connection, Incoming, RecvStream, VarInt},
};
use sync_types::{
    DecodeError, ErrorCode, FrameBuffer, RawFrame,
    invite::Direct,
    limits::{ALPN_INVITE, LINK_ADDRESSES_MAX, MAILBOX_MESSAGE_LEN_MAX},
    mailbox::{MailboxReply, MailboxRequest},
    message::Refused,
};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout, timeout_at},
};

use super::OwnMailbox;
use crate::{random::random, transport};

/// Connections at once. A joiner has two for a moment.
const GUESTS_MAX: usize = 8;
/// How long somebody may stay whom the mailbox doesn't know, and how long a guest may take to take an answer in.
const STRANGER_MAX: Duration = Duration::from_secs(10);
/// How long guests may take to hear the last answer.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// How long the other device may take to read why a pairing ended.
const LAST_WORD_MAX: Duration = Duration::from_secs(5);
/// How long it may take to find out that it has ended.
const TELL_MAX: Duration = Duration::from_secs(2);
/// Largest request: a message, and what names it.
const REQUEST_LEN_MAX: usize = MAILBOX_MESSAGE_LEN_MAX + 1_024;
const READ_LEN: usize = 16 * 1024;
/// How a connection is closed once the invite is used up: `invite_not_found`, as a request would be answered.
pub(super) const OVER: VarInt = VarInt::from_u32(ErrorCode::InviteNotFound.number() as u32);

/// See the [module](self).
pub(crate) struct Door {
    endpoint: Endpoint,
    place: Direct,
    open: Option<Opened>,
}

struct Opened {
    mailbox: Arc<OwnMailbox>,
    accepting: JoinHandle<()>,
    /// Ends that.
    closing: oneshot::Sender<()>,
}

/// What the other device should know before this one is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Nothing, or there is none.
    None,
    /// That it is over.
    Over,
    /// What the last message says. It removes the mailbox then.
    LastWord,
}

impl Door {
    /// Makes one, if this machine has an address at all. Nobody is let in yet.
    pub(crate) async fn make() -> Option<Self> {
        let bound = transport::bind_answering(SecretKey::from_bytes(&random()), ALPN_INVITE).await;
        let endpoint = bound.inspect_err(|error| tracing::debug!(%error, "no socket for an invite")).ok()?;
        let addresses = offered(endpoint.addr().ip_addrs().copied().collect(), towards_elsewhere());
        if addresses.is_empty() {
            transport::close(&endpoint).await;
            return None;
        }
        let place = Direct { endpoint: *endpoint.id().as_bytes(), addresses };
        Some(Self { endpoint, place, open: None })
    }

    /// Where it is, for the link.
    pub(crate) fn place(&self) -> &Direct {
        &self.place
    }

    /// Lets whoever comes use this mailbox.
    pub(crate) fn open(&mut self, mailbox: Arc<OwnMailbox>) {
        let (closing, closed) = oneshot::channel();
        let accepting = tokio::spawn(accept(self.endpoint.clone(), Arc::clone(&mailbox), closed));
        self.open = Some(Opened { mailbox, accepting, closing });
    }

    /// Ends the mailbox and says goodbye. A device that can't be told finds out by itself, only later.
    pub(crate) async fn close(self, farewell: Farewell) {
        if let Some(Opened { mailbox, mut accepting, closing }) = self.open {
            if farewell == Farewell::LastWord {
                let _ = timeout(LAST_WORD_MAX, mailbox.gone()).await;
            }
            mailbox.end();
            if farewell == Farewell::Over {
                let _ = timeout(TELL_MAX, mailbox.told()).await;
            }
            drop(closing);
            if timeout(2 * GOODBYE_MAX, &mut accepting).await.is_err() {
                accepting.abort();
            }
        }
        transport::close(&self.endpoint).await;
    }
}

async fn accept(endpoint: Endpoint, mailbox: Arc<OwnMailbox>, mut closing: oneshot::Receiver<()>) {
    let mut guests = JoinSet::new();
    while let Some(Some(incoming)) = unless(async { drop((&mut closing).await) }, endpoint.accept()).await {
        while guests.try_join_next().is_some() {}
        if guests.len() < GUESTS_MAX {
            guests.spawn(receive(incoming, Arc::clone(&mailbox)));
        } else {
            incoming.refuse();
        }
    }
    while guests.join_next().await.is_some() {}
}

/// Serves one guest until it goes, is shown out, or the mailbox is used up.
async fn receive(incoming: Incoming, mailbox: Arc<OwnMailbox>) {
    let stranger_until = Instant::now() + STRANGER_MAX;
    let Ok(accepting) = incoming.accept() else { return };
    let Ok(Ok(connection)) = timeout_at(stranger_until, accepting).await else { return };
    converse(&connection, &mailbox, stranger_until).await;
    // Who was between two requests hears by this that the invite is over, and not only the connection.
    connection.close(if mailbox.is_gone() { OVER } else { VarInt::from_u32(0) }, b"");
}

/// One request after the other. Nothing is answered to bytes that are none.
async fn converse(connection: &Connection, mailbox: &OwnMailbox, stranger_until: Instant) -> Option<()> {
    let (mut send, mut recv) = timeout_at(stranger_until, connection.accept_bi()).await.ok()?.ok()?;
    let (mut frames, mut known) = (FrameBuffer::default(), false);
    loop {
        let request = next(&mut recv, &mut frames);
        let asked = match known {
            true => unless(mailbox.gone(), request).await,
            false => timeout_at(stranger_until, request).await.ok(),
        };
        let Some(asked) = asked else { break };
        let reply = unless(async { drop(connection.closed().await) }, answer(mailbox, &asked?)).await??;
        known |= !matches!(reply, MailboxReply::Refused(_));
        timeout(STRANGER_MAX, send.write_chunk(reply.to_frame())).await.ok()?.ok()?;
        if matches!(&reply, MailboxReply::Refused(refused) if refused.error() == ErrorCode::InviteNotFound) {
            break;
        }
    }
    send.finish().ok()?;
    // Closing at once could overtake the answer.
    let _ = timeout(GOODBYE_MAX, send.stopped()).await;
    Some(())
}

/// What comes of `what`, unless `stop` comes first.
async fn unless<T>(stop: impl Future<Output = ()>, what: impl Future<Output = T>) -> Option<T> {
    let (mut stop, mut what) = (std::pin::pin!(stop), std::pin::pin!(what));
    std::future::poll_fn(|context| match what.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => stop.as_mut().poll(context).map(|()| None),
    })
    .await
}

async fn next(recv: &mut RecvStream, frames: &mut FrameBuffer) -> Option<RawFrame> {
    let mut len = 0;
    loop {
        if let Some(frame) = frames.next_frame().ok()? {
            return Some(frame);
        }
        let chunk = recv.read_chunk(READ_LEN).await.ok()??;
        len += chunk.len();
        if len > REQUEST_LEN_MAX {
            return None;
        }
        frames.extend(&chunk);
    }
}

async fn answer(mailbox: &OwnMailbox, frame: &RawFrame) -> Option<MailboxReply> {
    match MailboxRequest::from_frame(frame) {
        Ok(request) => Some(mailbox.answer(request).await),
        Err(DecodeError::UnknownType { id, .. }) => {
            Some(Refused { id, code: ErrorCode::Unsupported.number(), retry_after_ms: 0 }.into())
        }
        Err(DecodeError::Malformed { .. }) => None,
    }
}

/// The addresses to offer, of all this machine has: first the one by which it reaches other networks, then those of IPv4,
/// which every local network has, then those of IPv6, then those that a machine gives itself where nobody else does.
/// A link-local address of IPv6 says nothing without the interface it belongs to.
fn offered(mut all: Vec<SocketAddr>, outward: Option<IpAddr>) -> Vec<SocketAddr> {
    all.retain(|address| match address.ip() {
        IpAddr::V4(ip) => !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_unicast_link_local(),
    });
    all.sort_by_key(|address| match address.ip() {
        ip if Some(ip) == outward => 0,
        IpAddr::V4(ip) if ip.is_link_local() => 3,
        IpAddr::V4(_) => 1,
        IpAddr::V6(_) => 2,
    });
    all.truncate(LINK_ADDRESSES_MAX);
    all
}

/// The address that packets to other networks leave from. None is sent to find out: the other end is one that
/// documents use for examples.
fn towards_elsewhere() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(203, 0, 113, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use iroh::{EndpointAddr, EndpointId, TransportAddr};
    use sync_types::{
        invite::MailboxName,
        mailbox::{Claim, Create, Token},
    };

    use super::*;
    use crate::mailbox::{MailboxError, Mailboxes};

    const SOON: Duration = Duration::from_secs(30);
    const CREATOR: Token = Token::from_bytes([1; 16]);
    const JOINER: Token = Token::from_bytes([2; 16]);

    fn name() -> MailboxName {
        MailboxName::from_random([1; 5])
    }

    async fn opened() -> (Door, Arc<OwnMailbox>) {
        let mut door = Door::make().await.expect("this machine has an address");
        let opened = OwnMailbox::open((name(), CREATOR), Bytes::from_static(b"m0"), None);
        let mailbox = Arc::new(opened.unwrap_or_else(|error| panic!("{error:?}")));
        door.open(Arc::clone(&mailbox));
        (door, mailbox)
    }

    /// Somebody who has the address, and says what they like.
    struct Guest {
        _endpoint: Endpoint,
        connection: Connection,
        send: iroh::endpoint::SendStream,
        recv: RecvStream,
    }

    impl Guest {
        async fn at(door: &Door) -> Option<Self> {
            let endpoint = transport::bind(SecretKey::from_bytes(&random())).await.expect("a socket");
            let id = EndpointId::from_bytes(&door.place.endpoint).expect("a key");
            let addresses = door.place.addresses.iter().copied().map(TransportAddr::Ip);
            let connecting = endpoint.connect(EndpointAddr::from_parts(id, addresses), ALPN_INVITE);
            let connection = timeout(SOON, connecting).await.ok()?.ok()?;
            let (send, recv) = connection.open_bi().await.ok()?;
            Some(Self { _endpoint: endpoint, connection, send, recv })
        }

        async fn ask(&mut self, request: impl Into<MailboxRequest>) -> MailboxReply {
            self.send.write_chunk(request.into().to_frame()).await.expect("taken");
            let frame = timeout(SOON, next(&mut self.recv, &mut FrameBuffer::default())).await.expect("in time");
            MailboxReply::from_frame(&frame.expect("an answer")).expect("a reply")
        }

        async fn is_shown_out(&self) {
            timeout(SOON, self.connection.closed()).await.expect("in time");
        }
    }

    fn refusal(reply: &MailboxReply) -> ErrorCode {
        let MailboxReply::Refused(refused) = reply else { panic!("{reply:?}") };
        refused.error()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stranger_finds_nothing_makes_nothing_and_is_shown_out() {
        let (door, mailbox) = opened().await;
        let mut stranger = Guest::at(&door).await.expect("let in");
        let create = Create { id: 1, name: name(), token: JOINER, message: Bytes::from_static(b"m0") };
        assert_eq!(refusal(&stranger.ask(create).await), ErrorCode::Unsupported);
        let claim = Claim { id: 2, name: MailboxName::from_random([2; 5]), token: JOINER };
        assert_eq!(refusal(&stranger.ask(claim).await), ErrorCode::InviteNotFound);
        stranger.is_shown_out().await;

        let mut babbler = Guest::at(&door).await.expect("let in");
        babbler.send.write_all(&[0xFF; 8]).await.expect("taken");
        babbler.is_shown_out().await;
        let silent = Guest::at(&door).await.expect("let in");
        let mut stuck = Guest::at(&door).await.expect("let in");
        stuck.send.write_all(&100u32.to_be_bytes()).await.expect("taken");
        tokio::join!(silent.is_shown_out(), stuck.is_shown_out());

        let mut guest = Guest::at(&door).await.expect("let in");
        let claimed = guest.ask(Claim { id: 3, name: name(), token: JOINER }).await;
        assert!(matches!(claimed, MailboxReply::Claimed(_)), "{claimed:?}");
        drop(mailbox);
        door.close(Farewell::None).await;
        guest.is_shown_out().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn so_many_are_let_in_at_once_and_no_more() {
        let (door, _mailbox) = opened().await;
        let mut guests = Vec::new();
        for _ in 0..GUESTS_MAX {
            let mut guest = Guest::at(&door).await.expect("let in");
            // Whoever has the invite may stay.
            guest.ask(Claim { id: 1, name: name(), token: JOINER }).await;
            guests.push(guest);
        }
        assert!(Guest::at(&door).await.is_none(), "full");
        guests.pop();
        let deadline = Instant::now() + SOON;
        while Guest::at(&door).await.is_none() {
            assert!(Instant::now() < deadline, "who goes makes room");
        }
        door.close(Farewell::None).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_was_between_two_requests_learns_at_once_that_it_is_over() {
        let (door, _mailbox) = opened().await;
        let joiner = Arc::new(Mailboxes::direct(door.place(), SOON).expect("an endpoint"));
        joiner.claim(name(), JOINER).await.unwrap_or_else(|error| panic!("{error:?}"));
        let asking = Arc::clone(&joiner);
        let waiting = tokio::spawn(async move { asking.wait(name(), JOINER, 1).await.map(drop) });
        tokio::time::sleep(Duration::from_millis(100)).await;
        waiting.abort();
        door.close(Farewell::Over).await;
        let asked = joiner.wait(name(), JOINER, 1).await;
        assert!(matches!(asked, Err(MailboxError::Refused { code: ErrorCode::InviteNotFound, .. })), "{asked:?}");
    }

    #[test]
    fn a_few_useful_addresses_are_offered_the_likeliest_first() {
        let all = [
            "[fe80::1]:1",
            "169.254.7.7:1",
            "[2001:db8::1]:2",
            "172.17.0.1:1",
            "10.9.0.1:1",
            "192.168.1.20:1",
            "[2001:db8::2]:2",
        ];
        let all: Vec<SocketAddr> = all.iter().map(|text| text.parse().expect("an address")).collect();
        let said = |offered: Vec<SocketAddr>| offered.iter().map(SocketAddr::to_string).collect::<Vec<_>>();
        let outward = Some("192.168.1.20".parse().expect("an address"));
        let first = ["192.168.1.20:1", "172.17.0.1:1", "10.9.0.1:1", "[2001:db8::1]:2"];
        assert_eq!(said(offered(all.clone(), outward)), first);
        assert_eq!(said(offered(all[..2].to_vec(), None)), ["169.254.7.7:1"]);
        assert!(offered(all[..1].to_vec(), None).is_empty());
    }
}
