//! Frames over one QUIC stream to one relay.
//!
//! A [`Session`] is a connection for as long as the driver holds it: dialled, greeted by nobody yet, then read and
//! written by tasks of its own, which only move bytes. What comes in goes to the driver through a bounded channel, so a
//! driver that is behind holds the relay back; what goes out waits in a bounded one, and a relay that
//! doesn't take it any more counts as lost. Dropping the session sends what is queued and says goodbye.
//!
//! A third task watches for silence. If a silent relay can be reached anew, the session ends, and the connection that
//! reached it is there for the next one.

mod dial;
mod pulse;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use iroh::{
    Endpoint, RelayMode, SecretKey,
    endpoint::{
        Connection, PortmapperConfig, QuicTransportConfig, QuicTransportConfigBuilder, RecvStream, SendStream, VarInt,
        presets,
    },
};
use sync_types::{
    DecodeError, ErrorCode, FrameBuffer, RelayId, RelayMsg, limits::IN_FLIGHT_MAX, sign::HELLO_EXPORTER_LABEL,
};
use tokio::{
    sync::{Notify, mpsc},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use self::pulse::{LOOK, Pulse, Sign, Traffic};
use crate::store::Pin;

pub(crate) use self::dial::connect;

/// Longest wait for a relay that may be gone.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// A connection on which nothing arrives for so long is dead.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_millis(1_500);
/// Bytes of a stranger's request that wait to be read.
const ANSWERING_WINDOW: u32 = 64 * 1024;
/// Longest wait for a relay to take the last words.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(400);
/// Batches of messages that wait for the driver. A batch is what one read brought: a page, or many small answers.
pub(crate) const INCOMING_MAX: usize = 16;
/// Frames that wait for the relay: every request that may be unanswered, and as many that want no answer.
const OUTGOING_MAX: usize = 2 * IN_FLIGHT_MAX;
/// Frames in one write.
const WRITE_FRAMES_MAX: usize = 256;
/// Chunks in one read; each is about what a datagram brought.
const READ_CHUNKS: usize = 64;

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
    spares: Spares,
}

/// Connections that took the place of a silent one, for the sessions to come.
#[derive(Clone, Debug, Default)]
struct Spares(Arc<Mutex<BTreeMap<RelayId, Connection>>>);

impl Spares {
    fn put(&self, relay: RelayId, connection: Connection) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(relay, connection);
    }

    /// One that nobody waits for is closed by its relay after a few seconds.
    fn take(&self, relay: &RelayId) -> Option<Connection> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(relay);
        spare.filter(|connection| connection.close_reason().is_none())
    }
}

impl Transport {
    /// Binds a socket. A device's key in its group is also who it is on the network.
    pub(crate) async fn bind(seed: &[u8; 32], told: mpsc::Sender<Told>) -> Result<Self, iroh::endpoint::BindError> {
        let endpoint = bind(SecretKey::from_bytes(seed)).await?;
        Ok(Self { endpoint, sessions: JoinSet::new(), last_session: 0, told, spares: Spares::default() })
    }

