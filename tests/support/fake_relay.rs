//! Somebody who has a relay's identity and its address, and does not do what a relay does.

use std::{
    future::Future,
    net::{SocketAddr, UdpSocket},
    path::Path,
    sync::Arc,
    time::Duration,
};

use iroh::{Endpoint, SecretKey};
use serde_bytes::Bytes;
use tokio::task::JoinSet;

use crate::{
    Relay, eventually,
    stranger::{ALPN, Line, Meanwhile, Network, frame, kind, private_endpoint},
};

/// A relay's double, in the place of one that was stopped. Dropping it frees the place.
pub struct FakeRelay<'a> {
    network: &'a Network,
    place: SocketAddr,
    endpoint: Option<Endpoint>,
    serving: Option<Meanwhile<()>>,
}

impl<'a> FakeRelay<'a> {
    /// Takes the place of a relay that does not run, and treats every session like this, side by side.
    pub fn instead_of<F>(relay: &Relay, network: &'a Network, treat: impl Fn(Line) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let quic: SocketAddr = relay.quic().parse().expect("a relay says where it listens");
        let builder = private_endpoint(identity(&relay.data())).alpns(vec![ALPN.to_vec()]);
        let bound = network.run(async { builder.bind_addr(quic).expect("a relay's address").bind().await });
        let endpoint = bound.expect("the relay's place is free");
        let (accepting, treat) = (endpoint.clone(), Arc::new(treat));
        let serving = network.meanwhile(async move {
            // They end with this, and let go of the place.
            let mut sessions = JoinSet::new();
            while let Some(incoming) = accepting.accept().await {
                let (treat, ours) = (Arc::clone(&treat), accepting.id());
                sessions.spawn(async move {
                    let Ok(connection) = incoming.await else { return };
                    if let Ok(stream) = connection.accept_bi().await {
                        treat(Line::accepted(connection, stream, ours)).await;
                    }
                });
            }
        });
        Self { network, place: quic, endpoint: Some(endpoint), serving: Some(serving) }
    }
}

impl Drop for FakeRelay<'_> {
    fn drop(&mut self) {
        self.serving = None;
        if let Some(endpoint) = self.endpoint.take() {
            self.network.run(async move { endpoint.close().await });
        }
        let free = || UdpSocket::bind(self.place).ok();
        eventually("the double has left", Duration::from_secs(60), free);
    }
}

/// A WELCOME to an empty log that takes blobs of a mebibyte.
pub fn welcome(relay: &Relay) -> Vec<u8> {
    let id = *identity(&relay.data()).public().as_bytes();
    let limits = (1 << 20, 100 << 20, 604_800, 0, 50_000, 100);
    frame(kind::WELCOME, &(1, Bytes::new(&id), Bytes::new(&[9; 16]), 0, 0, 0, limits, 0))
}

fn identity(data: &Path) -> SecretKey {
    let text = std::fs::read_to_string(data.join("identity.key")).expect("a relay's identity is in a file");
    let bytes = data_encoding::HEXLOWER.decode(text.trim().as_bytes()).expect("it is hex");
    SecretKey::from_bytes(bytes.as_slice().try_into().expect("a key has 32 bytes"))
}
