/**
 * Notes on this device's disk, and what the sync still owes them.
 *
 * An edit and the note of having to push it are one transaction, and so are what a blob changes and the cursor that says it
 * is applied. A crash in between costs a push that is made twice, or a blob that is applied twice, which a Yjs document does
 * not notice; never an edit.
 *
 * Invariant: the outbox is only filled while {@link Place} names a group, and with the group it changes at once. Whoever
 * joins one publishes every note whole, so what was written before needs no place in it.
 *
 * Absent on purpose: the network. {@link file://../sync/carrier.ts} carries.
 */

import { merged } from './document.js'
import { type Database, NOWHERE, openDatabase, type Place, type StoredNote } from './database.js'
import { ASK, decode, type Message } from './message.js'

/** A blob to be applied: its place in the log, and what it says. */
export interface Arrived {
  cursor: number
  payload: Uint8Array
  /** This device pushed it. */
  own: boolean
}

/** What blobs came to. */
export interface Applied {
  changes: Message[]
  /** A device asks for every note whole. */
  asked: boolean
}

/** The next thing to push: a note's changes as one, and the places in the outbox that it takes care of. */
export interface Parcel extends Message {
  keys: number[]
}

/** How much of a note goes into one push, unless a single change is larger. */
export const PARCEL_LEN_MAX = 512 * 1024

/** See the head of this file. */
export class NoteStore {
  readonly #db: Database

  private constructor(db: Database) {
    this.#db = db
  }

  /** Opens the store, or makes it. The function is told when a newer version of the app takes it over. */
  static async open(name = 'notes', onOutdated: () => void = () => undefined): Promise<NoteStore> {
    return new NoteStore(await openDatabase(name, onOutdated))
  }

  /** Every note. */
  all(): Promise<StoredNote[]> {
    return this.#db.getAll('notes')
  }

