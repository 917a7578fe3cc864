//! What a device and a relay say to each other on their one long-lived stream.
//!
//! A message with an answer starts with a [`RequestId`] that the answer repeats; requests are pipelined. Which
//! number stands for which message is fixed for ever: 01–03 greeting, 10–11 push, 20–25 pull, 30–31 presence,
//! 32–34 receipts, 35–38 snapshots, 40 delete, 50–51 move, 60–6F mailbox (see [`crate::mailbox`]), 70–7F reserved for wake tokens and peers,
//! FF error.

use bytes::Bytes;

use crate::{
    code::ErrorCode,
    cursor::RelayCursor,
    frame::{DecodeError, RawFrame, encode_frame},
    id::{AuthPublic, BlobId, DeviceId, LogId, RelayGroupId, RelayId, RequestId, Run},
    limits::{
        MEMBERS_MAX, MOVE_OVER_MAX, MOVED_PACKAGES_MAX, PAGE_ROWS_MAX, RECEIPTS_MAX, SNAPSHOT_PARTS_MAX, SNAPSHOTS_KEPT,
    },
    wire::{AtMost, message},
};

message! {
    /// Opens a session: proves membership of the group to this relay, on this connection.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Hello {
        /// The protocol version the device speaks.
        ///
        /// A relay needs it to answer in words that the device understands.
        pub version: u16,
        /// The group, as this relay knows it. Must be the hash of `auth_public`.
        ///
        /// A relay needs it to find the log.
        pub group: RelayGroupId,
        /// Public half of the group's Ed25519 key for this relay.
        ///
        /// A relay needs it to check the signature. It is made for this relay alone, so it links nothing.
        pub auth_public: AuthPublic,
        /// How far the device has read this log; 0 for not at all.
        ///
        /// A relay needs it to keep rows for as long as a device of the group lacks them, and to tell how many wait.
        pub last_cursor: RelayCursor,
        /// The log `last_cursor` counts in, if the device has met one here.
        ///
        /// A relay needs it to see that `last_cursor` counts in a log it no longer has.
        pub log_id: Option<LogId>,
        /// By `auth_public`, over [`crate::sign::hello`].
        ///
        /// A relay needs it to let nobody in who does not hold the group's key.
        pub signature: Bytes,
        /// What the device understands beyond the first build's messages: bits of [`features`].
        ///
        /// A relay needs it to send an older device nothing that it can't read.
        pub features: u64,
    }
}

message! {
    /// The session is open.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Welcome {
        /// The protocol version the relay speaks.
        pub version: u16,
        /// Who the relay is: its endpoint id.
        pub relay: RelayId,
        /// The log that holds this group here.
        pub log_id: LogId,
        /// Where the log ends; 0 for an empty one.
        pub max_cursor: RelayCursor,
        /// Rows up to here have left, and no page covers them.
        pub floor_cursor: RelayCursor,
        /// Rows after the device's `last_cursor`.
        pub pending_count: u64,
        /// What the relay accepts.
        pub limits: Limits,
        /// What the relay does beyond the first build's: bits of [`features`].
        pub features: u64,
    }
}

message! {
    /// Answers HELLO in place of WELCOME, and ends the session: the group is known by another id now. Whoever still
    /// belongs to it finds the new key in a package, and says HELLO again under that.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Moved {
        /// What members left here for holders of the old key: [`Over::package`], the oldest first.
        pub packages: AtMost<MOVED_PACKAGES_MAX, Bytes>,
    }
}

/// The bits of [`Hello::features`] and [`Welcome::features`]. One that the other side does not know is ignored.
pub mod features {
    /// [`super::Presence`].
    pub const PRESENCE: u64 = 1;
    /// [`super::Move`] and [`super::Moved`].
    pub const MOVE: u64 = 2;
    /// [`super::Receipt`] and [`super::Receipts`].
    pub const RECEIPTS: u64 = 4;
    /// [`super::Snapshot`] and [`super::Snapshots`].
    pub const SNAPSHOTS: u64 = 8;
}

message! {
    /// What a relay accepts, as its operator set it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Limits {
        /// Largest payload in bytes; an envelope may have [`crate::limits::ENVELOPE_OVERHEAD_MAX`] more.
        pub blob_len_max: u64,
        /// Envelope bytes the group may keep.
        pub group_bytes_max: u64,
        /// Seconds an envelope is kept that asks for 0; 0 for as long as there is room.
        pub ttl_s_default: u64,
        /// Seconds an envelope is kept at most; 0 for no limit.
        pub ttl_s_max: u64,
        /// Requests a device may send at once.
        pub burst: u64,
        /// Requests a device may send a minute after that.
        pub per_minute: u64,
    }
}

