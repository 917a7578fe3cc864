//! What happens, told to whoever listens.
//!
//! A listener is a function. It is called on a thread of ours, one event after the other, and should pass it on and
//! return: while it works it misses nothing, up to a number of events that wait; then the oldest are dropped and it is
//! told how many. That loses nothing that can't be read again, the blobs with `pull` and the rest with `status`.

use serde::Serialize;
use sync_client as client;
use sync_client::ErrorCode;
use tokio::{
    sync::broadcast::{Receiver, Sender, error::RecvError},
    task::AbortHandle,
};

use crate::{
    dto::{Disk, Membership, ParkReason, Status},
    runtime,
};

/// Events that wait for a listener.
pub(crate) const EVENTS_MAX: usize = 1_024;

/// Something an app, or a person, may want to hear of, told apart by `kind`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// A session with a relay is open.
    Connected {
        /// Which relay.
        relay_id: String,
        /// How much of its log this device has not read.
        unread: u64,
    },
    /// A session ended, or an attempt at one.
    Disconnected {
        /// Which relay.
        relay_id: String,
        /// Why, where there is a word for it.
        reason: Option<ErrorCode>,
    },
    /// A blob of another device is in the local log.
    BlobAvailable {
        /// Its place there.
        cursor: u64,
        /// Its name.
        push_id: String,
        /// Who pushed it.
        sender: String,
        /// It came after a gap had been reported in its place.
        late: bool,
    },
    /// An own blob is on a relay's disk.
    BlobPushed {
        /// Its place in the local log.
        cursor: u64,
        /// Its name.
        push_id: String,
        /// Which relay.
        relay_id: String,
    },
    /// Blobs of a device are missing, and what came after them is handed out now.
    Gap {
        /// Whose.
        sender: String,
        /// The first missing one, as that device counts.
        first: u64,
        /// The last missing one.
        last: u64,
    },
    /// Something can't be read here. It is kept, and tried again.
    Parked {
        /// Names its envelope.
        blob_id: String,
        /// Why.
        reason: ParkReason,
    },
    /// A device belongs to the group from now on.
    DeviceJoined {
        /// Which.
        device_id: String,
    },
    /// A device is called something else from now on.
    DeviceRenamed {
        /// Which.
        device_id: String,
    },
    /// A device belongs to the group no more. Of this one: it syncs nothing any more.
    DeviceRemoved {
        /// Which.
        device_id: String,
    },
    /// The group has new keys, and this device seals under them.
    KeyRotated,
    /// This device found that its profile is used elsewhere as well, and is another device from now on. What it pushed
    /// stays what it is.
    IdentityChanged {
        /// Who it is now.
        device_id: String,
        /// Who it was.
        former_id: String,
    },
    /// A relay says that a device is there, or no longer says so.
    DevicePresence {
        /// Which.
        device_id: String,
        /// It is there.
        online: bool,
    },
    /// A device says to have received or applied more than it had said before: how far, `devices` tells.
    ReceivedBy {
        /// Which.
        device_id: String,
    },
    /// A relay lost data it had confirmed. It is being filled again.
    RelayRegressed {
        /// Which.
        relay_id: String,
    },
    /// A relay shows this device another history, or less of it, than it has shown another: the status tells which.
    RelayContradicted {
        /// Which.
        relay_id: String,
    },
    /// It is time for a snapshot of the app's state: whoever joins would have much to read.
    SnapshotNeeded {
        /// Where the local log ends now, with everything acknowledged.
        up_to: u64,
    },
    /// A relay keeps this device's snapshot.
    SnapshotKept {
        /// Which.
        snapshot_id: String,
        /// Which relay.
        relay_id: String,
    },
    /// A snapshot is being fetched.
    SnapshotProgress {
        /// Which.
        snapshot_id: String,
        /// Bytes that are here.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// A snapshot is here for the app to load.
    SnapshotReady {
        /// Which.
        snapshot_id: String,
        /// Who made it.
        sender: String,
    },
    /// The status says something else than before. Told at most ten times a second.
    StatusChanged {
        /// What it says now.
        status: Box<Status>,
    },
    /// Something failed that the answer to no call will tell.
    Error {
        /// Whose doing, if a relay's.
        relay_id: Option<String>,
        /// What.
        code: ErrorCode,
        /// The same for people.
        message: String,
    },
    /// This many events were dropped because they were not taken in time.
    Missed {
        /// How many.
        count: u64,
    },
}

impl Event {
    /// What the client tells; of a status, how much room the profile takes, and whose it is.
    pub(crate) fn new(
        event: client::SyncEvent,
        disk: Option<Disk>,
        membership: impl FnOnce() -> Option<Membership>,
    ) -> Self {
        match event {
            client::SyncEvent::Happened(event) => event.into(),
            client::SyncEvent::StatusChanged(status) => {
                Self::StatusChanged { status: Box::new(Status::new((*status).clone(), disk, membership())) }
            }
            client::SyncEvent::Missed(count) => Self::Missed { count },
        }
    }
}

