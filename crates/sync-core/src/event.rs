//! The engine's whole vocabulary: what it is told, and what it asks for.
//!
//! An [`Input`] is something that happened; an [`Action`] is something to do about it. The shell performs the
//! actions of one input in order and to the end before it feeds the next, with one freedom: it may feed several
//! inputs first and put all their [`Action::Store`] in one transaction ahead of the rest. Storing early is always
//! safe; sending or telling early never is.

mod rows;

use bytes::Bytes;
use sync_types::{
    BlobId, DeviceId, DeviceMsg, ErrorCode, LocalCursor, PushId, RelayCursor, RelayId, RelayMsg, Seq, message::Limits,
};

pub use rows::{
    Damage, GONE_BYTES, HeldRow, Load, ParkedRow, Paved, RelayState, SenderRow, StoreOp, Stored, StoredSnapshot,
    WaitingRow,
};

use crate::roster::JoinRequest;

/// The time, as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back, from any origin. Everything is decided by this one.
    pub mono_ms: u64,
    /// Unix milliseconds by the device's clock. Shown to people, and counted into an envelope's age and a key's;
    /// decides nothing else.
    pub wall_ms: u64,
}

/// Finds the caller of a request again. Chosen by the shell.
pub type Token = u64;

/// What a caller of push waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// Until the blob is on this device's disk.
    #[default]
    Local,
    /// Until one relay has it on its disk.
    Relay,
    /// Until every configured relay has it on its disk.
    All,
}

/// How far a pushed blob got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PushState {
    /// On this device's disk, and sent as soon as a relay can be reached.
    Queued,
    /// On at least one relay's disk.
    Relay,
    /// On every configured relay's disk.
    All,
}

/// What a push came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Names the blob for ever, on every device.
    pub push_id: PushId,
    /// Its place in this device's log.
    pub cursor: LocalCursor,
    /// How far it got.
    pub state: PushState,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// The app pushes a blob. Answered by [`Action::Reply`] with the same token, at once or when `wait` is met.
    Push {
        /// Finds the caller again.
        token: Token,
        /// The app's bytes.
        payload: Bytes,
        /// Seconds relays keep it; 0 for as long as their operator lets them, seven days if nothing is said.
        ttl_s: u32,
        /// What the caller waits for.
        wait: Wait,
    },
    /// The caller of that push gave up waiting. The blob stays queued.
    Forget {
        /// The push's.
        token: Token,
    },
    /// The app has applied everything up to here.
    AppAck {
        /// The last blob of that.
        cursor: LocalCursor,
    },
    /// A person approved a joiner: vouch for what it says of itself, as [`crate::pairing`] delivered it, and publish
    /// that. Answered by [`Action::Admitted`] among the actions of this very input.
    Admit {
        /// What the joiner signed.
        request: JoinRequest,
    },
    /// A person gives a device another name. Answered by [`Action::Admitted`] among the actions of this very input.
    Rename {
        /// Whose name it is.
        device: DeviceId,
        /// The name.
        name: String,
    },
    /// A person removes a device from the group. Answered by [`Action::Admitted`] among the actions of this very input.
    Remove {
        /// Which.
        device: DeviceId,
        /// Whether the group gets new keys by it. Without, the device is only struck off: it can still read what is
        /// sealed under the keys that it has, if somebody hands it the envelopes.
        rekey: bool,
    },
    /// A person, or a timer, gives the group new keys. Answered as [`Self::Remove`].
    Rotate,
    /// A person takes this device out of its group. The others are told, and the next of them removes it. Answered as
    /// [`Self::Remove`].
    Leave,
    /// The app gives its state as a snapshot for those who join later. Answered by [`Action::Admitted`] among the actions of
    /// this very input.
    PublishSnapshot {
        /// Where the local log ended when the state was that; everything of it is acknowledged.
        up_to: LocalCursor,
        /// The state, at most [`sync_types::limits::SNAPSHOT_LEN_MAX`] bytes.
        bytes: Bytes,
    },
    /// The app has made the snapshot that [`Event::SnapshotReady`] told of a part of its state, durably, or can't use it.
    /// Answered by [`Action::Admitted`] among the actions of this very input.
    SnapshotLoaded {
        /// Which.
        snapshot: BlobId,
        /// Whether it is taken.
        taken: bool,
    },
    /// A person has everything that is held compared with every relay. Each log is read again from its start; what is damaged
    /// here is taken from there, and what a relay lacks it is offered. Answered by [`Action::Admitted`] among the actions of
    /// this very input; [`crate::Engine::compared`] says how it goes.
    Repair {
        /// What was found damaged on the disk.
        damage: Damage,
    },
    /// Envelopes out of a copy of a lost device's profile: they count for what they would count for had a relay shown them.
    /// Answered by [`Action::Admitted`] among the actions of this very input.
    TakeBackup {
        /// In the order in which they were held there.
        envelopes: Vec<Bytes>,
        /// These are the last: every relay is given what it lacks of what is held now.
        last: bool,
    },
    /// The connection that [`Action::Connect`] asked for is up.
    Connected {
        /// To whom.
        relay: RelayId,
        /// 32 bytes of the connection's TLS exporter, label [`sync_types::sign::HELLO_EXPORTER_LABEL`].
        exporter: [u8; 32],
    },
    /// It failed, or broke, or the relay closed it.
    Lost {
        /// Which.
        relay: RelayId,
        /// Why, where there is a word for it.
        reason: Option<ErrorCode>,
    },
    /// A message came in.
    Received {
        /// From whom.
        relay: RelayId,
        /// What.
        message: RelayMsg,
    },
    /// The rows that [`Action::Load`] asked for.
    Loaded {
        /// What was asked.
        load: Load,
        /// What is there, in order.
        rows: Vec<HeldRow>,
        /// The position of the last of them among all that is held; 0 without any.
        position: u64,
    },
    /// The time [`crate::Engine::wake_at`] named has come.
    Timer,
    /// Try now what would be tried later: the app has focus, the network changed, somebody asked for it.
    Nudge,
    /// Whether to be connected at all. An engine starts out online.
    Online {
        /// To be, or not.
        online: bool,
    },
    /// The engine is about to be dropped: what is worth saying before is said now. Nothing is waited for.
    Parting,
    /// These are the relays from now on, in order of preference.
    Relays {
        /// All of them.
        relays: Vec<RelayId>,
    },
}

