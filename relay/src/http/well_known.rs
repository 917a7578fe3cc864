//! `GET /.well-known/0k-sync`: which relay this is, and where its QUIC endpoint listens.
//!
//! Unless the operator names a public address, the host is the one the device has just used: whoever got here by
//! `relay.example` gets to the same machine's UDP port by it.

use std::sync::Arc;

use axum::{
    Json,
    extract::State as Shared,
    http::{HeaderMap, header, uri::Authority},
};
use sync_types::{limits::PROTOCOL_VERSION, well_known::WellKnown};

use crate::state::State;

pub(super) async fn well_known(Shared(relay): Shared<Arc<State>>, headers: HeaderMap) -> Json<WellKnown> {
    Json(WellKnown {
        version: PROTOCOL_VERSION,
        relay_id: relay.id,
        quic: addresses(&relay, &headers),
        iroh_relay: None,
    })
}

fn addresses(relay: &State, headers: &HeaderMap) -> Vec<String> {
    if let Some(address) = &relay.config.server.public_addr {
        return vec![address.to_string()];
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse().ok());
    let asked = host.map(|host: Authority| host.host().to_owned());
    let mut addresses: Vec<_> = relay
        .quic
        .iter()
        .filter_map(|bound| {
            if !bound.ip().is_unspecified() {
                return Some(bound.to_string());
            }
            asked.as_ref().map(|host| format!("{host}:{}", bound.port()))
        })
        .collect();
    addresses.dedup();
    addresses
}
