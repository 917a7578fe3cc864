//! What goes in and out, flat: texts, numbers and lists. Ids are lower-case hex, times Unix milliseconds.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sync_client as client;
use sync_client::ErrorCode;

use crate::{settings::Backend, snapshots::Loading};

/// What a push waits for before it resolves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// The blob is safe on this device's disk.
    #[default]
    Local,
    /// One relay has it on its disk.
    Relay,
    /// Every configured relay has it on its disk.
    All,
}

impl From<Wait> for client::Wait {
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::Local => Self::Local,
            Wait::Relay => Self::Relay,
            Wait::All => Self::All,
        }
    }
}

/// How a blob is pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushOptions {
    /// What to wait for.
    pub wait: Wait,
    /// How long relays keep it, in seconds; 0 for as long as their operator lets them, seven days if nothing is said.
    pub ttl: u64,
}

/// How far a blob got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PushState {
    /// On this device's disk. It is sent as soon as a relay answers.
    Queued,
    /// On a relay's disk.
    Relay,
    /// On every configured relay's disk.
    All,
}

/// What a push came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pushed {
    /// Names the blob, on every device.
    pub push_id: String,
    /// Its place in this device's log.
    pub cursor: u64,
    /// How far it got.
    pub state: PushState,
}

impl From<client::Pushed> for Pushed {
    fn from(pushed: client::Pushed) -> Self {
        let state = match pushed.state {
            client::PushState::Queued => PushState::Queued,
            client::PushState::Relay => PushState::Relay,
            client::PushState::All => PushState::All,
        };
        Self { push_id: pushed.push_id.to_string(), cursor: pushed.cursor.get(), state }
    }
}

/// A blob of the local log. Its bytes don't serialize: a front end passes them on as bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blob {
    /// Its place in this device's log.
    pub cursor: u64,
    /// What its push returned; the same on every device.
    pub push_id: String,
    /// Names its envelope, for people who compare with a relay.
    pub blob_id: String,
    /// The device that pushed it.
    pub sender: String,
    /// That is this device.
    pub own: bool,
    /// It came after its absence had been reported as a gap.
    pub late: bool,
    /// When it was pushed, by its sender's clock.
    pub pushed_at: u64,
    /// What was pushed.
    #[serde(skip)]
    pub payload: Bytes,
}

impl From<client::Blob> for Blob {
    fn from(blob: client::Blob) -> Self {
        Self {
            cursor: blob.cursor.get(),
            push_id: blob.push_id.to_string(),
            blob_id: blob.blob_id.to_string(),
            sender: blob.sender.to_string(),
            own: blob.own,
            late: blob.late,
            pushed_at: blob.time_ms,
            payload: blob.payload,
        }
    }
}

/// A part of the local log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The blobs, in order.
    pub blobs: Vec<Blob>,
    /// There is more after the last of them.
    pub has_more: bool,
}

impl From<client::Page> for Page {
    fn from(page: client::Page) -> Self {
        Self { blobs: page.blobs.into_iter().map(Blob::from).collect(), has_more: page.has_more }
    }
}

/// The one word for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
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

impl From<client::Badge> for Badge {
    fn from(badge: client::Badge) -> Self {
        match badge {
            client::Badge::Synced => Self::Synced,
            client::Badge::Pending => Self::Pending,
            client::Badge::Failed => Self::Failed,
            client::Badge::Offline => Self::Offline,
        }
    }
}

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Connection {
    /// Not connected, and not trying.
    Disconnected,
    /// On its way, for the first time.
    Connecting,
    /// Greeted and welcomed.
    Connected,
    /// Lost or never reached; trying again.
    Reconnecting,
}

impl From<client::Connection> for Connection {
    fn from(connection: client::Connection) -> Self {
        match connection {
            client::Connection::Disconnected => Self::Disconnected,
            client::Connection::Connecting => Self::Connecting,
            client::Connection::Connected => Self::Connected,
            client::Connection::Reconnecting { attempt: _ } => Self::Reconnecting,
        }
    }
}

/// Why a blob can't be read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkReason {
    /// Sealed under a key this device does not hold.
    KeyMissing,
    /// Made by a newer version. Readable after an update.
    TooNew,
    /// Not well formed, though a member signed it.
    Unreadable,
    /// Its sender made two different ones for one place: a copied installation.
    Forked,
}

impl From<client::ParkReason> for ParkReason {
    fn from(reason: client::ParkReason) -> Self {
        match reason {
            client::ParkReason::KeyMissing => Self::KeyMissing,
            client::ParkReason::TooNew => Self::TooNew,
            client::ParkReason::Unreadable => Self::Unreadable,
            client::ParkReason::Forked => Self::Forked,
        }
    }
}

/// Something that can't be read here. It is kept, and tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Parked {
    /// Names its envelope.
    pub blob_id: String,
    /// Why.
    pub reason: ParkReason,
}