  /** How far this store is with the sync. */
  async place(): Promise<Place> {
    return (await this.#db.get('place', 'sync')) ?? NOWHERE
  }

  /** Keeps a change, and, in a group, the duty to push it. */
  async save({ note, update }: Message): Promise<void> {
    const tx = this.#db.transaction(['notes', 'outbox', 'place'], 'readwrite')
    const { group } = (await tx.objectStore('place').get('sync')) ?? NOWHERE
    const before = await tx.objectStore('notes').get(note)
    await tx.objectStore('notes').put({ id: note, state: before ? merged(before.state, update) : merged(update) })
    if (group !== null) await tx.objectStore('outbox').add({ note, update })
    await tx.done
  }

  // ── Out ──

  /** What to push next: the oldest change that waits and what else waits of its note, but none of those notes. */
  async next(except: ReadonlySet<string>): Promise<Parcel | undefined> {
    const tx = this.#db.transaction('outbox')
    let note: string | undefined
    let length = 0
    const keys: number[] = []
    const updates: Uint8Array[] = []
    for (let at = await tx.store.openCursor(); at; at = await at.continue()) {
      const waiting = at.value
      if (except.has(waiting.note) || (note !== undefined && waiting.note !== note)) continue
      if (updates.length > 0 && length + waiting.update.length > PARCEL_LEN_MAX) break
      note = waiting.note
      length += waiting.update.length
      keys.push(at.key)
      updates.push(waiting.update)
    }
    await tx.done
    if (note === undefined) return undefined
    return { note, keys, update: updates.length === 1 && updates[0] ? updates[0] : merged(...updates) }
  }

  /** The sync has it: it has to be pushed no more, and is known to be on its way. */
  async pushed(parcel: Parcel, pushId: string, cursor: number): Promise<void> {
    const tx = this.#db.transaction(['outbox', 'sent', 'place', 'newest'], 'readwrite')
    await Promise.all(parcel.keys.map((key) => tx.objectStore('outbox').delete(key)))
    const { group } = (await tx.objectStore('place').get('sync')) ?? NOWHERE
    if (group !== null) {
      await tx.objectStore('sent').put({ pushId, note: parcel.note, cursor })
      await tx.objectStore('newest').put(cursor, parcel.note)
    }
    await tx.done
  }

  /** It is on the only relay there is. */
  async arrived(pushId: string): Promise<void> {
    await this.#db.delete('sent', pushId)
  }

  /** Everything up to this cursor is on every relay. */
  async arrivedUpTo(cursor: number): Promise<void> {
    const tx = this.#db.transaction('sent', 'readwrite')
    for (let at = await tx.store.openCursor(); at; at = await at.continue()) {
      if (at.value.cursor <= cursor) await at.delete()
    }
    await tx.done
  }

  /** The notes of which something is not on every relay yet. */
  async unsettled(): Promise<Set<string>> {
    const tx = this.#db.transaction(['outbox', 'sent'])
    const [waiting, sent] = await Promise.all([tx.objectStore('outbox').getAll(), tx.objectStore('sent').getAll()])
    await tx.done
    return new Set([...waiting, ...sent].map(({ note }) => note))
  }

  /** The cursor of the newest blob that changed a note; undefined if none did, or a newer change is still to be pushed. */
  async newestOf(note: string): Promise<number | undefined> {
    const tx = this.#db.transaction(['outbox', 'newest'])
    const [waiting, cursor] = await Promise.all([tx.objectStore('outbox').getAll(), tx.objectStore('newest').get(note)])
    await tx.done
    return waiting.some((change) => change.note === note) ? undefined : cursor
  }

  /** Something waits to be pushed. */
  async owes(): Promise<boolean> {
    return (await this.#db.count('outbox')) > 0
  }

  // ── In ──

  /**
   * Applies blobs, and remembers that they are. What it returns is for windows that show the notes. Blobs of
   * a group that the device has left meanwhile are not applied: undefined.
   */
  async apply(group: string, blobs: Arrived[]): Promise<Applied | undefined> {
    const tx = this.#db.transaction(['notes', 'aside', 'place', 'newest'], 'readwrite')
    const place = (await tx.objectStore('place').get('sync')) ?? NOWHERE
    if (place.group !== group) return undefined
    const changes: Message[] = []
    let asked = false
    for (const { cursor, payload, own } of blobs) {
      const message = decode(payload)
      if (message === 'ask') {
        asked ||= !own
        continue
      }
      const state = typeof message === 'string' ? undefined : (await tx.objectStore('notes').get(message.note))?.state
      const after = typeof message === 'string' ? undefined : mergedIfSound(state, message.update)
      if (after === undefined || typeof message === 'string') {
        await tx.objectStore('aside').put(payload, cursor)
        continue
      }
      await tx.objectStore('notes').put({ id: message.note, state: after })
      await tx.objectStore('aside').delete(cursor)
      const newest = (await tx.objectStore('newest').get(message.note)) ?? 0
      await tx.objectStore('newest').put(Math.max(newest, cursor), message.note)
      changes.push(message)
    }
    const cursor = blobs.reduce((newest, blob) => Math.max(newest, blob.cursor), place.cursor)
    await tx.objectStore('place').put({ group, cursor }, 'sync')
    await tx.done
    return { changes, asked }
  }

  /** Tries again what could not be read. Returns how much still can't. */
  async readAside(group: string): Promise<{ changes: Message[]; left: number }> {
    const tx = this.#db.transaction('aside')
    const readable: Arrived[] = []
    for (let at = await tx.store.openCursor(); at; at = await at.continue()) {
      if (typeof decode(at.value) !== 'string') readable.push({ cursor: at.key, payload: at.value, own: false })
    }
    await tx.done
    const applied = await this.apply(group, readable)
    return { changes: applied?.changes ?? [], left: await this.#db.count('aside') }
  }

  // ── All at once ──

  /** Every note, and the cursor up to which everything is in them; undefined outside a group. */
  async whole(): Promise<{ notes: StoredNote[]; upTo: number } | undefined> {
    const tx = this.#db.transaction(['notes', 'place'])
    const [notes, place] = await Promise.all([tx.objectStore('notes').getAll(), tx.objectStore('place').get('sync')])
    await tx.done
    return place && place.group !== null ? { notes, upTo: place.cursor } : undefined
  }

  /** Takes in notes that another device gave all at once. Returns what is for windows that show them. */
  async takeWhole(notes: StoredNote[]): Promise<Message[]> {
    const tx = this.#db.transaction('notes', 'readwrite')
    for (const { id, state } of notes) {
      const before = (await tx.store.get(id))?.state
      await tx.store.put({ id, state: before ? merged(before, state) : merged(state) })
    }
    await tx.done
    return notes.map(({ id, state }) => ({ note: id, update: state }))
  }

  // ── Groups ──

  /**
   * The device is in this group now, or in none. With a new group everything is read from its start, and every note is
   * published whole. Does nothing if that is known. True if a new group begins.
   */
  async adopt(group: string | null): Promise<boolean> {
    const tx = this.#db.transaction(['notes', 'outbox', 'sent', 'aside', 'place', 'newest'], 'readwrite')
    const place = (await tx.objectStore('place').get('sync')) ?? NOWHERE
    if (place.group === group) return false
    const ofTheGroup = ['outbox', 'sent', 'aside', 'newest'] as const
    await Promise.all(ofTheGroup.map((name) => tx.objectStore(name).clear()))
    await tx.objectStore('place').put({ group, cursor: 0 }, 'sync')
    if (group !== null) {
      for (const { id, state } of await tx.objectStore('notes').getAll()) {
        await tx.objectStore('outbox').add({ note: id, update: state })
      }
    }
    await tx.done
    return group !== null
  }

  /** Publishes every note whole, for a device that may come too late for the changes it is made of. */
  async publishAll(): Promise<void> {
    const tx = this.#db.transaction(['notes', 'outbox', 'place'], 'readwrite')
    const { group } = (await tx.objectStore('place').get('sync')) ?? NOWHERE
    if (group !== null) {
      // What waits is part of it.
      await tx.objectStore('outbox').clear()
      for (const { id, state } of await tx.objectStore('notes').getAll()) {
        await tx.objectStore('outbox').add({ note: id, update: state })
      }
    }
    await tx.done
  }

  /** Asks the other devices for every note whole: changes are missing that no relay has any more. */
  async ask(): Promise<void> {
    const tx = this.#db.transaction(['outbox', 'place'], 'readwrite')
    const { group } = (await tx.objectStore('place').get('sync')) ?? NOWHERE
    const waiting = await tx.objectStore('outbox').getAll()
    if (group !== null && !waiting.some(({ note }) => note === ASK)) {
      await tx.objectStore('outbox').add({ note: ASK, update: new Uint8Array() })
    }
    await tx.done
  }

  /** The sync knows nothing of this cursor: everything is read again, which changes nothing that is here. */
  async rewind(): Promise<void> {
    const tx = this.#db.transaction('place', 'readwrite')
    const { group } = (await tx.store.get('sync')) ?? NOWHERE
    await tx.store.put({ group, cursor: 0 }, 'sync')
    await tx.done
  }

  /** Lets go of it. */
  close(): void {
    this.#db.close()
  }
}

function mergedIfSound(state: Uint8Array | undefined, update: Uint8Array): Uint8Array | undefined {
  try {
    return state ? merged(state, update) : merged(update)
  } catch {
    return undefined
  }
}
