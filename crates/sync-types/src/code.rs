//! Everything that can go wrong, as a closed set.
//!
//! A code has a number (on the wire), a name (what scripts and front ends branch on), a text for people that says
//! what to do, and the reaction a program is expected to have. Numbers below 100 travel; a device never sends
//! one, and takes one it does not know for `internal`.

use serde::{Deserialize, Serialize};

/// What a program should do about an error, when no person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// The same again later succeeds, without anybody doing anything.
    Retry,
    /// Read the log from its start again; see PROTOCOL.md, "Relays that forget".
    Resync,
    /// The input was wrong. The same again fails again.
    FixInput,
    /// A person has to do or decide something first.
    AskPerson,
    /// A defect, here or there. Report it.
    Report,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $reaction:ident, $text:literal;)*) => {
        /// A way to fail. See the [module](self) for what belongs to each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(u16)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $name)] $variant = $number,)*
        }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The number on the wire.
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// The code of this number, if this build knows it.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// What scripts and front ends branch on. Never changes.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What happened and what to do, for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What a program should do about it.
            pub const fn reaction(self) -> Reaction {
                match self { $(Self::$variant => Reaction::$reaction,)* }
            }
        }
    };
}

codes! {
    // What a relay answers.
    /// The relay has no word for that message.
    Unsupported = 1, "unsupported", AskPerson, "the relay does not know this request; update the relay";
    /// The relay could not read what it was sent.
    Malformed = 2, "malformed", Report, "the message could not be read; this is a defect, please report it";
    /// The relay speaks another version of the protocol.
    VersionUnsupported = 3, "version_unsupported", AskPerson, "relay and app speak different versions; update the older one";
    /// HELLO did not prove membership.
    AuthFailed = 4, "auth_failed", AskPerson, "the relay did not accept this group's key; pair this device again";
    /// A request came before HELLO.
    NotGreeted = 5, "not_greeted", Report, "a request came before the greeting; this is a defect, please report it";
    /// A frame was larger than any may be.
    FrameTooLarge = 6, "frame_too_large", Report, "a message was larger than the protocol allows; this is a defect, please report it";
    /// The payload is over the limit.
    BlobTooLarge = 10, "blob_too_large", FixInput, "the blob is too large; split it (the limit is 1 MiB, or what the relay allows)";
    /// The group's room on the relay is used up.
    GroupFull = 11, "group_full", Retry, "this group's storage on the relay is full; it empties as blobs expire, or its operator can raise max_group_storage";
    /// The relay's room is used up.
    StorageFull = 12, "storage_full", Retry, "the relay's storage is full; its operator has to make room or raise max_db_size";
    /// The relay takes no more groups.
    TooManyGroups = 13, "too_many_groups", AskPerson, "the relay takes no more groups now; use another relay, or ask its operator to raise max_groups";
    /// Too many messages from this device.
    RateLimited = 14, "rate_limited", Retry, "too many requests; sending goes on by itself in a moment";
    /// Too many connections.
    TooManyConnections = 15, "too_many_connections", Retry, "too many connections to the relay from here; trying again by itself";
    /// The device's log and the relay's differ.
    LogForked = 16, "log_forked", Resync, "the relay's log is not the one this device has read; comparing from the start";
    /// No such blob.
    NotFound = 17, "not_found", Retry, "the relay does not hold this blob";
    /// The relay is stopping.
    ShuttingDown = 18, "shutting_down", Retry, "the relay is restarting; trying again by itself";
    /// Not authentic, cut off, or of no known kind.
    BadEnvelope = 19, "bad_envelope", Report, "the relay could not read the envelope; this is a defect, please report it";
    /// A device did not say anything for too long, or stalled in the middle of a message.
    IdleTimeout = 20, "idle_timeout", Retry, "the connection was silent for too long; connecting again by itself";
    /// The group is known by another id now.
    GroupMoved = 21, "group_moved", Retry, "the group has new keys; connecting again with them by itself";
    /// A snapshot that covers less than the newest.
    SnapshotOutdone = 22, "snapshot_outdone", FixInput, "the relay has a snapshot that covers more than this one; make a new one when it is worth it";
    // Mailboxes.
    /// No mailbox of that name.
    InviteNotFound = 40, "invite_not_found", FixInput, "no invite with this code; check the code, or ask for a new one (a code lives ten minutes and works once)";
    /// Another joiner has it.
    InviteClaimed = 41, "invite_claimed", AskPerson, "this code was already used by another device; if that was not you, cancel and make a new one";
    /// The mailbox takes no more messages, or not this one.
    InviteConflict = 42, "invite_conflict", AskPerson, "the invite received something unexpected; cancel and make a new one";
    /// The name is taken: choose another.
    InviteNameTaken = 43, "invite_name_taken", Retry, "the invite's name is taken; another one is tried by itself";
    /// The relay holds no more mailboxes.
    TooManyInvites = 44, "too_many_invites", Retry, "the relay handles too many invites now; try again in a minute";

    /// A defect.
    Internal = 99, "internal", Report, "something went wrong inside; this is a defect, please report it";

    // What a device finds out by itself.
    /// No group yet.
    NoGroup = 100, "no_group", FixInput, "this device belongs to no group yet; create an invite to start one, or join one with a code";
    /// A group already.
    AlreadyInGroup = 101, "already_in_group", FixInput, "this device already belongs to a group; leave it first, or use another profile";
    /// No profile there.
    NoProfile = 102, "no_profile", FixInput, "there is no profile here; make one first (sync-cli init)";
    /// A profile there already.
    ProfileExists = 103, "profile_exists", FixInput, "there is already a profile here; use it, or choose another folder";
    /// Another process has it.
    ProfileInUse = 104, "profile_in_use", AskPerson, "another process uses this profile; close it first";
    /// Secrets are gone.
    KeyMissing = 105, "key_missing", AskPerson, "this profile's keys are not in the keychain of this machine and user; a profile can't be copied without them, so pair this device as a new one";
    /// No keychain.
    KeychainUnavailable = 106, "keychain_unavailable", AskPerson, "the system's keychain can't be used; unlock it, or have the keys kept in a file (`secrets` in an app's configuration, --secrets file)";
    /// Secrets in a file, and not the passphrase for them.
    WrongPassphrase = 107, "wrong_passphrase", AskPerson, "the passphrase does not open this profile's keys; enter it again (a passphrase that is lost can't be replaced: pair this device as a new one)";
    /// Nobody answers.
    Offline = 110, "offline", Retry, "no relay can be reached; everything is kept here and is sent when one is back";
    /// Not done in time.
    TimedOut = 111, "timed_out", Retry, "not finished in the given time; it goes on by itself when this device is next online";
    /// Another relay at that address.
    RelayIdentityChanged = 112, "relay_identity_changed", AskPerson, "another relay answers at this address than before; if its operator says that is right, add it as a new relay";
    /// That is no relay.
    RelayUnknown = 113, "relay_unknown", FixInput, "no relay found by that name; give its http(s):// address, its ticket, or id@host:port";
    /// A tier of later.
    UnsupportedTier = 114, "unsupported_tier", FixInput, "this kind of relay is not supported by this version";
    /// A cursor of another log.
    CursorUnknown = 120, "cursor_unknown", FixInput, "this cursor was not given out by this profile; read from the start again";
    /// No room here.
    LocalFull = 121, "local_full", AskPerson, "this device has no room left for the blob; free some and try again";
    /// The disk fails.
    LocalStorage = 122, "local_storage", AskPerson, "the profile's database can't be read or written; check the disk and the folder's permissions";
    /// The database is damaged.
    StoreCorrupt = 123, "store_corrupt", AskPerson, "the profile's database is damaged; have it repaired, restore the folder from a backup, or pair this device as a new one";
    /// The database is of a newer build.
    StoreTooNew = 124, "store_too_new", AskPerson, "the profile was written by a newer version; update this one";
    /// Bad argument.
    InvalidArgument = 125, "invalid_argument", FixInput, "an argument is not valid";
    /// The client is closed.
    Closed = 126, "closed", FixInput, "the client is closed";
    /// This installation was cloned or restored from a backup.
    IdentityReused = 127, "identity_reused", AskPerson, "another installation uses this device's identity (a copied or restored profile), and the group has no room for one more device; remove one, and open this profile again";
    /// Removed from the group.
    Removed = 129, "removed", AskPerson, "this device was removed from its group; what it had is still here, and to sync again it has to be paired anew";
    /// The group has keys that this device was not given.
    StaleKey = 137, "stale_key", Retry, "the group has new keys that this device was not given yet; another of its devices hands them over by itself, or pair this device again";
    /// Something is not on any relay yet, or nobody else is there.
    NotSafeToLeave = 138, "not_safe_to_leave", AskPerson, "something here is on no other device or relay yet, or this is the group's last device; wait until it is synced, or leave with force and lose it";
    /// No such device.
    DeviceUnknown = 128, "device_unknown", FixInput, "no device of this group has that id; the list of devices has all of them";
    // Snapshots.
    /// A snapshot of a state that this device's log was not in.
    SnapshotOutdated = 141, "snapshot_outdated", FixInput, "this is not where the local log ends; apply and acknowledge what is there, and make the snapshot anew";
    /// A snapshot over the limit.
    SnapshotTooLarge = 142, "snapshot_too_large", FixInput, "the snapshot is too large; the limit is 32 MiB";
    /// There is none to load, or not that one.
    NoSnapshot = 143, "no_snapshot", FixInput, "there is no snapshot to load; what is in the local log is all there is";
    // Pairing.
    /// Not a code.
    InvalidCode = 130, "invalid_code", FixInput, "this is neither a pairing code, which has sixteen letters and digits like ABCD-EFGH-JKMN-PQRS, nor a whole invite link";
    /// The right mailbox, the wrong password.
    WrongCode = 131, "wrong_code", AskPerson, "the code was wrong, and is used up now; make a new one on the other device";
    /// Too late.
    CodeExpired = 132, "code_expired", AskPerson, "the code is no longer valid; make a new one on the other device";
    /// A person said no.
    PairingDenied = 133, "pairing_denied", AskPerson, "pairing was declined; nothing was shared";
    /// The other side does something else.
    PairingFailed = 134, "pairing_failed", AskPerson, "pairing failed because the other side did not follow the protocol; make a new code and try again";
    /// An invite of another app.
    OtherApp = 135, "other_app", FixInput, "this code belongs to another app";
    /// Too many members, or too many keys and removals in its past.
    GroupTooLarge = 136, "group_too_large", AskPerson, "the group has as many devices as it can, remove one first; or it has had too many new keys for one more device, and a new group has to be made";
    // Passphrases.
    /// Too easy to guess.
    WeakPassphrase = 140, "weak_passphrase", FixInput, "the passphrase is too easy to guess; take six words or more that are drawn at random, or twelve random letters and digits";
    // Recovery kits.
    /// Not a kit's text.
    InvalidKit = 150, "invalid_kit", FixInput, "this is not a whole recovery kit; scan it again, or compare what was typed with the page letter by letter";
    /// Not a kit's code.
    InvalidKitCode = 151, "invalid_kit_code", FixInput, "this is not a recovery kit's code, which has twenty-eight letters and digits; compare what was typed with the page letter by letter";
    /// Another kit's.
    WrongKitCode = 152, "wrong_kit_code", FixInput, "the code is whole, and belongs to another recovery kit";
    /// A newer build's.
    KitTooNew = 153, "kit_too_new", AskPerson, "the recovery kit was made by a newer version; update this one";
    /// Nobody has its group.
    KitUnknown = 154, "kit_unknown", AskPerson, "no relay that answers has this recovery kit's group with the kit in it; use the relay that the group used, or pair with a device that is left";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::ErrorCode;

    #[test]
    fn numbers_and_names_are_unique_and_lead_back() {
        let numbers: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.number()).collect();
        let names: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(numbers.len(), ErrorCode::ALL.len());
        assert_eq!(names.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
            assert!(code.text().chars().next().is_some_and(char::is_lowercase), "{}", code.name());
        }
        assert_eq!(ErrorCode::from_number(0), None);
    }
}
