//! What a client tells whoever listens.
//!
//! Listening never holds the client up: who reads too slowly misses the oldest events and is told how many. That
//! loses nothing, because everything told is durable and can be read: blobs with
//! [`pull`](crate::SyncClient::pull), the rest with [`status`](crate::SyncClient::status).

use std::sync::Arc;

pub use sync_core::event::Event;
use sync_core::status::Status;
use tokio::sync::broadcast::{self, error::RecvError};

/// Something an app, or a person, may want to hear of.
#[derive(Clone, Debug)]
pub enum SyncEvent {
    /// Something happened.
    Happened(Event),
    /// The status says something else than before. Told at most ten times a second.
    StatusChanged(Arc<Status>),
    /// This many events were dropped because they were not read in time.
    Missed(u64),
}

/// Reads events as they come. A reader that is too slow misses the oldest, and is told how many.
#[derive(Debug)]
pub struct EventStream {
    events: broadcast::Receiver<SyncEvent>,
}

impl EventStream {
    pub(crate) fn new(events: broadcast::Receiver<SyncEvent>) -> Self {
        Self { events }
    }

    /// The next event; none once the client is closed.
    pub async fn next(&mut self) -> Option<SyncEvent> {
        match self.events.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => Some(SyncEvent::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}
