/** What people type, paste and scan. */

import { expect, test } from 'vitest'

import { asTyped, inviteOf, readInvite } from '../src/sync/invite.js'

const PAYLOAD = 'lQGoQUJDREVGR0jEIAUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFkbR'
const LINK = `zerok-notes://join#${PAYLOAD}`

test.each([
  ['8F2K-ABCD-EFGH-JKMN', '8F2K-ABCD-EFGH-JKMN'],
  [' 8f2k abcd efgh jkmn\n', '8F2K-ABCD-EFGH-JKMN'],
  ['8F2KABCDEFGHJKMN', '8F2K-ABCD-EFGH-JKMN'],
  ['oOiI-lLbc-defg-hjkm', '0011-11BC-DEFG-HJKM'],
])('a code: %j', (text, invite) => {
  expect(readInvite(text)).toEqual({ kind: 'code', invite })
})

test.each([
  [LINK, LINK],
  [`Here you are: ${LINK}\nSee you!`, LINK],
  [`https://relay.example.org/join#${PAYLOAD}`, `https://relay.example.org/join#${PAYLOAD}`],
  [`https://relay.example.org/join#zerok-notes:${PAYLOAD}`, `https://relay.example.org/join#zerok-notes:${PAYLOAD}`],
])('a link: %j', (text, invite) => {
  expect(readInvite(text)).toEqual({ kind: 'link', invite })
})

test.each([
  ['', 'partial'],
  ['8F2K-ABCD', 'partial'],
  ['8F2K-ABCD-EFGH-JKMNP', 'unknown'],
  ['8F2K-ABCD-EFGH-JKMU', 'unknown'],
  ['https://example.org/', 'unknown'],
  ['zerok-notes://join#short', 'unknown'],
  ['x'.repeat(5000), 'unknown'],
])('neither: %j', (text, kind) => {
  expect(readInvite(text)).toEqual({ kind })
})

test('a code is put into groups while it is typed, and other text is left alone', () => {
  expect(asTyped('8f2ka')).toBe('8F2K-A')
  expect(asTyped('8F2K-A')).toBe('8F2K-A')
  expect(asTyped(LINK)).toBe(LINK)
})

test("the app opens its own scheme's invites alone", () => {
  expect(inviteOf(LINK, 'zerok-notes')).toBe(LINK)
  expect(inviteOf(`other://join#${PAYLOAD}`, 'zerok-notes')).toBeUndefined()
  expect(inviteOf('zerok-notes://else#x', 'zerok-notes')).toBeUndefined()
})
