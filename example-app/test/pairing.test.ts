/** A pairing as a person sees it, against a plugin that is told what to say. */

import { clearMocks } from '@tauri-apps/api/mocks'
import { afterEach, beforeEach, expect, test } from 'vitest'

import { Pairing } from '../src/sync/pairing.svelte.js'
import { FakePlugin, failure } from './support/plugin.js'

const invite = { kind: 'invite', code: '8F2K-ABCD-EFGH-JKMN', link: 'l', qrSvg: '<svg/>', expiresAt: 1 } as const
const digits = { kind: 'digits', digits: '123456', name: 'laptop', platform: 'linux' } as const

let plugin: FakePlugin
let pairing: Pairing
let welcomed: number
beforeEach(() => {
  plugin = new FakePlugin()
  welcomed = 0
  pairing = new Pairing(() => welcomed++)
})
afterEach(clearMocks)

test('letting a device in: the code stays on the screen until the other one comes, then digits, then done', async () => {
  await pairing.invite()
  expect(pairing.step.kind).toBe('starting')
  plugin.pairing(invite)
  plugin.pairing({ kind: 'waiting' })
  expect(pairing.step).toMatchObject({ kind: 'invite', code: invite.code })
  plugin.pairing(digits)
  await pairing.same()
  expect(plugin.asked.at(-1)).toEqual(['approve', { digits: '123456' }])
  plugin.pairing({ kind: 'approved' })
  expect(pairing.step).toEqual({ kind: 'agreed', name: 'laptop' })
  plugin.pairing({ kind: 'joined', groupId: 'g', deviceId: 'd', name: 'laptop' })
  expect([pairing.step, welcomed, pairing.active]).toEqual([{ kind: 'done', name: 'laptop' }, 1, false])
})

test('joining: nobody is welcomed by the one that joins', async () => {
  await pairing.join('8F2K-ABCD-EFGH-JKMN')
  plugin.pairing({ kind: 'waiting' })
  expect(pairing.step.kind).toBe('searching')
  plugin.pairing(digits)
  await pairing.same()
  plugin.pairing({ kind: 'joined', groupId: 'g', deviceId: 'd', name: null })
  expect([pairing.step, welcomed]).toEqual([{ kind: 'done', name: null }, 0])
})

test('a code that cannot be one fails at once, with its code', async () => {
  plugin.fails['join'] = failure('invalid_code')
  await pairing.join('x')
  expect(pairing.step).toMatchObject({ kind: 'failed', error: { code: 'invalid_code' } })
})

test('digits that differ end it on both sides', async () => {
  await pairing.invite()
  plugin.pairing(digits)
  await pairing.different()
  expect(plugin.count('deny')).toBe(1)
  plugin.pairing({ kind: 'failed', code: 'pairing_denied', message: 'declined' })
  expect(pairing.step).toMatchObject({ kind: 'failed', error: { code: 'pairing_denied' } })
  await pairing.same()
  expect(plugin.count('approve')).toBe(0)
})

test('what was given up says nothing any more, also when another attempt runs', async () => {
  await pairing.invite()
  const old = plugin.pairing
  await pairing.stop()
  expect(plugin.count('cancel_invite')).toBe(1)
  old({ kind: 'failed', code: 'pairing_denied', message: 'declined' })
  expect(pairing.step.kind).toBe('idle')
  await pairing.invite()
  old(digits)
  expect(pairing.step.kind).toBe('starting')
})

test('putting away how it ended cancels nothing', async () => {
  await pairing.invite()
  plugin.pairing({ kind: 'joined', groupId: 'g', deviceId: 'd', name: 'laptop' })
  await pairing.stop()
  expect([pairing.step.kind, plugin.count('cancel_invite')]).toEqual(['idle', 0])
})