impl From<client::Event> for Event {
    fn from(event: client::Event) -> Self {
        match event {
            client::Event::Connected { relay, pending_count, max_cursor: _, limits: _ } => {
                Self::Connected { relay_id: relay.to_string(), unread: pending_count }
            }
            client::Event::Disconnected { relay, reason } => Self::Disconnected { relay_id: relay.to_string(), reason },
            client::Event::BlobAvailable { cursor, push_id, sender, late } => Self::BlobAvailable {
                cursor: cursor.get(),
                push_id: push_id.to_string(),
                sender: sender.to_string(),
                late,
            },
            client::Event::BlobPushed { cursor, push_id, relay } => {
                Self::BlobPushed { cursor: cursor.get(), push_id: push_id.to_string(), relay_id: relay.to_string() }
            }
            client::Event::Gap { sender, first, last } => {
                Self::Gap { sender: sender.to_string(), first: first.get(), last: last.get() }
            }
            client::Event::Parked { blob_id, reason } => {
                Self::Parked { blob_id: blob_id.to_string(), reason: reason.into() }
            }
            client::Event::DeviceJoined { device } => Self::DeviceJoined { device_id: device.to_string() },
            client::Event::DeviceRenamed { device } => Self::DeviceRenamed { device_id: device.to_string() },
            client::Event::DeviceRemoved { device } => Self::DeviceRemoved { device_id: device.to_string() },
            client::Event::KeyRotated => Self::KeyRotated,
            client::Event::IdentityChanged { device, former } => {
                Self::IdentityChanged { device_id: device.to_string(), former_id: former.to_string() }
            }
            client::Event::DevicePresence { device, online } => {
                Self::DevicePresence { device_id: device.to_string(), online }
            }
            client::Event::ReceivedBy { device } => Self::ReceivedBy { device_id: device.to_string() },
            client::Event::RelayRegressed { relay } => Self::RelayRegressed { relay_id: relay.to_string() },
            client::Event::RelayContradicted { relay } => Self::RelayContradicted { relay_id: relay.to_string() },
            client::Event::SnapshotNeeded { up_to } => Self::SnapshotNeeded { up_to: up_to.get() },
            client::Event::SnapshotKept { snapshot, relay } => {
                Self::SnapshotKept { snapshot_id: snapshot.to_string(), relay_id: relay.to_string() }
            }
            client::Event::SnapshotProgress { snapshot, done, total } => {
                Self::SnapshotProgress { snapshot_id: snapshot.to_string(), done, total }
            }
            client::Event::SnapshotReady { snapshot, sender } => {
                Self::SnapshotReady { snapshot_id: snapshot.to_string(), sender: sender.to_string() }
            }
            client::Event::Failed { relay, code } => {
                Self::Error { relay_id: relay.map(|relay| relay.to_string()), code, message: code.text().to_owned() }
            }
        }
    }
}

/// A listener that is being told. Dropping this ends it.
#[derive(Debug)]
#[must_use = "dropping it ends the telling"]
pub struct Subscription(AbortHandle);

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells everything to a listener, until it says that it is gone.
pub(crate) fn tell(
    mut events: Receiver<Event>,
    mut listener: impl FnMut(Event) -> bool + Send + 'static,
) -> Subscription {
    let telling = runtime::spawn(async move {
        loop {
            let event = match events.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(count)) => Event::Missed { count },
                Err(RecvError::Closed) => return,
            };
            if !listener(event) {
                return;
            }
        }
    });
    Subscription(telling.abort_handle())
}

/// Passes on what a client tells, until it is closed.
pub(crate) fn pass_on(client: &client::SyncClient, events: Sender<Event>) {
    let mut told = client.subscribe();
    let client = client.clone();
    runtime::spawn(async move {
        while let Some(event) = told.next().await {
            let disk = match &event {
                client::SyncEvent::StatusChanged(_) => crate::place::disk(&client).await,
                client::SyncEvent::Happened(_) | client::SyncEvent::Missed(_) => None,
            };
            // Nobody may be listening.
            let _ = events.send(Event::new(event, disk, || crate::place::membership(&client)));
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::broadcast;

    use super::*;

    #[test]
    fn a_listener_hears_in_order_how_much_it_missed_and_nothing_once_it_is_gone() {
        let events = broadcast::Sender::new(4);
        let receiver = events.subscribe();
        for count in 0..10 {
            events.send(Event::Missed { count }).expect("one listens");
        }
        let (heard, hears) = mpsc::channel();
        let subscription = tell(receiver, move |event| heard.send(event).is_ok());
        let counts: Vec<u64> = (0..5)
            .map(|_| {
                let event = hears.recv().expect("is told");
                let Event::Missed { count } = event else { panic!("{event:?}") };
                count
            })
            .collect();
        assert_eq!(counts, [6, 6, 7, 8, 9], "six are gone, and four are left");

        drop(subscription);
        assert!(hears.recv().is_err(), "nobody tells any more");
    }

    #[test]
    fn events_are_told_apart_by_their_kind() {
        let event = Event::BlobPushed { cursor: 3, push_id: "a1".to_owned(), relay_id: "b2".to_owned() };
        let json = serde_json::to_value(&event).expect("serializes");
        let expected = serde_json::json!({ "kind": "blobPushed", "cursor": 3, "pushId": "a1", "relayId": "b2" });
        assert_eq!(json, expected);
    }
}
