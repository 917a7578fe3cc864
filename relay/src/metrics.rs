//! What an operator can watch, in Prometheus' text format.
//!
//! Written out by hand: three of the names that dashboards rely on are counters without the `_total` that client
//! libraries insist on, and all there is to it is lines of text. Numbers only, no labels: nothing here can say
//! which group or device it is about.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::state::State;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What has happened since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Sessions that were opened.
    pub(crate) connections: Counter,
    /// Sessions and connections that were refused or ended for a fault.
    pub(crate) refused: Counter,
    /// Envelopes appended or found to be there already.
    pub(crate) pushed: Counter,
    /// Envelopes sent to devices.
    pub(crate) delivered: Counter,
    /// Envelopes whose time was over.
    pub(crate) expired: Counter,
    /// Groups that got another id.
    pub(crate) moved: Counter,
    /// Snapshots published or found to be there already.
    pub(crate) snapshots: Counter,
    /// Requests over a device's rate.
    pub(crate) limited: Counter,
    /// Bytes of frames, in and out.
    pub(crate) bytes: Counter,
}

/// All of them, as `GET /metrics` answers.
pub(crate) fn text(relay: &State) -> String {
    let (metrics, totals) = (&relay.metrics, relay.store.totals());
    let mut text = String::new();
    let mut line = |name: &str, kind: &str, help: &str, value: u64| {
        let _ = writeln!(
            text,
            "# HELP sync_relay_{name} {help}\n# TYPE sync_relay_{name} {kind}\nsync_relay_{name} {value}"
        );
    };
    line("connections_total", "counter", "Sessions opened since the start", metrics.connections.get());
    line("connections_active", "gauge", "Sessions open now", relay.quotas.devices.count() as u64);
    line("blobs_stored", "gauge", "Envelopes kept now", totals.blobs);
    line("blobs_delivered", "counter", "Envelopes sent to devices since the start", metrics.delivered.get());
    line("bytes_transferred", "counter", "Bytes received and sent in sessions since the start", metrics.bytes.get());
    line("blobs_pushed_total", "counter", "Pushes acknowledged since the start", metrics.pushed.get());
    line("blobs_expired_total", "counter", "Envelopes that expired since the start", metrics.expired.get());
    line("blobs_damaged_total", "counter", "Envelopes the disk had changed, found since the start", totals.damaged);
    line("groups_moved_total", "counter", "Groups that got another id since the start", metrics.moved.get());
    line("snapshots_published_total", "counter", "Snapshots acknowledged since the start", metrics.snapshots.get());
    line("refusals_total", "counter", "Sessions refused or ended for a fault since the start", metrics.refused.get());
    line("rate_limited_total", "counter", "Requests refused for their rate since the start", metrics.limited.get());
    line("groups", "gauge", "Groups with a log now", totals.groups);
    line("database_bytes", "gauge", "Bytes of the database in use", totals.db_bytes);
    line("database_bytes_max", "gauge", "Bytes it may use", relay.config.storage.max_db_size);
    line("invites_active", "gauge", "Mailboxes open now", relay.mailboxes.count() as u64);
    line("uptime_seconds", "gauge", "Seconds since the start", relay.started.elapsed().as_secs());
    text
}