message! {
    /// Keep this envelope for the group.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Push {
        /// Repeated by the answer.
        ///
        /// A relay needs it to say which request it answers.
        pub id: RequestId,
        /// Seconds since it was sealed, by the device's clock. They count against a time to live that was asked for.
        ///
        /// A relay needs it to let an envelope that waited in a queue expire when its sender meant it to.
        pub age_s: u32,
        /// The envelope. Repeating it is harmless: it keeps its cursor.
        ///
        /// A relay needs it to keep it; what it can read of it is below.
        pub envelope: Bytes,
    }
}

message! {
    /// The envelope is on the relay's disk.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct PushAck {
        /// The request's.
        pub id: RequestId,
        /// The envelope's.
        pub blob_id: BlobId,
        /// Where it stands in the log.
        pub cursor: RelayCursor,
        /// The log's run up to and with it.
        pub run: Run,
        /// The relay's clock in Unix milliseconds, for people.
        pub timestamp_ms: u64,
    }
}

message! {
    /// Send the rows after a cursor.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Pull {
        /// Repeated by every page that answers.
        ///
        /// A relay needs it to say which request it answers.
        pub id: RequestId,
        /// The last row the device has.
        ///
        /// A relay needs it to know where to begin.
        pub after: RelayCursor,
        /// The device's run up to `after`. One that differs from the relay's is answered `log_forked`.
        ///
        /// A relay needs it to notice that it is no longer the log that the device has read.
        pub run: Run,
        /// Rows in a page, at most [`PAGE_ROWS_MAX`]; 0 for the default.
        ///
        /// A relay needs it to send no more at once than the device wants.
        pub limit: u32,
        /// After the last page go on with every row as it comes, until the next PULL on this connection.
        ///
        /// A relay needs it to go on by itself when something new comes.
        pub follow: bool,
    }
}

message! {
    /// A run of rows: those at `after + 1`, `after + 2`, … without a hole.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Page {
        /// The request's.
        pub id: RequestId,
        /// The row before the first of these.
        pub after: RelayCursor,
        /// The rows, contiguous.
        pub rows: AtMost<{ PAGE_ROWS_MAX as usize }, Row>,
        /// Where the log ends. The reader is caught up when the last row is this one.
        pub max_cursor: RelayCursor,
    }
}

message! {
    /// One row of a log.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Row {
        /// What `bytes` is: a [`RowKind`] number.
        pub kind: u8,
        /// The relay's clock at its arrival in Unix milliseconds, for people.
        pub timestamp_ms: u64,
        /// An envelope, or the 16 bytes of a blob id.
        pub bytes: Bytes,
    }
}

/// What a row of a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RowKind {
    /// `bytes` is the envelope.
    Blob = 0,
    /// The envelope left when its time was over; `bytes` is its blob id.
    Expired = 1,
    /// The envelope is the device's own and came over this connection; `bytes` is its blob id.
    Yours = 2,
}

impl RowKind {
    /// The kind of this number, if it is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Blob,
            1 => Self::Expired,
            2 => Self::Yours,
            _ => return None,
        })
    }
}

message! {
    /// The device holds every row up to here on its own disk. Not answered.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Ack {
        /// The last row of those.
        ///
        /// A relay needs it to drop what is over and everybody has.
        pub cursor: RelayCursor,
    }
}

message! {
    /// Answers a PULL from below the floor: those rows left without a trace. Compare frontiers and pull again
    /// from `floor_cursor`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Gap {
        /// The request's.
        pub id: RequestId,
        /// The last row that left.
        pub floor_cursor: RelayCursor,
        /// The log's run up to and with it.
        pub floor_run: Run,
    }
}

message! {
    /// Send one envelope by its id.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Get {
        /// Repeated by the answer.
        ///
        /// A relay needs it to say which request it answers.
        pub id: RequestId,
        /// Which.
        ///
        /// A relay needs it to find the envelope.
        pub blob_id: BlobId,
    }
}

message! {
    /// Answers GET. An envelope the relay doesn't hold is `not_found`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Got {
        /// The request's.
        pub id: RequestId,
        /// The envelope.
        pub envelope: Bytes,
    }
}

message! {
    /// Which devices of the group have a session with this relay now, this one among them. Sent at the beginning of a
    /// session and when it changes, a little later, to a device that understands it; each replaces the one before.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Presence {
        /// Those that came first, if there are more than a group may have members.
        pub devices: AtMost<MEMBERS_MAX, DeviceId>,
    }
}

message! {
    /// Something new is in the log of a device that doesn't follow it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Notify {
        /// The newest row's blob.
        pub blob_id: BlobId,
        /// The newest row.
        pub cursor: RelayCursor,
        /// Who sealed it.
        pub sender: DeviceId,
        /// Its length in bytes.
        pub size: u32,
        /// The relay's clock in Unix milliseconds, for people.
        pub timestamp_ms: u64,
    }
}

