/**
 * Sync for the pages of a Tauri app: what is pushed on one of a person's devices is pulled on the others, sealed end to
 * end, through a relay that can read none of it.
 *
 * ```ts
 * import { pull, push, subscribe } from 'tauri-plugin-sync-api'
 *
 * await push(new TextEncoder().encode('hello'))
 * let cursor = 0 // an app stores it together with what it has applied
 * let reading = Promise.resolve()
 * const catchUp = () => (reading = reading.then(async () => {
 *   for (let more = true; more; ) {
 *     const page = await pull(cursor)
 *     for (const blob of page.blobs) apply(blob.payload)
 *     cursor = page.blobs.at(-1)?.cursor ?? cursor
 *     more = page.hasMore
 *   }
 * }))
 * await subscribe((event) => {
 *   if (event.kind === 'blobAvailable' || event.kind === 'missed') void catchUp()
 * })
 * await catchUp() // what came while nobody listened
 * ```
 *
 * An app that stores its cursor also says so by {@link ack}. `docs/SYNC_YOUR_APP.md` has all of it.
 *
 * Every call rejects with a {@link SyncError} and nothing else.
 *
 * @module
 */

import { Channel } from '@tauri-apps/api/core'

import { call } from './ipc.js'
import { pageOf, snapshotOf } from './page.js'
import type {
  Backend,
  BlobState,
  Configuration,
  Device,
  Finding,
  Invite,
  Joined,
  Membership,
  Options,
  Page,
  PairingEvent,
  PairRequest,
  Pushed,
  PushOptions,
  RecoveryKit,
  Repaired,
  Snapshot,
  Status,
  SyncEvent,
} from './types.js'

export { ERROR_CODES, type ErrorCode } from './codes.js'
export { SyncError } from './error.js'
export type * from './types.js'

// ── Blobs ──

/**
 * Pushes bytes to the group's other devices. Resolves once they are safe on this one, online or not. Pushes that are not
 * awaited may go in any order among themselves.
 */
export const push = (payload: Uint8Array | ArrayBuffer, { wait, ttl, profile }: PushOptions = {}): Promise<Pushed> => {
  const headers: Record<string, string> = {}
  if (wait !== undefined) headers['sync-wait'] = wait
  if (ttl !== undefined) headers['sync-ttl'] = String(ttl)
  if (profile !== undefined) headers['sync-profile'] = profile
  return call('push', payload, headers)
}

/**
 * The blobs of the local log after a cursor, 0 for all that are there, and at most so many of them, 100 if nothing is said.
 * Needs no network. What was acknowledged long ago, and stands in a snapshot, may not be there any more.
 */
export const pull = async (afterCursor: number, limit?: number, options: Options = {}): Promise<Page> =>
  pageOf(await call('pull', { afterCursor, limit, ...options }))

/** The app has applied everything up to and with this blob. Never moves back. */
export const ack = (cursor: number, options: Options = {}): Promise<void> => call('ack', { cursor, ...options })

/**
 * How far blobs of the local log got: on which relays, on which devices. Up to 1,000, in the order in which they are asked for;
 * a cursor that is none of the log's is left out.
 */
export const blobStates = (cursors: number[], options: Options = {}): Promise<BlobState[]> =>
  call('blob_states', { cursors, ...options })

/** The highest cursor that the app acknowledged. */
export const lastCursor = (options: Options = {}): Promise<number> => call('last_cursor', { ...options })

// ── Snapshots ──

/**
 * Keeps the app's state for devices that join later: they begin with that, and read only what came after. Resolves once it is
 * safe on this device; relays are sent it when they can be reached, and the next one takes its place.
 *
 * `upTo` is where the local log ended when the state was that: everything up to there is in it, nothing beyond is, and all of
 * it is acknowledged. Rejects with `snapshot_outdated` if more has come or been pushed since: apply that and make another. Up
 * to 32 MiB. The app's configuration says after how many blobs, or bytes of them, it is asked for one (`snapshotAfter`,
 * `snapshotAfterBytes`).
 */
