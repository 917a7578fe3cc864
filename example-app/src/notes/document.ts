/**
 * A note: a Yjs document with a title, a text, and a checklist.
 *
 * Every field is shared: two people may write in one title at once. An item of the checklist keeps its identity when it is
 * ticked or moved past by others, so a tick lands on what the person ticked. A note that is thrown away is marked, not
 * deleted: another device may be writing in it just now, and would bring back half of it.
 */

import * as Y from 'yjs'

import { type Delta, moved, splice } from './text.js'

/** Where changes come from that a person makes in this window. Those that come with another origin are saved already. */
export const HERE = 'here'

/** How long a text may be, in UTF-16 units: so that a whole note always fits into one blob. */
export const TEXT_LEN_MAX = 100_000
/** The same for titles and items. */
export const LINE_LEN_MAX = 500
/** Items of one checklist. */
export const ITEMS_MAX = 500
const EDITED_EVERY_MS = 10_000

/** A line of a checklist, as it is shown. */
export interface Item {
  id: string
  text: string
  done: boolean
}

/** A note as a list shows it. */
export interface Summary {
  id: string
  title: string
  /** The beginning of its text or checklist. */
  preview: string
  items: number
  done: number
  /** When somebody last wrote in it, by that device's clock: for the order of the list, and for nothing else. */
  editedAt: number
  binned: boolean
}

type SharedItem = Y.Map<string | boolean>

/** The note's title, which may be shown in a field. */
export const titleOf = (doc: Y.Doc): Y.Text => doc.getText('title')
/** The note's text. */
export const bodyOf = (doc: Y.Doc): Y.Text => doc.getText('body')
const itemsOf = (doc: Y.Doc): Y.Array<SharedItem> => doc.getArray('items')
const aboutOf = (doc: Y.Doc): Y.Map<number | boolean> => doc.getMap('about')

/**
 * Makes a shared text say what a person made of it. What others changed since the person's field last showed it all is not
 * undone by that.
 */
export function write(doc: Y.Doc, text: Y.Text, wanted: string, now: number, since?: { shown: string; others: Delta[] }): void {
  const typed = splice(since ? since.shown : text.toString(), wanted)
  if (!typed) return
  const change = since ? moved(typed, since.others) : typed
  edit(doc, now, () => {
    if (change.remove > 0) text.delete(change.at, change.remove)
    if (change.insert) text.insert(change.at, change.insert)
  })
}

/** The checklist, in order. */
export function checklist(doc: Y.Doc): Item[] {
  return itemsOf(doc).map((item) => ({
    id: String(item.get('id') ?? ''),
    text: String(item.get('text') ?? ''),
    done: item.get('done') === true,
  }))
}

/** Adds an item at the end. False if the list is as long as it can be. */
export function addItem(doc: Y.Doc, id: string, text: string, now: number): boolean {
  const items = itemsOf(doc)
  if (items.length >= ITEMS_MAX) return false
  edit(doc, now, () => {
    const item: SharedItem = new Y.Map()
    item.set('id', id)
    item.set('text', text.slice(0, LINE_LEN_MAX))
    item.set('done', false)
    items.push([item])
  })
  return true
}

/** Ticks an item, or takes the tick away. An item that is gone stays gone. */
export function tick(doc: Y.Doc, id: string, done: boolean, now: number): void {
  edit(doc, now, () => itemOf(doc, id)?.set('done', done))
}

/** Gives an item another text. */
export function rewordItem(doc: Y.Doc, id: string, text: string, now: number): void {
  const item = itemOf(doc, id)
  if (item && item.get('text') !== text) edit(doc, now, () => item.set('text', text.slice(0, LINE_LEN_MAX)))
}

/** Takes an item off the list. */
export function removeItem(doc: Y.Doc, id: string, now: number): void {
  const items = itemsOf(doc)
  edit(doc, now, () => {
    const index = items.toArray().findIndex((item) => item.get('id') === id)
    if (index >= 0) items.delete(index)
  })
}

/** Throws the note away, or takes it back. */
export function bin(doc: Y.Doc, binned: boolean, now: number): void {
  edit(doc, now, () => aboutOf(doc).set('binned', binned))
}

/** Makes a note that is there although nothing is in it yet. */
export function begin(doc: Y.Doc, now: number): void {
  edit(doc, now, () => aboutOf(doc).set('binned', false))
}

/** What a list shows of a note. */
export function summaryOf(id: string, doc: Y.Doc): Summary {
  const items = checklist(doc)
  const title = titleOf(doc).toString().trim()
  const body = bodyOf(doc).toString().trim()
  const editedAt = aboutOf(doc).get('editedAt')
  return {
    id,
    title,
    preview: (body || items.map((item) => item.text).join(', ')).slice(0, 140),
    items: items.length,
    done: items.filter((item) => item.done).length,
    editedAt: typeof editedAt === 'number' ? editedAt : 0,
    binned: aboutOf(doc).get('binned') === true,
  }
}

/** One state of several: whatever order they come in, and however often. What was deleted takes no room in it. */
export function merged(...updates: Uint8Array[]): Uint8Array {
  const doc = new Y.Doc()
  doc.transact(() => updates.forEach((update) => Y.applyUpdate(doc, update)))
  const state = Y.encodeStateAsUpdate(doc)
  doc.destroy()
  return state
}

function itemOf(doc: Y.Doc, id: string): SharedItem | undefined {
  return itemsOf(doc)
    .toArray()
    .find((item) => item.get('id') === id)
}

function edit(doc: Y.Doc, now: number, act: () => void): void {
  doc.transact(() => {
    act()
    // Not at every keystroke: each time is kept for ever, as everything in a shared document is.
    const last = aboutOf(doc).get('editedAt')
    if (typeof last !== 'number' || Math.abs(now - last) >= EDITED_EVERY_MS) aboutOf(doc).set('editedAt', now)
  }, HERE)
}
