//! Bare sessions: a connection that has greeted and speaks frames, without the client around it.
//!
//! For what is asked of the relay alone: a thousand devices that do nothing, and eight that send faster than eight
//! clients on the same machine could seal and store.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use iroh::{
    Endpoint, EndpointAddr, EndpointId, RelayMode, SecretKey, TransportAddr,
    endpoint::{Connection, PortmapperConfig, RecvStream, SendStream, presets},
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sync_core::{
    keys::{DeviceKey, GroupKeys},
    seal::{self, Draft},
};
use sync_types::{
    BlobHash, DeviceMsg, FrameBuffer, Kind, PushId, RelayCursor, RelayMsg, Run, Seq,
    limits::{ALPN, IN_FLIGHT_MAX, PROTOCOL_VERSION},
    message::{Hello, Pull, Push},
    sign::HELLO_EXPORTER_LABEL,
};

use crate::{Failure, device::blobs, relay::Relay};

/// Frames in one write.
const FRAMES_AT_ONCE: usize = 128;

/// A group and one of its devices.
pub(crate) struct Identity {
    keys: GroupKeys,
    device: DeviceKey,
    rng: ChaCha20Rng,
}

impl Identity {
    /// So many devices of one group, each with so many envelopes it sealed.
    pub(crate) fn crowd(devices: usize, envelopes: usize) -> Vec<(Self, Vec<Bytes>)> {
        let seal = |number| {
            let mut identity = Self::new(0, number);
            let envelopes = identity.seal(envelopes);
            (identity, envelopes)
        };
        (0..devices).map(seal).collect()
    }

    /// A device of a group, both by their numbers.
    pub(crate) fn new(group: usize, number: usize) -> Self {
        let keys = GroupKeys::generate(&mut rng(1, group));
        let mut rng = rng(2, number);
        Self { keys, device: DeviceKey::generate(&mut rng), rng }
    }

    fn seal(&mut self, count: usize) -> Vec<Bytes> {
        let mut prev = BlobHash::ZERO;
        let mut sealed = Vec::with_capacity(count);
        for (payload, seq) in blobs(count).zip(1..) {
            let push_id = PushId::from_bytes([0; PushId::LEN]);
            let (seq, kind) = (Seq::new(seq), Kind::Data);
            let draft = Draft { kind, ttl_s: 0, seq, prev, push_id, time_ms: 0, payload, compress: false };
            let envelope = seal::seal(&self.keys, &self.device, draft, &mut self.rng);
            prev = envelope.hash();
            sealed.push(envelope.as_bytes().clone());
        }
        sealed
    }
}

fn rng(purpose: u64, number: usize) -> ChaCha20Rng {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&purpose.to_be_bytes());
    seed[8..16].copy_from_slice(&number.to_be_bytes());
    ChaCha20Rng::from_seed(seed)
}

/// An endpoint on loopback that nobody helps.
pub(crate) async fn endpoint(seed: &[u8; 32]) -> Result<Endpoint, Failure> {
    let builder = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .portmapper_config(PortmapperConfig::Disabled)
        .secret_key(SecretKey::from_bytes(seed))
        .clear_ip_transports()
        .bind_addr((Ipv4Addr::LOCALHOST, 0))?;
    Ok(builder.bind().await?)
}

/// A connection to an endpoint whose address is known.
pub(crate) async fn dial(from: &Endpoint, id: EndpointId, at: SocketAddr, alpn: &[u8]) -> Result<Connection, Failure> {
    Ok(from.connect(EndpointAddr::from_parts(id, [TransportAddr::Ip(at)]), alpn).await?)
}

/// A session with a relay.
pub(crate) struct Session {
    endpoint: Endpoint,
    send: SendStream,
    recv: RecvStream,
    frames: FrameBuffer,
}

