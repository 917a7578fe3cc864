/** The store: nothing that was written is forgotten, and nothing is owed twice. */

import { beforeEach, expect, test } from 'vitest'
import * as Y from 'yjs'

import { openDatabase } from '../src/notes/database.js'
import { bodyOf, write } from '../src/notes/document.js'
import { encode } from '../src/notes/message.js'
import { NoteStore, PARCEL_LEN_MAX } from '../src/notes/store.js'

const [A, B] = ['aaaaaaaa-0000-4000-8000-000000000001', 'bbbbbbbb-0000-4000-8000-000000000002'] as const
const NONE: ReadonlySet<string> = new Set()

let count = 0
let store: NoteStore
beforeEach(async () => {
  store = await NoteStore.open(`store-${count++}`)
})

/** What makes a note that says this. */
function saying(text: string): Uint8Array {
  const doc = new Y.Doc()
  write(doc, bodyOf(doc), text, 1)
  return Y.encodeStateAsUpdate(doc)
}

function textOf(state: Uint8Array | undefined): string {
  const doc = new Y.Doc()
  if (state) Y.applyUpdate(doc, state)
  return bodyOf(doc).toString()
}

/** Pushes all there is, as a sync would. */
async function pushAll(): Promise<string[]> {
  const pushed: string[] = []
  for (let cursor = 1, parcel = await store.next(NONE); parcel; parcel = await store.next(NONE), cursor++) {
    pushed.push(`${parcel.note[0]}: ${textOf(parcel.update)}`)
    await store.pushed(parcel, `push-${cursor}`, cursor)
  }
  return pushed
}

test('without a group nothing is owed, and a new group is owed every note whole', async () => {
  await store.save({ note: A, update: saying('one') })
  await store.save({ note: B, update: saying('two') })
  expect(await store.owes()).toBe(false)
  expect(await store.adopt('group')).toBe(true)
  expect(await store.adopt('group')).toBe(false)
  expect(await pushAll()).toEqual(['a: one', 'b: two'])
  expect(await store.owes()).toBe(false)
})

test('an edit is owed until it is pushed, and unsettled until it is on the relay', async () => {
  await store.adopt('group')
  await store.save({ note: A, update: saying('one') })
  expect([...(await store.unsettled())]).toEqual([A])
  const parcel = await store.next(NONE)
  expect(await store.next(NONE)).toEqual(parcel)
  if (!parcel) throw new Error('there is one')
  await store.pushed(parcel, 'p', 7)
  expect([await store.owes(), [...(await store.unsettled())]]).toEqual([false, [A]])
  await store.arrivedUpTo(6)
  expect((await store.unsettled()).size).toBe(1)
  await store.arrivedUpTo(7)
  expect((await store.unsettled()).size).toBe(0)
})

test('what waits of one note goes as one, past other notes, and large ones go alone', async () => {
  await store.adopt('group')
  const doc = new Y.Doc()
  doc.on('update', (update: Uint8Array) => void updates.push(update))
  const updates: Uint8Array[] = []
  write(doc, bodyOf(doc), 'on', 1)
  write(doc, bodyOf(doc), 'one', 1)
  await store.save({ note: A, update: updates[0] as Uint8Array })
  await store.save({ note: B, update: saying('x'.repeat(PARCEL_LEN_MAX)) })
  await store.save({ note: B, update: saying('y') })
  await store.save({ note: A, update: updates[1] as Uint8Array })
  expect((await store.next(new Set([A])))?.note).toBe(B)
  expect((await pushAll()).map((text) => text.slice(0, 6))).toEqual(['a: one', 'b: xxx', 'b: y'])
})

test('the newest blob of a note is known, unless something newer of it is to be pushed', async () => {
  await store.adopt('group')
  await store.save({ note: A, update: saying('mine') })
  expect(await store.newestOf(A)).toBeUndefined()
  await pushAll()
  expect(await store.newestOf(A)).toBe(1)
  const payload = encode({ note: A, update: saying('theirs') })
  await store.apply('group', [{ cursor: 7, payload, own: false }])
  expect(await store.newestOf(A)).toBe(7)
  await store.save({ note: A, update: saying('mine again') })
  await store.save({ note: B, update: saying('another') })
  expect(await store.newestOf(A)).toBeUndefined()
  await store.adopt(null)
  expect(await store.newestOf(A)).toBeUndefined()
})

test('blobs are applied with their cursor, again without effect, and not for a group that was left', async () => {
  await store.adopt('group')
  const blob = { cursor: 3, own: false, payload: encode({ note: A, update: saying('theirs') }) }
  expect((await store.apply('group', [blob]))?.changes.map(({ note }) => note)).toEqual([A])
  await store.apply('group', [blob])
  expect((await store.all()).map(({ state }) => textOf(state))).toEqual(['theirs'])
  expect(await store.place()).toEqual({ group: 'group', cursor: 3 })
  expect(await store.owes()).toBe(false)
  await store.adopt(null)
  expect(await store.apply('group', [{ ...blob, cursor: 9 }])).toBeUndefined()
  expect(await store.place()).toEqual({ group: null, cursor: 0 })
  expect(await store.all()).toHaveLength(1)
})

test('a blob that this version cannot read is put aside, holds up nothing, and is tried again', async () => {
  await store.adopt('group')
  const good = encode({ note: A, update: saying('good') })
  await store.apply('group', [
    { cursor: 1, own: false, payload: Uint8Array.of(9, ...good.slice(1)) },
    { cursor: 2, own: false, payload: good },
  ])
  expect((await store.place()).cursor).toBe(2)
  expect(await store.readAside('group')).toEqual({ changes: [], left: 1 })
  // What a version that knew less would have left.
  const db = await openDatabase(`store-${count - 1}`, () => undefined)
  await db.put('aside', encode({ note: B, update: saying('new') }), 3)
  db.close()
  const { changes, left } = await store.readAside('group')
  expect([changes.map(({ note }) => note), left]).toEqual([[B], 1])
})

test('another group gets everything and owes nothing of the old one', async () => {
  await store.adopt('old')
  await store.save({ note: A, update: saying('kept') })
  await store.apply('old', [{ cursor: 5, own: false, payload: encode({ note: B, update: saying('from there') }) }])
  await store.adopt('new')
  expect(await store.place()).toEqual({ group: 'new', cursor: 0 })
  expect(await pushAll()).toEqual(['a: kept', 'b: from there'])
})

test('publishing everything takes the place of what waits', async () => {
  await store.publishAll()
  expect(await store.owes()).toBe(false)
  await store.adopt('group')
  await store.save({ note: A, update: saying('one') })
  await store.publishAll()
  expect(await pushAll()).toEqual(['a: one'])
})

test('an edit by another window between two reads is not lost', async () => {
  await store.adopt('group')
  await Promise.all([store.save({ note: A, update: saying('left') }), store.save({ note: A, update: saying('right') })])
  const text = textOf((await store.all())[0]?.state)
  expect([text.includes('left'), text.includes('right')]).toEqual([true, true])
})
