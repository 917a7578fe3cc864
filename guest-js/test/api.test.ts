/** Each function against what the plugin is asked, and what it answers. */

import { clearMocks, mockIPC } from '@tauri-apps/api/mocks'
import { afterEach, describe, expect, test } from 'vitest'

import * as sync from '../index.js'

afterEach(clearMocks)

/** What the plugin was asked last. */
interface Asked {
  command: string
  args: Record<string, unknown>
  headers: Record<string, string> | undefined
}

/** A plugin that answers the same to everything. */
function answering(answer: unknown): Asked[] {
  const asked: Asked[] = []
  mockIPC(() => undefined)
  const internals = (window as unknown as { __TAURI_INTERNALS__: { invoke: unknown } }).__TAURI_INTERNALS__
  internals.invoke = async (command: string, args: Asked['args'], options?: { headers?: Record<string, string> }) => {
    asked.push({ command, args, headers: options?.headers })
    if (answer instanceof Error) throw answer
    return answer
  }
  return asked
}

/** A plugin that rejects everything. */
function rejecting(cause: unknown): void {
  mockIPC(() => {
    throw cause
  })
}

function page(description: unknown, ...payloads: number[][]): number[] {
  const text = new TextEncoder().encode(JSON.stringify(description))
  const length = new Uint8Array(4)
  new DataView(length.buffer).setUint32(0, text.length)
  return [...length, ...text, ...payloads.flat()]
}

describe('every function asks for its command', () => {
  const nothing = () => undefined
  const calls: [string, () => Promise<unknown>, Record<string, unknown>][] = [
    ['ack', () => sync.ack(3), { cursor: 3 }],
    ['last_cursor', () => sync.lastCursor({ profile: 'work' }), { profile: 'work' }],
    ['blob_states', () => sync.blobStates([1, 2]), { cursors: [1, 2] }],
    ['snapshot_loaded', () => sync.snapshotLoaded('ab'), { snapshotId: 'ab', taken: true }],
    ['snapshot_loaded', () => sync.snapshotLoaded('ab', false), { snapshotId: 'ab', taken: false }],
    ['status', () => sync.status(), {}],
    ['connect', () => sync.connect(), {}],
    ['disconnect', () => sync.disconnect(), {}],
    ['sync_now', () => sync.syncNow({ withinMs: 5 }), { withinMs: 5 }],
    ['create_group', () => sync.createGroup(), {}],
    ['cancel_invite', () => sync.cancelInvite(), {}],
    ['approve', () => sync.approve('123456'), { digits: '123456' }],
    ['deny', () => sync.deny(), {}],
    ['export_kit', () => sync.exportKit({ profile: 'work' }), { profile: 'work' }],
    ['import_kit', () => sync.importKit('ZEROK', 'ABCD'), { text: 'ZEROK', code: 'ABCD' }],
    ['devices', () => sync.devices(), {}],
    ['rename_device', () => sync.renameDevice('ab', 'x'), { deviceId: 'ab', name: 'x' }],
    ['remove_device', () => sync.removeDevice('ab', { keepKey: true }), { deviceId: 'ab', keepKey: true }],
    ['rotate_key', () => sync.rotateKey(), {}],
    ['leave_group', () => sync.leaveGroup({ force: true }), { force: true }],
    ['configure', () => sync.configure({ tier: 'iroh' }), { backend: { tier: 'iroh' } }],
    ['diagnostics', () => sync.diagnostics({ withinMs: 5 }), { withinMs: 5 }],
    ['repair', () => sync.repair({ withinMs: 5 }), { withinMs: 5 }],
    ['set_aside', () => sync.setAside({ profile: 'work' }), { profile: 'work' }],
    ['doctor', () => sync.doctor({ withinMs: 5 }), { withinMs: 5 }],
    ['create_invite', () => sync.createInvite(nothing), { channel: expect.anything() }],
    ['join', () => sync.join('ABCD', nothing), { invite: 'ABCD', channel: expect.anything() }],
    ['pair', () => sync.pair({ create: true }, nothing), { request: 'create', channel: expect.anything() }],
    ['pair', () => sync.pair({ join: 'ABCD' }, nothing), { request: { join: 'ABCD' }, channel: expect.anything() }],
  ]
  test.each(calls)('%s', async (command, ask, args) => {
    const asked = answering('the answer')
    await expect(ask()).resolves.toBe('the answer')
    expect(asked).toMatchObject([{ command: `plugin:sync|${command}`, args }])
  })
})

