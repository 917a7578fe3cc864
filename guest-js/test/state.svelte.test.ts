/** The Svelte class against a plugin that tells it things. */

import { clearMocks, mockIPC } from '@tauri-apps/api/mocks'
import { flushSync } from 'svelte'
import { afterEach, expect, test, vi } from 'vitest'

import type { Status, SyncEvent } from '../index.js'
import { SyncState, type SyncStateOptions } from '../svelte/index.svelte.js'

afterEach(clearMocks)

const status = (change: Partial<Status> = {}): Status => ({
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

/** A plugin, what it was asked, and a way to let it tell something. */
function plugin(answers: Record<string, (() => unknown) | undefined> = {}) {
  const asked: string[] = []
  let tell: (event: SyncEvent) => void = () => undefined
  mockIPC((command, args) => {
    const name = command.replace('plugin:sync|', '')
    asked.push(name)
    if (name === 'subscribe') tell = (args as { channel: { onmessage: typeof tell } }).channel.onmessage
    const usual: Record<string, unknown> = { subscribe: 1, status: status(), devices: [] }
    return answers[name] ? answers[name]() : (usual[name] ?? null)
  })
  return { asked, tell: (event: SyncEvent) => tell(event) }
}

/** The class in a component's place, until it is ended. */
function made(options?: SyncStateOptions): [SyncState, () => void] {
  let state: SyncState | undefined
  const end = $effect.root(() => {
    state = new SyncState(options)
  })
  flushSync()
  if (!state) throw new Error('an effect root runs at once')
  return [state, end]
}

test('it shows how sync stands, and what changes', async () => {
  const { tell } = plugin()
  const [state, end] = made()
  expect(state.badge).toBe('offline')
  await vi.waitFor(() => expect(state.status).toBeDefined())
  expect(state.paired).toBe(false)
  tell({ kind: 'statusChanged', status: status({ badge: 'synced', groupId: 'ab' }) })
  expect([state.badge, state.paired]).toEqual(['synced', true])
  end()
})

test('it ends its subscription with its component, also one that is only being made', async () => {
  const { asked, tell } = plugin()
  const [state, end] = made()
  end()
  await vi.waitFor(() => expect(asked).toContain('unsubscribe'))
  tell({ kind: 'statusChanged', status: status({ badge: 'synced' }) })
  expect(state.badge).toBe('offline')
})

test('it lists the devices where it is asked to, and again when they change', async () => {
  const names = ['phone']
  const { tell, asked } = plugin({
    status: () => status({ groupId: 'ab' }),
    devices: () => names.map((name) => ({ name })),
  })
  const [state, end] = made({ devices: true })
  await vi.waitFor(() => expect(state.devices).toMatchObject([{ name: 'phone' }]))
  names.push('laptop')
  tell({ kind: 'deviceJoined', deviceId: 'cd' })
  await vi.waitFor(() => expect(state.devices).toHaveLength(2))
  names.push('tablet')
  tell({ kind: 'receivedBy', deviceId: 'cd' })
  await vi.waitFor(() => expect(state.devices).toHaveLength(3))
  end()
  const [, endOther] = made()
  const before = asked.filter((name) => name === 'devices').length
  tell({ kind: 'deviceJoined', deviceId: 'ef' })
  expect(asked.filter((name) => name === 'devices')).toHaveLength(before)
  endOther()
})

test('an app hears everything, and a status that was missed is asked for', async () => {
  let badge: Status['badge'] = 'pending'
  const { tell } = plugin({ status: () => status({ badge }) })
  const heard: string[] = []
  const [state, end] = made({ onEvent: (event) => heard.push(event.kind) })
  await vi.waitFor(() => expect(state.badge).toBe('pending'))
  badge = 'synced'
  tell({ kind: 'blobAvailable', cursor: 1, pushId: 'ab', sender: 'cd', late: false })
  tell({ kind: 'missed', count: 3 })
  await vi.waitFor(() => expect(state.badge).toBe('synced'))
  expect(heard).toEqual(['blobAvailable', 'missed'])
  end()
})

test('a cycle shows while it takes, and why it failed', async () => {
  const fails = () => {
    throw { code: 'offline', message: 'no relay can be reached' }
  }
  plugin({ sync_now: fails })
  const [state, end] = made()
  await vi.waitFor(() => expect(state.status).toBeDefined())
  const done = state.syncNow()
  expect(state.syncing).toBe(true)
  await done
  expect([state.syncing, state.error?.code]).toEqual([false, 'offline'])
  plugin({ sync_now: () => status({ badge: 'synced' }) })
  await state.syncNow()
  expect([state.badge, state.error]).toEqual(['synced', undefined])
  end()
})
