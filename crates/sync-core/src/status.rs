//! What a person is told. Computed from what is known, never from the absence of an error.

use sync_types::{BlobId, DeviceId, ErrorCode, LocalCursor, LogId, RelayCursor, RelayId};

use crate::{event::ParkReason, heads::Contradiction, receipt::Receipt, roster::Member};

/// The one word for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Badge {
    /// Everything pushed here is on every configured relay, and everything those hold is here and readable.
    Synced,
    /// Something is on its way, or not known yet.
    Pending,
    /// Something is not going to happen by itself, or can't be read.
    Failed,
    /// No relay can be reached.
    Offline,
}

impl Badge {
    /// What scripts and front ends see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Offline => "offline",
        }
    }
}

/// How a connection to a relay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Not connected, and not trying.
    Disconnected,
    /// On its way, for the first time.
    Connecting,
    /// Greeted and welcomed.
    Connected,
    /// Lost or never reached; trying again.
    Reconnecting {
        /// How often it failed in a row.
        attempt: u32,
    },
}

impl Connection {
    /// What scripts and front ends see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Reconnecting { .. } => "reconnecting",
        }
    }
}

/// One relay, as this device sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayStatus {
    /// Which.
    pub relay: RelayId,
    /// How the connection stands.
    pub connection: Connection,
    /// The log this group has there, once met.
    pub log_id: Option<LogId>,
    /// How far that log is read.
    pub pulled: RelayCursor,
    /// Where it ended when last heard of.
    pub max_cursor: RelayCursor,
    /// Own envelopes that are not on its disk.
    pub pending: u64,
    /// It lost rows, or is compared with what is here, and is being given what it lacks.
    pub refilling: bool,
    /// Envelope bytes that it keeps of this group at most, once it has said so since this engine was opened.
    pub room: Option<u64>,
    /// What it refuses, or why it can't be reached, where there is a word for it.
    pub problem: Option<ErrorCode>,
    /// It does not show here what these members have read there: another history, or less of it.
    pub contradictions: Vec<Contradiction>,
}

/// A snapshot that is being fetched, or waits for the app to load it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loading {
    /// Which.
    pub snapshot: BlobId,
    /// Who made it.
    pub sender: DeviceId,
    /// Bytes that are here.
    pub done: u64,
    /// Of so many.
    pub total: u64,
    /// It is complete, and the app was told.
    pub ready: bool,
}

/// Everything an app may want to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The one word.
    pub badge: Badge,
    /// The best of the relays' connections.
    pub connection: Connection,
    /// Own envelopes that are not yet on every configured relay.
    pub pending: u64,
    /// What can't be read here, and why.
    pub parked: Vec<(BlobId, ParkReason)>,
    /// Envelopes that wait for a missing predecessor.
    pub waiting: u64,
    /// The highest cursor the app acknowledged.
    pub last_cursor: LocalCursor,
    /// The newest cursor there is.
    pub head_cursor: LocalCursor,
    /// The relays, in order of preference.
    pub relays: Vec<RelayStatus>,
    /// The snapshot that is being loaded.
    pub loading: Option<Loading>,
    /// Unix milliseconds when the badge last was [`Badge::Synced`] since this engine was opened.
    pub synced_ms: Option<u64>,
    /// This installation's identity is in use elsewhere, and the group has no room for one more device; it pushes no more.
    pub identity_reused: bool,
    /// This device was removed from the group. It syncs no more; what it had is still here.
    pub removed: bool,
}

/// Who has an envelope, as far as this device can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// Relays that have it on their disks. Known of this device's own envelopes alone.
    pub relays: Vec<RelayId>,
    /// Other members that have it on their disks.
    pub received: Vec<DeviceId>,
    /// Those among them whose apps have applied it.
    pub applied: Vec<DeviceId>,
    /// Other members that have given it up for lost.
    pub lost: Vec<DeviceId>,
}

/// A device of the group, as far as this one can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Who it is.
    pub member: Member,
    /// A relay that this device is connected to says that it is there. Of this device: it is connected to one.
    pub online: bool,
    /// When it was last seen, in Unix milliseconds by this device's clock; now, if it is online.
    pub last_seen_ms: Option<u64>,
    /// It is a copy of this device: another installation of what that was.
    pub copy_of: Option<DeviceId>,
    /// How far it says to have come with what each member sealed; none if it never said.
    pub receipt: Option<Receipt>,
    /// It is this one.
    pub this: bool,
}