impl Session {
    /// Connects and greets.
    pub(crate) async fn open(relay: &Relay, identity: &Identity) -> Result<Self, Failure> {
        let endpoint = endpoint(identity.device.seed()).await?;
        let relay_id = EndpointId::from_bytes(relay.id().as_bytes())?;
        let connection = dial(&endpoint, relay_id, relay.quic(), ALPN).await?;
        let (send, recv) = connection.open_bi().await?;
        let mut exporter = [0; 32];
        let exported = connection.export_keying_material(&mut exporter, HELLO_EXPORTER_LABEL, b"");
        exported.map_err(|_| "no exporter")?;
        let auth = identity.keys.current().secret().relay_auth(&relay.id());
        let hello = Hello {
            version: PROTOCOL_VERSION,
            group: auth.relay_group_id(),
            auth_public: auth.public(),
            last_cursor: RelayCursor::START,
            log_id: None,
            signature: auth.sign_hello(&identity.device.device_id(), &relay.id(), &exporter).to_vec().into(),
            features: 0,
        };
        let mut session = Self { endpoint, send, recv, frames: FrameBuffer::default() };
        session.say(hello.into()).await?;
        if matches!(session.next().await?, RelayMsg::Welcome(_)) {
            Ok(session)
        } else {
            Err("the relay does not welcome a session".into())
        }
    }

    /// Asks for the log and for all that comes, and reads the first page.
    pub(crate) async fn follow(&mut self) -> Result<(), Failure> {
        let pull = Pull { id: 1, after: RelayCursor::START, run: Run::START, limit: 0, follow: true };
        self.say(pull.into()).await?;
        self.next().await.map(drop)
    }

    /// Pushes envelopes, as many unanswered as a device may have, until all are on the relay's disk.
    pub(crate) async fn push(&mut self, envelopes: &[Bytes]) -> Result<(), Failure> {
        let mut frames = envelopes
            .iter()
            .zip(1..)
            .map(|(envelope, id)| DeviceMsg::from(Push { id, age_s: 0, envelope: envelope.clone() }).to_frame());
        let (mut sent, mut answered) = (0, 0);
        while answered < envelopes.len() {
            if sent < envelopes.len() && sent - answered <= IN_FLIGHT_MAX - FRAMES_AT_ONCE {
                let mut chunk: Vec<Bytes> = frames.by_ref().take(FRAMES_AT_ONCE).collect();
                sent += chunk.len();
                self.send.write_all_chunks(&mut chunk).await?;
                continue;
            }
            match self.next().await? {
                RelayMsg::PushAck(_) => answered += 1,
                // Others push too.
                RelayMsg::Notify(_)
                | RelayMsg::Presence(_)
                | RelayMsg::Receipts(_)
                | RelayMsg::Snapshots(_)
                | RelayMsg::Moved(_)
                | RelayMsg::MoveAck(_) => {}
                RelayMsg::Refused(refused) => return Err(format!("refused: {}", refused.error().name()).into()),
                RelayMsg::Welcome(_)
                | RelayMsg::Page(_)
                | RelayMsg::Gap(_)
                | RelayMsg::Got(_)
                | RelayMsg::ReceiptAck(_)
                | RelayMsg::SnapshotAck(_) => {
                    return Err("the relay says what it was not asked for".into());
                }
            }
        }
        Ok(())
    }

    /// Leaves.
    pub(crate) async fn close(self) {
        self.endpoint.close().await;
    }

    async fn say(&mut self, message: DeviceMsg) -> Result<(), Failure> {
        Ok(self.send.write_all(&message.to_frame()).await?)
    }

    async fn next(&mut self) -> Result<RelayMsg, Failure> {
        loop {
            if let Some(frame) = self.frames.next_frame()? {
                return Ok(RelayMsg::from_frame(&frame)?);
            }
            let chunk = self.recv.read_chunk(64 * 1024).await?.ok_or("the relay hung up")?;
            self.frames.extend(&chunk);
        }
    }
}
