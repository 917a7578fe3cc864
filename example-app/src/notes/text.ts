/** What changed in a text, as a shared text wants to hear it: one place, so much taken out, this put in. */

/** A change at one place. */
export interface Splice {
  /** Where. */
  at: number
  /** How many UTF-16 units go. */
  remove: number
  /** What comes instead. */
  insert: string
}

/** A change as a shared text tells it. */
export type Delta = { retain?: number | undefined; insert?: unknown; delete?: number | undefined }[]

/**
 * The one splice that makes `after` of `before`; undefined if they are the same. It never cuts a character in two that
 * takes two units, such as an emoji: a shared text would keep neither half.
 */
export function splice(before: string, after: string): Splice | undefined {
  if (before === after) return undefined
  const shorter = Math.min(before.length, after.length)
  let start = 0
  while (start < shorter && before[start] === after[start]) start++
  let end = 0
  while (end < shorter - start && before[before.length - 1 - end] === after[after.length - 1 - end]) end++
  if (start > 0 && isHigh(before, start - 1)) start--
  if (end > 0 && isLow(before, before.length - end)) end--
  return { at: start, remove: before.length - end - start, insert: after.slice(start, after.length - end) }
}

/** Where a caret stands after somebody else's change, if it is to stay beside the same character. */
export function caretAfter(caret: number, delta: Delta): number {
  let place = 0
  for (const { retain, insert, delete: removed } of delta) {
    if (place > caret) break
    if (retain !== undefined) place += retain
    if (typeof insert === 'string') {
      if (place < caret) caret += insert.length
      place += insert.length
    }
    if (removed !== undefined && place < caret) caret = Math.max(place, caret - removed)
  }
  return caret
}

/** The same splice after others' changes that came before it was known. */
export function moved(change: Splice, others: Delta[]): Splice {
  const start = others.reduce(caretAfter, change.at)
  const end = others.reduce(caretAfter, change.at + change.remove)
  return { ...change, at: start, remove: Math.max(0, end - start) }
}

const isHigh = (text: string, index: number): boolean => (text.charCodeAt(index) & 0xfc00) === 0xd800
const isLow = (text: string, index: number): boolean => (text.charCodeAt(index) & 0xfc00) === 0xdc00
