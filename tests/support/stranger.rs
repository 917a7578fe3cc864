//! Somebody who knows the protocol from its document, and keeps to it or not.
//!
//! What is said here is written by hand from `docs/PROTOCOL.md`: MessagePack arrays in frames over one iroh stream.

use std::{future::Future, net::Ipv4Addr, time::Duration};

use iroh::{
    Endpoint, EndpointAddr, EndpointId, RelayMode, SecretKey, TransportAddr,
    endpoint::{
        Connection, ConnectionError, PortmapperConfig, QuicTransportConfig, RecvStream, SendStream, VarInt, presets,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_bytes::{ByteBuf, Bytes};
use tokio::{runtime::Runtime, time::timeout};

use crate::Relay;

/// Longer than anything here may take, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a session speaks.
pub(crate) const ALPN: &[u8] = b"0k-sync/1";
/// The largest frame, as the protocol has it.
pub const FRAME_LEN_MAX: usize = 1024 * 1024 + 128 * 1024;

/// Types of messages.
pub mod kind {
    /// HELLO
    pub const HELLO: u8 = 0x01;
    /// WELCOME
    pub const WELCOME: u8 = 0x02;
    /// PUSH
    pub const PUSH: u8 = 0x10;
    /// `PUSH_ACK`
    pub const PUSH_ACK: u8 = 0x11;
    /// PULL
    pub const PULL: u8 = 0x20;
    /// `PULL_RESPONSE`
    pub const PAGE: u8 = 0x21;
    /// NOTIFY
    pub const NOTIFY: u8 = 0x31;
    /// ERROR
    pub const ERROR: u8 = 0xFF;
}

/// Where strangers live: tests are told in order, and only here several things happen at once.
pub struct Network(Runtime);

impl Network {
    /// One with nobody in it.
    #[expect(clippy::new_without_default, reason = "it starts threads, which a default should not")]
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self(runtime.expect("the system has threads to give"))
    }

    /// Waits for something that happens in it.
    pub fn run<T>(&self, story: impl Future<Output = T>) -> T {
        self.0.block_on(story)
    }

    /// Lets something happen meanwhile.
    pub fn meanwhile<T: Send + 'static>(&self, story: impl Future<Output = T> + Send + 'static) -> Meanwhile<T> {
        Meanwhile(self.0.spawn(story))
    }
}

/// Something that happens meanwhile. Dropping it ends it.
pub struct Meanwhile<T>(tokio::task::JoinHandle<T>);

impl<T> Meanwhile<T> {
    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// What it came to.
    pub fn outcome(mut self, network: &Network) -> T {
        network.run(&mut self.0).expect("a story ends without a panic")
    }
}

impl<T> Drop for Meanwhile<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A device that is nobody's.
#[derive(Clone, Debug)]
pub struct Stranger(Endpoint);

impl Stranger {
    /// One at this of the machine's own addresses, which takes in so many bytes before it reads on.
    pub async fn at(address: Ipv4Addr, window: u32) -> Self {
        let transport = QuicTransportConfig::builder()
            .max_idle_timeout(Some(PATIENCE.try_into().expect("a minute fits")))
            .keep_alive_interval(Duration::from_millis(1_500))
            .stream_receive_window(VarInt::from_u32(window))
            .build();
        let builder = private_endpoint(SecretKey::generate()).transport_config(transport);
        let bound = builder.bind_addr((address, 0)).expect("an address of this machine").bind().await;
        Self(bound.expect("loopback is there"))
    }

    /// A connection to a relay; nothing where it gives none.
    pub async fn connect(&self, relay: &Goal) -> Option<Connection> {
        let address = EndpointAddr::from_parts(relay.id, [TransportAddr::Ip(relay.quic)]);
        timeout(PATIENCE, self.0.connect(address, ALPN)).await.expect("connecting ends by itself").ok()
    }

    /// A connection, and its stream on which nothing was said yet.
    ///
    /// # Panics
    /// If the relay gives none.
    pub async fn dial(&self, relay: &Goal) -> Line {
        let connection = self.connect(relay).await.expect("the relay takes it");
        let (send, receive) = connection.open_bi().await.expect("it gives one stream");
        Line { connection, send, receive, buffer: Vec::new(), ours: self.0.id(), theirs: relay.id }
    }

    /// A session in a group of its own, greeted and welcomed.
    ///
    /// # Panics
    /// If the relay does not let it in.
    pub async fn enter(&self, relay: &Goal, group: &SecretKey) -> Line {
        let mut line = self.dial(relay).await;
        line.say(&line.hello(group)).await;
        assert_eq!(line.hear().await.map(|frame| frame.kind), Some(kind::WELCOME));
        line
    }

    /// An envelope that a relay takes for one: it can't look inside.
    pub fn envelope(&self, number: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![1, 1, 1, 0, 0, 0, 0];
        bytes.extend([3; 16]);
        bytes.extend(self.0.id().as_bytes());
        bytes.extend([0; 4]);
        bytes.extend(number.to_be_bytes());
        bytes.resize(len, 7);
        bytes
    }
}

/// A relay that can be dialled.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    id: EndpointId,
    quic: std::net::SocketAddr,
}

impl From<&Relay> for Goal {
    fn from(relay: &Relay) -> Self {
        Self {
            id: relay.id().parse().expect("a relay's id is a key"),
            quic: relay.quic().parse().expect("a relay says where it listens"),
        }
    }
}

/// A stream of frames.
#[derive(Debug)]
pub struct Line {
    /// What it is on.
    pub connection: Connection,
    send: SendStream,
    receive: RecvStream,
    buffer: Vec<u8>,
    ours: EndpointId,
    theirs: EndpointId,
}

