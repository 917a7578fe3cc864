/** What goes in and out. Ids are lower-case hex, times Unix milliseconds, cursors numbers from 1. */

import type { ErrorCode } from './codes.js'

/** What every call takes. */
export interface Options {
  /** A profile that the app's configuration names; without it, the default one. */
  profile?: string
}

/** How a blob is pushed. */
export interface PushOptions extends Options {
  /**
   * What to wait for: the blob on this device's disk, which is the default and needs no network, on one relay's, or on
   * all of them. After half a minute the push resolves with however far it got.
   */
  wait?: 'local' | 'relay' | 'all'
  /** How long relays keep it, in seconds; without it, the relay's own time, which is seven days unless its operator says otherwise. */
  ttl?: number
}

/** How far a blob got: on this device's disk, on a relay's, or on all of them. */
export type PushState = 'queued' | 'relay' | 'all'

/** What a push came to. */
export interface Pushed {
  /** Names the blob, on every device. */
  pushId: string
  /** Its place in this device's log. */
  cursor: number
  /** How far it got. */
  state: PushState
}

/** A blob of the local log. */
export interface Blob {
  /** Its place in this device's log. Stored with what the app makes of the blob, it gives exactly once. */
  cursor: number
  /** What its push returned; the same on every device. */
  pushId: string
  /** Names its envelope, for people who compare with a relay. */
  blobId: string
  /** The device that pushed it. */
  sender: string
  /** That is this device. */
  own: boolean
  /** It came after its absence had been reported as a gap. */
  late: boolean
  /** When it was pushed, by its sender's clock. */
  pushedAt: number
  /** What was pushed. */
  payload: Uint8Array
}

/** Where a blob of the local log is, as far as this device can tell. It may have got further: nobody says more than is so. */
export interface BlobState {
  /** Its place in this device's log. */
  cursor: number
  /** What its push returned. */
  pushId: string
  /** Who pushed it. */
  sender: string
  /** That is this device. */
  own: boolean
  /** Of an own blob: the relays that have it on their disks. */
  relays: string[]
  /** How many relays are configured. */
  relaysConfigured: number
  /** Other members that have it on their disks: those who said so, and who pushed it. */
  receivedBy: string[]
  /** Those among them whose apps have acknowledged it. */
  appliedBy: string[]
  /** Other members that have given it up for lost: it had expired on every relay before they came. */
  lostBy: string[]
}

/** A part of the local log. */
export interface Page {
  /** The blobs, in order. */
  blobs: Blob[]
  /** There is more after the last of them. */
  hasMore: boolean
}

/**
 * The one word for everything. `synced`: all that was pushed is on every relay, and all they hold is here. `pending`:
 * something is on its way. `failed`: something is not going to happen by itself. `offline`: no relay can be reached.
 */
export type Badge = 'synced' | 'pending' | 'failed' | 'offline'

/** How a connection stands. */
export type Connection = 'disconnected' | 'connecting' | 'connected' | 'reconnecting'

/** Why something can't be read here. */
export type ParkReason = 'key_missing' | 'too_new' | 'unreadable' | 'forked'

/** One relay, as this device sees it. */
export interface Relay {
  /** Which. */
  relayId: string
  /** How the connection stands. */
  connection: Connection
  /** Own blobs and notes that are not on its disk. */
  pending: number
  /** How much of its log is not read yet, as far as is known. */
  unread: number
  /** It lost data, or is compared with what is here, and is being given what it lacks. */
  refilling: boolean
  /** Envelope bytes that it keeps of this group at most; null before it has said so. How much of that is taken it does not say. */
  room: number | null
  /** What it refuses, or why it can't be reached, where there is a word for it. */
  problem: ErrorCode | null
  /** It does not show here what these members have read there: it was restored from an old copy, or it lies. */
  contradictions: Contradiction[]
}

/** What another device has read on a relay, and this one is not shown there. */
export interface Contradiction {
  /** Who has read it. */
  deviceId: string
  /** Up to which row of the relay's log. */
  cursor: number
  /** `forked`: two histories of one log. `withheld`: the log ends earlier here. */
  kind: 'forked' | 'withheld'
}

/** The app's state as a device gave it, for those who join later. */
export interface Snapshot {
  /** Names it. */
  snapshotId: string
  /** The device that made it. */
  sender: string
  /** When, by that device's clock. */
  madeAt: number
  /** What the app gave. */
  bytes: Uint8Array
}

/** A snapshot that is being fetched, or waits for the app to load it. */
export interface Loading {
  /** Names it. */
  snapshotId: string
  /** The device that made it. */
  sender: string
  /** Bytes that are here. */
  done: number
  /** Of so many. */
  total: number
  /** All of it is here, for `latestSnapshot()`. */
  ready: boolean
}