/// One relay, as this device sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Relay {
    /// Which.
    pub relay_id: String,
    /// How the connection stands.
    pub connection: Connection,
    /// Own blobs and notes that are not on its disk.
    pub pending: u64,
    /// How much of its log is not read yet, as far as is known.
    pub unread: u64,
    /// It lost data, or is compared with what is here, and is being given what it lacks.
    pub refilling: bool,
    /// Envelope bytes that it keeps of this group at most; none before it has said so.
    pub room: Option<u64>,
    /// What it refuses, or why it can't be reached, where there is a word for it.
    pub problem: Option<ErrorCode>,
    /// It does not show here what these members have read there: it was restored from an old copy, or it lies.
    pub contradictions: Vec<Contradiction>,
}

/// What another device has read on a relay, and this one is not shown there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Contradiction {
    /// Who has read it.
    pub device_id: String,
    /// Up to which row of the relay's log.
    pub cursor: u64,
    /// Whether that row is another one here, or none.
    pub kind: ContradictionKind,
}

/// In which way a relay shows two devices different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ContradictionKind {
    /// Two histories of one log.
    Forked,
    /// The log ends earlier here.
    Withheld,
}

impl From<client::Contradiction> for Contradiction {
    fn from(found: client::Contradiction) -> Self {
        let kind = if found.ours.is_some() { ContradictionKind::Forked } else { ContradictionKind::Withheld };
        Self { device_id: found.device.to_string(), cursor: found.cursor.get(), kind }
    }
}

impl From<client::RelayStatus> for Relay {
    fn from(relay: client::RelayStatus) -> Self {
        Self {
            relay_id: relay.relay.to_string(),
            connection: relay.connection.into(),
            pending: relay.pending,
            unread: relay.max_cursor.get().saturating_sub(relay.pulled.get()),
            refilling: relay.refilling,
            room: relay.room,
            problem: relay.problem,
            contradictions: relay.contradictions.into_iter().map(Contradiction::from).collect(),
        }
    }
}

/// Everything an app may want to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The one word.
    pub badge: Badge,
    /// The best of the relays' connections.
    pub connection: Connection,
    /// Own blobs and notes that are not on every configured relay yet. Counts down while they go out.
    pub pending: u64,
    /// How much the relays hold that is not here yet, as far as is known. Counts down while it comes in.
    pub unread: u64,
    /// What waits for something that was pushed before it.
    pub waiting: u64,
    /// What can't be read here, and why.
    pub parked: Vec<Parked>,
    /// The highest cursor the app acknowledged.
    pub last_cursor: u64,
    /// The newest cursor there is.
    pub head_cursor: u64,
    /// The relays, in order of preference.
    pub relays: Vec<Relay>,
    /// The snapshot that is being loaded. Until the app has, a device that has nothing yet reads nothing else.
    pub loading: Option<Loading>,
    /// When everything last was in step, since the profile was opened.
    pub synced_at: Option<u64>,
    /// This installation was copied: another one uses its identity, the group has no room for one more device, and this
    /// one pushes no more.
    pub identity_reused: bool,
    /// This device was removed from the group. It syncs no more; what it had is still here.
    pub removed: bool,
    /// How much room the profile takes on this device's disk; none where there is no profile, or no telling.
    pub disk: Option<Disk>,
    /// The group this device is in; none before it made or joined one.
    pub group_id: Option<String>,
    /// Who this device is there.
    pub device_id: Option<String>,
}

impl Status {
    /// Of a profile that nobody has made yet.
    pub(crate) fn without_profile() -> Self {
        Self {
            badge: Badge::Offline,
            connection: Connection::Disconnected,
            pending: 0,
            unread: 0,
            waiting: 0,
            parked: Vec::new(),
            last_cursor: 0,
            head_cursor: 0,
            relays: Vec::new(),
            loading: None,
            synced_at: None,
            identity_reused: false,
            removed: false,
            disk: None,
            group_id: None,
            device_id: None,
        }
    }

    /// The client's, how much room it takes, and whose it is.
    pub(crate) fn new(status: client::Status, disk: Option<Disk>, membership: Option<Membership>) -> Self {
        let (group_id, device_id) = membership.map(|place| (place.group_id, place.device_id)).unzip();
        let relays: Vec<Relay> = status.relays.into_iter().map(Relay::from).collect();
        let parked = |(blob_id, reason): (client::BlobId, client::ParkReason)| Parked {
            blob_id: blob_id.to_string(),
            reason: reason.into(),
        };
        Self {
            badge: status.badge.into(),
            connection: status.connection.into(),
            pending: status.pending,
            unread: relays.iter().map(|relay| relay.unread).max().unwrap_or(0),
            waiting: status.waiting,
            parked: status.parked.into_iter().map(parked).collect(),
            last_cursor: status.last_cursor.get(),
            head_cursor: status.head_cursor.get(),
            relays,
            loading: status.loading.map(Loading::from),
            synced_at: status.synced_ms,
            identity_reused: status.identity_reused,
            removed: status.removed,
            disk,
            group_id,
            device_id,
        }
    }
}