/// Something to do.
#[derive(Debug)]
pub enum Action {
    /// Make this durable, all or nothing, before anything that follows. If that fails, the engine is ahead of the
    /// disk: perform nothing more, drop it, and open another from what is stored.
    Store(Vec<StoreOp>),
    /// Write this when convenient: with the next [`Action::Store`] or after a moment. Losing it costs repetition.
    Note(Vec<StoreOp>),
    /// Read rows and answer with [`Input::Loaded`].
    Load(Load),
    /// Open a connection and answer with [`Input::Connected`] or [`Input::Lost`].
    Connect {
        /// To whom.
        relay: RelayId,
    },
    /// Close the connection, or give up opening it. No answer is wanted.
    Disconnect {
        /// Which.
        relay: RelayId,
    },
    /// Send a message.
    Send {
        /// To whom.
        relay: RelayId,
        /// What.
        message: DeviceMsg,
    },
    /// Answer the caller of a push.
    Reply {
        /// The request's.
        token: Token,
        /// What it came to.
        result: Result<Pushed, ErrorCode>,
    },
    /// Answer whoever fed [`Input::Admit`], [`Input::Rename`], [`Input::Remove`], [`Input::Rotate`], [`Input::Leave`],
    /// [`Input::PublishSnapshot`], [`Input::SnapshotLoaded`], [`Input::Repair`] or [`Input::TakeBackup`]: it is done, or why
    /// not.
    Admitted {
        /// What it came to.
        result: Result<(), ErrorCode>,
    },
    /// Drop this engine and open another from what is stored: this device is another one now. The connections are over,
    /// too, because a device's endpoint on the network is the device.
    Reopen,
    /// Tell whoever listens.
    Emit(Event),
}

