/** A plugin in memory: one device's log and status, and what was asked of it. */

import { mockIPC } from '@tauri-apps/api/mocks'
import type { Device, PairingEvent, Status, SyncEvent } from 'tauri-plugin-sync-api'

/** A status in which nothing happens. */
export const status = (change: Partial<Status> = {}): Status => ({
  badge: 'offline',
  connection: 'disconnected',
  pending: 0,
  unread: 0,
  waiting: 0,
  parked: [],
  lastCursor: 0,
  headCursor: 0,
  relays: [],
  loading: null,
  syncedAt: null,
  identityReused: false,
  removed: false,
  disk: null,
  groupId: null,
  deviceId: null,
  ...change,
})

/** How a call fails. */
export const failure = (code: string): { code: string; message: string } => ({ code, message: `failed: ${code}` })

/** What a test sees of it, and does to it. */
export class FakePlugin {
  readonly asked: [command: string, args: Record<string, unknown>][] = []
  readonly log: { payload: Uint8Array; own: boolean }[] = []
  status = status()
  devices: Device[] = []
  acked = 0
  /** What another device gave of its notes, to be loaded. */
  snapshot: { snapshotId: string; bytes: Uint8Array } | undefined
  /** Commands that fail, and how; a function decides by what is pushed. */
  fails: Record<string, { code: string; message: string } | ((args: unknown) => unknown)> = {}
  /** Tells the page an event of a subscription. */
  tell: (event: SyncEvent) => void = () => undefined
  /** Tells it one of a pairing. */
  pairing: (event: PairingEvent) => void = () => undefined

  constructor() {
    mockIPC((command, args) => this.#answer(command, (args ?? {}) as Record<string, unknown>))
  }

  /** In a group, with this log. */
  inGroup(groupId: string, change: Partial<Status> = {}): Status {
    this.status = status({ groupId, headCursor: this.log.length, lastCursor: this.acked, badge: 'synced', ...change })
    return this.status
  }

  /** A blob of another device comes. */
  receive(payload: Uint8Array): number {
    return this.log.push({ payload, own: false })
  }

  /** The payloads this device pushed. */
  get pushed(): Uint8Array[] {
    return this.log.filter(({ own }) => own).map(({ payload }) => payload)
  }

  count(command: string): number {
    return this.asked.filter(([asked]) => asked === command).length
  }

  #answer(command: string, args: Record<string, unknown>): unknown {
    const name = command.replace('plugin:sync|', '')
    this.asked.push([name, args])
    const fails = this.fails[name]
    const how = typeof fails === 'function' ? fails(args) : fails
    if (how) throw how
    const channel = args['channel'] as { onmessage: (event: unknown) => void } | undefined
    switch (name) {
      case 'subscribe':
        this.tell = (event) => channel?.onmessage(event)
        return 1
      case 'create_invite':
      case 'join':
        this.pairing = (event) => channel?.onmessage(event)
        return null
      case 'status':
      case 'sync_now':
        return this.status
      case 'devices':
        return this.devices
      case 'push': {
        const payload = new Uint8Array(args as unknown as ArrayLike<number>)
        const cursor = this.log.push({ payload, own: true })
        return { pushId: `push-${cursor}`, cursor, state: 'queued' }
      }
      case 'pull':
        return this.#page(args['afterCursor'] as number, args['limit'] as number)
      case 'ack':
        if ((args['cursor'] as number) > this.log.length) throw failure('cursor_unknown')
        this.acked = Math.max(this.acked, args['cursor'] as number)
        return null
      case 'last_cursor':
        return this.acked
      case 'latest_snapshot':
        return this.snapshot
          ? described({ snapshotId: this.snapshot.snapshotId, sender: 'other', madeAt: 0 }, this.snapshot.bytes)
          : described(null)
      case 'snapshot_loaded':
        if (this.snapshot?.snapshotId !== args['snapshotId']) throw failure('no_snapshot')
        this.snapshot = undefined
        return null
      default:
        return null
    }
  }

  #page(after: number, limit: number): number[] {
    if (after > this.log.length) throw failure('cursor_unknown')
    const blobs = this.log.slice(after, after + limit)
    const rows = blobs.map(({ payload, own }, index) => ({
      cursor: after + index + 1,
      pushId: `push-${after + index + 1}`,
      blobId: '00',
      sender: own ? 'this' : 'other',
      own,
      late: false,
      pushedAt: 0,
      length: payload.length,
    }))
    const hasMore = after + limit < this.log.length
    return described({ blobs: rows, hasMore }, ...blobs.map(({ payload }) => payload))
  }
}

/** A description and bytes, as the plugin answers with them. */
function described(description: unknown, ...payloads: Uint8Array[]): number[] {
  const text = new TextEncoder().encode(JSON.stringify(description))
  const length = new Uint8Array(4)
  new DataView(length.buffer).setUint32(0, text.length)
  return [...length, ...text, ...payloads.flatMap((payload) => [...payload])]
}