/** Everything an app may want to show. */
export interface Status {
  /** The one word. */
  badge: Badge
  /** The best of the relays' connections. */
  connection: Connection
  /** Own blobs and notes that are not on every relay yet. Counts down while they go out. */
  pending: number
  /** How much the relays hold that is not here yet, as far as is known. Counts down while it comes in. */
  unread: number
  /** What waits for something that was pushed before it. */
  waiting: number
  /** What can't be read here, and why. It is kept, and tried again. */
  parked: { blobId: string; reason: ParkReason }[]
  /** The highest cursor the app acknowledged. */
  lastCursor: number
  /** The newest cursor there is. */
  headCursor: number
  /** The relays, in order of preference. */
  relays: Relay[]
  /** The snapshot that is being loaded. Until the app has, a device that has nothing yet reads nothing else. */
  loading: Loading | null
  /** When everything last was in step, since the app was started. */
  syncedAt: number | null
  /**
   * This installation was copied: another one uses its identity, the group has no room for one more device, and this one
   * pushes no more.
   */
  identityReused: boolean
  /** This device was removed from the group. It syncs no more; what it had is still here. */
  removed: boolean
  /** How much room sync takes on this device's disk; null where there is no profile yet, or no telling. */
  disk: Disk | null
  /** The group this device is in; null before it made or joined one. */
  groupId: string | null
  /** Who this device is there. */
  deviceId: string | null
}

/** How much room sync takes on a device's disk: bytes, but for the number of envelopes. */
export interface Disk {
  /** The whole database. */
  database: number
  /** What nothing is in just now; what comes next goes there first. */
  free: number
  /** How many envelopes are held, own and others'. */
  envelopes: number
  /** What waits for something that was pushed before it. */
  waiting: number
  /** What can't be read here. */
  parked: number
  /** Snapshots: this device's newest, and one that is being loaded. */
  snapshots: number
}

/** A device's place in a group. */
export interface Membership {
  /** The group. */
  groupId: string
  /** Who this device is there. */
  deviceId: string
}

/** A device of the group. */
export interface Device {
  /** Its id. */
  deviceId: string
  /** What it is called. Chosen by people: text to show, not to trust. */
  name: string
  /** What kind of machine it says it is. */
  platform: string
  /** Who let it in; null for the device that made the group. */
  joinedBy: string | null
  /** It is another installation of what this device was: somebody copied its profile, or restored a backup of it. */
  copyOf: string | null
  /** When, by the clock of the device that let it in. */
  joinedAt: number
  /** A relay says that it is there. Of this device: it is connected. */
  online: boolean
  /** When it was last seen, by this device's clock; null if it never was. */
  lastSeen: number | null
  /**
   * Every blob of this device's log up to this cursor it says to have, but for those in `lost`; null if it never said. It
   * may have more: it says so a few seconds after things have been quiet, half a minute later at most.
   */
  receivedUpTo: number | null
  /** Every one of those up to this cursor its app has acknowledged; null if it never said. */
  appliedUpTo: number | null
  /** Blobs of this device's log that it is still to receive, as far as it said; null if it never said. */
  behind: number | null
  /** Blobs of this device's log that it has given up for lost: they had expired before it came. */
  lost: number
  /** It is a recovery kit: on paper, and never online. Nobody waits for it, and removing it revokes it. */
  kit: boolean
  /** It is this one. */
  this: boolean
}

/** A recovery kit that was just made. Text and code are secrets, each of no use without the other. */
export interface RecoveryKit {
  /** Which member of the group it is: what removes it. */
  deviceId: string
  /** What is on the page, in one line. */
  text: string
  /** The text as a picture, dark on white; null if it is too long for one. */
  qrSvg: string | null
  /** The page to print, a whole HTML document: text and picture, without the code. */
  page: string
  /** What opens the text, to be kept elsewhere. */
  code: string
}

/** What carries the blobs. Tiers that this version does not know how to use fail with `unsupported_tier`. */
export type Backend =
  | { tier: 'relay'; relays: string[] }
  | { tier: 'iroh' }
  | { tier: 'cloud'; apiKey: string }
  | { tier: 'enterprise'; auth: string }

/** How a profile is set up. */
export type Configuration = Backend & {
  /** Where the keys rest. */
  secrets: 'keychain' | 'encrypted_file' | 'file' | 'stronghold'
  /** What this device was called when the profile was made. */
  name: string
}

/** What was found of one of the things that sync rests on. */
export interface Finding {
  /** What was looked at. */
  check: 'profile' | 'keys' | 'store' | 'group' | 'clock' | 'relay'
  /** The relay's address, where it is about one. */
  relay: string | null
  /** `notice` mends itself or is worth knowing; `bad` takes somebody to do something. */
  verdict: 'good' | 'notice' | 'bad'
  /** What is wrong. Whatever is bad has one. */
  code: ErrorCode | null
  /** What was found, and what to do about it if it isn't good. */
  text: string
}

