//! A relay without sockets: its real sessions and its real store, over streams in memory. For the fuzzers.
//!
//! **Absent on purpose:** QUIC, HTTP and the tasks that clean up. Nothing here happens by itself.

use std::{net::Ipv4Addr, sync::Arc};

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
