//! `GET /metrics`, for Prometheus.

use std::sync::Arc;

use axum::{
    extract::State as Shared,
    http::header::{CONTENT_TYPE, HeaderName},
};

use crate::{metrics, state::State};

pub(super) async fn metrics(Shared(relay): Shared<Arc<State>>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::text(&relay))
}
