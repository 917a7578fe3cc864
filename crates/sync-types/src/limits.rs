//! Every bound in the protocol. Nothing else in the workspace invents one.
//!
//! Those that an operator may change are defaults of the relay's configuration and travel in WELCOME; the rest
//! are fixed by the protocol version.

use std::time::Duration;

/// The protocol version in HELLO and WELCOME.
pub const PROTOCOL_VERSION: u16 = 1;
/// QUIC application protocol of a device's session with a relay.
pub const ALPN: &[u8] = b"0k-sync/1";
/// QUIC application protocol of invite mailboxes, for relays known by id alone.
pub const ALPN_INVITE: &[u8] = b"0k-sync-invite/1";

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Largest payload an app may push, in bytes. Anything bigger is the app's to split.
pub const PAYLOAD_LEN_MAX: usize = MIB;
/// What an envelope may add to its payload: header, body fields, padding (at most 1/32 at this size), signature.
pub const ENVELOPE_OVERHEAD_MAX: usize = 64 * KIB;
/// Largest envelope, in bytes.
pub const ENVELOPE_LEN_MAX: usize = PAYLOAD_LEN_MAX + ENVELOPE_OVERHEAD_MAX;
/// Smallest sealed body before encryption: shorter ones are padded, so that small edits look alike.
pub const BODY_LEN_MIN: usize = 256;
/// Largest frame either side reads before it hangs up: type byte and message, without the length field.
pub const FRAME_LEN_MAX: usize = ENVELOPE_LEN_MAX + 64 * KIB;
/// Largest control payload: a commit that seals a new key to as many devices as a group may have.
pub const CONTROL_LEN_MAX: usize = 384 * KIB;

/// Rows a PULL may ask for at once.
pub const PAGE_ROWS_MAX: u32 = 1_000;
/// Rows in a page when the device names no number.
pub const PAGE_ROWS_DEFAULT: u32 = 100;
/// Envelope bytes in one page. One row always fits, however large.
pub const PAGE_BYTES_MAX: usize = ENVELOPE_LEN_MAX;
/// What a page's row may add to its envelope on the wire, in bytes.
pub const PAGE_ROW_OVERHEAD: usize = 24;

/// Requests a device keeps unanswered on one connection; a relay stops reading beyond it.
pub const IN_FLIGHT_MAX: usize = 1_024;
/// Envelope bytes a device keeps unacknowledged on one connection. One envelope always fits.
pub const IN_FLIGHT_BYTES_MAX: usize = 4 * MIB;

/// Longest device name, in bytes of UTF-8.
pub const DEVICE_NAME_LEN_MAX: usize = 64;
/// Longest platform word, in bytes.
pub const PLATFORM_LEN_MAX: usize = 32;
/// Longest app id, in bytes.
pub const APP_ID_LEN_MAX: usize = 128;
/// Members a group may have.
pub const MEMBERS_MAX: usize = 256;
/// Roster entries a device keeps: those of the members, of devices that paired twice, and of newer builds.
pub const ROSTER_ENTRIES_MAX: usize = 2 * MEMBERS_MAX;
/// Generations of a group's keys a device keeps.
pub const EPOCHS_MAX: usize = 1_024;

/// Commits a device keeps: see `sync_core::roster`.
pub const COMMITS_MAX: usize = EPOCHS_MAX;
/// Commits that one follows.
pub const COMMIT_PARENTS_MAX: usize = 16;
/// Older epochs whose secrets a commit hands on.
pub const COMMIT_OLDER_MAX: usize = 64;
/// Commits a device keeps that wait for what they build on.
pub const COMMITS_WAITING_MAX: usize = 64;
/// Void commits of one device that are kept.
pub const COMMITS_VOID_MAX: usize = 8;
/// Ids that one MOVE ends.
pub const MOVE_OVER_MAX: usize = 32;
/// Packages that a relay keeps for the holders of one old key. One more takes the oldest's place.
pub const MOVED_PACKAGES_MAX: usize = 16;
/// Bytes of those, and of all in one MOVE. One always fits.
pub const MOVED_BYTES_MAX: usize = MIB;
/// Seconds a relay keeps them.
pub const MOVED_TTL_S: u64 = 90 * 24 * 3600;

