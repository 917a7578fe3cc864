/**
 * The notes as a window shows them: every document in memory, and a list that is kept in order.
 *
 * What a person writes here is saved as fast as the disk takes it, what is written meanwhile as one; other windows and the
 * sync are told when it is. A disk that refuses is tried again, and the window says so as long as it does.
 */

import * as Y from 'yjs'

import { begin, bin, HERE, summaryOf, type Summary } from './document.js'
import type { Message } from './message.js'
import type { NoteStore } from './store.js'

/** How the notebook reaches the windows beside this one. */
export interface Neighbours {
  tell(changes: Message[]): void
  listen(listener: (changes: Message[]) => void): void
}

/** The other windows of the app. */
export function neighbours(name = 'notes'): Neighbours {
  const channel = new BroadcastChannel(name)
  return {
    tell: (changes) => channel.postMessage(changes),
    listen: (listener) => (channel.onmessage = ({ data }) => listener(data as Message[])),
  }
}

const RETRY_MS = 2000

/** See the head of this file. */
export class Notebook {
  /** Every note, the newest first. */
  summaries = $state.raw<Summary[]>([])
  /** The notes have been read. */
  ready = $state(false)
  /** The disk refuses: what is written is in this window alone. */
  unsaved = $state(false)
  /** Those to work with. */
  readonly notes = $derived(this.summaries.filter(({ binned }) => !binned))
  /** Those that were thrown away. */
  readonly bin = $derived(this.summaries.filter(({ binned }) => binned))

  readonly #store: NoteStore
  readonly #neighbours: Neighbours
  readonly #onSaved: () => void
  readonly #docs = new Map<string, Y.Doc>()
  #unsaved = new Map<string, Uint8Array[]>()
  #saving: Promise<void> | undefined

  constructor(store: NoteStore, neighbours: Neighbours, onSaved: () => void) {
    this.#store = store
    this.#neighbours = neighbours
    this.#onSaved = onSaved
  }

  /** Reads the notes. */
  async open(): Promise<void> {
    // First to listen and then to read: a change that comes twice is one.
    this.#neighbours.listen((changes) => this.take(changes))
    for (const { id, state } of await this.#store.all()) Y.applyUpdate(this.#doc(id), state)
    this.#list()
    this.ready = true
  }

  /** The document of a note. */
  doc(id: string): Y.Doc | undefined {
    return this.#docs.get(id)
  }

  /** A new, empty note. */
  add(): string {
    const id = crypto.randomUUID()
    begin(this.#doc(id), Date.now())
    return id
  }

  /** Throws a note away, or takes it back. */
  throwAway(id: string, binned = true): void {
    const doc = this.#docs.get(id)
    if (doc) bin(doc, binned, Date.now())
  }

  /** Shows changes that are saved already: of another device, or of another window. */
  take(changes: Message[]): void {
    for (const { note, update } of changes) Y.applyUpdate(this.#doc(note), update, 'saved')
    this.#list()
  }

  /** Shows changes of another device here and in the other windows. */
  share(changes: Message[]): void {
    this.take(changes)
    this.#neighbours.tell(changes)
  }

  /** Resolves when everything written so far is on the disk. */
  async saved(): Promise<void> {
    while (this.#saving) await this.#saving
  }

  #doc(id: string): Y.Doc {
    const known = this.#docs.get(id)
    if (known) return known
    const doc = new Y.Doc()
    doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin !== HERE) return
      this.#unsaved.set(id, [...(this.#unsaved.get(id) ?? []), update])
      this.#saving ??= this.#save().finally(() => (this.#saving = undefined))
      this.#list()
    })
    this.#docs.set(id, doc)
    return doc
  }

  async #save(): Promise<void> {
    while (this.#unsaved.size > 0) {
      const [id, updates] = this.#unsaved.entries().next().value as [string, Uint8Array[]]
      this.#unsaved.delete(id)
      const change = { note: id, update: Y.mergeUpdates(updates) }
      try {
        await this.#store.save(change)
      } catch {
        this.unsaved = true
        this.#unsaved.set(id, [change.update, ...(this.#unsaved.get(id) ?? [])])
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
        continue
      }
      this.unsaved = false
      this.#neighbours.tell([change])
      this.#onSaved()
    }
  }

  #list(): void {
    this.summaries = Array.from(this.#docs, ([id, doc]) => summaryOf(id, doc)).sort(
      (a, b) => b.editedAt - a.editedAt || (a.id < b.id ? -1 : 1),
    )
  }
}