message! {
    /// How far this device has received and applied what the others sealed. It takes the place of what the device said
    /// before, and is told to the others. It is in no log.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Receipt {
        /// Repeated by the answer.
        ///
        /// A relay needs it to say which request it answers.
        pub id: RequestId,
        /// An envelope of kind [`crate::Kind::Receipt`], the device's own.
        ///
        /// A relay needs it to tell the others; what it can read of it is below.
        pub envelope: Bytes,
    }
}

message! {
    /// The newest receipt of other devices of the group, each by itself: all there are before the first page of a PULL
    /// that follows, and those that have changed, a little later. To a device that understands it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Receipts {
        /// Envelopes of kind [`crate::Kind::Receipt`]. What does not fit comes in the next one.
        pub envelopes: AtMost<RECEIPTS_MAX, Bytes>,
    }
}

message! {
    /// A receipt is kept. A relay that dies within a second may have forgotten it: a device says it anew in every session.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ReceiptAck {
        /// The request's.
        pub id: RequestId,
    }
}

message! {
    /// Keep this part of a snapshot that is on its way. Without a [`Snapshot`] that names it, it does not stay.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SnapshotPart {
        /// Repeated by the answer.
        ///
        /// A relay needs it to say which request it answers.
        pub id: RequestId,
        /// An envelope of kind [`crate::Kind::Snapshot`], the device's own. Repeating it is harmless.
        ///
        /// A relay needs it to keep it; what it can read of it is below.
        pub envelope: Bytes,
    }
}

message! {
    /// A snapshot whose parts are all there: from now on it is the newest, and the oldest of more than
    /// [`SNAPSHOTS_KEPT`] makes room. It and its parts are read by GET. It is in no log.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Snapshot {
        /// Repeated by the answer.
        ///
        /// A relay needs it to say which request it answers.
        pub id: RequestId,
        /// Its manifest: an envelope of kind [`crate::Kind::Snapshot`], the device's own. Repeating it is harmless.
        ///
        /// A relay needs it to hand it out; what it can read of it is below.
        pub envelope: Bytes,
        /// Its parts, in any order.
        ///
        /// A relay needs it to see that they are there, and to let go of them together.
        pub parts: AtMost<SNAPSHOT_PARTS_MAX, BlobId>,
        /// Whoever loads it needs no row up to here; 0 if nothing is known of this log.
        ///
        /// A relay needs it to drop those rows once a newer snapshot covers them too, and every device has them.
        pub covers: RelayCursor,
        /// The device's run up to and with that row. One that differs from the relay's is answered `log_forked`.
        ///
        /// A relay needs it to see that its log is the one that is covered.
        pub run: Run,
    }
}

message! {
    /// The snapshots that the relay keeps of the group, by the ids of their manifests, the newest last. Sent at the
    /// beginning of a session and when that changes, to a device that understands it; each replaces the one before.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Snapshots {
        /// See [`Get`].
        pub manifests: AtMost<SNAPSHOTS_KEPT, BlobId>,
    }
}

message! {
    /// A snapshot, or a part of one, is on the relay's disk.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SnapshotAck {
        /// The request's.
        pub id: RequestId,
    }
}

message! {
    /// A refusal. Its text is the code's own: none travels.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Refused {
        /// The request's; 0 if it refuses the connection as a whole.
        pub id: RequestId,
        /// An [`ErrorCode`] number.
        pub code: u16,
        /// Milliseconds to wait before the same again; 0 if waiting does not help, or nothing is known.
        pub retry_after_ms: u32,
    }
}

impl Refused {
    /// The code, or [`ErrorCode::Internal`] for one that only a newer build knows.
    pub fn error(&self) -> ErrorCode {
        ErrorCode::from_number(self.code).unwrap_or(ErrorCode::Internal)
    }
}

message! {
    /// The group has a new key, and is known by another id from now on. One transaction: whatever log there is under the
    /// ids that are over is the new id's, which keeps a log of its own if it has one and takes in the others' rows behind
    /// it; the ids that are over keep their packages as long as the log is there; and their sessions end. Repeating it is
    /// harmless.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Move {
        /// Repeated by the answer.
        ///
        /// A relay needs it to say which request it answers.
        pub id: RequestId,
        /// The group from now on. Must be the hash of `auth_public`.
        ///
        /// A relay needs it to know where the log belongs.
        pub group: RelayGroupId,
        /// Public half of the group's new key for this relay.
        ///
        /// A relay needs it to check the signature.
        pub auth_public: AuthPublic,
        /// By `auth_public`, over [`crate::sign::moved`].
        ///
        /// A relay needs it to see that whoever moves the group can also enter it afterwards.
        pub signature: Bytes,
        /// The ids that are over.
        ///
        /// A relay needs it to find what is to be moved.
        pub over: AtMost<MOVE_OVER_MAX, Over>,
        /// The devices that remain.
        ///
        /// A relay needs it to keep nothing any longer for the sake of those that don't.
        pub remaining: AtMost<MEMBERS_MAX, DeviceId>,
    }
}