/// Longest passphrase, in bytes of UTF-8, before and after it is normalised.
pub const PASSPHRASE_LEN_MAX: usize = 1_024;
/// Bytes of the salt that a group's first keys come from, where they come from a passphrase.
pub const PASSPHRASE_SALT_LEN: usize = 16;
/// Most memory that deriving them may take, in KiB. A group that asks for more is refused.
pub const PASSPHRASE_MEMORY_KIB_MAX: u32 = 256 * 1024;
/// Most passes over that memory.
pub const PASSPHRASE_PASSES_MAX: u32 = 10;
/// Most lanes in it.
pub const PASSPHRASE_LANES_MAX: u32 = 16;

/// Relays one group uses.
pub const RELAYS_MAX: usize = 16;
/// Longest name of a relay (address, ticket, or id and host), in bytes.
pub const RELAY_NAME_LEN_MAX: usize = 512;

/// Longest invite link, in bytes: what a QR code holds that a camera still reads, and more.
pub const LINK_LEN_MAX: usize = 4 * KIB;
/// Relays named in an invite link.
pub const LINK_RELAYS_MAX: usize = 4;
/// Addresses of the device that invites in an invite link.
pub const LINK_ADDRESSES_MAX: usize = 4;
/// Longest recovery kit, in characters of its text and in bytes of what is in it.
pub const KIT_LEN_MAX: usize = 4 * KIB;
/// Bytes of relays' names in one: more would make its QR code too fine to read off paper. One always fits.
pub const KIT_RELAYS_LEN_MAX: usize = 768;
/// How long an invite lives.
pub const INVITE_TTL: Duration = Duration::from_secs(600);
/// Messages in one mailbox.
pub const MAILBOX_MESSAGES_MAX: usize = 16;
/// Bytes in one mailbox message.
pub const MAILBOX_MESSAGE_LEN_MAX: usize = 16 * KIB;
/// Longest a mailbox read may wait for the next message.
pub const MAILBOX_WAIT_MAX: Duration = Duration::from_secs(25);
/// Mailboxes a relay keeps at once.
pub const MAILBOXES_MAX: usize = 10_000;

/// Envelopes of unknown senders, unverified or waiting for a missing predecessor, that a device keeps a sender.
pub const WAITING_PER_SENDER_MAX: usize = 4_096;
/// Senders outside the roster whose envelopes a device keeps waiting for their entry.
pub const UNKNOWN_SENDERS_MAX: usize = 16;
/// Envelopes of senders outside the roster that a device keeps in all.
pub const UNKNOWN_ENVELOPES_MAX: usize = 256;
/// Envelopes a device keeps parked (signed by a member, but not readable here) in all.
pub const PARKED_MAX: usize = 4_096;
/// Bytes of those.
pub const PARKED_BYTES_MAX: u64 = 64 * MIB as u64;
/// Roster entries of a newer build that a device keeps.
pub const UNKNOWN_ENTRIES_MAX: usize = 32;
/// Separate runs of missing sequence numbers remembered a sender.
pub const HOLES_PER_SENDER_MAX: usize = 256;

/// Largest receipt, in bytes of its envelope: one that speaks of as many members as a group may have.
pub const RECEIPT_LEN_MAX: usize = 34 * KIB;
/// Runs of missing sequence numbers that one receipt names, of all senders together.
pub const RECEIPT_HOLES_MAX: usize = 256;
/// Receipts in one message.
pub const RECEIPTS_MAX: usize = 32;
/// Receipts that a relay keeps of one group: the newest of each member. One more takes the oldest's place.
pub const RECEIPTS_KEPT_MAX: usize = MEMBERS_MAX;

/// Largest snapshot, in bytes of what the app gave.
pub const SNAPSHOT_LEN_MAX: usize = 32 * MIB;
/// Parts of one: the app's bytes in the largest pieces that an envelope takes, and the roster.
pub const SNAPSHOT_PARTS_MAX: usize = SNAPSHOT_LEN_MAX / PAYLOAD_LEN_MAX + 8;
/// Runs of missing sequence numbers that one snapshot names, of all senders together.
pub const SNAPSHOT_HOLES_MAX: usize = 4_096;
/// Snapshots that a relay keeps of one group: should the newest be of no use, there is the one before.
pub const SNAPSHOTS_KEPT: usize = 2;
/// Seconds that a part is kept which no snapshot names yet.
pub const SNAPSHOT_PART_TTL_S: u64 = 3_600;

