//! Frames over one QUIC stream to one relay.
//!
//! A [`Session`] is a connection for as long as the driver holds it: dialled, greeted by nobody yet, then read and
//! written by tasks of its own, which only move bytes. What comes in goes to the driver through a bounded channel, so a
//! driver that is behind holds the relay back; what goes out waits in a bounded one, and a relay that
//! doesn't take it any more counts as lost. Dropping the session sends what is queued and says goodbye.

use std::time::Duration;

use bytes::Bytes;
use iroh::{
    Endpoint, EndpointAddr, RelayMode, SecretKey,
    endpoint::{
        ConnectError, ConnectingError, Connection, ConnectionError, PortmapperConfig, QuicTransportConfig, RecvStream,
        SendStream, VarInt, presets,
    },
};
use sync_types::{
    DecodeError, ErrorCode, FrameBuffer, RelayId, RelayMsg,
    limits::{ALPN, IN_FLIGHT_MAX},
    sign::HELLO_EXPORTER_LABEL,
};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::timeout,
};

use crate::{resolve::look_up, store::Pin};

/// Longest wait for a relay that may be gone.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// A connection on which nothing arrives for so long is dead.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_millis(1_500);
/// Longest wait for a relay to take the last words.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(400);
/// Batches of messages that wait for the driver. A batch is what one read brought: a page, or many small answers.
pub(crate) const INCOMING_MAX: usize = 16;
/// Frames that wait for the relay: every request that may be unanswered, and as many that want no answer.
const OUTGOING_MAX: usize = 2 * IN_FLIGHT_MAX;
/// Frames in one write.
const WRITE_FRAMES_MAX: usize = 256;
const READ_LEN: usize = 256 * 1024;

/// What a session tells the driver.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) relay: RelayId,
    /// Which of the relay's sessions says it: one that was given up may still speak for a moment.
    pub(crate) session: u64,
    pub(crate) what: News,
}

/// See [`Told`].
#[derive(Debug)]
pub(crate) enum News {
    /// The connection is up; its TLS exporter's bytes.
    Up([u8; 32]),
    /// Messages, in order.
    Messages(Vec<RelayMsg>),
    /// It is over, or never came to be.
    Down(Option<ErrorCode>),
}

/// This device on the network.
pub(crate) struct Transport {
    endpoint: Endpoint,
    sessions: JoinSet<()>,
    last_session: u64,
    told: mpsc::Sender<Told>,
}

impl Transport {
    /// Binds a socket. A device's key in its group is also who it is on the network.
    pub(crate) async fn bind(seed: &[u8; 32], told: mpsc::Sender<Told>) -> Result<Self, iroh::endpoint::BindError> {
        Ok(Self { endpoint: bind(SecretKey::from_bytes(seed)).await?, sessions: JoinSet::new(), last_session: 0, told })
    }

    /// Begins a session with the relay of `pin`. How that goes is told.
    pub(crate) fn connect(&mut self, pin: Pin) -> Session {
        while self.sessions.try_join_next().is_some() {}
        self.last_session += 1;
        let (frames, outgoing) = mpsc::channel(OUTGOING_MAX);
        let teller = Teller { relay: pin.relay, session: self.last_session, told: self.told.clone() };
        let task = self.sessions.spawn(run(self.endpoint.clone(), pin, outgoing, teller));
        Session { id: self.last_session, frames, dialling: Some(task) }
    }

    /// Waits for the goodbyes of sessions that were dropped, and closes the socket.
    pub(crate) async fn close(mut self) {
        let goodbyes = async { while self.sessions.join_next().await.is_some() {} };
        if timeout(GOODBYE_TIMEOUT, goodbyes).await.is_err() {
            self.sessions.abort_all();
        }
        close(&self.endpoint).await;
    }
}

/// Closes the socket. A peer that is gone doesn't hold this up.
pub(crate) async fn close(endpoint: &Endpoint) {
    if timeout(GOODBYE_TIMEOUT, endpoint.close()).await.is_err() {
        tracing::debug!("a relay did not take the goodbye");
    }
}

/// An endpoint that talks to the addresses it is given and asks nobody else for any.
pub(crate) async fn bind(key: SecretKey) -> Result<Endpoint, iroh::endpoint::BindError> {
    let config = QuicTransportConfig::builder()
        .max_idle_timeout(Some(IDLE_TIMEOUT.try_into().expect("seconds fit")))
        .keep_alive_interval(KEEP_ALIVE)
        .default_path_max_idle_timeout(IDLE_TIMEOUT)
        .default_path_keep_alive_interval(KEEP_ALIVE)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .build();
    Endpoint::builder(presets::Minimal)
        .secret_key(key)
        .relay_mode(RelayMode::Disabled)
        .portmapper_config(PortmapperConfig::Disabled)
        .transport_config(config)
        .bind()
        .await
}

/// The driver's hold on one connection. See the [module](self).
pub(crate) struct Session {
    pub(crate) id: u64,
    frames: mpsc::Sender<Bytes>,
    dialling: Option<AbortHandle>,
}

impl Session {
    /// The connection is up: from here on, dropping this says goodbye instead of giving up.
    pub(crate) fn is_up(&mut self) {
        self.dialling = None;
    }

    /// Whether it ever was.
    pub(crate) fn was_up(&self) -> bool {
        self.dialling.is_none()
    }