/// What an app, or a person, may want to hear of. Everything told here is durable already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session with a relay is open.
    Connected {
        /// Which relay.
        relay: RelayId,
        /// Where its log ends.
        max_cursor: RelayCursor,
        /// How much of it this device has not read.
        pending_count: u64,
        /// What the relay accepts.
        limits: Limits,
    },
    /// A session ended.
    Disconnected {
        /// Which relay.
        relay: RelayId,
        /// Why, where there is a word for it.
        reason: Option<ErrorCode>,
    },
    /// A blob of another device is in the local log.
    BlobAvailable {
        /// Its place there.
        cursor: LocalCursor,
        /// Its name.
        push_id: PushId,
        /// Who pushed it.
        sender: DeviceId,
        /// It came after a [`Event::Gap`] had been reported in its place.
        late: bool,
    },
    /// An own blob is on a relay's disk.
    BlobPushed {
        /// Its place in the local log.
        cursor: LocalCursor,
        /// Its name.
        push_id: PushId,
        /// Which relay.
        relay: RelayId,
    },
    /// Envelopes of a sender are missing, and what came after them is handed out now.
    Gap {
        /// Whose.
        sender: DeviceId,
        /// The first missing one.
        first: Seq,
        /// The last missing one.
        last: Seq,
    },
    /// An envelope can't be read here. It is kept, and tried again.
    Parked {
        /// Which.
        blob_id: BlobId,
        /// Why.
        reason: ParkReason,
    },
    /// A device belongs to the group from now on.
    DeviceJoined {
        /// Which.
        device: DeviceId,
    },
    /// A device of the group is called something else from now on.
    DeviceRenamed {
        /// Which.
        device: DeviceId,
    },
    /// A device belongs to the group no more. Of this one: it syncs nothing any more.
    DeviceRemoved {
        /// Which.
        device: DeviceId,
    },
    /// The group has new keys, and this device seals under them.
    KeyRotated,
    /// This device found that another installation uses its identity, and is another device from now on.
    IdentityChanged {
        /// Who it is now.
        device: DeviceId,
        /// Who it was.
        former: DeviceId,
    },
    /// A relay says that a device of the group is there, or no longer says so.
    DevicePresence {
        /// Which.
        device: DeviceId,
        /// Some relay says that it is there.
        online: bool,
    },
    /// A device says to have received or applied more than it had said before. How far, the list of devices tells.
    ReceivedBy {
        /// Which.
        device: DeviceId,
    },
    /// A relay lost data it had confirmed: it was wiped, or restored from a backup. It is being filled again.
    RelayRegressed {
        /// Which.
        relay: RelayId,
    },
    /// A relay shows this device another history, or less of it, than it has shown another. What exactly, the status tells.
    RelayContradicted {
        /// Which.
        relay: RelayId,
    },
    /// It is time for a snapshot of the app's state: whoever joins would have much to read.
    SnapshotNeeded {
        /// Where the local log ends now, with everything applied.
        up_to: LocalCursor,
    },
    /// A relay keeps this device's snapshot.
    SnapshotKept {
        /// Which.
        snapshot: BlobId,
        /// Which relay.
        relay: RelayId,
    },
    /// A snapshot is being fetched.
    SnapshotProgress {
        /// Which.
        snapshot: BlobId,
        /// Bytes that are here.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// A snapshot is here for the app to load. [`Input::SnapshotLoaded`] answers it.
    SnapshotReady {
        /// Which.
        snapshot: BlobId,
        /// Who made it.
        sender: DeviceId,
    },
    /// Something failed that the caller of no request will hear of.
    Failed {
        /// Whose doing, if a relay's.
        relay: Option<RelayId>,
        /// What.
        code: ErrorCode,
    },
}

/// Why an envelope is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ParkReason {
    /// Sealed under a key this device doesn't hold. Tried again when it learns one.
    KeyMissing = 1,
    /// Made by a newer build. Tried again after an update.
    TooNew = 2,
    /// Signed by a member, but it does not open, or what opens is not well formed. Tried again after an update.
    Unreadable = 3,
    /// Its sender made two different envelopes for one place: a copied or restored installation.
    Forked = 4,
}

impl ParkReason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::KeyMissing, Self::TooNew, Self::Unreadable, Self::Forked];

    /// What scripts and front ends see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyMissing => "key_missing",
            Self::TooNew => "too_new",
            Self::Unreadable => "unreadable",
            Self::Forked => "forked",
        }
    }

    /// The reason of this number, if it is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == number)
    }
}
