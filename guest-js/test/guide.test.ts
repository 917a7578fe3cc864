/** The guide's code does what the guide says, on a database and with a plugin that others stand in for. */

import 'fake-indexeddb/auto'

import * as Automerge from '@automerge/automerge'
import { mockIPC } from '@tauri-apps/api/mocks'
import { openDB } from 'idb'
import { beforeEach, expect, test } from 'vitest'
import * as Y from 'yjs'

// @ts-expect-error: a module that the configuration makes of the guide
import * as written from './guide.virtual'

/** One device's log. */
let log: { own: boolean; payload: Uint8Array }[] = []
/** The plugin refuses everything. */
let refuses = false
let acknowledged = 0
let deviceId = 'phone'
let published: Uint8Array | undefined
let snapshot: ArrayBuffer | undefined
let loaded: string | undefined

beforeEach(() => {
  log = []
  refuses = false
  acknowledged = 0
  mockIPC((command, args) => {
    if (refuses) throw { code: 'local_full', message: 'no room' }
    if (command === 'plugin:sync|push') return { cursor: log.push({ own: true, payload: args as unknown as Uint8Array }) }
    if (command === 'plugin:sync|pull') return page((args as { afterCursor: number }).afterCursor)
    if (command === 'plugin:sync|status') return { deviceId }
    if (command === 'plugin:sync|publish_snapshot') published = args as unknown as Uint8Array
    if (command === 'plugin:sync|latest_snapshot') return snapshot
    if (command === 'plugin:sync|snapshot_loaded') loaded = (args as { snapshotId: string }).snapshotId
    if (command === 'plugin:sync|ack') acknowledged = (args as { cursor: number }).cursor
    return undefined
  })
})

/** Two blobs at a time. */
function page(after: number): ArrayBuffer {
  const blobs = log.slice(after, after + 2)
  const listed = blobs.map(({ own, payload }, index) => ({ cursor: after + index + 1, own, length: payload.length }))
  const text = new TextEncoder().encode(JSON.stringify({ blobs: listed, hasMore: after + 2 < log.length }))
  const length = new Uint8Array(4)
  new DataView(length.buffer).setUint32(0, text.length)
  return Uint8Array.from([...length, ...text, ...blobs.flatMap(({ payload }) => [...payload])]).buffer
}

function fromLaptop(id: string, change: Uint8Array): void {
  log.push({ own: false, payload: Uint8Array.from([id.length, ...new TextEncoder().encode(id), ...change]) })
}

async function stored(id: string): Promise<Uint8Array> {
  return (await openDB('notes', 1)).get('documents', id) as Promise<Uint8Array>
}

const text = (state: Uint8Array): string => {
  const doc = new Y.Doc()
  Y.applyUpdate(doc, state)
  return doc.getText('text').toString()
}

const update = (content: string): Uint8Array => {
  const doc = new Y.Doc()
  doc.getText('text').insert(0, content)
  return Y.encodeStateAsUpdate(doc)
}

test('what could not be pushed is stored and pushed later, in order', async () => {
  refuses = true
  await expect(written.store('a', update('one'), update('one'))).rejects.toMatchObject({ code: 'local_full' })
  await expect(written.store('a', update('two'), update('two'))).rejects.toMatchObject({ code: 'local_full' })
  expect(text(await stored('a'))).toBe('two')
  refuses = false
  await Promise.all([written.flush(), written.flush()])
  expect(log.map(({ payload }) => text(written.unpack(payload).change))).toEqual(['one', 'two'])
  await written.flush()
  expect(log).toHaveLength(2)
})

test('what others pushed is merged once, and a new device begins anew', async () => {
  const seen: number[] = []
  const merge = (state: Uint8Array | undefined, blob: { cursor: number; payload: Uint8Array }) => {
    seen.push(blob.cursor)
    return written.mergeYjs(state, blob)
  }
  for (const content of ['one ', 'two ', 'three ']) fromLaptop('b', update(content))
  await written.catchUp(merge)
  expect([seen, acknowledged]).toEqual([[1, 2, 3], 3])
  expect(text(await stored('b')).split(' ').sort()).toEqual(['', 'one', 'three', 'two'])
  await written.catchUp(merge)
  expect(seen).toHaveLength(3)
  deviceId = 'phone, paired again'
  await written.catchUp(merge)
  expect(seen).toHaveLength(6)
})

test('an open document keeps what is typed, and not what came', async () => {
  const doc = new Y.Doc()
  written.keep('c', doc)
  Y.applyUpdate(doc, update('theirs'), 'sync')
  doc.getText('text').insert(0, 'mine ')
  await expect.poll(() => log.length).toBe(1)
  expect(text(await stored('c'))).toBe('mine theirs')
})

test('what there was before sync is published once for each place in a group', async () => {
  const whole = (state: Uint8Array) => state
  await written.publish(null, whole)
  expect(log).toHaveLength(0)
  await written.publish('phone', whole)
  const documents = log.length
  expect(documents).toBeGreaterThan(0)
  await written.publish('phone', whole)
  expect(log).toHaveLength(documents)
  await written.publish('phone, paired again', whole)
  expect(log).toHaveLength(2 * documents)
})

test('the other ways to merge', async () => {
  const before = Automerge.from<Record<string, number>>({ one: 1 })
  written.edit('d', before, (draft: Record<string, number>) => {
    draft['two'] = 2
  })
  await expect.poll(() => log.length).toBe(1)
  const { state } = written.mergeAutomerge(Automerge.save(before), log[0])
  expect(Automerge.load(state)).toEqual({ one: 1, two: 2 })

  const field = (value: unknown, at: number, by: string) => ({ title: { value, at, by } })
  const [older, mine, theirs] = [field('older', 1, 'z'), field('mine', 2, 'a'), field('theirs', 2, 'b')]
  for (const pair of [
    [mine, theirs],
    [theirs, mine],
    [older, theirs],
    [theirs, older],
  ]) {
    expect(written.mergeRow(...pair)).toEqual(theirs)
  }
  const seen = Date.now() + 60_000
  expect(written.nextTime(seen)).toBe(seen + 1)
  expect(written.nextTime(0)).toBeGreaterThan(seen - 120_000)
})

test('asked for its state it gives it, and begins with that of another device', async () => {
  const steps: string[] = []
  const heed = (event: object) =>
    written.heedSnapshots(
      event,
      async () => steps.push('read'),
      async () => new Uint8Array([1, 2]),
      async (bytes: Uint8Array) => steps.push(`take ${bytes}`),
    )
  await heed({ kind: 'snapshotNeeded', upTo: 3 })
  expect([steps, published]).toEqual([['read'], new Uint8Array([1, 2])])
  const text = new TextEncoder().encode(JSON.stringify({ snapshotId: 'ab', sender: 'cd', madeAt: 1 }))
  snapshot = Uint8Array.from([0, 0, 0, text.length, ...text, 8, 9]).buffer
  await heed({ kind: 'snapshotReady', snapshotId: 'ab', sender: 'cd' })
  expect([steps, loaded]).toEqual([['read', 'take 8,9', 'read'], 'ab'])
})
