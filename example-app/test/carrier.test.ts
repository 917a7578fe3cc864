/** The way between the store and the sync, against a plugin in memory. */

import { clearMocks } from '@tauri-apps/api/mocks'
import type { Relay, SyncError } from 'tauri-plugin-sync-api'
import { afterEach, beforeEach, expect, test } from 'vitest'
import * as Y from 'yjs'

import { bodyOf, write } from '../src/notes/document.js'
import { ASK, decode, encode, type Message } from '../src/notes/message.js'
import { NoteStore } from '../src/notes/store.js'
import { decodeAll, encodeAll } from '../src/notes/whole.js'
import { Carrier } from '../src/sync/carrier.js'
import { FakePlugin, failure, status } from './support/plugin.js'

const [A, B] = ['aaaaaaaa-0000-4000-8000-000000000001', 'bbbbbbbb-0000-4000-8000-000000000002'] as const

let count = 0
let plugin: FakePlugin
let store: NoteStore
let carrier: Carrier
let heard: { changes: string[]; unsettled: string[]; tooLarge: string[]; problem: SyncError | undefined; unreadable: number }

beforeEach(async () => {
  plugin = new FakePlugin()
  store = await NoteStore.open(`carrier-${count++}`)
  carrier = made()
})
afterEach(clearMocks)

function made(): Carrier {
  heard = { changes: [], unsettled: [], tooLarge: [], problem: undefined, unreadable: 0 }
  return new Carrier(
    store,
    {
      onChanges: (changes) => heard.changes.push(...changes.map(({ note }) => note)),
      onUnsettled: (notes) => (heard.unsettled = [...notes]),
      onTooLarge: (notes) => (heard.tooLarge = [...notes]),
      onUnreadable: (unreadable) => (heard.unreadable = unreadable),
      onProblem: (problem) => (heard.problem = problem),
    },
    (_, act) => act(),
  )
}

function saying(text: string): Uint8Array {
  const doc = new Y.Doc()
  write(doc, bodyOf(doc), text, 1)
  return Y.encodeStateAsUpdate(doc)
}

const pushedNotes = (): string[] => plugin.pushed.map((blob) => (decode(blob) as Message).note)

test('sync is switched on where there are notes: all of them are published, once', async () => {
  await store.save({ note: A, update: saying('one') })
  await store.save({ note: B, update: saying('two') })
  await carrier.settle(status())
  expect(plugin.pushed).toEqual([])
  await carrier.settle(plugin.inGroup('group'))
  await carrier.settle(plugin.inGroup('group'))
  expect(pushedNotes()).toEqual([A, B])
})

test('a push that fails leaves the change where it is, and the next status sends it', async () => {
  await carrier.settle(plugin.inGroup('group'))
  await store.save({ note: A, update: saying('one') })
  plugin.fails['push'] = failure('local_full')
  await carrier.send()
  expect([heard.problem?.code, await store.owes()]).toEqual(['local_full', true])
  plugin.fails = {}
  await carrier.hear({ kind: 'statusChanged', status: plugin.inGroup('group', { pending: 1 }) })
  expect([heard.problem, await store.owes(), pushedNotes()]).toEqual([undefined, false, [A]])
})

test('a note that is too large is named and holds up no other', async () => {
  await carrier.settle(plugin.inGroup('group'))
  await store.save({ note: A, update: saying('x'.repeat(2000)) })
  await store.save({ note: B, update: saying('small') })
  plugin.fails['push'] = (args) => (args as Uint8Array).length > 1000 && failure('blob_too_large')
  await carrier.send()
  expect([heard.tooLarge, pushedNotes(), heard.problem]).toEqual([[A], [B], undefined])
})

test('a note is unsettled until its push is on the relay, and an older status settles nothing', async () => {
  await carrier.settle(plugin.inGroup('group', { relays: [relay] }))
  const before = plugin.inGroup('group', { relays: [relay] })
  await store.save({ note: A, update: saying('one') })
  await carrier.send()
  expect(heard.unsettled).toEqual([A])
  await carrier.settle(before)
  expect(heard.unsettled).toEqual([A])
  await carrier.hear({ kind: 'blobPushed', cursor: 1, pushId: 'push-1', relayId: 'r' })
  expect(heard.unsettled).toEqual([])
})

test('with two relays one of them is not enough', async () => {
  await carrier.settle(plugin.inGroup('group', { relays: [relay, relay] }))
  await store.save({ note: A, update: saying('one') })
  await carrier.send()
  await carrier.hear({ kind: 'blobPushed', cursor: 1, pushId: 'push-1', relayId: 'r' })
  expect(heard.unsettled).toEqual([A])
  await carrier.settle(plugin.inGroup('group', { relays: [relay, relay] }))
  expect(heard.unsettled).toEqual([])
})

test('what has come is applied, told, and acknowledged after that, over several pages', async () => {
  await carrier.settle(plugin.inGroup('group'))
  for (let n = 0; n < 250; n++) plugin.receive(encode({ note: n % 2 ? A : B, update: saying(`${n}`) }))
  await carrier.hear({ kind: 'blobAvailable', cursor: 1, pushId: 'p', sender: 's', late: false })
  expect(heard.changes).toHaveLength(250)
  expect([plugin.acked, (await store.place()).cursor]).toEqual([250, 250])
  expect(plugin.count('ack')).toBe(1)
})

test('a crash between applying and acknowledging is made good by the next start', async () => {
  await carrier.settle(plugin.inGroup('group'))
  plugin.receive(encode({ note: A, update: saying('one') }))
  plugin.fails['ack'] = failure('closed')
  await carrier.fetch()
  expect([plugin.acked, (await store.place()).cursor]).toEqual([0, 1])
  plugin.fails = {}
  await made().settle(plugin.inGroup('group'))
  expect(plugin.acked).toBe(1)
})