/// A relay's defaults, each changed in its configuration.
pub mod relay_defaults {
    /// Largest payload, in bytes; an envelope may have [`super::ENVELOPE_OVERHEAD_MAX`] more.
    pub const MAX_BLOB_SIZE: u64 = 1024 * 1024;
    /// Envelope bytes a group may keep.
    pub const MAX_GROUP_STORAGE: u64 = 100 * 1024 * 1024;
    /// Control envelopes a group may keep beyond [`MAX_GROUP_STORAGE`], in bytes: removal works on a full relay.
    pub const CONTROL_RESERVE: u64 = 4 * 1024 * 1024;
    /// Size of the whole database, in bytes.
    pub const MAX_DB_SIZE: u64 = 1024 * 1024 * 1024;
    /// Seconds an envelope is kept that names no time to live of its own.
    pub const DEFAULT_TTL: u64 = 7 * 24 * 3600;
    /// Seconds an envelope may be kept at most; 0 for no limit.
    pub const MAX_TTL: u64 = 0;
    /// Groups on one relay.
    pub const MAX_GROUPS: u64 = 1_000;
    /// Connections in all.
    pub const MAX_CONNECTIONS: u64 = 1_000;
    /// Connections from one network address.
    pub const CONNECTIONS_PER_IP: u64 = 10;
    /// Connections of one device. Many are quadratic in iroh, and one is all a device needs.
    pub const CONNECTIONS_PER_DEVICE: u64 = 4;
    /// Messages a device may send a minute, once its burst is spent.
    pub const MESSAGES_PER_MINUTE: u64 = 100;
    /// Messages a device may send at once, so that an offline queue drains.
    pub const MESSAGES_BURST: u64 = 50_000;
    /// Groups one network address may create an hour.
    pub const GROUPS_PER_IP_HOUR: u64 = 30;
    /// Seconds between two cleanups.
    pub const CLEANUP_INTERVAL: u64 = 3_600;
    /// Seconds after which a device that never came back no longer holds retention up.
    pub const DEVICE_EXPIRY: u64 = 90 * 24 * 3600;
}

const _: () = assert!(KIT_RELAYS_LEN_MAX >= RELAY_NAME_LEN_MAX, "a kit must lead to a relay");
const _: () = assert!(ENVELOPE_LEN_MAX + 1024 < FRAME_LEN_MAX, "an envelope must fit a PUSH frame");
const _: () = assert!(
    PAGE_BYTES_MAX + PAGE_ROWS_MAX as usize * PAGE_ROW_OVERHEAD + 1024 < FRAME_LEN_MAX,
    "a full page must fit a frame"
);
const _: () =
    assert!(PAGE_BYTES_MAX >= ENVELOPE_LEN_MAX, "one row must always fit a page, or a reader is stuck for ever");
const _: () = assert!(IN_FLIGHT_BYTES_MAX >= ENVELOPE_LEN_MAX, "one envelope must always fit the window");
const _: () = assert!(CONTROL_LEN_MAX < PAYLOAD_LEN_MAX, "control travels in envelopes");
const _: () = assert!(CONTROL_LEN_MAX > MEMBERS_MAX * 1_300, "a commit seals some 1,210 bytes to each member");
const _: () = assert!(
    MOVED_BYTES_MAX + MOVE_OVER_MAX * 192 + MEMBERS_MAX * 34 < FRAME_LEN_MAX,
    "packages must fit a MOVE and a MOVED"
);

const _: () = assert!(RECEIPTS_MAX * (RECEIPT_LEN_MAX + 8) + 64 < FRAME_LEN_MAX, "receipts must fit a RECEIPTS");
const _: () = assert!(
    // Padding adds an eighth at most; a member takes two ids, two numbers and their heads, a run two numbers, a log two
    // ids and a number.
    (MEMBERS_MAX * 92 + RECEIPT_HOLES_MAX * 19 + RELAYS_MAX * 62) * 9 / 8 + 512 < RECEIPT_LEN_MAX,
    "a receipt must have room for every member"
);

const _: () = assert!(MAILBOX_MESSAGE_LEN_MAX * MAILBOX_MESSAGES_MAX < FRAME_LEN_MAX, "a mailbox must fit a frame");
