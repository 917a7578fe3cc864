/**
 * The state of sync for Svelte 5: what a badge, a device list and a spinner show, kept up to date.
 *
 * @module
 */

import { devices, type Device, type Options, status, subscribe, SyncError, syncNow, type Status, type SyncEvent } from '../index.js'

/** What a {@link SyncState} is to follow. */
export interface SyncStateOptions extends Options {
  /** The list of devices, too. Takes the permission `sync:devices`. */
  devices?: boolean
  /** Called with everything that happens: where an app pulls what is new. */
  onEvent?: (event: SyncEvent) => void
}

/**
 * Sync as it stands, for components to read. Made once, in the root component's script, and ended with it.
 *
 * ```svelte
 * <script lang="ts">
 *   import { SyncState } from 'tauri-plugin-sync-api/svelte'
 *   const sync = new SyncState()
 * </script>
 * {sync.badge} <button disabled={sync.syncing} onclick={() => sync.syncNow()}>Sync now</button>
 * ```
 */
export class SyncState {
  /** How everything stands; undefined until it is known. */
  status = $state.raw<Status>()
  /** The group's devices, where they are followed. */
  devices = $state.raw<Device[]>([])
  /** What last went wrong here; undefined once it went well. */
  error = $state.raw<SyncError>()
  /** A full cycle is under way. */
  syncing = $state(false)
  /** The one word. */
  readonly badge = $derived(this.status?.badge ?? 'offline')
  /** This device is in a group. */
  readonly paired = $derived(this.status?.groupId != null)

  readonly #options: SyncStateOptions

  constructor(options: SyncStateOptions = {}) {
    this.#options = options
    $effect(() => {
      let over = false
      const ending = this.#follow(() => over)
      return () => {
        over = true
        // Where the page goes with the component, the plugin ends it by itself.
        void ending.then((end) => end?.()).catch(() => undefined)
      }
    })
  }

  /** A full cycle, with {@link syncing} while it takes. What goes wrong is in {@link error}. */
  async syncNow(): Promise<void> {
    if (this.syncing) return
    this.syncing = true
    await this.#attempt(async () => {
      this.status = await syncNow(this.#profile())
    })
    this.syncing = false
  }

  async #follow(isOver: () => boolean): Promise<(() => Promise<void>) | undefined> {
    return this.#attempt(async () => {
      // First to listen and then to ask, so that nothing happens in between.
      const end = await subscribe((event) => {
        if (!isOver()) this.#hear(event)
      }, this.#profile())
      await this.#refresh()
      return end
    })
  }

  #hear(event: SyncEvent): void {
    if (event.kind === 'statusChanged') this.#take(event.status)
    if (event.kind === 'missed') void this.#attempt(() => this.#refresh())
    if (DEVICES_CHANGE.includes(event.kind)) void this.#attempt(() => this.#list())
    this.#options.onEvent?.(event)
  }

  #take(status: Status): void {
    const joined = status.groupId !== this.status?.groupId
    this.status = status
    if (joined) void this.#attempt(() => this.#list())
  }

  async #refresh(): Promise<void> {
    this.status = await status(this.#profile())
    await this.#list()
  }

  async #list(): Promise<void> {
    if (this.#options.devices && this.paired) this.devices = await devices(this.#profile())
  }

  #profile(): Options {
    return this.#options.profile === undefined ? {} : { profile: this.#options.profile }
  }

  async #attempt<T>(act: () => Promise<T>): Promise<T | undefined> {
    try {
      const done = await act()
      this.error = undefined
      return done
    } catch (cause) {
      this.error = SyncError.from(cause)
      return undefined
    }
  }
}

const DEVICES_CHANGE: SyncEvent['kind'][] = [
  'deviceJoined',
  'deviceRenamed',
  'deviceRemoved',
  'devicePresence',
  'identityChanged',
  'receivedBy',
]