/** What a repair found of one thing, and did about it. */
export interface Repaired {
  /** What was looked at. */
  part: 'store' | 'envelopes' | 'own' | 'waiting' | 'snapshots' | 'relay'
  /** The relay's address, where it is about one. */
  relay: string | null
  /** How many were damaged; of a relay: missing there. */
  found: number
  /** How many of those are as they should be now; of what waits and of snapshots: were let go of, to come again. */
  mended: number
  /** What is wrong still, if anything is. */
  code: ErrorCode | null
  /** The blobs that are damaged and on no relay: a thousand of them at most. */
  lost: { cursor: number; pushId: string; sender: string }[]
  /** What was found and done, and what to do about the rest. */
  text: string
}

/** Which side of a pairing this device is: the one that lets another in, or the one that is let in. */
export type PairRequest = { create: true } | { join: string }

/** An invite, to be shown. */
export interface Invite {
  /** To type. Null where no relay answers: then there is only the link. */
  code: string | null
  /** To open, paste or scan. */
  link: string
  /** The link as a picture, dark on white; null if it is too long for one. */
  qrSvg: string | null
  /** When it ceases to work. */
  expiresAt: number
}

/** What a pairing came to. */
export interface Joined {
  /** The group. */
  groupId: string
  /** Who joined: the other device, or, to the one that joined, itself. */
  deviceId: string
  /** What that device calls itself; null of this device. */
  name: string | null
}

/** What a pairing comes to, step by step. The last one is `joined` or `failed`. */
export type PairingEvent =
  /** Show this to the person at the other device. */
  | ({ kind: 'invite' } & Invite)
  /** Nothing to do: the other device has not come yet, or is being looked for. */
  | { kind: 'waiting' }
  /** Ask whether the other screen shows the same digits; then `approve(digits)` or `deny()`. */
  | { kind: 'digits'; digits: string; name: string; platform: string }
  /** The person here said yes; the other one is still to. */
  | { kind: 'approved' }
  /** Done. */
  | ({ kind: 'joined' } & Joined)
  /** It came to nothing. */
  | { kind: 'failed'; code: ErrorCode; message: string }

/** Something an app, or a person, may want to hear of. */
export type SyncEvent =
  /** A session with a relay is open; so much of its log is not read yet. */
  | { kind: 'connected'; relayId: string; unread: number }
  /** A session ended, or an attempt at one. */
  | { kind: 'disconnected'; relayId: string; reason: ErrorCode | null }
  /** A blob of another device is in the local log. */
  | { kind: 'blobAvailable'; cursor: number; pushId: string; sender: string; late: boolean }
  /** An own blob is on a relay's disk. */
  | { kind: 'blobPushed'; cursor: number; pushId: string; relayId: string }
  /** Blobs of a device are missing, and what came after them is handed out now. */
  | { kind: 'gap'; sender: string; first: number; last: number }
  /** Something can't be read here. It is kept, and tried again. */
  | { kind: 'parked'; blobId: string; reason: ParkReason }
  /** A device belongs to the group from now on. */
  | { kind: 'deviceJoined'; deviceId: string }
  /** A device is called something else from now on. */
  | { kind: 'deviceRenamed'; deviceId: string }
  /** A device belongs to the group no more. Of this one: it syncs nothing any more. */
  | { kind: 'deviceRemoved'; deviceId: string }
  /** The group has new keys, and this device seals under them. */
  | { kind: 'keyRotated' }
  /**
   * This device found that its profile is used elsewhere as well, and is another device from now on. What it pushed stays
   * what it is; `pull` says `own` of what it has pushed since the two differ.
   */
  | { kind: 'identityChanged'; deviceId: string; formerId: string }
  /** A relay says that a device is there, or no longer says so. */
  | { kind: 'devicePresence'; deviceId: string; online: boolean }
  /** A device says to have received or applied more than it had said before: how far, `devices()` tells. */
  | { kind: 'receivedBy'; deviceId: string }
  /** A relay lost data it had confirmed. It is being filled again. */
  | { kind: 'relayRegressed'; relayId: string }
  /** A relay shows this device another history, or less of it, than it has shown another: the status tells which. */
  | { kind: 'relayContradicted'; relayId: string }
  /** It is time for a snapshot of the app's state: whoever joins would have much to read. */
  | { kind: 'snapshotNeeded'; upTo: number }
  /** A relay keeps this device's snapshot. */
  | { kind: 'snapshotKept'; snapshotId: string; relayId: string }
  /** A snapshot is being fetched. */
  | { kind: 'snapshotProgress'; snapshotId: string; done: number; total: number }
  /** A snapshot is here for the app to load: `latestSnapshot()`, and then `snapshotLoaded()`. */
  | { kind: 'snapshotReady'; snapshotId: string; sender: string }
  /** The status says something else than before. Told at most ten times a second. */
  | { kind: 'statusChanged'; status: Status }
  /** Something failed that the answer to no call will tell. */
  | { kind: 'error'; relayId: string | null; code: ErrorCode; message: string }
  /** This many events were dropped because they were not taken in time. Nothing is lost that can't be read again. */
  | { kind: 'missed'; count: number }
