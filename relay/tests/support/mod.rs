//! A relay in this process and devices that speak to it in raw frames: the only code here that knows the wire.

#![allow(dead_code, unreachable_pub, reason = "compiled into each suite, which uses a part of it")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use iroh::{
    Endpoint, EndpointAddr, EndpointId, RelayMode, SecretKey, TransportAddr,
    endpoint::{
        Connection, ConnectionError, PortmapperConfig, QuicTransportConfig, RecvStream, SendStream, VarInt, presets,
    },
};
use sync_relay::{Config, Handle, Relay};
use sync_types::{
    AuthPublic, BlobId, DeviceId, DeviceMsg, Envelope, ErrorCode, FrameBuffer, Header, KeyId, Kind, RelayCursor,
    RelayGroupId, RelayId, RelayMsg, Run,
    limits::{ALPN, BODY_LEN_MIN, PROTOCOL_VERSION},
    message::{Ack, Gap, Get, Hello, Move, Over, Page, Pull, Push, PushAck, RowKind, Welcome, features},
    sign,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

/// Longer than anything here may take, shorter than a person's patience.
pub const SOON: Duration = Duration::from_secs(20);

/// A relay that runs, on a data folder of its own.
pub struct Running {
    pub id: RelayId,
    pub quic: SocketAddr,
    pub http: SocketAddr,
    handle: Handle,
    task: JoinHandle<()>,
    folder: TempDir,
}

impl Running {
    /// With limits that only the test about them meets.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::on(tempfile::tempdir().expect("temporary folder"), change).await
    }

    pub async fn on(folder: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(folder.path());
        change(&mut config);
        let relay = Relay::bind(config).await.expect("binds");
        let (id, quic, http, handle) = (relay.id(), relay.quic_addr(), relay.http_addr(), relay.handle());
        Self { id, quic, http, handle, task: tokio::spawn(relay.run()), folder }
    }

    /// Stops it and starts it again on the same folder.
    pub async fn restart(self, change: impl FnOnce(&mut Config)) -> Self {
        let folder = self.stop().await;
        Self::on(folder, change).await
    }

    /// Stops it; the folder is still there.
    pub async fn stop(self) -> TempDir {
        self.handle.shutdown();
        timeout(SOON, self.task).await.expect("stops").expect("no panic");
        self.folder
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn begin_to_stop(&self) {
        self.handle.shutdown();
    }

    /// A number of `GET /health`.
    pub async fn health(&self, field: &str) -> u64 {
        let (status, body) = http(self.http, "GET", "/health", &[], "").await;
        assert_eq!(status, 200);
        let health: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        health[field].as_u64().unwrap_or_else(|| panic!("{field} is a number"))
    }

    /// Waits until a number of `GET /health` is this one.
    pub async fn health_becomes(&self, field: &str, expected: u64) {
        let becomes = async {
            while self.health(field).await != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(4), becomes).await.unwrap_or_else(|_| panic!("{field} never became {expected}"));
    }
}

/// A configuration for a relay on loopback whose limits are out of the way.
pub fn config(folder: &Path) -> Config {
    let mut config = Config::default();
    config.server.quic_bind = (Ipv4Addr::LOCALHOST, 0).into();
    config.server.http_bind = (Ipv4Addr::LOCALHOST, 0).into();
    config.storage.data_dir = folder.to_owned();
    config.limits.connections_per_ip = 1_000;
    config.limits.groups_per_ip_hour = 1_000;
    config
}

/// One HTTP/1.1 request; the status and the body of its answer.
pub async fn http(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let (status, _, body) = http_with_head(to, method, path, headers, body).await;
    (status, body)
}

/// The same, with the head of the answer.
pub async fn http_with_head(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String, String) {
    let mut stream = TcpStream::connect(to).await.expect("the relay listens");
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request.push_str("Host: relay.example:8080\r\n");
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("\r\n{body}"));
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.expect("answered").expect("UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_owned(), body.to_owned())
}

/// What opens a group on a relay.
#[derive(Clone)]
pub struct Group {
    key: SigningKey,
    id: RelayGroupId,
}

impl Group {
    pub fn new(n: u8) -> Self {
        let key = SigningKey::from_bytes(&[n; 32]);
        let id = RelayGroupId::of(&AuthPublic::from_bytes(key.verifying_key().to_bytes()));
        Self { key, id }
    }

    /// As one pretends it to be who has another group's key.
    pub fn opened_by(&self, other: &Self) -> Self {
        Self { key: other.key.clone(), id: self.id }
    }

    fn auth_public(&self) -> AuthPublic {
        AuthPublic::from_bytes(self.key.verifying_key().to_bytes())
    }

    pub fn id(&self) -> RelayGroupId {
        self.id
    }
}

/// A device's endpoint, not yet connected.
pub struct Device {
    endpoint: Endpoint,
}

impl Device {
    pub async fn new() -> Self {
        Self::made(Ipv4Addr::LOCALHOST, 1024 * 1024).await
    }

    /// One at another of this machine's own addresses.
    pub async fn at(address: Ipv4Addr) -> Self {
        Self::made(address, 1024 * 1024).await
    }

    /// One that takes in so few bytes before it reads on.
    pub async fn with_window(window: u32) -> Self {
        Self::made(Ipv4Addr::LOCALHOST, window).await
    }

    async fn made(address: Ipv4Addr, window: u32) -> Self {
        let transport = QuicTransportConfig::builder()
            .max_idle_timeout(Some(Duration::from_secs(5).try_into().expect("fits")))
            .keep_alive_interval(Duration::from_millis(1_500))
            .stream_receive_window(VarInt::from_u32(window))
            .build();
        let endpoint = Endpoint::builder(presets::Minimal)
            .relay_mode(RelayMode::Disabled)
            .portmapper_config(PortmapperConfig::Disabled)
            .secret_key(SecretKey::generate())
            .transport_config(transport)
            .clear_ip_transports()
            .bind_addr((address, 0))
            .expect("an address")
            .bind()
            .await
            .expect("binds");
        Self { endpoint }
    }

    pub fn id(&self) -> DeviceId {
        DeviceId::from_bytes(*self.endpoint.id().as_bytes())
    }

    pub async fn connect(&self, relay: RelayId, quic: SocketAddr, alpn: &[u8]) -> Connection {
        timeout(SOON, self.try_connect(relay, quic, alpn)).await.expect("answers").expect("connects")
    }

    pub async fn try_connect(&self, relay: RelayId, quic: SocketAddr, alpn: &[u8]) -> Option<Connection> {
        let id = EndpointId::from_bytes(relay.as_bytes()).expect("a key");
        let address = EndpointAddr::from_parts(id, [TransportAddr::Ip(quic)]);
        self.endpoint.connect(address, alpn).await.ok()
    }

    /// A connection whose stream nothing has been said on yet.
    pub async fn dial(&self, relay: &Running) -> Line {
        self.dial_at(relay.id, relay.quic).await
    }

    async fn dial_at(&self, relay: RelayId, quic: SocketAddr) -> Line {
        let connection = self.connect(relay, quic, ALPN).await;
        let (send, receive) = connection.open_bi().await.expect("one stream");
        Line {
            connection,
            send,
            receive,
            buffer: FrameBuffer::default(),
            device: self.id(),
            relay,
            next_id: 1,
            _endpoint: self.endpoint.clone(),
        }
    }

    /// A session, greeted and welcomed.
    pub async fn enter(&self, relay: &Running, group: &Group) -> (Line, Welcome) {
        let mut line = self.dial(relay).await;
        let welcome = line.greet(group).await;
        (line, welcome)
    }

    /// A session with a relay of another process.
    pub async fn session_with(&self, relay: RelayId, quic: SocketAddr, group: &Group) -> Line {
        let mut line = self.dial_at(relay, quic).await;
        line.greet(group).await;
        line
    }

    /// Comes by an id that is over, and is told what was left there.
    pub async fn is_told(&self, relay: &Running, group: &Group) -> Vec<Bytes> {
        let mut line = self.dial(relay).await;
        let hello = Hello { features: features::MOVE, ..line.hello(group) };
        line.say(DeviceMsg::Hello(hello)).await;
        let packages = match line.hear().await {
            Some(RelayMsg::Moved(moved)) => moved.packages.0,
            other => panic!("not told: {other:?}"),
        };
        assert_eq!(line.hear().await, None);
        is_closed_with(&line.connection, ErrorCode::GroupMoved).await;
        packages
    }

    /// [`Self::enter`], for tests that don't look at the welcome.
    pub async fn session(&self, relay: &Running, group: &Group) -> Line {
        self.enter(relay, group).await.0
    }
}

/// One connection with its stream of frames.
pub struct Line {
    pub connection: Connection,
    pub send: SendStream,
    pub receive: RecvStream,
    buffer: FrameBuffer,
    device: DeviceId,
    relay: RelayId,
    next_id: u32,
    /// The connection ends with its endpoint.
    _endpoint: Endpoint,
}

impl Line {
    /// A HELLO that is in order.
    pub fn hello(&self, group: &Group) -> Hello {
        let signed = sign::hello(&group.id(), &self.device, &self.relay, &self.exporter());
        Hello {
            version: PROTOCOL_VERSION,
            group: group.id(),
            auth_public: group.auth_public(),
            last_cursor: RelayCursor::START,
            log_id: None,
            signature: Bytes::copy_from_slice(&group.key.sign(&signed).to_bytes()),
            features: 0,
        }
    }

    fn exporter(&self) -> [u8; 32] {
        let mut exporter = [0; 32];
        self.connection
            .export_keying_material(&mut exporter, sign::HELLO_EXPORTER_LABEL, &[])
            .expect("the handshake is complete");
        exporter
    }

    pub async fn greet(&mut self, group: &Group) -> Welcome {
        let hello = self.hello(group);
        self.say(DeviceMsg::Hello(hello)).await;
        match self.hear().await {
            Some(RelayMsg::Welcome(welcome)) => welcome,
            other => panic!("not welcomed: {other:?}"),
        }
    }

    pub async fn say(&mut self, message: impl Into<DeviceMsg>) {
        self.send.write_all(&message.into().to_frame()).await.expect("written");
    }

    /// The next message; `None` once the relay has hung up.
    pub async fn hear(&mut self) -> Option<RelayMsg> {
        timeout(SOON, self.next()).await.expect("the relay answers in time")
    }

    async fn next(&mut self) -> Option<RelayMsg> {
        loop {
            if let Some(frame) = self.buffer.next_frame().expect("frames") {
                return Some(RelayMsg::from_frame(&frame).expect("a message"));
            }
            let chunk = self.receive.read_chunk(1 << 20).await.ok().flatten()?;
            self.buffer.extend(&chunk);
        }
    }

    /// Whether nothing is heard for a while.
    pub async fn is_silent(&mut self) -> bool {
        timeout(Duration::from_millis(300), self.next()).await.is_err()
    }

    pub fn id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    /// Pushes without waiting for the answer.
    pub async fn begin_push(&mut self, envelope: &Envelope) -> u32 {
        self.begin_push_aged(envelope, 0).await
    }

    pub async fn begin_push_aged(&mut self, envelope: &Envelope, age_s: u32) -> u32 {
        let id = self.id();
        self.say(Push { id, age_s, envelope: envelope.as_bytes().clone() }).await;
        id
    }

    /// Pushes and waits until it is on the relay's disk; pages and notices that come first are passed over.
    pub async fn push(&mut self, envelope: &Envelope) -> PushAck {
        self.try_push(envelope).await.expect("acknowledged")
    }

    pub async fn try_push(&mut self, envelope: &Envelope) -> Result<PushAck, ErrorCode> {
        let pushed = self.begin_push(envelope).await;
        loop {
            match self.hear().await {
                Some(RelayMsg::PushAck(ack)) if ack.id == pushed => return Ok(ack),
                Some(RelayMsg::Refused(refused)) if refused.id == pushed => return Err(refused.error()),
                Some(RelayMsg::Page(_) | RelayMsg::Notify(_) | RelayMsg::Snapshots(_)) => {}
                other => panic!("not an answer to a push: {other:?}"),
            }
        }
    }

    /// One page.
    pub async fn pull(&mut self, after: u64, run: Run, limit: u32) -> Page {
        self.say_pull(after, run, limit, false).await;
        self.page().await
    }

    pub async fn say_pull(&mut self, after: u64, run: Run, limit: u32, follow: bool) -> u32 {
        let id = self.id();
        self.say(Pull { id, after: RelayCursor::new(after), run, limit, follow }).await;
        id
    }

    /// The next page; acknowledgements and notices that come first are passed over.
    pub async fn page(&mut self) -> Page {
        loop {
            match self.hear().await {
                Some(RelayMsg::Page(page)) => return page,
                Some(RelayMsg::PushAck(_) | RelayMsg::Notify(_) | RelayMsg::Snapshots(_)) => {}
                other => panic!("not a page: {other:?}"),
            }
        }
    }

    pub async fn gap(&mut self) -> Gap {
        match self.hear().await {
            Some(RelayMsg::Gap(gap)) => gap,
            other => panic!("not a gap: {other:?}"),
        }
    }

    /// The code of the refusal that comes next, and the request it refuses.
    pub async fn refusal(&mut self) -> (u32, ErrorCode) {
        match self.hear().await {
            Some(RelayMsg::Refused(refused)) => (refused.id, refused.error()),
            other => panic!("not a refusal: {other:?}"),
        }
    }

    pub async fn get(&mut self, blob_id: BlobId) -> Result<Bytes, ErrorCode> {
        let id = self.id();
        self.say(Get { id, blob_id }).await;
        loop {
            match self.hear().await {
                Some(RelayMsg::Got(got)) => return Ok(got.envelope),
                Some(RelayMsg::Refused(refused)) => return Err(refused.error()),
                Some(RelayMsg::Snapshots(_)) => {}
                other => panic!("not an answer to a get: {other:?}"),
            }
        }
    }

    /// A MOVE that is in order: these ids are over, and that is left there.
    pub fn moving(&mut self, to: &Group, over: &[(&Group, &[u8])], remaining: &[DeviceId]) -> Move {
        let sign = |group: &Group, package: &[u8]| {
            let ends = (&self.device, &self.relay, &self.exporter());
            Bytes::copy_from_slice(&group.key.sign(&sign::moved(&group.id(), ends, &to.id(), package)).to_bytes())
        };
        let over: Vec<_> = over
            .iter()
            .map(|(group, package)| Over {
                group: group.id(),
                auth_public: group.auth_public(),
                signature: sign(group, package),
                package: Bytes::copy_from_slice(package),
            })
            .collect();
        let signature = sign(to, &[]);
        Move {
            id: self.id(),
            group: to.id(),
            auth_public: to.auth_public(),
            signature,
            over: over.into(),
            remaining: remaining.to_vec().into(),
        }
    }

    /// Waits until a MOVE is on the relay's disk; what else comes first is passed over.
    pub async fn try_move(&mut self, message: Move) -> Result<(), ErrorCode> {
        self.hear_of_move(message).await.map(drop)
    }

    /// The same for one that is in order: what others have left under the same ids.
    pub async fn move_and_hear(&mut self, message: Move) -> Vec<Bytes> {
        self.hear_of_move(message).await.expect("in order")
    }

    async fn hear_of_move(&mut self, message: Move) -> Result<Vec<Bytes>, ErrorCode> {
        let moving = message.id;
        self.say(message).await;
        loop {
            match self.hear().await {
                Some(RelayMsg::MoveAck(ack)) if ack.id == moving => {
                    return Ok(ack.others.0.into_iter().map(|left| left.package).collect());
                }
                Some(RelayMsg::Refused(refused)) if refused.id == moving => return Err(refused.error()),
                Some(RelayMsg::MoveAck(ack)) if ack.id == 0 => {}
                Some(RelayMsg::Page(_) | RelayMsg::Notify(_) | RelayMsg::PushAck(_)) => {}
                other => panic!("not an answer to a move: {other:?}"),
            }
        }
    }

    pub async fn ack(&mut self, cursor: u64) {
        self.say(Ack { cursor: RelayCursor::new(cursor) }).await;
    }

    /// Hangs up, as an app that is closed does.
    pub fn goodbye(self) {
        self.connection.close(0u32.into(), b"goodbye");
    }
}

/// Hears the refusal of the whole connection, and then its end.
pub async fn is_refused(mut line: Line) -> ErrorCode {
    let (id, code) = line.refusal().await;
    assert_eq!(id, 0);
    assert_eq!(line.hear().await, None);
    is_closed_with(&line.connection, code).await;
    code
}

pub async fn is_closed_with(connection: &Connection, code: ErrorCode) {
    let closed = timeout(SOON, connection.closed()).await.expect("closes");
    assert!(matches!(closed, ConnectionError::ApplicationClosed(close)
        if close.error_code == VarInt::from_u32(code.number().into())));
}

/// An envelope of the smallest size, different for every `n`.
pub fn envelope(sender: DeviceId, n: u64) -> Envelope {
    sized(sender, n, 83 + BODY_LEN_MIN + 16 + 64)
}

/// An envelope of so many bytes.
pub fn sized(sender: DeviceId, n: u64, len: usize) -> Envelope {
    made(sender, n, len, Kind::Data, 0)
}

pub fn expiring(sender: DeviceId, n: u64, ttl_s: u32) -> Envelope {
    made(sender, n, 83 + BODY_LEN_MIN + 16 + 64, Kind::Data, ttl_s)
}

pub fn made(sender: DeviceId, n: u64, len: usize, kind: Kind, ttl_s: u32) -> Envelope {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&n.to_be_bytes());
    let header = Header { kind, epoch: 0, key_id: KeyId::from_bytes([3; 16]), sender, ttl_s, nonce };
    let mut bytes = header.to_bytes().to_vec();
    bytes.resize(len, b'Z');
    Envelope::parse(bytes.into()).expect("an envelope")
}

/// All blobs of the log, read by a device that has just entered.
pub async fn blobs(line: &mut Line) -> Vec<BlobId> {
    line.pull(0, Run::START, 1_000).await.rows.0.iter().map(row_id).collect()
}

/// Their ids.
pub fn ids(blobs: &[Envelope]) -> Vec<BlobId> {
    blobs.iter().map(Envelope::blob_id).collect()
}

/// The blob id a row stands for, whatever it is.
pub fn row_id(row: &sync_types::message::Row) -> BlobId {
    match RowKind::from_number(row.kind).expect("a kind") {
        RowKind::Blob => Envelope::parse(row.bytes.clone()).expect("an envelope").blob_id(),
        RowKind::Expired | RowKind::Yours => BlobId::from_slice(&row.bytes).expect("an id"),
    }
}

/// The run of a log made of these.
pub fn run_of(blobs: &[Envelope]) -> Run {
    blobs.iter().fold(Run::START, |run, blob| run.then(&blob.blob_id()))
}
