/** The inspector: what it shows, and when it asks. */

import { clearMocks, mockIPC } from '@tauri-apps/api/mocks'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import type { BlobState, Status, SyncEvent } from '../index.js'
import { mountInspector } from '../inspector/index.js'

const ID = (letter: string): string => letter.repeat(32)
const STATUS: Status = {
  badge: 'pending',
  connection: 'connected',
  pending: 1,
  unread: 0,
  waiting: 0,
  parked: [{ blobId: ID('b'), reason: 'too_new' }],
  lastCursor: 1,
  headCursor: 2,
  relays: [
    {
      relayId: ID('e'),
      connection: 'connected',
      pending: 1,
      unread: 0,
      refilling: false,
      room: null,
      problem: 'group_full',
      contradictions: [{ deviceId: ID('d'), cursor: 9, kind: 'forked' }],
    },
  ],
  loading: null,
  syncedAt: null,
  identityReused: false,
  removed: false,
  disk: null,
  groupId: ID('a'),
  deviceId: ID('c'),
}
const BLOB: BlobState = {
  cursor: 2,
  pushId: ID('f'),
  sender: ID('c'),
  own: true,
  relays: [],
  relaysConfigured: 1,
  receivedBy: [ID('d')],
  appliedBy: [],
  lostBy: [],
}

let asked: string[] = []
let answers: Record<string, unknown> = {}
let tell: (event: SyncEvent) => void = () => undefined

beforeEach(() => {
  vi.useFakeTimers()
  asked = []
  answers = { status: STATUS, blob_states: [BLOB], subscribe: 1 }
  mockIPC((command, args) => {
    const name = command.replace('plugin:sync|', '')
    asked.push(name)
    const channel = (args as { channel?: { onmessage: (event: SyncEvent) => void } }).channel
    if (channel) tell = (event) => channel.onmessage(event)
    const answer = answers[name]
    if (answer instanceof Error) throw { code: answer.message, message: 'fails' }
    return answer
  })
})

afterEach(() => {
  vi.useRealTimers()
  clearMocks()
  document.body.replaceChildren()
})

async function opened(): Promise<{ end: () => void; panel: HTMLDetailsElement }> {
  const end = mountInspector(document.body)
  const panel = document.querySelector('details') as HTMLDetailsElement
  panel.open = true
  panel.dispatchEvent(new Event('toggle'))
  await vi.advanceTimersByTimeAsync(1_000)
  return { end, panel }
}

const part = (panel: HTMLElement, name: string): string => panel.querySelector(`[aria-label="${name}"]`)?.textContent ?? ''

test('relays, blobs, what is parked and events are shown, by the beginnings of their ids', async () => {
  const { panel } = await opened()
  tell({ kind: 'blobPushed', cursor: 2, pushId: ID('f'), relayId: ID('e') })
  await vi.advanceTimersByTimeAsync(1_000)
  expect(panel.textContent).toContain('pending · connected · group aaaaaaaa')
  expect(part(panel, 'Relays')).toContain('eeeeeeeeconnected10group_fullforked (dddddddd at 9)')
  expect(part(panel, 'Newest blobs')).toContain('2ffffffffown0 of 1 ←dddddddd')
  expect(part(panel, 'Parked')).toContain('bbbbbbbbtoo_new')
  expect(part(panel, 'Events')).toContain('blobPushedcursor 2, pushId ffffffff, relayId eeeeeeee')
  expect(panel.textContent).not.toContain(ID('f'))
})

test('nothing is asked for while nobody looks, and a crowd of events makes one look', async () => {
  mountInspector(document.body)
  await vi.advanceTimersByTimeAsync(5_000)
  expect(asked).toEqual(['subscribe'])
  document.body.replaceChildren()
  asked = []
  await opened()
  for (let count = 0; count < 500; count++) tell({ kind: 'keyRotated' })
  await vi.advanceTimersByTimeAsync(1_000)
  expect(asked.filter((name) => name === 'status')).toHaveLength(2)
  expect(document.querySelectorAll('[aria-label="Events"] tr')).toHaveLength(201)
})

test('what fails is said, and without a group there is nothing to ask of blobs', async () => {
  answers['status'] = new Error('no_profile')
  const { panel, end } = await opened()
  expect(panel.querySelector('[role="alert"]')?.textContent).toContain('no_profile')
  answers['status'] = { ...STATUS, groupId: null }
  tell({ kind: 'keyRotated' })
  await vi.advanceTimersByTimeAsync(1_000)
  expect(panel.querySelector('[role="alert"]')).toBeNull()
  expect(asked).not.toContain('blob_states')
  end()
  await vi.advanceTimersByTimeAsync(1_000)
  expect(document.querySelector('details')).toBeNull()
  expect(asked.at(-1)).toBe('unsubscribe')
})
