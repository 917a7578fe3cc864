//! `GET /health`: is it up, and how much is going on. Scripts depend on these fields.

use std::sync::Arc;

use axum::{Json, extract::State as Shared};
use serde::Serialize;

use crate::state::State;

/// The answer.
#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
    version: &'static str,
    connections: u64,
    groups: u64,
    blobs_stored: u64,
    uptime_seconds: u64,
}

pub(super) async fn health(Shared(relay): Shared<Arc<State>>) -> Json<Health> {
    let totals = relay.store.totals();
    Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        connections: relay.quotas.devices.count() as u64,
        groups: totals.groups,
        blobs_stored: totals.blobs,
        uptime_seconds: relay.started.elapsed().as_secs(),
    })
}
