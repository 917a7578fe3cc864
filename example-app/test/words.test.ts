/** What people are told. */

import { type BlobState, type Device, ERROR_CODES, type Relay, type Repaired, SyncError } from 'tauri-plugin-sync-api'
import { expect, test } from 'vitest'

import { contradictedSentences, copyWords, diskSentence, errorSentence, findingWords, forgetfulSentence, hasWords, relaySentence, remaining, repairedWords, seenWords, sizeWords, statusSentence, whereSentence } from '../src/sync/words.js'
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
  const full: Relay = { relayId: 'r', connection: 'connected', pending: 1, unread: 0, refilling: false, room: null, problem: 'group_full', contradictions: [] }
  expect(statusSentence({ ...paired, badge: 'failed', relays: [full] })).toContain('no more room')
  expect(statusSentence({ ...paired, badge: 'failed', parked: [{ blobId: 'b', reason: 'too_new' }] })).toContain('1 change from')
})

test('a relay that lost something is named, and what became of it', () => {
  const relay: Relay = { relayId: 'b', connection: 'connected', pending: 0, unread: 0, refilling: true, room: null, problem: null, contradictions: [] }
  const relays = [{ ...relay, relayId: 'a', refilling: false }, relay]
  expect(forgetfulSentence('b', relays)).toMatch(/^Relay 2 had lost .* is giving back all it has\.$/)
  expect(forgetfulSentence('a', relays)).toContain('Relay 1 had lost')
  expect(forgetfulSentence('a', [{ ...relay, relayId: 'a', refilling: false }])).toMatch(/^The relay had lost .* has given back/)
})

test('a relay that shows two devices different things is named', () => {
  const relay = { relayId: 'r', connection: 'connected', pending: 0, unread: 0, refilling: false, room: null, problem: null } as const
  expect(relaySentence({ ...relay, contradictions: [] })).toBeUndefined()
  const withheld = { deviceId: 'd', cursor: 7, kind: 'withheld' } as const
  expect(relaySentence({ ...relay, contradictions: [withheld] })).toContain('shows this device less than')
  const forked = { ...withheld, kind: 'forked' } as const
  expect(relaySentence({ ...relay, contradictions: [withheld, forked] })).toContain('something else than')
  const other = { ...relay, relayId: 's', contradictions: [withheld] }
  expect(contradictedSentences([{ ...relay, contradictions: [] }, other])).toEqual([expect.stringMatching(/^Relay 2 shows this device less than/)])
  expect(contradictedSentences([other])).toEqual([expect.stringMatching(/^The relay shows/)])
})

test('how much room sync takes, in a unit that fits', () => {
  expect([0, 1023, 1024, 1024 ** 2, 100 * 1024 ** 2, 1.5 * 1024 ** 3].map(sizeWords)).toEqual(['0 bytes', '1023 bytes', '1 KB', '1.0 MB', '100 MB', '1.5 GB'])
  const disk = { database: 3 * 1024 ** 2, free: 0, envelopes: 9, waiting: 0, parked: 0, snapshots: 0 }
  expect(diskSentence({ disk, headCursor: 1 })).toBe('1 change takes 3.0 MB on this device.')
  expect(diskSentence({ disk: { ...disk, parked: 2048 }, headCursor: 7 })).toBe('7 changes take 3.0 MB on this device, 2 KB of it not readable here.')
  expect(diskSentence({ disk: null, headCursor: 7 })).toBeUndefined()
})

test('what was mended, and what was not', () => {
  const part: Repaired = { part: 'envelopes', relay: null, found: 0, mended: 0, code: null, lost: [], text: 'the plugin says this' }
  expect(repairedWords(part)).toEqual({ about: 'From your other devices', sentence: 'Nothing to mend.' })
  expect(repairedWords({ ...part, found: 2, mended: 2 }).sentence).toBe('2 of 2 mended.')
  expect(repairedWords({ ...part, part: 'own', found: 1, code: 'store_corrupt' })).toEqual({ about: 'From this device', sentence: 'The plugin says this.' })
  const relay: Repaired = { ...part, part: 'relay', relay: 'https://r' }
  expect(repairedWords({ ...relay, found: 1, mended: 1 })).toEqual({ about: 'Relay https://r', sentence: 'It lacked 1 change, and has it now.' })
  expect(repairedWords({ ...relay, code: 'offline' }).sentence).toMatch(/^The relay cannot be reached/)
})

