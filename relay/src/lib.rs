//! The 0k-Sync relay: keeps sealed envelopes in order, and hands them on.
//!
//! [`Relay::bind`] opens everything, [`Relay::run`] serves until [`Handle::shutdown`]. A device's session goes
//! through `quic` and `connection` to one file of `request`, which makes one call to the `store`.
//!
//! **Absent on purpose:** any way to read an envelope. Of this project's crates the relay links `sync-types`
//! alone, which has no cipher and no key; what it can know of a group is a hash, which devices are in it, how much
//! they send, and when. Logs carry shortened ids, sizes and counts.

pub mod args;
pub mod config;
mod connection;
mod error;
#[cfg(feature = "test-utils")]
pub mod harness;
mod http;
mod identity;
mod invite;
mod link;
mod mailbox;
mod memory;
mod metrics;
mod own;
mod presence;
mod quic;
mod quota;
mod request;
mod retention;
mod state;
mod store;

use std::{
    fs::File,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use iroh::{Endpoint, EndpointAddr, TransportAddr};
use iroh_tickets::endpoint::EndpointTicket;
use sync_types::RelayId;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tracing::{info, warn};

pub use config::{Config, ConfigError};
pub use error::StartError;
pub use store::StoreError;

use crate::{
    retention::{RetentionClock, wall_ms},
    state::State,
    store::{Bounds, Store, sqlite::SqliteStore},
};

/// How long sessions and requests may take to end when the relay stops.
const ENDING: Duration = Duration::from_millis(1_600);
/// How long the endpoint may take to send its last packets.
const LAST_PACKETS: Duration = Duration::from_millis(200);
/// How often mailboxes whose time is over are looked for.
const PURGE: Duration = Duration::from_secs(30);

/// A relay that listens.
pub struct Relay {
    state: Arc<State>,
    endpoint: Endpoint,
    http_addr: SocketAddr,
    http: TcpListener,
    _folder: File,
}

/// Stops a relay that runs in another task.
#[derive(Clone)]
pub struct Handle(Arc<State>);

impl Handle {
    /// Begins to stop. [`Relay::run`] returns when it is done, within two seconds.
    pub fn shutdown(&self) {
        self.0.closing.send_replace(true);
    }
}

impl Relay {
    /// Takes the data folder, opens the database and starts to listen. Connections wait until [`Self::run`].
    ///
    /// # Errors
    /// [`StartError`], for its operator to read.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let folder = identity::take_folder(&config.storage.data_dir)?;
        let key = identity::identity(&config.storage.data_dir)?;
        let (store, clock) = open_store(&config).await?;
        let endpoint = quic::bind(config.server.quic_bind, key).await?;
        let address = config.server.http_bind;
        let http = TcpListener::bind(address).await.map_err(|source| StartError::Http { address, source })?;
        let http_addr = http.local_addr().map_err(|source| StartError::Http { address, source })?;
        let id = RelayId::from_bytes(*endpoint.id().as_bytes());
        let state = State::new(config, id, endpoint.bound_sockets(), Arc::new(store), clock);
        Ok(Self { state: Arc::new(state), endpoint, http_addr, http, _folder: folder })
    }

    /// Who it is. Stays the same as long as the data folder keeps its identity file.
    pub fn id(&self) -> RelayId {
        self.state.id
    }

    /// Where the QUIC endpoint listens.
    pub fn quic_addr(&self) -> SocketAddr {
        self.state.quic.first().copied().unwrap_or(self.state.config.server.quic_bind)
    }

    /// Where the HTTP server listens.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Everything a device needs to connect, as one word.
    pub fn ticket(&self) -> String {
        let public = self.state.config.server.public_addr.as_ref().and_then(|address| address.to_string().parse().ok());
        let bound = self.state.quic.iter().copied().filter(|address| !address.ip().is_unspecified());
        let mut addresses: Vec<_> = public.into_iter().chain(bound).map(TransportAddr::Ip).collect();
        if addresses.is_empty() {
            addresses = self.endpoint.addr().addrs.into_iter().collect();
        }
        EndpointTicket::new(EndpointAddr::from_parts(self.endpoint.id(), addresses)).to_string()
    }

    /// What stops it, once it runs.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.state))
    }

    /// Serves until it is told to stop, then ends sessions, commits what they had begun, and closes.
    pub async fn run(self) {
        let Self { state, endpoint, http, _folder, .. } = self;
        let retention = tokio::spawn(retention::run(Arc::clone(&state)));
        let purge = tokio::spawn(purge(Arc::clone(&state)));
        let memory = tokio::spawn(memory::run(Arc::clone(&state)));
        let quic = tokio::spawn(quic::accept(Arc::clone(&state), endpoint.clone()));
        let http = tokio::spawn(http::serve(Arc::clone(&state), http));
        state.stopping().await;
        info!("stopping");
        state.mailboxes.close();
        tokio::join!(end(quic), end(http));
        retention.abort();
        purge.abort();
        memory.abort();
        state.store.close().await;
        // It would wait for peers that are gone, and all who are not have been told.
        let _ = timeout(LAST_PACKETS, endpoint.close()).await;
        info!("stopped");
    }
}

/// Opens the database, and the clock that it kept.
async fn open_store(config: &Config) -> Result<(SqliteStore, RetentionClock), StartError> {
    let bounds = Bounds {
        group_bytes: config.storage.max_group_storage,
        db_bytes: config.storage.max_db_size,
        groups: config.storage.max_groups,
    };
    let database = config.storage.data_dir.join("relay.db");
    identity::open_private(&database).map_err(StartError::DataDir)?;
    let store = SqliteStore::open(&database, bounds).await?;
    let clock = RetentionClock::new(store.clock(), config.cleanup.interval, wall_ms());
    Ok((store, clock))
}

/// Waits for a task to end, but not for long.
async fn end(mut serving: JoinHandle<()>) {
    if timeout(ENDING, &mut serving).await.is_err() {
        warn!("some connections did not end in time");
        serving.abort();
    }
}

async fn purge(state: Arc<State>) {
    let mut ticks = tokio::time::interval(PURGE);
    loop {
        ticks.tick().await;
        state.mailboxes.purge(Instant::now());
    }
}