export const publishSnapshot = (
  bytes: Uint8Array | ArrayBuffer,
  upTo: number,
  { profile }: Options = {},
): Promise<void> => {
  const headers: Record<string, string> = { 'sync-up-to': String(upTo) }
  if (profile !== undefined) headers['sync-profile'] = profile
  return call('publish_snapshot', bytes, headers)
}

/**
 * The snapshot that is here for the app to load, as the event `snapshotReady` told. Until {@link snapshotLoaded} answers it, a
 * device that has nothing yet reads nothing else.
 */
export const latestSnapshot = async (options: Options = {}): Promise<Snapshot | undefined> =>
  snapshotOf(await call('latest_snapshot', { ...options }))

/**
 * The app has made a snapshot a part of its state, durably; or, with `taken` false, can't use it: then there may be another
 * one, or everything is read from the log. What was in it does not come again. One that is offered to an app that has
 * something already is there to fill a gap, and may hold what the app has: it is to be merged.
 */
export const snapshotLoaded = (snapshotId: string, taken = true, options: Options = {}): Promise<void> =>
  call('snapshot_loaded', { snapshotId, taken, ...options })

// ── The connection ──

/** How everything stands. */
export const status = (options: Options = {}): Promise<Status> => call('status', { ...options })

/** Tells a function everything from now on. Resolves to one that ends it. */
export async function subscribe(
  listener: (event: SyncEvent) => void,
  options: Options = {},
): Promise<() => Promise<void>> {
  const id = await call<number>('subscribe', { channel: new Channel(listener), ...options })
  return () => call('unsubscribe', { id })
}

/** Connects, and keeps connected. Resolves at once; the status says how it goes. */
export const connect = (options: Options = {}): Promise<void> => call('connect', { ...options })

/** Closes the connections and opens none until {@link connect}. What is pushed meanwhile is kept. */
export const disconnect = (options: Options = {}): Promise<void> => call('disconnect', { ...options })

/**
 * A full cycle: resolves when everything pushed is on every relay and everything there is here, within a minute if
 * nothing is said. The status counts down meanwhile.
 */
export const syncNow = (options: Options & { withinMs?: number } = {}): Promise<Status> =>
  call('sync_now', { ...options })

// ── Pairing ──

/**
 * A whole pairing. The listener is told what to show, step by step; when it is told `digits`, a person compares them with
 * the other screen, and the answer is {@link approve} or {@link deny}. Resolves when it is over. A pairing that can't begin
 * at all rejects, and the listener is told nothing: there is no keychain, the code is no code, or the device that joins is in
 * a group.
 */
export const pair = (
  request: PairRequest,
  listener: (event: PairingEvent) => void,
  options: Options = {},
): Promise<Joined> => {
  const side = 'join' in request ? { join: request.join } : 'create'
  return call('pair', { request: side, channel: new Channel(listener), ...options })
}

/** Starts a group with this device as its only member. An invite does so too, if need be. */
export const createGroup = (options: Options = {}): Promise<Membership> => call('create_group', { ...options })

/** Opens an invite, and resolves when it can be shown. The listener is told the rest, as of {@link pair}. */
export const createInvite = (listener: (event: PairingEvent) => void, options: Options = {}): Promise<Invite> =>
  call('create_invite', { channel: new Channel(listener), ...options })

/** Ends the invite that is open, if one is. */
export const cancelInvite = (options: Options = {}): Promise<void> => call('cancel_invite', { ...options })

/**
 * Begins to join with the code or link that the other device shows, and resolves at once. The listener is told the rest, as
 * of {@link pair}.
 */
export const join = (invite: string, listener: (event: PairingEvent) => void, options: Options = {}): Promise<void> =>
  call('join', { invite, channel: new Channel(listener), ...options })