message! {
    /// An id that a group is no longer known by.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Over {
        /// The id. Must be the hash of `auth_public`.
        ///
        /// A relay needs it to find the log, and to know whom to give the package to.
        pub group: RelayGroupId,
        /// Public half of the key that opened it.
        ///
        /// A relay needs it to check the signature.
        pub auth_public: AuthPublic,
        /// By `auth_public`, over [`crate::sign::moved`].
        ///
        /// A relay needs it to let nobody end an id who does not hold its key.
        pub signature: Bytes,
        /// For whoever says HELLO under this id: sealed under the old key, so the relay can't read it.
        ///
        /// A relay needs it to hand it out to members who were away.
        pub package: Bytes,
    }
}

message! {
    /// Answers MOVE: it is on the relay's disk. It comes unasked as well.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct MoveAck {
        /// The request's.
        pub id: RequestId,
        /// What others had left under the same ids: two who move a group at once hear of each other here. With the id 0 it
        /// answers nothing, and says what was left by those who went another way from an id that this group went on from.
        pub others: AtMost<MOVED_PACKAGES_MAX, Left>,
    }
}

message! {
    /// A package that a member left under an id that is over.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Left {
        /// Under which.
        pub group: RelayGroupId,
        /// See [`Over::package`].
        pub package: Bytes,
    }
}

macro_rules! messages {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_meta])* $variant($variant),)* }

        impl $name {
            /// Every message of this direction: its type byte and its name, for documents and tests.
            pub const TYPES: &'static [(u8, &'static str)] = &[$(($number, stringify!($variant))),*];

            /// The fields of each, in the order of [`Self::TYPES`].
            pub const FIELDS: &'static [&'static [$crate::describe::Field]] =
                &[$(<$variant as $crate::describe::Described>::FIELDS),*];

            /// The whole frame: length, type byte, MessagePack.
            pub fn to_frame(&self) -> Bytes {
                match self { $(Self::$variant(message) => encode_frame($number, message),)* }
            }

            /// Reads a frame's content.
            ///
            /// # Errors
            /// [`DecodeError::UnknownType`] for a type of a newer build, which is answered and skipped;
            /// [`DecodeError::Malformed`] for anything else, which ends the connection.
            pub fn from_frame(frame: &RawFrame) -> Result<Self, DecodeError> {
                match frame.kind {
                    $($number => Ok(Self::$variant(frame.decode()?)),)*
                    _ => Err(frame.unknown()),
                }
            }
        }

        $(impl From<$variant> for $name {
            fn from(message: $variant) -> Self {
                Self::$variant(message)
            }
        })*
    };
}
pub(crate) use messages;

messages! {
    /// From a device to a relay.
    pub enum DeviceMsg {
        /// See [`Hello`].
        Hello = 0x01,
        /// See [`Push`].
        Push = 0x10,
        /// See [`Pull`].
        Pull = 0x20,
        /// See [`Ack`].
        Ack = 0x22,
        /// See [`Get`].
        Get = 0x24,
        /// See [`Receipt`].
        Receipt = 0x32,
        /// See [`SnapshotPart`].
        SnapshotPart = 0x35,
        /// See [`Snapshot`].
        Snapshot = 0x36,
        /// See [`Move`].
        Move = 0x50,
    }
}

messages! {
    /// From a relay to a device.
    pub enum RelayMsg {
        /// See [`Welcome`].
        Welcome = 0x02,
        /// See [`Moved`].
        Moved = 0x03,
        /// See [`PushAck`].
        PushAck = 0x11,
        /// See [`Page`].
        Page = 0x21,
        /// See [`Gap`].
        Gap = 0x23,
        /// See [`Got`].
        Got = 0x25,
        /// See [`Presence`].
        Presence = 0x30,
        /// See [`Notify`].
        Notify = 0x31,
        /// See [`Receipts`].
        Receipts = 0x33,
        /// See [`ReceiptAck`].
        ReceiptAck = 0x34,
        /// See [`Snapshots`].
        Snapshots = 0x37,
        /// See [`SnapshotAck`].
        SnapshotAck = 0x38,
        /// See [`MoveAck`].
        MoveAck = 0x51,
        /// See [`Refused`].
        Refused = 0xFF,
    }
}
