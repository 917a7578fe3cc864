//! How everything stands: what a person is told, computed from what is known.

use sync_types::{ErrorCode, Reaction};

use super::Engine;
use crate::{
    link::Link,
    protection::Protection,
    status::{Badge, Connection, Loading, Status},
};

impl Engine {
    /// How everything stands.
    pub fn status(&self) -> Status {
        let head = self.outbox.head();
        let mut relays: Vec<_> = self.links.iter().map(|link| link.status(head)).collect();
        if !self.online {
            // A link counts what it tried; nobody tries any more.
            relays.iter_mut().for_each(|relay| relay.connection = Connection::Disconnected);
        }
        let connections = || relays.iter().map(|relay| relay.connection);
        let connection = connections()
            .find(|connection| *connection == Connection::Connected)
            .or_else(|| connections().find(|connection| *connection == Connection::Connecting))
            .or_else(|| connections().find(|connection| *connection != Connection::Disconnected))
            .unwrap_or(Connection::Disconnected);
        Status {
            badge: self.badge(),
            connection,
            pending: self.pending(),
            parked: self.inbox.parked().collect(),
            waiting: self.inbox.waiting(&self.context.roster),
            last_cursor: self.context.local.app_acked,
            head_cursor: self.context.local.head,
            relays,
            loading: self.snapshots.loading.as_ref().map(|loading| {
                let (done, total) = loading.progress();
                Loading {
                    snapshot: loading.sealed.id,
                    sender: loading.sealed.sender(),
                    done,
                    total,
                    ready: loading.told,
                }
            }),
            synced_ms: self.synced_ms,
            identity_reused: self.identity_reused,
            removed: self.context.am_removed(),
        }
    }

    pub(super) fn pending(&self) -> u64 {
        let head = self.outbox.head();
        self.links.iter().map(|link| link.pending(head)).max().unwrap_or(head.get())
    }

    pub(super) fn badge(&self) -> Badge {
        let full = [ErrorCode::GroupFull, ErrorCode::StorageFull];
        let stuck = |code: ErrorCode| code.reaction() != Reaction::Retry || full.contains(&code);
        let stuck = |link: &Link| link.refusal().or(link.problem).is_some_and(stuck);
        let readable = self.inbox.is_clean() || !self.context.protections.hold(Protection::StatusSeesParked);
        if self.context.am_removed() || self.identity_reused || !readable || self.links.iter().any(stuck) {
            Badge::Failed
        } else if !self.links.iter().any(Link::is_live) {
            Badge::Offline
        } else if self.is_in_step() {
            Badge::Synced
        } else {
            Badge::Pending
        }
    }

    /// Every relay has all of ours, and we have read all of it and wait for nothing.
    pub(crate) fn is_in_step(&self) -> bool {
        let head = self.outbox.head();
        let holds = |protection| self.context.protections.hold(protection);
        let settled = |link: &Link| {
            (link.is_caught_up() || !holds(Protection::StatusSeesUnread))
                && !link.is_behind()
                && (link.pending(head) == 0 || !holds(Protection::StatusSeesPending))
                && link.state.is_some()
                && !link.fills()
        };
        let complete = self.inbox.waiting(&self.context.roster) == 0 || !holds(Protection::StatusSeesWaiting);
        self.links.iter().all(settled)
            && complete
            && self.may_send()
            && !self.is_between()
            && self.duty.is_none()
            && self.snapshots.loading.is_none()
    }
}
