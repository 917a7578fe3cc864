/** Every code there is, as the Rust side has them. Written by a test of `sync-bridge`. */

/** All codes. */
export const ERROR_CODES = [
  /** The relay does not know this request; update the relay. */
  'unsupported',
  /** The message could not be read; this is a defect, please report it. */
  'malformed',
  /** Relay and app speak different versions; update the older one. */
  'version_unsupported',
  /** The relay did not accept this group's key; pair this device again. */
  'auth_failed',
  /** A request came before the greeting; this is a defect, please report it. */
  'not_greeted',
  /** A message was larger than the protocol allows; this is a defect, please report it. */
  'frame_too_large',
  /** The blob is too large; split it (the limit is 1 MiB, or what the relay allows). */
  'blob_too_large',
  /** This group's storage on the relay is full; it empties as blobs expire, or its operator can raise max_group_storage. */
  'group_full',
  /** The relay's storage is full; its operator has to make room or raise max_db_size. */
  'storage_full',
  /** The relay takes no more groups now; use another relay, or ask its operator to raise max_groups. */
  'too_many_groups',
  /** Too many requests; sending goes on by itself in a moment. */
  'rate_limited',
  /** Too many connections to the relay from here; trying again by itself. */
  'too_many_connections',
  /** The relay's log is not the one this device has read; comparing from the start. */
  'log_forked',
  /** The relay does not hold this blob. */
  'not_found',
  /** The relay is restarting; trying again by itself. */
  'shutting_down',
  /** The relay could not read the envelope; this is a defect, please report it. */
  'bad_envelope',
  /** The connection was silent for too long; connecting again by itself. */
  'idle_timeout',
  /** The group has new keys; connecting again with them by itself. */
  'group_moved',
  /** The relay has a snapshot that covers more than this one; make a new one when it is worth it. */
  'snapshot_outdone',
  /** No invite with this code; check the code, or ask for a new one (a code lives ten minutes and works once). */
  'invite_not_found',
  /** This code was already used by another device; if that was not you, cancel and make a new one. */
  'invite_claimed',
  /** The invite received something unexpected; cancel and make a new one. */
  'invite_conflict',
  /** The invite's name is taken; another one is tried by itself. */
  'invite_name_taken',
  /** The relay handles too many invites now; try again in a minute. */
  'too_many_invites',
  /** Something went wrong inside; this is a defect, please report it. */
  'internal',
  /** This device belongs to no group yet; create an invite to start one, or join one with a code. */
  'no_group',
  /** This device already belongs to a group; leave it first, or use another profile. */
  'already_in_group',
  /** There is no profile here; make one first (sync-cli init). */
  'no_profile',
  /** There is already a profile here; use it, or choose another folder. */
  'profile_exists',
  /** Another process uses this profile; close it first. */
  'profile_in_use',
  /** This profile's keys are not in the keychain of this machine and user; a profile can't be copied without them, so pair this device as a new one. */
  'key_missing',
  /** The system's keychain can't be used; unlock it, or have the keys kept in a file (`secrets` in an app's configuration, --secrets file). */
  'keychain_unavailable',
  /** The passphrase does not open this profile's keys; enter it again (a passphrase that is lost can't be replaced: pair this device as a new one). */
  'wrong_passphrase',
  /** No relay can be reached; everything is kept here and is sent when one is back. */
  'offline',
  /** Not finished in the given time; it goes on by itself when this device is next online. */
  'timed_out',
  /** Another relay answers at this address than before; if its operator says that is right, add it as a new relay. */
  'relay_identity_changed',
  /** No relay found by that name; give its http(s):// address, its ticket, or id@host:port. */
  'relay_unknown',
  /** This kind of relay is not supported by this version. */
  'unsupported_tier',
  /** This cursor was not given out by this profile; read from the start again. */
  'cursor_unknown',
  /** This device has no room left for the blob; free some and try again. */
  'local_full',
  /** The profile's database can't be read or written; check the disk and the folder's permissions. */
  'local_storage',
  /** The profile's database is damaged; have it repaired, restore the folder from a backup, or pair this device as a new one. */
  'store_corrupt',
  /** The profile was written by a newer version; update this one. */
  'store_too_new',
  /** An argument is not valid. */
  'invalid_argument',
  /** The client is closed. */
  'closed',
  /** Another installation uses this device's identity (a copied or restored profile), and the group has no room for one more device; remove one, and open this profile again. */
  'identity_reused',
  /** This device was removed from its group; what it had is still here, and to sync again it has to be paired anew. */
  'removed',
  /** The group has new keys that this device was not given yet; another of its devices hands them over by itself, or pair this device again. */
  'stale_key',
  /** Something here is on no other device or relay yet, or this is the group's last device; wait until it is synced, or leave with force and lose it. */
  'not_safe_to_leave',
  /** No device of this group has that id; the list of devices has all of them. */
  'device_unknown',
  /** This is not where the local log ends; apply and acknowledge what is there, and make the snapshot anew. */
  'snapshot_outdated',
  /** The snapshot is too large; the limit is 32 MiB. */
  'snapshot_too_large',
  /** There is no snapshot to load; what is in the local log is all there is. */
  'no_snapshot',
  /** This is neither a pairing code, which has sixteen letters and digits like ABCD-EFGH-JKMN-PQRS, nor a whole invite link. */
  'invalid_code',
  /** The code was wrong, and is used up now; make a new one on the other device. */
  'wrong_code',
  /** The code is no longer valid; make a new one on the other device. */
  'code_expired',
  /** Pairing was declined; nothing was shared. */
  'pairing_denied',
  /** Pairing failed because the other side did not follow the protocol; make a new code and try again. */
  'pairing_failed',
  /** This code belongs to another app. */
  'other_app',
  /** The group has as many devices as it can, remove one first; or it has had too many new keys for one more device, and a new group has to be made. */
  'group_too_large',
  /** The passphrase is too easy to guess; take six words or more that are drawn at random, or twelve random letters and digits. */
  'weak_passphrase',
  /** This is not a whole recovery kit; scan it again, or compare what was typed with the page letter by letter. */
  'invalid_kit',
  /** This is not a recovery kit's code, which has twenty-eight letters and digits; compare what was typed with the page letter by letter. */
  'invalid_kit_code',
  /** The code is whole, and belongs to another recovery kit. */
  'wrong_kit_code',
  /** The recovery kit was made by a newer version; update this one. */
  'kit_too_new',
  /** No relay that answers has this recovery kit's group with the kit in it; use the relay that the group used, or pair with a device that is left. */
  'kit_unknown',
] as const

/** What a program branches on: a closed set. */
export type ErrorCode = (typeof ERROR_CODES)[number]
