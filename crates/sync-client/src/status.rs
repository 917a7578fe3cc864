//! What a person is told, where the shell knows more than the engine, and how often listeners hear of it.
//!
//! Invariant: nothing here makes a status look better than the engine's.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sync_core::{Badge, Connection, Event, Status};
use sync_types::{ErrorCode, LocalCursor, Reaction};
use tokio::sync::{broadcast, watch};

use crate::{event::SyncEvent, routes::Routes};

/// What the driver shows to the handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) status: Status,
    /// How often each configured relay was looked for in vain since the client was opened.
    pub(crate) misses: Vec<u64>,
    /// What is wrong that shows with no relay: that one's address leads to none, or that nothing can be stored.
    pub(crate) problem: Option<ErrorCode>,
}

impl Shown {
    pub(crate) fn new(status: Status, routes: &Routes) -> Self {
        let decided = |code: &ErrorCode| code.reaction() != Reaction::Retry;
        Self { status, misses: routes.misses(), problem: routes.unknown().flatten().find(decided) }
    }
}

/// Listeners hear of a changed status at most this often.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Of a profile without a group.
pub(crate) fn without_group() -> Status {
    Status {
        badge: Badge::Offline,
        connection: Connection::Disconnected,
        pending: 0,
        parked: Vec::new(),
        waiting: 0,
        last_cursor: LocalCursor::START,
        head_cursor: LocalCursor::START,
        relays: Vec::new(),
        loading: None,
        synced_ms: None,
        identity_reused: false,
        removed: false,
    }
}

/// The engine's status, and what is wrong with relays' addresses, which the engine can't know.
pub(crate) fn with_routes(mut status: Status, routes: &Routes) -> Status {
    for relay in &mut status.relays {
        if let Some(code) = routes.problem_of(&relay.relay) {
            relay.problem = Some(code);
            if code.reaction() != Reaction::Retry {
                status.badge = Badge::Failed;
            }
        }
    }
    for problem in routes.unknown() {
        if problem.is_some_and(|code| code.reaction() != Reaction::Retry) {
            status.badge = Badge::Failed;
        } else if status.badge == Badge::Synced {
            status.badge = Badge::Pending;
        }
    }
    status
}

/// Of a profile that can't be stored just now.
pub(crate) fn failed(status: Status) -> Status {
    Status { badge: Badge::Failed, ..at_rest(status) }
}

/// Of a client that is closed.
pub(crate) fn at_rest(mut status: Status) -> Status {
    status.connection = Connection::Disconnected;
    status.relays.iter_mut().for_each(|relay| relay.connection = Connection::Disconnected);
    if status.badge != Badge::Failed {
        status.badge = Badge::Offline;
    }
    status
}

/// Tells listeners what happened, and what the status is, but not too often.
#[derive(Debug, Default)]
pub(crate) struct Herald {
    told: Option<Instant>,
    untold: bool,
}

impl Herald {
    /// Tells at once.
    pub(crate) fn tell(&self, events: &broadcast::Sender<SyncEvent>, event: Event) {
        // Nobody may be listening.
        let _ = events.send(SyncEvent::Happened(event));
    }

    /// Shows the status at once, and tells of it now or when it is due.
    pub(crate) fn publish(&mut self, shown: &watch::Sender<Shown>, events: &broadcast::Sender<SyncEvent>, next: Shown) {
        shown.send_if_modified(|old| {
            self.untold |= old.status != next.status;
            let changed = *old != next;
            *old = next;
            changed
        });
        if self.due().is_some_and(|due| due <= Instant::now()) {
            self.untold = false;
            self.told = Some(Instant::now());
            let _ = events.send(SyncEvent::StatusChanged(Arc::new(shown.borrow().status.clone())));
        }
    }

    /// When [`Self::publish`] has something left to tell.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.untold.then(|| self.told.map_or_else(Instant::now, |told| told + TELL_EVERY))
    }
}