    /// Queues a frame. Fails if the relay has not taken what was sent before.
    pub(crate) fn send(&self, frame: Bytes) -> Result<(), Stalled> {
        self.frames.try_send(frame).map_err(|_| Stalled)
    }
}

/// The other side takes nothing any more.
#[derive(Debug)]
pub(crate) struct Stalled;

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(task) = &self.dialling {
            task.abort();
        }
    }
}

/// Speaks for one session.
#[derive(Clone)]
struct Teller {
    relay: RelayId,
    session: u64,
    told: mpsc::Sender<Told>,
}

impl Teller {
    /// Waits for room. Whether anybody still listens.
    async fn tell(&self, what: News) -> bool {
        self.told.send(Told { relay: self.relay, session: self.session, what }).await.is_ok()
    }
}

async fn run(endpoint: Endpoint, pin: Pin, outgoing: mpsc::Receiver<Bytes>, teller: Teller) {
    let dialled = timeout(CONNECT_TIMEOUT, dial(&endpoint, &pin)).await;
    let (connection, send, recv) = match dialled.unwrap_or(Err(None)) {
        Ok(dialled) => dialled,
        Err(reason) => {
            teller.tell(News::Down(reason)).await;
            return;
        }
    };
    let mut exporter = [0; 32];
    let exported = connection.export_keying_material(&mut exporter, HELLO_EXPORTER_LABEL, b"");
    if exported.is_err() || !teller.tell(News::Up(exporter)).await {
        teller.tell(News::Down(Some(ErrorCode::Internal))).await;
        return;
    }
    let reader = tokio::spawn(read(connection.clone(), recv, teller)).abort_handle();
    write(connection, send, outgoing).await;
    reader.abort();
}

async fn dial(endpoint: &Endpoint, pin: &Pin) -> Result<(Connection, SendStream, RecvStream), Option<ErrorCode>> {
    let connection = connect(endpoint, look_up(pin).await, ALPN).await?;
    let (send, recv) = connection.open_bi().await.map_err(|_| None)?;
    Ok((connection, send, recv))
}

/// Connects; says `relay_identity_changed` if somebody else than `addr.id` answers.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    addr: EndpointAddr,
    alpn: &[u8],
) -> Result<Connection, Option<ErrorCode>> {
    endpoint.connect(addr, alpn).await.map_err(|error| {
        tracing::debug!(%error, "no connection");
        is_other_identity(&error).then_some(ErrorCode::RelayIdentityChanged)
    })
}

/// TLS alerts about the certificate, as QUIC numbers them (RFC 9001, section 4.8): 0x100 and the alert.
const CERTIFICATE_ALERTS: std::ops::RangeInclusive<u64> = 0x100 + 42..=0x100 + 48;

#[expect(clippy::wildcard_enum_match_arm, reason = "iroh's enums are non-exhaustive")]
fn is_other_identity(error: &ConnectError) -> bool {
    match error {
        ConnectError::Connecting { source: ConnectingError::ConnectionError { source, .. }, .. }
        | ConnectError::Connection { source, .. } => match source {
            ConnectionError::TransportError(error) => CERTIFICATE_ALERTS.contains(&error.code.into()),
            _ => false,
        },
        ConnectError::Connecting { source: ConnectingError::HandshakeFailure { .. }, .. } => true,
        _ => false,
    }
}

/// Moves messages from the stream to the driver until either ends.
async fn read(connection: Connection, mut recv: RecvStream, teller: Teller) {
    let mut frames = FrameBuffer::default();
    let reason = loop {
        let chunk = match recv.read_chunk(READ_LEN).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) | Err(_) => break None,
        };
        frames.extend(&chunk);
        match decode(&mut frames) {
            Ok(messages) if messages.is_empty() => {}
            Ok(messages) => {
                if !teller.tell(News::Messages(messages)).await {
                    break None;
                }
            }
            Err(Malformed) => break Some(ErrorCode::Malformed),
        }
    };
    teller.tell(News::Down(reason)).await;
    connection.close(VarInt::from_u32(0), b"");
}

/// The stream is of no more use.
struct Malformed;

/// The whole messages that are there. What a newer relay says beyond our words is skipped.
fn decode(frames: &mut FrameBuffer) -> Result<Vec<RelayMsg>, Malformed> {
    let mut messages = Vec::new();
    while let Some(frame) = frames.next_frame().map_err(|_| Malformed)? {
        match RelayMsg::from_frame(&frame) {
            Ok(message) => messages.push(message),
            Err(DecodeError::UnknownType { kind, id: _ }) => tracing::debug!(kind, "a message of an unknown type"),
            Err(DecodeError::Malformed { kind: _ }) => return Err(Malformed),
        }
    }
    Ok(messages)
}

/// Moves frames from the driver to the stream, whatever is queued in one write, until either ends.
async fn write(connection: Connection, mut send: SendStream, mut outgoing: mpsc::Receiver<Bytes>) {
    let mut frames = Vec::with_capacity(WRITE_FRAMES_MAX);
    while outgoing.recv_many(&mut frames, WRITE_FRAMES_MAX).await > 0 {
        if send.write_all_chunks(&mut frames).await.is_err() {
            connection.close(VarInt::from_u32(0), b"");
            return;
        }
        frames.clear();
    }
    // The driver let go. Closing at once could overtake the last words.
    if send.finish().is_ok() && timeout(GOODBYE_TIMEOUT, send.stopped()).await.is_err() {
        tracing::debug!("a relay did not take the last words");
    }
    connection.close(VarInt::from_u32(0), b"");
}
