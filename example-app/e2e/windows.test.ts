/** How the app is opened: by a link, twice, in two windows, without a keychain. */

import { expect, test } from 'vitest'

import { agree, pair, showInvite, world } from './support/world.js'

test('two windows of one app show the same notes and the same badge', async () => {
  const { desk } = await pair(world())
  await desk.note('Plan', 'one')
  const [first] = await desk.page.windows()
  await desk.press('New window')
  const second = await desk.otherWindow(first)
  await desk.page.use(second)
  await desk.openNote('Plan')
  await desk.finds('Text', 'one')
  await desk.write('Text', ', two')
  await desk.shows('Synced')
  await desk.page.use(first ?? '')
  await desk.finds('Text', 'one, two')
  await desk.shows('Synced')
  // The engine is the app's, not a window's.
  await desk.page.closeWindow()
  await desk.page.use(second)
  await desk.write('Text', ', three')
  await desk.shows('Synced')
})

test('a link opens the app with its invitation, whether it runs or not', async () => {
  const { relay, device, computer } = world()
  const carrier = await relay()
  const desk = await device('desk', carrier)
  await desk.note('Plan', 'one')
  await showInvite(desk)
  const cold = await desk.inviteLink()

  const lap = await computer('lap')
  await lap.open(cold)
  await lap.sees('You opened an invitation.')
  await lap.press('Join')
  await agree(desk, lap)
  await lap.openNote('Plan')

  const phone = await device('phone', carrier)
  await showInvite(desk)
  phone.follow(await desk.inviteLink())
  await phone.sees('You opened an invitation.')
  await phone.press('Join')
  await agree(desk, phone)
  await phone.openNote('Plan')
  expect(phone.machine.processes.running('example-app')).toHaveLength(1)
})

test('without a keychain it says what to do, and notes are written all the same', async () => {
  const { newcomer } = world()
  const desk = await newcomer('desk', { keychain: false })
  await desk.note('Plan', 'one')
  await desk.settings()
  await desk.press('Start here, and connect another device')
  await desk.sees('The system’s keychain cannot be used. Unlock it, and try again.')
})