/** The person says that both screens show these digits. Others than this device shows are refused. */
export const approve = (digits: string, options: Options = {}): Promise<void> => call('approve', { digits, ...options })

/** The person says that the digits differ, or wants to stop. */
export const deny = (options: Options = {}): Promise<void> => call('deny', { ...options })

/**
 * Makes a recovery kit: a page and a code with which a person gets back into the group who has lost every device. Nobody can
 * make the same one again, so it is shown or printed now. It is a member of the group, to be seen and removed among
 * {@link devices}, and works once a relay has it: {@link syncNow} tells. Where there is no group yet,
 * one is made, and then this device can't join another: offer it once devices are paired.
 */
export const exportKit = (options: Options = {}): Promise<RecoveryKit> => call('export_kit', { ...options })

/**
 * Gets back into a group with a recovery kit: the text of its page, typed, pasted or scanned, and its code. This device becomes
 * a member of its own; make a new kit then, and remove the used one.
 */
export const importKit = (text: string, code: string, options: Options = {}): Promise<Membership> =>
  call('import_kit', { text, code, ...options })

// ── Devices and relays ──

/** The group's devices, in the order of their ids. */
export const devices = (options: Options = {}): Promise<Device[]> => call('devices', { ...options })

/** Gives a device of the group another name, on all devices. */
export const renameDevice = (deviceId: string, name: string, options: Options = {}): Promise<void> =>
  call('rename_device', { deviceId, name, ...options })

/**
 * Removes a device from the group. What it pushed until now stays; what it has, it keeps. The group gets new keys by it, which
 * the device is not given, unless `keepKey` says otherwise. The others hear of it as soon as they can be reached.
 */
export const removeDevice = (deviceId: string, options: Options & { keepKey?: boolean } = {}): Promise<void> =>
  call('remove_device', { deviceId, ...options })

/** Gives the group new keys. Nobody is removed. */
export const rotateKey = (options: Options = {}): Promise<void> => call('rotate_key', { ...options })

/**
 * Takes this device out of its group and deletes what the profile has of it: keys, blobs, who the others are. Rejects with
 * `not_safe_to_leave` while that would lose something, unless `force` says that it may.
 */
export const leaveGroup = (options: Options & { force?: boolean } = {}): Promise<void> =>
  call('leave_group', { ...options })

/** Uses another backend from now on, if one is given, and says how the profile is set up. */
export const configure = (backend?: Backend, options: Options = {}): Promise<Configuration> =>
  call('configure', { backend, ...options })

/**
 * Looks at everything that sync rests on, and says of each how it is and what to do: for a person who wonders why something
 * does not arrive. Waits five seconds for everything to be in step first, if nothing is said.
 */
export const doctor = (options: Options & { withinMs?: number } = {}): Promise<Finding[]> =>
  call('doctor', { ...options })

/**
 * Mends what {@link doctor} names and a program can mend: what this device's disk has damaged is fetched again from the relays
 * and stays under its cursor, and each relay is given what it lacks of what is here. Says of each thing what was found and
 * done. What nobody else has is named, never dropped. Waits a minute for the relays, if nothing is said.
 */
export const repair = (options: Options & { withinMs?: number } = {}): Promise<Repaired[]> =>
  call('repair', { ...options })

/**
 * Puts a database aside that can't be read at all, as {@link repair} says by `store_corrupt` of the part `store`, and the keys
 * beside it: everything is renamed, nothing deleted. Then this device can be paired again, or a recovery kit be used. To be
 * called only if a person wants that. Resolves to the folder in which it all is; rejects with `invalid_argument` if the database
 * can be read.
 */
export const setAside = (options: Options = {}): Promise<string> => call('set_aside', { ...options })

/**
 * A report for whoever helps, as text: how everything stands, with ids shortened and without names, addresses, payloads and
 * keys. Looks first, as {@link doctor} does.
 */
export const diagnostics = (options: Options & { withinMs?: number } = {}): Promise<string> =>
  call('diagnostics', { ...options })