impl Line {
    /// The relay's side of one.
    pub(crate) fn accepted(
        connection: Connection,
        (send, receive): (SendStream, RecvStream),
        ours: EndpointId,
    ) -> Self {
        let theirs = connection.remote_id();
        Self { connection, send, receive, buffer: Vec::new(), ours, theirs }
    }

    /// A HELLO that is in order.
    pub fn hello(&self, group: &SecretKey) -> Vec<u8> {
        let public = *group.public().as_bytes();
        let id = blake3::derive_key("0k-sync/1 relay group", &public);
        let mut exporter = [0; 32];
        self.connection
            .export_keying_material(&mut exporter, b"EXPORTER-0k-sync/1 hello", &[])
            .expect("the handshake is complete");
        let content = [&self.ours.as_bytes()[..], self.theirs.as_bytes(), &exporter].concat();
        let signed = [&b"0k-sync/1 hello\0"[..], &id, blake3::hash(&content).as_bytes()].concat();
        let signature = group.sign(&signed).to_bytes();
        let (id, public, signature) = (Bytes::new(&id), Bytes::new(&public), Bytes::new(&signature));
        frame(kind::HELLO, &(1, id, public, 0, None::<u8>, signature, 0))
    }

    /// Says these bytes. Who has hung up hears nothing, and that is no fault of the speaker.
    pub async fn say(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.send.write_all(bytes)).await.expect("the bytes are taken, or the line is cut");
    }

    /// Says these bytes as far as they are taken within a time; whether all were.
    pub async fn say_within(&mut self, bytes: &[u8], limit: Duration) -> bool {
        matches!(timeout(limit, self.send.write_all(bytes)).await, Ok(Ok(())))
    }

    /// Says that there is no more to come.
    pub fn finish(&mut self) {
        // Who has hung up knows.
        let _ = self.send.finish();
    }

    /// The next frame but for notices, which come when they like; nothing once the other side has hung up.
    pub async fn hear(&mut self) -> Option<Frame> {
        let next = async {
            loop {
                if let Some(frame) = self.cut() {
                    if frame.kind == kind::NOTIFY {
                        continue;
                    }
                    return Some(frame);
                }
                let chunk = self.receive.read_chunk(1 << 20).await.ok().flatten()?;
                self.buffer.extend_from_slice(&chunk);
            }
        };
        timeout(PATIENCE, next).await.expect("the other side answers or hangs up")
    }

    /// The code of the refusal that the other side ends with: in a frame, and as the end of the connection.
    ///
    /// # Panics
    /// If it ends in another way.
    pub async fn refusal(&mut self) -> u16 {
        let last = loop {
            match self.hear().await {
                Some(frame) if frame.kind == kind::ERROR => break frame,
                Some(_) => {}
                None => panic!("it hung up without a word: {:?}", self.connection.close_reason()),
            }
        };
        let (id, code, _): (u32, u16, u32) = last.read();
        assert_eq!(id, 0, "it ends the session, not a request");
        assert_eq!(closed(&self.connection).await, Some(u64::from(code)), "both say the same");
        code
    }

    fn cut(&mut self) -> Option<Frame> {
        let len = u32::from_be_bytes(*self.buffer.first_chunk()?) as usize;
        let content = self.buffer.get(4..4 + len)?.to_vec();
        self.buffer.drain(..4 + len);
        Some(Frame { kind: content[0], content: content[1..].to_vec() })
    }
}

/// A frame that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    content: Vec<u8>,
}

impl Frame {
    /// Its fields.
    ///
    /// # Panics
    /// If they are others.
    pub fn read<T: DeserializeOwned>(&self) -> T {
        rmp_serde::from_slice(&self.content).expect("the fields that its type has")
    }

    /// Its fields but for those of this build's own: a HELLO's group.
    pub fn group(&self) -> Vec<u8> {
        let (_, group, ..): (u16, ByteBuf, ByteBuf, u64, Option<ByteBuf>, ByteBuf, u64) = self.read();
        group.into_vec()
    }
}

/// A frame of a type and its fields, which are a tuple.
pub fn frame(kind: u8, fields: &impl Serialize) -> Vec<u8> {
    let content = rmp_serde::to_vec(fields).expect("fields encode");
    announced(content.len() + 1, &[&[kind], &content[..]].concat())
}

/// Bytes after the length they are announced with, which may be a lie.
pub fn announced(len: usize, bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(len).expect("a length has 32 bits").to_be_bytes(), bytes].concat()
}

/// A push.
pub fn push(id: u32, envelope: &[u8]) -> Vec<u8> {
    frame(kind::PUSH, &(id, 0, Bytes::new(envelope)))
}

/// A pull of everything, and of what comes.
pub fn pull(id: u32) -> Vec<u8> {
    frame(kind::PULL, &(id, 0, Bytes::new(&[0; 32]), 1_000, true))
}

/// The code that the other side ends a connection with, if it is the one that does.
pub async fn closed(connection: &Connection) -> Option<u64> {
    let closed = timeout(PATIENCE, connection.closed()).await.expect("the connection ends");
    if let ConnectionError::ApplicationClosed(close) = closed { Some(close.error_code.into_inner()) } else { None }
}

/// An endpoint that nobody is told of.
pub(crate) fn private_endpoint(key: SecretKey) -> iroh::endpoint::Builder {
    Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .portmapper_config(PortmapperConfig::Disabled)
        .secret_key(key)
        .clear_ip_transports()
}
