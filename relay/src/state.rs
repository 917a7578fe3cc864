//! What all sessions and requests share.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use sync_types::{RelayId, message::Limits};
use tokio::sync::{Semaphore, watch};

use crate::{
    config::Config, mailbox::Mailboxes, metrics::Metrics, presence::Presence, quota::Quotas, retention::RetentionClock,
    store::Store,
};

/// Envelope bytes that all sessions together have handed to the store. The others wait their turn.
const PUSH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// See the [module](self).
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) id: RelayId,
    /// Where the QUIC endpoint listens.
    pub(crate) quic: Vec<SocketAddr>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: RetentionClock,
    pub(crate) quotas: Quotas,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) presence: Arc<Presence>,
    pub(crate) metrics: Metrics,
    pub(crate) started: Instant,
    /// One permit a byte of [`PUSH_BYTES_MAX`].
    pub(crate) push_bytes: Semaphore,
    /// Whether its operator was told of a proxy that it does not know of.
    pub(crate) warned_of_proxy: AtomicBool,
    /// True once the relay is stopping.
    pub(crate) closing: watch::Sender<bool>,
}

impl State {
    pub(crate) fn new(
        config: Config,
        id: RelayId,
        quic: Vec<SocketAddr>,
        store: Arc<dyn Store>,
        clock: RetentionClock,
    ) -> Self {
        Self {
            id,
            quic,
            clock,
            quotas: Quotas::new(&config),
            mailboxes: Mailboxes::new(&config.limits),
            presence: Arc::default(),
            metrics: Metrics::default(),
            started: Instant::now(),
            push_bytes: Semaphore::new(PUSH_BYTES_MAX),
            warned_of_proxy: AtomicBool::new(false),
            closing: watch::Sender::new(false),
            config,
            store,
        }
    }

    /// What WELCOME says this relay accepts.
    pub(crate) fn limits(&self) -> Limits {
        let (storage, limits) = (&self.config.storage, &self.config.limits);
        Limits {
            blob_len_max: storage.max_blob_size,
            group_bytes_max: storage.max_group_storage,
            ttl_s_default: if storage.default_ttl == 0 { storage.max_ttl } else { storage.default_ttl },
            ttl_s_max: storage.max_ttl,
            burst: limits.messages_burst,
            per_minute: limits.messages_per_minute,
        }
    }

    /// Resolves once the relay is stopping.
    pub(crate) async fn stopping(&self) {
        // An error means that the sender is gone, which lives as long as `self`.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }
}
