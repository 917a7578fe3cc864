//! For tests: a relay without sockets, and the configuration of one with them.
//!
//! [`Harness`] is a relay's real sessions and its real store, over streams in memory. **Absent on purpose:** QUIC, HTTP and
//! the tasks that clean up. Nothing in it happens by itself.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use sync_types::{DeviceId, RelayId};
use tokio::io::DuplexStream;

use crate::{
    Config, StartError, connection,
    link::{FrameReader, FrameWriter, Sink, Source},
    open_store,
    quota::Address,
    request::hello::Peer,
    state::State,
};

/// For a relay that many devices at one address use at once: on loopback, at ports that are free, and with no limit that
/// counts by address.
pub fn loopback(data_dir: &Path) -> Config {
    let mut config = Config::default();
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.server.quic_bind = free;
    config.server.http_bind = free;
    config.storage.data_dir = data_dir.to_path_buf();
    config.limits.messages_burst = 1_000_000;
    config.limits.connections_per_ip = 1_000;
    config.limits.groups_per_ip_hour = 1_000;
    config.limits.invites_per_minute = 1_000;
    config.limits.claims_per_minute = 1_000;
    config.limits.misses_per_minute = 1_000;
    config
}

/// See the [module](self).
pub struct Harness(Arc<State>);

impl Harness {
    /// Opens the store in the configured folder.
    ///
    /// # Errors
    /// [`StartError`], as a relay's own.
    pub async fn open(config: Config, id: RelayId) -> Result<Self, StartError> {
        let (store, clock) = open_store(&config).await?;
        Ok(Self(Arc::new(State::new(config, id, Vec::new(), Arc::new(store), clock))))
    }

    /// Serves one session to its end. Returns the code that its connection would be closed with.
    pub async fn session(&self, device: DeviceId, exporter: [u8; 32], stream: DuplexStream) -> u64 {
        let (receive, send) = tokio::io::split(stream);
        let (reader, writer) = (FrameReader::over(Source::Memory(receive)), FrameWriter::over(Sink::Memory(send)));
        let from = Address::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        let (code, _) = connection::session(&self.0, &Peer { device, exporter }, from, reader, writer).await;
        code.into_inner()
    }

    /// Closes the store.
    pub async fn close(self) {
        self.0.store.close().await;
    }
}
