/** The app's own store: IndexedDB, shared by all windows. What is in which place, and nothing of what it means. */

import { type DBSchema, type IDBPDatabase, openDB } from 'idb'

/** A note as it is kept: its whole Yjs state. */
export interface StoredNote {
  id: string
  state: Uint8Array
}

/** A change that has not been pushed. */
export interface Waiting {
  note: string
  update: Uint8Array
}

/** A change that was pushed and is not known to be on every relay. */
export interface Sent {
  pushId: string
  note: string
  cursor: number
}

/** How far this store is with the sync. */
export interface Place {
  /** The group whose blobs are applied here; null while this device is in none. */
  group: string | null
  /** Everything up to this cursor is applied. */
  cursor: number
}

/** Before the first group. */
export const NOWHERE: Place = { group: null, cursor: 0 }

/** The places. */
export interface Schema extends DBSchema {
  notes: { key: string; value: StoredNote }
  outbox: { key: number; value: Waiting }
  sent: { key: string; value: Sent }
  /** Blobs that this version can't read, by cursor: a newer one may. */
  aside: { key: number; value: Uint8Array }
  place: { key: 'sync'; value: Place }
  /** For each note the cursor of the newest blob that changed it. */
  newest: { key: string; value: number }
}

/** The open store. */
export type Database = IDBPDatabase<Schema>

/** Opens it, or makes it. */
export function openDatabase(name: string, onOutdated: () => void): Promise<Database> {
  return openDB<Schema>(name, 2, {
    upgrade(db, before) {
      db.createObjectStore('newest')
      if (before > 0) return
      db.createObjectStore('notes', { keyPath: 'id' })
      db.createObjectStore('outbox', { autoIncrement: true })
      db.createObjectStore('sent', { keyPath: 'pushId' })
      db.createObjectStore('aside')
      db.createObjectStore('place')
    },
    // A newer version of the app wants to change the store, in another window: this one lets go of it.
    blocking: (_current, _wanted, event) => {
      ;(event.target as IDBDatabase).close()
      onOutdated()
    },
  })
}
