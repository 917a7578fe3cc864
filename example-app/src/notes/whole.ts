/**
 * All notes as one, for a device that joins later: a snapshot, as the sync calls it.
 *
 * ```text
 * version (1) | for each note: note (16) | length (4, big endian) | its Yjs state
 * ```
 */

import type { StoredNote } from './database.js'
import { bytesOf, idOf, isSound } from './message.js'

const VERSION = 1
const HEAD_LEN = 20

/** The notes as bytes. */
export function encodeAll(notes: StoredNote[]): Uint8Array {
  const whole = new Uint8Array(notes.reduce((length, { state }) => length + HEAD_LEN + state.length, 1))
  const view = new DataView(whole.buffer)
  whole[0] = VERSION
  let at = 1
  for (const { id, state } of notes) {
    whole.set(bytesOf(id), at)
    view.setUint32(at + 16, state.length)
    whole.set(state, at + HEAD_LEN)
    at += HEAD_LEN + state.length
  }
  return whole
}

/** The notes in them; undefined if this version can't read them, or they are none. They come from another device. */
export function decodeAll(whole: Uint8Array): StoredNote[] | undefined {
  if (whole[0] !== VERSION) return undefined
  const view = new DataView(whole.buffer, whole.byteOffset, whole.byteLength)
  const notes: StoredNote[] = []
  for (let at = 1; at < whole.length; ) {
    if (at + HEAD_LEN > whole.length) return undefined
    const end = at + HEAD_LEN + view.getUint32(at + 16)
    const state = whole.slice(at + HEAD_LEN, end)
    if (end > whole.length || !isSound(state)) return undefined
    notes.push({ id: idOf(whole.subarray(at, at + 16)), state })
    at = end
  }
  return notes
}