    /// Begins a session with the relay of `pin`. How that goes is told.
    pub(crate) fn connect(&mut self, pin: Pin) -> Session {
        while self.sessions.try_join_next().is_some() {}
        self.last_session += 1;
        let (frames, outgoing) = mpsc::channel(OUTGOING_MAX);
        let teller = Teller { relay: pin.relay, session: self.last_session, told: self.told.clone() };
        let task = self.sessions.spawn(run(self.endpoint.clone(), pin, self.spares.clone(), outgoing, teller));
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
    endpoint(key, quic().max_concurrent_bidi_streams(VarInt::from_u32(0))).bind().await
}

/// One that answers whoever comes for `alpn`, each on one stream, and keeps little of what they send.
pub(crate) async fn bind_answering(key: SecretKey, alpn: &[u8]) -> Result<Endpoint, iroh::endpoint::BindError> {
    let window = VarInt::from_u32(ANSWERING_WINDOW);
    let quic = quic().max_concurrent_bidi_streams(VarInt::from_u32(1)).receive_window(window);
    endpoint(key, quic.stream_receive_window(window)).alpns(vec![alpn.to_vec()]).bind().await
}

fn endpoint(key: SecretKey, quic: QuicTransportConfigBuilder) -> iroh::endpoint::Builder {
    Endpoint::builder(presets::Minimal)
        .secret_key(key)
        .relay_mode(RelayMode::Disabled)
        .portmapper_config(PortmapperConfig::Disabled)
        .transport_config(quic.build())
}

fn quic() -> QuicTransportConfigBuilder {
    QuicTransportConfig::builder()
        .max_idle_timeout(Some(IDLE_TIMEOUT.try_into().expect("seconds fit")))
        .keep_alive_interval(KEEP_ALIVE)
        .default_path_max_idle_timeout(IDLE_TIMEOUT)
        .default_path_keep_alive_interval(KEEP_ALIVE)
        .max_concurrent_uni_streams(VarInt::from_u32(0))
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

async fn run(endpoint: Endpoint, pin: Pin, spares: Spares, outgoing: mpsc::Receiver<Bytes>, teller: Teller) {
    let (connection, send, recv) = match open(&endpoint, &pin, &spares).await {
        Ok(opened) => opened,
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
    let wrote = Arc::new(Notify::new());
    let reader = tokio::spawn(read(connection.clone(), recv, teller)).abort_handle();
    let watcher = tokio::spawn(watch(endpoint, pin, connection.clone(), Arc::clone(&wrote), spares)).abort_handle();
    let send = write(send, outgoing, &wrote).await;
    watcher.abort();
    part(&connection, send).await;
    reader.abort();
}

async fn open(
    endpoint: &Endpoint,
    pin: &Pin,
    spares: &Spares,
) -> Result<(Connection, SendStream, RecvStream), Option<ErrorCode>> {
    let connection = match spares.take(&pin.relay) {
        Some(spare) => spare,
        None => timeout(CONNECT_TIMEOUT, dial::dial(endpoint.clone(), pin.clone())).await.unwrap_or(Err(None))?,
    };
    let (send, recv) = connection.open_bi().await.map_err(|_| None)?;
    Ok((connection, send, recv))
}

/// Moves messages from the stream to the driver until either ends.
async fn read(connection: Connection, mut recv: RecvStream, teller: Teller) {
    let mut frames = FrameBuffer::default();
    // A driver that is done listens no more, and may still have last words on their way: the relay ends it then.
    let mut heard = true;
    let reason = loop {
        let mut chunks = [const { Bytes::new() }; READ_CHUNKS];
        match recv.read_many_chunks(&mut chunks).await {
            Ok(Some(read)) => chunks[..read].iter().for_each(|chunk| frames.extend(chunk)),
            Ok(None) | Err(_) => break None,
        }
        match decode(&mut frames) {
            Ok(messages) if messages.is_empty() => {}
            Ok(messages) => {
                heard = heard && teller.tell(News::Messages(messages)).await;
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

/// Moves frames from the driver to the stream, whatever is queued in one write, until either ends. The stream, if it
/// is of any use still.
async fn write(mut send: SendStream, mut outgoing: mpsc::Receiver<Bytes>, wrote: &Notify) -> Option<SendStream> {
    let mut frames = Vec::with_capacity(WRITE_FRAMES_MAX);
    while outgoing.recv_many(&mut frames, WRITE_FRAMES_MAX).await > 0 {
        wrote.notify_one();
        send.write_all_chunks(&mut frames).await.ok()?;
        frames.clear();
    }
    Some(send)
}

/// The driver let go, or the stream broke. Closing at once could overtake the last words: that they have arrived does not
/// say that the relay has read them, and what it has not read goes with the connection. So it is the relay that closes.
async fn part(connection: &Connection, send: Option<SendStream>) {
    if let Some(mut send) = send
        && send.finish().is_ok()
        && timeout(GOODBYE_TIMEOUT, connection.closed()).await.is_err()
    {
        tracing::debug!("a relay did not take the last words");
    }
    connection.close(VarInt::from_u32(0), b"");
}

/// Looks whether the relay is there still, and puts another connection in the place of one that is silent.
async fn watch(endpoint: Endpoint, pin: Pin, connection: Connection, wrote: Arc<Notify>, spares: Spares) {
    let mut pulse = Pulse::new(Traffic::of(&connection));
    let mut sign = Sign::AtRest;
    while connection.close_reason().is_none() {
        match sign {
            Sign::AtRest => {
                if timeout(KEEP_ALIVE, wrote.notified()).await.is_ok() {
                    sleep(LOOK).await;
                }
            }
            Sign::Busy => sleep(LOOK).await,
            Sign::Silent => {
                if let Some(fresh) = dial::replace(&endpoint, &pin, &connection).await {
                    tracing::debug!("a silent relay was reached anew");
                    spares.put(pin.relay, fresh);
                    connection.close(VarInt::from_u32(0), b"");
                    return;
                }
            }
        }
        sign = pulse.look(Traffic::of(&connection), round_trip(&connection));
    }
}

/// How long an answer takes on the path in use, or on the slowest while none is chosen.
fn round_trip(connection: &Connection) -> Duration {
    let paths = connection.paths();
    let chosen = paths.iter().find(|path| path.is_selected()).map(|path| path.rtt());
    chosen.or_else(|| paths.iter().map(|path| path.rtt()).max()).unwrap_or_default()
}