test('where a note is', () => {
  const device = (deviceId: string, name: string): Device => ({
    deviceId, name, platform: 'linux', joinedBy: null, copyOf: null, joinedAt: 0, online: false, lastSeen: null, receivedUpTo: null, appliedUpTo: null, behind: null, lost: 0, kit: false, this: deviceId === 'me',
  })
  const devices = [device('me', 'Desk'), device('a', 'Phone'), device('b', 'Laptop')]
  const own: BlobState = { cursor: 1, pushId: 'p', sender: 'me', own: true, relays: ['r'], relaysConfigured: 3, receivedBy: [], appliedBy: [], lostBy: [] }
  expect(whereSentence(own, devices)).toBe('On 1 of 3 relays, and on no other device yet.')
  expect(whereSentence({ ...own, relays: [], relaysConfigured: 1 }, devices)).toBe('On this device only.')
  expect(whereSentence({ ...own, relaysConfigured: 1, receivedBy: ['a'] }, devices)).toBe('On the relay and on Phone; not on Laptop yet.')
  expect(whereSentence({ ...own, relays: ['r', 's', 't'], receivedBy: ['a', 'b'] }, devices)).toBe('On all 3 relays and on Phone and Laptop.')
  const paper = { ...device('k', 'Recovery kit'), kit: true }
  expect(whereSentence({ ...own, relaysConfigured: 1, receivedBy: ['a', 'b'] }, [...devices, paper])).toBe('On the relay and on Phone and Laptop.')
  const theirs = { ...own, sender: 'a', own: false, relays: [], receivedBy: ['a'] }
  expect(whereSentence(theirs, devices)).toBe('Last changed on Phone; not on Laptop yet, as far as is known.')
  expect(whereSentence({ ...theirs, receivedBy: ['a', 'b'] }, devices)).toBe('Last changed on Phone; on all your devices.')
  const gone = { ...theirs, sender: 'removed', receivedBy: [] }
  expect(whereSentence(gone, devices)).toBe(
    'Last changed on a device that is none of yours any more; not on Phone and Laptop yet, as far as is known.',
  )
})

test('what a checkup found says what it is about, and what to do', () => {
  const relay = 'https://relay.example.org'
  expect(findingWords({ check: 'relay', relay, verdict: 'bad', code: 'offline', text: 'x' })).toEqual({
    about: `Relay ${relay}`,
    sentence: expect.stringContaining('Check the network'),
  })
  expect(findingWords({ check: 'store', relay: null, verdict: 'good', code: null, text: 'it is whole' })).toEqual({
    about: 'Storage',
    sentence: 'It is whole.',
  })
})

test('times', () => {
  expect([remaining(600_000), remaining(61_001), remaining(-5)]).toEqual(['10:00', '1:02', '0:00'])
  const now = 10_000_000_000
  expect(seenWords(true, null, now)).toBe('Online')
  expect(seenWords(false, null, now)).toBe('Not seen yet')
  expect(seenWords(false, now - 3 * 3_600_000, now)).toBe('Seen 3 hours ago')
  expect(seenWords(false, now + 5_000, now)).toBe('Seen just now')
})

test('what another device has, in words', () => {
  const other: Device = {
    deviceId: 'd',
    name: 'lap',
    platform: 'linux',
    joinedBy: null,
    copyOf: null,
    joinedAt: 0,
    online: false,
    lastSeen: null,
    receivedUpTo: 7,
    appliedUpTo: 5,
    behind: 0,
    lost: 0,
    kit: false,
    this: false,
  }
  expect(hasWords(other)).toBe('Has everything from here')
  expect(hasWords({ ...other, behind: 1 })).toBe('Still to get 1 change from here')
  expect(hasWords({ ...other, behind: 3, lost: 2 })).toBe('Still to get 3 changes from here')
  expect(hasWords({ ...other, lost: 1 })).toBe('Has everything from here but 1 old change it missed')
  expect(hasWords({ ...other, behind: null })).toBeUndefined()
  expect(hasWords({ ...other, this: true })).toBeUndefined()
})

test('what a copy is a copy of, in words', () => {
  const names = [
    { deviceId: 'd', name: 'lap' },
    { deviceId: 'e', name: 'desk' },
  ]
  expect(copyWords({ copyOf: 'd' }, names)).toBe('A copy of lap')
  expect(copyWords({ copyOf: 'gone' }, names)).toBe('A copy of a device that was removed')
  expect(copyWords({ copyOf: null }, names)).toBeUndefined()
})