describe('push', () => {
  test('sends the bytes as they are, and what else it says in headers', async () => {
    const asked = answering({ pushId: 'ab', cursor: 1, state: 'queued' })
    const payload = new Uint8Array([1, 2, 255])
    expect((await sync.push(payload)).state).toBe('queued')
    await sync.push(payload, { wait: 'all', ttl: 60, profile: 'work' })
    expect(asked[0]).toEqual({ command: 'plugin:sync|push', args: payload, headers: {} })
    expect(asked[1]?.headers).toEqual({ 'sync-wait': 'all', 'sync-ttl': '60', 'sync-profile': 'work' })
  })
})

describe('snapshots', () => {
  test('the state goes as it is, and up to where it goes in a header', async () => {
    const asked = answering(undefined)
    await sync.publishSnapshot(new Uint8Array([7, 255]), 12, { profile: 'work' })
    const headers = { 'sync-up-to': '12', 'sync-profile': 'work' }
    expect(asked).toEqual([{ command: 'plugin:sync|publish_snapshot', args: new Uint8Array([7, 255]), headers }])
  })

  test('one that is there is taken apart, and none is none', async () => {
    answering(page({ snapshotId: 'ab', sender: 'cd', madeAt: 5 }, [1, 0, 255]))
    const bytes = new Uint8Array([1, 0, 255])
    expect(await sync.latestSnapshot()).toEqual({ snapshotId: 'ab', sender: 'cd', madeAt: 5, bytes })
    answering(page(null))
    expect(await sync.latestSnapshot()).toBeUndefined()
  })
})

describe('pull', () => {
  const blob = (cursor: number, length: number) => ({ cursor, pushId: 'ab', own: false, length })
  const sent = page({ blobs: [blob(1, 2), blob(2, 0), blob(3, 1)], hasMore: true }, [7, 255], [], [9])

  test.each([
    ['bytes', new Uint8Array(sent).buffer],
    ['a list of numbers, where there are no raw answers', sent],
  ])('takes a page apart that comes as %s', async (_, answer) => {
    const asked = answering(answer)
    const { blobs, hasMore } = await sync.pull(0, 10)
    expect(hasMore).toBe(true)
    expect(blobs.map(({ payload }) => [...payload])).toEqual([[7, 255], [], [9]])
    expect(blobs[0]).not.toHaveProperty('length')
    expect(asked).toMatchObject([{ args: { afterCursor: 0, limit: 10 } }])
  })
})

describe('subscribe', () => {
  test('passes on what is told, and ends it with its own id', async () => {
    let channel: { onmessage: (event: sync.SyncEvent) => void } | undefined
    const asked: [string, unknown][] = []
    mockIPC((command, args) => {
      asked.push([command, args])
      if (command !== 'plugin:sync|subscribe') return null
      channel = (args as { channel: typeof channel }).channel
      return 42
    })
    const heard: sync.SyncEvent[] = []
    const end = await sync.subscribe((event) => heard.push(event))
    channel?.onmessage({ kind: 'missed', count: 2 })
    expect(heard).toEqual([{ kind: 'missed', count: 2 }])
    await end()
    expect(asked.at(-1)).toEqual(['plugin:sync|unsubscribe', { id: 42 }])
  })
})

describe('what goes wrong', () => {
  test('is a SyncError with the code and the message of the plugin', async () => {
    rejecting({ code: 'no_group', message: 'this device belongs to no group yet' })
    const failed = await sync.status().catch((error: unknown) => error)
    expect(failed).toBeInstanceOf(sync.SyncError)
    expect(failed).toMatchObject({ code: 'no_group', message: 'this device belongs to no group yet' })
  })

  test.each([
    ['sync.push not allowed', 'invalid_argument'],
    [{ code: 'a_code_of_tomorrow', message: 'x' }, 'internal'],
    [new TypeError('x'), 'internal'],
    [undefined, 'internal'],
  ])('has a code of the closed set whatever comes: %s', async (cause, code) => {
    rejecting(cause)
    await expect(sync.push(new Uint8Array())).rejects.toMatchObject({ name: 'SyncError', code })
  })
})