/// How much room a profile takes on its disk: bytes, but for the number of envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    /// The whole database.
    pub database: u64,
    /// What nothing is in just now; what comes next goes there first.
    pub free: u64,
    /// How many envelopes are held, own and others'.
    pub envelopes: u64,
    /// What waits for something that was pushed before it.
    pub waiting: u64,
    /// What can't be read here.
    pub parked: u64,
    /// Snapshots: this device's newest, and one that is being loaded.
    pub snapshots: u64,
}

impl From<client::Sizes> for Disk {
    fn from(sizes: client::Sizes) -> Self {
        let client::Sizes { database, free, envelopes, waiting, parked, snapshots } = sizes;
        Self { database, free, envelopes, waiting, parked, snapshots }
    }
}

/// A profile's place in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// The group.
    pub group_id: String,
    /// Who this device is there.
    pub device_id: String,
}

/// A recovery kit that was just made. Text and code are secrets, each of no use without the other; a kit does not print
/// itself.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryKit {
    /// Which member of the group it is: what removes it.
    pub device_id: String,
    /// What is on the page, in one line.
    pub text: String,
    /// The text as a picture, dark on white.
    pub qr_svg: Option<String>,
    /// The page to print, a whole HTML document: text and picture, without the code.
    pub page: String,
    /// What opens the text, to be kept elsewhere.
    pub code: String,
}

impl From<&client::RecoveryKit> for RecoveryKit {
    fn from(kit: &client::RecoveryKit) -> Self {
        Self {
            device_id: kit.device_id().to_string(),
            text: kit.text().to_owned(),
            qr_svg: kit.qr_svg().ok(),
            page: kit.page().to_string(),
            code: kit.code().to_string(),
        }
    }
}

/// A device of the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Its id.
    pub device_id: String,
    /// What it is called. Chosen by people: text to show, not to trust.
    pub name: String,
    /// What kind of machine it says it is.
    pub platform: String,
    /// Who let it in; none for the device that made the group.
    pub joined_by: Option<String>,
    /// It is another installation of what this device was: somebody copied its profile, or restored a backup of it.
    pub copy_of: Option<String>,
    /// When, by the clock of the device that let it in.
    pub joined_at: u64,
    /// A relay says that it is there. Of this device: it is connected.
    pub online: bool,
    /// When it was last seen, by this device's clock; none if it never was.
    pub last_seen: Option<u64>,
    /// Every blob of this device's log up to this cursor it says to have, but for those in `lost`; none if it never said.
    pub received_up_to: Option<u64>,
    /// Every one of those up to this cursor its app has applied; none if it never said.
    pub applied_up_to: Option<u64>,
    /// Blobs of this device's log that it is still to receive; none if it never said.
    pub behind: Option<u64>,
    /// Blobs of this device's log that it has given up for lost.
    pub lost: u64,
    /// It is a recovery kit: on paper, and never online. Nobody waits for it, and removing it revokes it.
    pub kit: bool,
    /// It is this one.
    pub this: bool,
}

impl From<client::Device> for Device {
    fn from(device: client::Device) -> Self {
        Self {
            device_id: device.device_id.to_string(),
            name: device.name,
            platform: device.platform,
            joined_by: device.joined_by.map(|inviter| inviter.to_string()),
            copy_of: device.copy_of.map(|former| former.to_string()),
            joined_at: device.joined_at_ms,
            online: device.online,
            last_seen: device.last_seen_ms,
            received_up_to: device.received_up_to.map(client::LocalCursor::get),
            applied_up_to: device.applied_up_to.map(client::LocalCursor::get),
            behind: device.behind,
            lost: device.lost,
            kit: device.kit,
            this: device.this,
        }
    }
}

/// How a profile is set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// What carries the blobs.
    #[serde(flatten)]
    pub backend: Backend,
    /// Where the secrets rest.
    pub secrets: String,
    /// What this device was called when the profile was made.
    pub name: String,
}

/// Where a blob of the local log is, as far as this device can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobState {
    /// Its place in this device's log.
    pub cursor: u64,
    /// What its push returned.
    pub push_id: String,
    /// Who pushed it.
    pub sender: String,
    /// That is this device.
    pub own: bool,
    /// Of an own blob: the relays that have it on their disks.
    pub relays: Vec<String>,
    /// How many relays are configured.
    pub relays_configured: u64,
    /// Other members that have it on their disks.
    pub received_by: Vec<String>,
    /// Those among them whose apps have acknowledged it.
    pub applied_by: Vec<String>,
    /// Other members that have given it up for lost.
    pub lost_by: Vec<String>,
}

impl From<client::BlobState> for BlobState {
    fn from(state: client::BlobState) -> Self {
        fn texts<T: ToString>(ids: &[T]) -> Vec<String> {
            ids.iter().map(T::to_string).collect()
        }
        Self {
            cursor: state.cursor.get(),
            push_id: state.push_id.to_string(),
            sender: state.sender.to_string(),
            own: state.own,
            relays: texts(&state.relays),
            relays_configured: state.relays_configured as u64,
            received_by: texts(&state.received_by),
            applied_by: texts(&state.applied_by),
            lost_by: texts(&state.lost_by),
        }
    }
}
