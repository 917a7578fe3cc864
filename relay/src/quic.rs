//! The QUIC side: one endpoint, two protocols, and who may connect.
//!
//! Everything a stranger can open is counted before it costs much: handshakes in progress, in all and from one
//! address, then connections likewise. One that is over a limit is told so by the code its connection is closed
//! with, which waits for nobody.
//!
//! The endpoint talks to nobody: no iroh relay, no address lookup, no port mapping. It works without internet.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use iroh::{
    Endpoint, RelayMode, SecretKey,
    endpoint::{BindOpts, Connection, Incoming, IncomingAddr, PortmapperConfig, QuicTransportConfig, VarInt, presets},
};
use sync_types::{
    ErrorCode,
    limits::{ALPN, ALPN_INVITE},
};
use tokio::{task::JoinSet, time::timeout};
use tracing::{debug, warn};

use crate::{
    connection,
    error::StartError,
    invite,
    quota::{Address, Gate},
    state::State,
};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Connections in their handshake. Wide enough for all devices of a relay that comes back.
const ARRIVING_MAX: usize = 1_024;
/// Of them, those from one address, or as many as may be connected from it.
const ARRIVING_EACH_MAX: u64 = 32;
/// From so many on, in all or from its address, a newcomer has to prove that the address is its own before it costs
/// anything: a stranger who forges somebody's address must not use up that somebody's places.
const ARRIVING_UNPROVEN_MAX: usize = 64;
const ARRIVING_UNPROVEN_EACH_MAX: usize = 8;
/// How long the relay listens to silence. Devices keep their connections alive themselves.
const IDLE: Duration = Duration::from_secs(10);
/// Bytes of a device's stream that wait to be read, and of the relay's that wait to be acknowledged.
const WINDOW: u32 = 1024 * 1024;

/// Opens the endpoint.
pub(crate) async fn bind(address: SocketAddr, key: SecretKey) -> Result<Endpoint, StartError> {
    let failed = |reason: String| StartError::Quic { address, reason };
    let transport = QuicTransportConfig::builder()
        .max_idle_timeout(Some(IDLE.try_into().expect("ten seconds fit")))
        // One stream is the session. A second is refused by the transport itself.
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(u64::from(WINDOW))
        .datagram_receive_buffer_size(None)
        .build();
    let mut builder = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .portmapper_config(PortmapperConfig::Disabled)
        .secret_key(key)
        .alpns(vec![ALPN.to_vec(), ALPN_INVITE.to_vec()])
        .transport_config(transport)
        .clear_ip_transports();
    let invalid = |error: iroh::endpoint::InvalidSocketAddr| failed(error.to_string());
    if address.ip() == IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED) {
        // An IPv6 socket takes IPv6 only, and a machine may have none.
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        builder = builder.bind_addr(v4).map_err(invalid)?;
        builder = builder.bind_addr_with_opts(address, BindOpts::default().set_is_required(false)).map_err(invalid)?;
    } else {
        builder = builder.bind_addr(address).map_err(invalid)?;
    }
    builder.bind().await.map_err(|error| failed(error.to_string()))
}

/// Accepts connections until the relay stops, and waits for their sessions to end.
pub(crate) async fn accept(relay: Arc<State>, endpoint: Endpoint) {
    let arriving = Gate::new(ARRIVING_MAX as u64, ARRIVING_EACH_MAX.max(relay.config.limits.connections_per_ip));
    let mut connections = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            biased;
            () = relay.stopping() => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!(%error, "a connection's task failed");
                }
                continue;
            }
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => incoming,
                None => break,
            },
        };
        let IncomingAddr::Ip(address) = incoming.remote_addr() else { continue };
        let from = Address::from(address.ip());
        let many = arriving.count() >= ARRIVING_UNPROVEN_MAX || arriving.count_of(&from) >= ARRIVING_UNPROVEN_EACH_MAX;
        if many && !incoming.remote_addr_validated() {
            // It comes back with a token, if it is there at all.
            let _ = incoming.retry();
            continue;
        }
        let Some(place) = arriving.enter(from) else {
            incoming.refuse();
            continue;
        };
        let relay = Arc::clone(&relay);
        connections.spawn(async move {
            let Some(connection) = shake_hands(incoming).await else { return };
            drop(place);
            serve(relay, connection, from).await;
        });
    }
    while connections.join_next().await.is_some() {}
}

async fn shake_hands(incoming: Incoming) -> Option<Connection> {
    let accepting = incoming.accept().ok()?;
    match timeout(HANDSHAKE, accepting).await {
        Ok(Ok(connection)) => Some(connection),
        Ok(Err(error)) => {
            debug!(%error, "a handshake failed");
            None
        }
        Err(_) => None,
    }
}

async fn serve(relay: Arc<State>, connection: Connection, from: Address) {
    let invites = connection.alpn() == ALPN_INVITE;
    let gate = if invites { &relay.quotas.inviting } else { &relay.quotas.addresses };
    let Some(_pass) = gate.enter(from) else {
        return connection::refuse(&relay, &connection, ErrorCode::TooManyConnections);
    };
    if invites {
        invite::serve(&relay, &connection, from).await;
    } else {
        connection::serve(relay, connection, from).await;
    }
}
