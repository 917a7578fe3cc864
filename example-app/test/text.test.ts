/** Texts: what a person typed becomes one splice, and a caret stays where it was. */

import { expect, test } from 'vitest'

import { caretAfter, splice } from '../src/notes/text.js'

test.each([
  ['same', 'same', undefined],
  ['', 'new', { at: 0, remove: 0, insert: 'new' }],
  ['gone', '', { at: 0, remove: 4, insert: '' }],
  ['milk, eggs', 'milk, six eggs', { at: 6, remove: 0, insert: 'six ' }],
  ['aaa', 'aaaa', { at: 3, remove: 0, insert: 'a' }],
  ['one two three', 'one three', { at: 5, remove: 4, insert: '' }],
])('%j to %j', (before, after, wanted) => {
  expect(splice(before, after)).toEqual(wanted)
})

test('a splice never cuts an emoji in two', () => {
  // 😀 and 😁 have the same first half; 🀀 and 😀 the same second one.
  for (const [before, after] of [
    ['x😀y', 'x😁y'],
    ['x🀀y', 'x😀y'],
    ['😀', '😁'],
  ] as const) {
    const change = splice(before, after)
    expect(change?.insert).toBe(after.replace('x', '').replace('y', ''))
    const { at, remove, insert } = change ?? { at: 0, remove: 0, insert: '' }
    expect(before.slice(0, at) + insert + before.slice(at + remove)).toBe(after)
  }
})

test.each([
  ['an insertion before it moves it on', 5, [{ retain: 2 }, { insert: 'abc' }], 8],
  ['one after it does not', 5, [{ retain: 7 }, { insert: 'abc' }], 5],
  ['nor one right at it: what the person types goes before', 5, [{ retain: 5 }, { insert: 'abc' }], 5],
  ['a deletion before it moves it back', 5, [{ retain: 1 }, { delete: 2 }], 3],
  ['one around it leaves it where that began', 5, [{ retain: 3 }, { delete: 9 }], 3],
  ['several', 6, [{ insert: 'ab' }, { retain: 3 }, { delete: 1 }], 7],
])('a caret: %s', (_, caret, delta, wanted) => {
  expect(caretAfter(caret, delta)).toBe(wanted)
})
