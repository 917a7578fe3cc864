/** Notes that two devices write in at once. */

import { expect, test } from 'vitest'
import * as Y from 'yjs'

import * as note from '../src/notes/document.js'
import { ASK, decode, encode } from '../src/notes/message.js'

const ID = '6f1c1e0a-58a1-4b7e-9d2c-0123456789ab'

function meet(a: Y.Doc, b: Y.Doc): void {
  Y.applyUpdate(b, Y.encodeStateAsUpdate(a))
  Y.applyUpdate(a, Y.encodeStateAsUpdate(b))
}

test('what two people write at once in one text is both there', () => {
  const [phone, laptop] = [new Y.Doc(), new Y.Doc()]
  note.write(phone, note.bodyOf(phone), 'milk and eggs', 1)
  meet(phone, laptop)
  note.write(phone, note.bodyOf(phone), 'oat milk and eggs', 2)
  note.write(laptop, note.bodyOf(laptop), 'milk and six eggs', 2)
  meet(phone, laptop)
  expect(note.bodyOf(phone).toString()).toBe('oat milk and six eggs')
  expect(note.bodyOf(laptop).toString()).toBe('oat milk and six eggs')
})

test('a word that is put together letter by letter undoes nothing that came meanwhile', () => {
  const doc = new Y.Doc()
  const body = note.bodyOf(doc)
  note.write(doc, body, 'one three', 1)
  const others: Y.YTextEvent['delta'][] = []
  body.observe((event) => others.push(event.delta))
  const since = { shown: body.toString(), others }
  note.write(doc, body, 'zero, one three', 2)
  note.write(doc, body, 'one two three', 3, since)
  expect(body.toString()).toBe('zero, one two three')
})

test('a tick lands on the item that was ticked, whatever the other device did to the list', () => {
  const [phone, laptop] = [new Y.Doc(), new Y.Doc()]
  for (const item of ['milk', 'eggs', 'bread']) note.addItem(phone, item, item, 1)
  meet(phone, laptop)
  note.removeItem(phone, 'milk', 2)
  note.addItem(phone, 'tea', 'tea', 2)
  note.tick(laptop, 'eggs', true, 2)
  note.tick(laptop, 'milk', true, 2)
  meet(phone, laptop)
  expect(note.checklist(laptop)).toEqual(note.checklist(phone))
  expect(note.checklist(phone).map(({ id, done }) => [id, done])).toEqual([['eggs', true], ['bread', false], ['tea', false]])
})

test('a note that was thrown away while another device wrote in it can be taken back, with what was written', () => {
  const [phone, laptop] = [new Y.Doc(), new Y.Doc()]
  note.begin(phone, 1)
  meet(phone, laptop)
  note.bin(phone, true, 2)
  note.write(laptop, note.bodyOf(laptop), 'important', 2)
  meet(phone, laptop)
  expect(note.summaryOf(ID, laptop).binned).toBe(true)
  note.bin(laptop, false, 3)
  meet(phone, laptop)
  expect(note.summaryOf(ID, phone)).toMatchObject({ binned: false, preview: 'important' })
})

test('a checklist has a longest, and its items too', () => {
  const doc = new Y.Doc()
  for (let n = 0; n < note.ITEMS_MAX; n++) expect(note.addItem(doc, String(n), 'x', 1)).toBe(true)
  expect(note.addItem(doc, 'more', 'x', 1)).toBe(false)
  note.rewordItem(doc, '0', 'y'.repeat(note.LINE_LEN_MAX + 1), 1)
  expect(note.checklist(doc)[0]?.text).toHaveLength(note.LINE_LEN_MAX)
})

test('what was deleted takes no room, and changes may come twice and in any order', () => {
  const doc = new Y.Doc()
  const updates: Uint8Array[] = []
  doc.on('update', (update: Uint8Array) => updates.push(update))
  note.write(doc, note.bodyOf(doc), 'x'.repeat(10_000), 1)
  note.write(doc, note.bodyOf(doc), 'short', 2)
  const state = note.merged(...updates)
  expect(state.length).toBeLessThan(500)
  const other = new Y.Doc()
  for (const update of [...[...updates].reverse(), state, ...updates]) Y.applyUpdate(other, update)
  expect(note.bodyOf(other).toString()).toBe('short')
})

test('typing does not fill the note with times', () => {
  const doc = new Y.Doc()
  for (let n = 1; n <= 100; n++) note.write(doc, note.bodyOf(doc), 'x'.repeat(n), 1_000_000 + n)
  expect(note.summaryOf(ID, doc).editedAt).toBe(1_000_001)
  note.write(doc, note.bodyOf(doc), 'later', 1_020_000)
  expect(note.summaryOf(ID, doc).editedAt).toBe(1_020_000)
})

test('a blob says which note and what changed, and nothing else is taken for one', () => {
  const doc = new Y.Doc()
  note.write(doc, note.titleOf(doc), 'groceries', 1)
  const update = Y.encodeStateAsUpdate(doc)
  const blob = encode({ note: ID, update })
  expect(decode(blob)).toEqual({ note: ID, update })
  expect(decode(Uint8Array.of(2, ...blob.slice(1)))).toBe('tooNew')
  expect(decode(blob.slice(0, 17))).toBe('damaged')
  expect(decode(encode({ note: ASK, update: new Uint8Array() }))).toBe('ask')
  expect(decode(blob.slice(0, -1))).toBe('damaged')
  expect(decode(new Uint8Array())).toBe('damaged')
  expect(() => encode({ note: 'not one', update })).toThrow(TypeError)
})
