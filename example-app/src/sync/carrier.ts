/**
 * Carries between the notes' store and the sync: what is owed goes out, what has come is applied and then acknowledged.
 *
 * Every window has one, and they take turns: whoever has a lock carries everything there is, for all of them. Whatever is
 * asked for while something is under way is done once more after it, so nothing waits for a nudge that came too early.
 *
 * Invariant: a change leaves the outbox once `push` has answered, and a cursor is acknowledged once the store has it.
 */

import {
  ack,
  lastCursor,
  latestSnapshot,
  publishSnapshot,
  pull,
  push,
  snapshotLoaded,
  type Status,
  SyncError,
  type SyncEvent,
} from 'tauri-plugin-sync-api'

import { encode, type Message } from '../notes/message.js'
import type { NoteStore } from '../notes/store.js'
import { decodeAll, encodeAll } from '../notes/whole.js'
import { inTurns, type Lock } from './turns.js'

/** What a window wants to hear of. */
export interface Listener {
  /** Notes were changed by another device, and are saved. */
  onChanges(changes: Message[]): void
  /** Which notes are not on every relay yet. */
  onUnsettled(notes: ReadonlySet<string>): void
  /** These notes can't be pushed: they are too large. */
  onTooLarge(notes: ReadonlySet<string>): void
  /** So many blobs can't be read by this version. */
  onUnreadable(count: number): void
  /** Something failed. It is tried again. Undefined once it went well. */
  onProblem(problem: SyncError | undefined): void
}

/** Blobs that are applied at once. */
const PAGE = 100

/** See the head of this file. */
export class Carrier {
  readonly #store: NoteStore
  readonly #listener: Listener
  readonly #tooLarge = new Set<string>()
  #relays = 0
  /** Pushes what is owed. */
  readonly send: () => Promise<void>
  /** Applies what has come. */
  readonly fetch: () => Promise<void>
  /** Gives all notes at once, for devices that join later. */
  readonly offerWhole: () => Promise<void>

  constructor(store: NoteStore, listener: Listener, lock: Lock) {
    this.#store = store
    this.#listener = listener
    this.send = inTurns(() => lock('notes-out', () => this.#attempt(() => this.#sendAll())))
    this.fetch = inTurns(() => lock('notes-in', () => this.#attempt(() => this.#fetchAll())))
    this.offerWhole = inTurns(() => lock('notes-in', () => this.#attempt(() => this.#offerWhole())))
  }

  /** Follows what the sync tells. */
  async hear(event: SyncEvent): Promise<void> {
    switch (event.kind) {
      case 'statusChanged':
        return this.settle(event.status)
      case 'blobAvailable':
      case 'missed':
      case 'snapshotReady':
        return this.fetch()
      case 'snapshotNeeded':
        return this.offerWhole()
      case 'blobPushed':
        if (this.#relays !== 1) return
        await this.#store.arrived(event.pushId)
        return this.tellUnsettled()
      case 'gap':
        await this.#store.ask()
        return this.send()
      case 'deviceJoined':
      case 'deviceRenamed':
      case 'deviceRemoved':
      case 'devicePresence':
      case 'identityChanged':
      case 'receivedBy':
      case 'connected':
      case 'disconnected':
      case 'parked':
      case 'keyRotated':
      case 'relayRegressed':
      case 'relayContradicted':
      case 'snapshotKept':
      case 'snapshotProgress':
      case 'error':
        return
    }
  }

  /** Brings the store in step with a status: the group, what has arrived, and what is still to do. */
  async settle(status: Status): Promise<void> {
    this.#relays = status.relays.length
    if (await this.#store.adopt(status.groupId)) this.#listener.onUnreadable(0)
    // What the status says of this device's own blobs, it says of those up to its newest one.
    if (status.groupId !== null && status.pending === 0) await this.#store.arrivedUpTo(status.headCursor)
    await this.tellUnsettled()
    if (status.groupId === null || status.removed) return
    const { cursor } = await this.#store.place()
    await Promise.all([
      cursor !== status.headCursor || status.lastCursor < cursor || status.loading?.ready ? this.fetch() : undefined,
      (await this.#store.owes()) ? this.send() : undefined,
    ])
  }

  /** A device was let in from here: it is given every note whole, for relays don't keep changes for ever. */
  async welcome(): Promise<void> {
    await this.#store.publishAll()
    await this.send()
  }

  /** Tells the window which notes are not on every relay yet. */
  async tellUnsettled(): Promise<void> {
    this.#listener.onUnsettled(await this.#store.unsettled())
  }

  async #sendAll(): Promise<void> {
    for (;;) {
      const parcel = await this.#store.next(this.#tooLarge)
      if (!parcel) break
      try {
        const { pushId, cursor } = await push(encode(parcel))
        await this.#store.pushed(parcel, pushId, cursor)
      } catch (cause) {
        if (!(cause instanceof SyncError) || cause.code !== 'blob_too_large') throw cause
        // It holds up no other note.
        this.#tooLarge.add(parcel.note)
        this.#listener.onTooLarge(new Set(this.#tooLarge))
      }
    }
    await this.tellUnsettled()
  }

  async #fetchAll(): Promise<void> {
    const { group, cursor } = await this.#store.place()
    if (group === null) return
    await this.#takeWhole()
    let applied = cursor
    let asked = false
    try {
      for (let more = true; more; ) {
        const { blobs, hasMore } = await pull(applied, PAGE)
        const page = await this.#store.apply(group, blobs)
        if (!page) return
        if (page.changes.length > 0) this.#listener.onChanges(page.changes)
        asked ||= page.asked
        applied = blobs.at(-1)?.cursor ?? applied
        more = hasMore && blobs.length > 0
      }
    } catch (cause) {
      if (!(cause instanceof SyncError) || cause.code !== 'cursor_unknown' || cursor === 0) throw cause
      // The profile was made anew, or is older than the notes. Applying everything again changes nothing.
      await this.#store.rewind()
      return this.#fetchAll()
    }
    if (asked) await this.#store.publishAll()
    if (applied > (await lastCursor())) await ack(applied)
    const { changes, left } = await this.#store.readAside(group)
    if (changes.length > 0) this.#listener.onChanges(changes)
    this.#listener.onUnreadable(left)
    if (asked) void this.send()
  }

  /** Begins with all notes at once, if another device has given them. What is here already is merged with them. */
  async #takeWhole(): Promise<void> {
    for (let snapshot; (snapshot = await latestSnapshot()); ) {
      const notes = decodeAll(snapshot.bytes)
      if (notes) this.#listener.onChanges(await this.#store.takeWhole(notes))
      await snapshotLoaded(snapshot.snapshotId, notes !== undefined)
    }
  }

  async #offerWhole(): Promise<void> {
    await this.#fetchAll()
    const whole = await this.#store.whole()
    if (!whole) return
    try {
      await publishSnapshot(encodeAll(whole.notes), whole.upTo)
    } catch (cause) {
      // More has come meanwhile: the sync asks again.
      if (!(cause instanceof SyncError) || cause.code !== 'snapshot_outdated') throw cause
    }
  }

  async #attempt(act: () => Promise<void>): Promise<void> {
    try {
      await act()
      this.#listener.onProblem(undefined)
    } catch (cause) {
      // Without a group there is nothing to carry: the next status says so.
      const problem = SyncError.from(cause)
      if (problem.code !== 'no_group') this.#listener.onProblem(problem)
    }
  }
}
