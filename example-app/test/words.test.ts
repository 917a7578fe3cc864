/** What people are told. */

import { ERROR_CODES, SyncError } from 'tauri-plugin-sync-api'
import { expect, test } from 'vitest'

import { errorSentence, remaining, seenWords, statusSentence } from '../src/sync/words.js'
import { status } from './support/plugin.js'

test.each([...ERROR_CODES])('%s is a sentence', (code) => {
  expect(errorSentence(new SyncError(code, 'the plugin says this'))).toMatch(/^[A-Z].*[.!?]$/)
})

test('a device without others is not called offline', () => {
  expect(statusSentence(status())).toBe('Your notes are on this device only.')
})

test('how it stands: what counts most comes first', () => {
  const paired = status({ groupId: 'g' })
  expect(statusSentence({ ...paired, badge: 'pending', pending: 2, unread: 3 })).toBe('Syncing: 2 to send, 3 to receive.')
  expect(statusSentence({ ...paired, badge: 'failed', removed: true })).toContain('removed')
  const full = { relayId: 'r', connection: 'connected', pending: 1, unread: 0, refilling: false, problem: 'group_full' } as const
  expect(statusSentence({ ...paired, badge: 'failed', relays: [full] })).toContain('no more room')
  expect(statusSentence({ ...paired, badge: 'failed', parked: [{ blobId: 'b', reason: 'too_new' }] })).toContain('1 change from')
})

test('times', () => {
  expect([remaining(600_000), remaining(61_001), remaining(-5)]).toEqual(['10:00', '1:02', '0:00'])
  const now = 10_000_000_000
  expect(seenWords(true, null, now)).toBe('Online')
  expect(seenWords(false, null, now)).toBe('Not seen yet')
  expect(seenWords(false, now - 3 * 3_600_000, now)).toBe('Seen 3 hours ago')
  expect(seenWords(false, now + 5_000, now)).toBe('Seen just now')
})
