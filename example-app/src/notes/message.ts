/**
 * What a blob says: which note, and what changed in it.
 *
 * ```text
 * version (1) | note (16) | Yjs update
 * ```
 * A note of nothing but zeros, and no update, asks for everything. The sync carries bytes and looks at none of them; this is the app's own format, and its version is the app's.
 */

import * as Y from 'yjs'

/** A change of one note. */
export interface Message {
  /** Which: a UUID. */
  note: string
  /** What changed, as Yjs has it. */
  update: Uint8Array
}

/** A device misses changes that no relay has any more, and asks the others to publish every note whole. */
export type Ask = 'ask'

/** Stands for the note where it is {@link Ask}. */
export const ASK = '00000000-0000-0000-0000-000000000000'

/** Why a blob can't be read here. Of a newer version it may be later, once the app is. */
export type Unreadable = 'tooNew' | 'damaged'

const VERSION = 1
const HEAD_LEN = 17

/** The blob of a message. */
export function encode({ note, update }: Message): Uint8Array {
  const blob = new Uint8Array(HEAD_LEN + update.length)
  blob[0] = VERSION
  blob.set(bytesOf(note), 1)
  blob.set(update, HEAD_LEN)
  return blob
}

/** The message of a blob, or why there is none. It comes from another device: anything may be in it. */
export function decode(blob: Uint8Array): Message | Ask | Unreadable {
  if (blob.length < HEAD_LEN || blob[0] === 0) return 'damaged'
  if (blob[0] !== VERSION) return 'tooNew'
  if (blob.length === HEAD_LEN) return idOf(blob.subarray(1)) === ASK ? 'ask' : 'damaged'
  const update = blob.slice(HEAD_LEN)
  if (!isSound(update)) return 'damaged'
  return { note: idOf(blob.subarray(1, HEAD_LEN)), update }
}

/** Whether bytes are something that Yjs can read. */
export function isSound(update: Uint8Array): boolean {
  try {
    Y.decodeUpdate(update)
    return true
  } catch {
    return false
  }
}

/** A note's name as bytes. */
export function bytesOf(id: string): Uint8Array {
  const hex = id.replaceAll('-', '')
  if (!/^[0-9a-f]{32}$/.test(hex)) throw new TypeError('a note is named by a UUID')
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16))
}

/** And back. */
export function idOf(bytes: Uint8Array): string {
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