test('a log that knows nothing of the cursor is read from its start', async () => {
  await carrier.settle(plugin.inGroup('group'))
  for (const text of ['one', 'two']) plugin.receive(encode({ note: A, update: saying(text) }))
  await carrier.fetch()
  plugin.log.length = 0
  plugin.acked = 0
  plugin.receive(encode({ note: B, update: saying('of the new log') }))
  await carrier.settle(plugin.inGroup('group'))
  expect([heard.changes.at(-1), (await store.place()).cursor, heard.problem]).toEqual([B, 1, undefined])
})

test('a blob that nobody here can read is counted and passed by', async () => {
  await carrier.settle(plugin.inGroup('group'))
  plugin.receive(Uint8Array.of(200, 1, 2, 3))
  plugin.receive(encode({ note: A, update: saying('one') }))
  await carrier.fetch()
  expect([heard.unreadable, heard.changes, plugin.acked]).toEqual([1, [A], 2])
})

test('a device that was removed or has left carries nothing', async () => {
  await carrier.settle(plugin.inGroup('group'))
  await store.save({ note: A, update: saying('one') })
  await carrier.settle(plugin.inGroup('group', { removed: true }))
  expect(plugin.pushed).toEqual([])
  await carrier.settle(status())
  expect([await store.owes(), (await store.all()).length]).toEqual([false, 1])
})

test('a device that is let in is given every note whole', async () => {
  await carrier.settle(plugin.inGroup('group'))
  await store.save({ note: A, update: saying('one') })
  await carrier.send()
  await carrier.welcome()
  expect(pushedNotes()).toEqual([A, A])
})

test('a gap asks the other devices for everything, once, and who is asked publishes every note', async () => {
  await carrier.settle(plugin.inGroup('group'))
  await store.save({ note: A, update: saying('one') })
  plugin.fails['push'] = failure('offline')
  const gap = { kind: 'gap', sender: 's', first: 1, last: 2 } as const
  await carrier.hear(gap)
  await carrier.hear(gap)
  plugin.fails = {}
  await carrier.send()
  expect(plugin.pushed.map((blob) => decode(blob)).filter((message) => message === 'ask')).toHaveLength(1)
  // It is no answer to itself.
  await carrier.fetch()
  expect(plugin.pushed).toHaveLength(2)
  plugin.receive(encode({ note: ASK, update: new Uint8Array() }))
  await carrier.fetch()
  await carrier.send()
  expect((decode(plugin.pushed.at(-1) as Uint8Array) as Message).note).toBe(A)
  expect(plugin.pushed).toHaveLength(3)
})

const relay: Relay = {
  relayId: 'r',
  connection: 'connected',
  pending: 0,
  unread: 0,
  refilling: false,
  room: null,
  problem: null,
  contradictions: [],
}

test('all notes at once are taken before anything else, and merged with what is here', async () => {
  await store.save({ note: A, update: saying('here') })
  plugin.snapshot = { snapshotId: 's1', bytes: encodeAll([{ id: A, state: saying('there') }, { id: B, state: saying('two') }]) }
  await carrier.settle(plugin.inGroup('group', { loading: { snapshotId: 's1', sender: 'o', done: 9, total: 9, ready: true } }))
  const notes = Object.fromEntries((await store.all()).map(({ id, state }) => [id, textOf(state)]))
  expect([notes[B], notes[A]?.includes('here'), notes[A]?.includes('there')]).toEqual(['two', true, true])
  expect(heard.changes).toEqual(expect.arrayContaining([A, B]))
  expect(plugin.asked).toContainEqual(['snapshot_loaded', { snapshotId: 's1', taken: true }])
})

test('what cannot be read is refused, so that there may be another one', async () => {
  plugin.snapshot = { snapshotId: 's1', bytes: new Uint8Array([9, 9, 9]) }
  await carrier.settle(plugin.inGroup('group'))
  await carrier.hear({ kind: 'snapshotReady', snapshotId: 's1', sender: 'o' })
  expect(plugin.asked).toContainEqual(['snapshot_loaded', { snapshotId: 's1', taken: false }])
  expect(heard.problem).toBeUndefined()
})

test('asked for all notes, it gives them as of the cursor that it has acknowledged', async () => {
  await carrier.settle(plugin.inGroup('group'))
  plugin.receive(encode({ note: A, update: saying('one') }))
  plugin.receive(encode({ note: B, update: saying('two') }))
  await carrier.hear({ kind: 'snapshotNeeded', upTo: 2 })
  expect(plugin.acked).toBe(2)
  const [, given] = plugin.asked.find(([command]) => command === 'publish_snapshot') ?? []
  const notes = decodeAll(new Uint8Array(given as unknown as ArrayLike<number>))
  expect(notes?.map(({ id, state }) => [id, textOf(state)])).toEqual([[A, 'one'], [B, 'two']])
  plugin.fails['publish_snapshot'] = failure('snapshot_outdated')
  await carrier.offerWhole()
  expect(heard.problem, 'it will be asked again').toBeUndefined()
})

test('halves of notes and other bytes are no notes', () => {
  const whole = encodeAll([{ id: A, state: saying('one') }])
  expect(decodeAll(whole)).toHaveLength(1)
  expect(decodeAll(encodeAll([]))).toEqual([])
  for (let length = 0; length < whole.length; length++) {
    if (length !== 1) expect(decodeAll(whole.subarray(0, length)), `${length}`).toBeUndefined()
  }
})

function textOf(state: Uint8Array): string {
  const doc = new Y.Doc()
  Y.applyUpdate(doc, state)
  return bodyOf(doc).toString()
}
