//! What a caller chooses.

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use sync_core::event::Wait;

use sync_core::passphrase::Passphrase;

use crate::{resolve::RelayAddr, secrets::SecretsChoice};

/// What a profile is made of.
#[derive(Clone, Debug)]
pub struct ProfileConfig {
    /// The folder that holds it. Made if it isn't there.
    pub dir: PathBuf,
    /// What this device is called on the other devices of its group.
    pub name: String,
    /// The app whose data this is: devices of another app can't join its groups.
    pub app_id: String,
    /// What carries the blobs.
    pub backend: RelayBackend,
    /// Where the secrets rest.
    pub secrets: SecretsChoice,
    /// What they are sealed with, where they rest in a file that is.
    pub passphrase: Option<Arc<Passphrase>>,
}

/// What carries blobs between devices.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayBackend {
    /// Relays one runs oneself, in order of preference. Every blob goes to all of them. None yet is a start, too: a link
    /// leads from device to device, and what is pushed waits for a relay.
    Relay(Vec<RelayAddr>),
}

/// How a profile is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Connect to the relays, and keep connected, without waiting for [`crate::SyncClient::connect`].
    pub auto_connect: bool,
    /// Events kept for a subscriber that doesn't read them. Older ones are dropped, and it is told how many.
    pub events_max: usize,
    /// Gives the group new keys when those it has are this old, by the clocks of those who make them; none for never.
    pub rotate_after: Option<Duration>,
    /// After how many envelopes that are in no snapshot the app is asked for one of its state
    /// ([`crate::Event::SnapshotNeeded`]); at least 1. None for as many as there may be.
    pub snapshot_after: Option<u64>,
    /// After how many bytes of such envelopes, sealed as they travel, it is asked, if that is sooner. With none of the two the
    /// app neither makes nor loads any: then a device that joins reads everything there is.
    pub snapshot_after_bytes: Option<u64>,
    /// How long what a snapshot stands for is kept here all the same, once the app has acknowledged it: a relay that loses it is
    /// given it again. Seven days, if nothing is said.
    pub keep_for: Duration,
    /// So many of the newest bytes are kept for longer than that: 64 MiB, if nothing is said.
    pub keep_bytes: u64,
    /// What the profile's secrets are sealed with, where they rest in a file that is.
    pub passphrase: Option<Arc<Passphrase>>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            auto_connect: true,
            events_max: 1_024,
            rotate_after: None,
            snapshot_after: None,
            snapshot_after_bytes: None,
            keep_for: Duration::from_secs(7 * 24 * 3_600),
            keep_bytes: 64 * 1024 * 1024,
            passphrase: None,
        }
    }
}

/// How a blob is pushed.
#[derive(Clone, Copy, Debug)]
pub struct PushOptions {
    /// What to wait for.
    pub wait: Wait,
    /// How long relays keep it, in whole seconds; zero for as long as their operator lets them,
    /// seven days if nothing is said.
    pub ttl: Duration,
    /// How long to wait at most. After that the push has succeeded all the same: the blob is on this device's disk
    /// and is sent when a relay can be reached.
    pub timeout: Duration,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self { wait: Wait::Local, ttl: Duration::ZERO, timeout: Duration::from_secs(30) }
    }
}
