/** Sync as the app shows it: what the plugin says, what the carrier says, and what a person may do about it. */

import {
  type BlobState,
  blobStates,
  type Configuration,
  configure,
  diagnostics,
  doctor,
  exportKit,
  type Finding,
  importKit,
  leaveGroup,
  type RecoveryKit,
  removeDevice,
  renameDevice,
  repair,
  type Repaired,
  setAside,
  SyncError,
  type SyncEvent,
} from 'tauri-plugin-sync-api'
import { SyncState } from 'tauri-plugin-sync-api/svelte'
import { createContext } from 'svelte'

import type { Message } from '../notes/message.js'
import type { NoteStore } from '../notes/store.js'
import { Carrier } from './carrier.js'
import { amongWindows, calmly, type Lock } from './turns.js'

/** The badge of one note. */
export type NoteBadge = 'synced' | 'pending' | 'failed' | 'offline'

/** Who types has his words pushed together, not letter by letter. */
const PAUSE_MS = 400
const PAUSE_MS_MAX = 2000
/** What failed is tried again after so long, if nothing happens before. */
const RETRY_MS = 30_000

/** See the head of this file. Made once, in the root component. */
export class Session {
  /** What the plugin says. */
  readonly sync: SyncState
  /** Notes that are not on every relay yet. */
  unsettled = $state.raw<ReadonlySet<string>>(new Set())
  /** Notes that can't be pushed because they are too large. */
  tooLarge = $state.raw<ReadonlySet<string>>(new Set())
  /** How much came that this version can't read. */
  unreadable = $state(0)
  /** Why the last attempt to carry failed. */
  problem = $state.raw<SyncError>()
  /** Changes of another device are gone from the relay. It was asked to send them again. */
  gap = $state(false)
  /** A relay that had lost some of what it kept, until a person has heard of it. */
  forgetful = $state<string>()

  readonly #store: NoteStore
  readonly #carrier: Carrier
  readonly #sendSoon: () => void

  constructor(store: NoteStore, onChanges: (changes: Message[]) => void, lock: Lock = amongWindows) {
    this.#store = store
    this.#carrier = new Carrier(
      store,
      {
        onChanges,
        onUnsettled: (notes) => (this.unsettled = notes),
        onTooLarge: (notes) => (this.tooLarge = notes),
        onUnreadable: (count) => (this.unreadable = count),
        onProblem: (problem) => (this.problem = problem),
      },
      lock,
    )
    this.#sendSoon = calmly(() => void this.#carrier.send(), PAUSE_MS, PAUSE_MS_MAX)
    this.sync = new SyncState({ devices: true, onEvent: (event) => this.#hear(event) })
    // The first status is asked for, not told.
    $effect(() => {
      const { status } = this.sync
      if (status) void this.#carrier.settle(status).catch(this.#failed)
    })
    $effect(() => {
      if (!this.problem) return
      const timer = setInterval(() => void this.#carrier.send().then(this.#carrier.fetch), RETRY_MS)
      return () => clearInterval(timer)
    })
  }

  /** Something was saved: it goes out in a moment. */
  saved(): void {
    void this.#carrier.tellUnsettled().catch(this.#failed)
    if (this.sync.paired) this.#sendSoon()
  }

  /** The badge of a note. */
  badgeOf(note: string): NoteBadge {
    if (this.tooLarge.has(note)) return 'failed'
    if (!this.unsettled.has(note)) return 'synced'
    return this.sync.badge === 'synced' ? 'pending' : this.sync.badge
  }

  /** Where the newest change of a note is; undefined while all of them are here only. */
  async whereIs(note: string): Promise<BlobState | undefined> {
    const cursor = await this.#store.newestOf(note)
    return cursor === undefined ? undefined : (await blobStates([cursor]))[0]
  }

  /** Pushes what is owed, and then has everything brought in step. */
  async syncNow(): Promise<void> {
    await this.#carrier.send()
    await this.sync.syncNow()
    await this.#carrier.fetch()
  }

  /** A device was let in from here. */
  welcome(): Promise<void> {
    return this.#carrier.welcome().catch(this.#failed)
  }

  /** Gives a device another name. */
  rename(deviceId: string, name: string): Promise<void> {
    return renameDevice(deviceId, name)
  }

  /** Removes a device, which gets nothing that is written from now on. */
  remove(deviceId: string): Promise<void> {
    return removeDevice(deviceId)
  }

  /** Makes a recovery kit, and gives the relays every note anew: what they have is what comes back. */
  async exportKit(): Promise<RecoveryKit> {
    const kit = await exportKit()
    await this.welcome()
    return kit
  }

  /** Gets back what the relays have, with a kit's page and code. */
  async importKit(text: string, code: string): Promise<void> {
    await importKit(text, code)
  }

  /** Takes this device out. The notes stay. */
  leave(force: boolean): Promise<void> {
    return leaveGroup({ force })
  }

  /** How the relays are set. */
  relays(): Promise<Configuration> {
    return configure()
  }

  /** Uses other relays from now on. */
  useRelays(relays: string[]): Promise<Configuration> {
    return configure({ tier: 'relay', relays })
  }

  /** Looks what is wrong, if anything is. */
  checkup(): Promise<Finding[]> {
    return doctor()
  }

  /** Mends what can be mended, and says what was done. */
  repair(): Promise<Repaired[]> {
    return repair()
  }

  /** Puts what cannot be read aside, so that this device can be connected anew. The notes stay. */
  startAnew(): Promise<string> {
    return setAside()
  }

  /** The same for whoever helps, as text: nothing in it says who or what it is about. */
  report(): Promise<string> {
    return diagnostics()
  }

  #hear(event: SyncEvent): void {
    if (event.kind === 'gap') this.gap = true
    if (event.kind === 'relayRegressed') this.forgetful = event.relayId
    // A status is settled by the effect above, once.
    if (event.kind !== 'statusChanged') void this.#carrier.hear(event).catch(this.#failed)
  }

  readonly #failed = (cause: unknown): void => {
    this.problem = SyncError.from(cause)
  }
}

/** The session, for components. */
export const [useSession, setSession] = createContext<Session>()
