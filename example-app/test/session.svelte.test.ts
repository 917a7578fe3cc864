/** The notebook and the session as a window has them: two windows, one store, one plugin. */

import { clearMocks } from '@tauri-apps/api/mocks'
import { flushSync } from 'svelte'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import * as Y from 'yjs'

import { bodyOf, write } from '../src/notes/document.js'
import { decode, encode, type Message } from '../src/notes/message.js'
import { type Neighbours, Notebook } from '../src/notes/notebook.svelte.js'
import { NoteStore } from '../src/notes/store.js'
import { Session } from '../src/sync/session.svelte.js'
import type { Lock } from '../src/sync/turns.js'
import { FakePlugin, failure } from './support/plugin.js'

const NOTE = 'aaaaaaaa-0000-4000-8000-000000000001'

/** What the system does among windows: one after the other, by name. */
const queues = new Map<string, Promise<void>>()
const lock: Lock = (name, act) => {
  const turn = (queues.get(name) ?? Promise.resolve()).then(act, act)
  queues.set(name, turn)
  return turn
}

interface Window {
  notebook: Notebook
  session: Session
}

let count = 0
let plugin: FakePlugin
let store: NoteStore
let ends: (() => void)[]
let listeners: { window: number; hear: (changes: Message[]) => void }[]

beforeEach(async () => {
  plugin = new FakePlugin()
  store = await NoteStore.open(`session-${count++}`)
  ends = []
  listeners = []
})
afterEach(() => {
  for (const end of ends) end()
  clearMocks()
})

async function opened(): Promise<Window> {
  const window = listeners.length
  const neighbours: Neighbours = {
    tell: (changes) => listeners.filter((other) => other.window !== window).forEach(({ hear }) => hear(structuredClone(changes))),
    listen: (hear) => listeners.push({ window, hear }),
  }
  let made: Window | undefined
  ends.push(
    $effect.root(() => {
      const notebook: Notebook = new Notebook(store, neighbours, () => session.saved())
      const session: Session = new Session(
        store,
        (changes) => notebook.share(changes),
        lock,
      )
      made = { notebook, session }
    }),
  )
  flushSync()
  if (!made) throw new Error('an effect root runs at once')
  const { session, notebook } = made
  await notebook.open()
  await vi.waitFor(() => expect(session.sync.status).toBeDefined())
  flushSync()
  return made
}

const textOf = ({ notebook }: Window, note: string): string => bodyOf(notebook.doc(note) ?? new Y.Doc()).toString()

function writeIn({ notebook }: Window, note: string, text: string): void {
  const doc = notebook.doc(note)
  if (doc) write(doc, bodyOf(doc), text, Date.now())
}

function saying(text: string): Uint8Array {
  const doc = new Y.Doc()
  write(doc, bodyOf(doc), text, 1)
  return Y.encodeStateAsUpdate(doc)
}

test('what is written is on the disk, in the other window, and pushed together', async () => {
  plugin.inGroup('group')
  const [left, right] = [await opened(), await opened()]
  const note = left.notebook.add()
  for (const text of ['m', 'mi', 'mil', 'milk']) writeIn(left, note, text)
  await left.notebook.saved()
  expect(textOf(right, note)).toBe('milk')
  expect(right.notebook.notes.map(({ id }) => id)).toEqual([note])
  await vi.waitFor(() => expect(plugin.pushed).toHaveLength(1), { timeout: 3000 })
  expect(decode(plugin.pushed[0] as Uint8Array)).toMatchObject({ note })
  const later = await opened()
  expect(textOf(later, note)).toBe('milk')
})

test('what another device wrote appears in both windows and is not pushed again', async () => {
  plugin.inGroup('group')
  const [left, right] = [await opened(), await opened()]
  const cursor = plugin.receive(encode({ note: NOTE, update: saying('from the phone') }))
  plugin.tell({ kind: 'blobAvailable', cursor, pushId: 'p', sender: 's', late: false })
  await vi.waitFor(() => expect([textOf(left, NOTE), textOf(right, NOTE)]).toEqual(['from the phone', 'from the phone']))
  await vi.waitFor(() => expect(plugin.acked).toBe(1))
  expect(plugin.pushed).toEqual([])
})

test('a note says pending until it is on the relay, and failed if it never can be', async () => {
  plugin.inGroup('group')
  const window = await opened()
  const note = window.notebook.add()
  await window.notebook.saved()
  await vi.waitFor(() => expect(window.session.badgeOf(note)).toBe('pending'))
  await vi.waitFor(() => expect(plugin.pushed).toHaveLength(1), { timeout: 3000 })
  await vi.waitFor(async () => expect(await store.owes()).toBe(false))
  plugin.tell({ kind: 'statusChanged', status: plugin.inGroup('group') })
  flushSync()
  await vi.waitFor(() => expect(window.session.badgeOf(note)).toBe('synced'))
  plugin.fails['push'] = failure('blob_too_large')
  writeIn(window, note, 'much')
  await vi.waitFor(() => expect(window.session.badgeOf(note)).toBe('failed'), { timeout: 3000 })
})

test('a device that is removed says so and keeps its notes', async () => {
  plugin.inGroup('group')
  const window = await opened()
  const note = window.notebook.add()
  await window.notebook.saved()
  plugin.tell({ kind: 'statusChanged', status: plugin.inGroup('group', { removed: true, badge: 'failed' }) })
  flushSync()
  expect(window.session.sync.status?.removed).toBe(true)
  writeIn(window, note, 'still here')
  await window.notebook.saved()
  expect(await store.all()).toHaveLength(1)
})

test('a disk that refuses is tried again, and the window says so meanwhile', async () => {
  const window = await opened()
  const save = vi.spyOn(store, 'save').mockRejectedValueOnce(new DOMException('full', 'QuotaExceededError'))
  const note = window.notebook.add()
  await vi.waitFor(() => expect(window.notebook.unsaved).toBe(true))
  await vi.waitFor(() => expect(window.notebook.unsaved).toBe(false), { timeout: 4000 })
  expect([save.mock.calls.length, (await store.all()).map(({ id }) => id)]).toEqual([2, [note]])
})

