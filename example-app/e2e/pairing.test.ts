/** Two computers that get to know one another, by each of the ways there are. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

import { until } from './support/wait.js'
import { agree, connect, showInvite, world } from './support/world.js'

test('two devices are connected by the code on the screen, and what is written on one is on the other', async () => {
  const { relay, device } = world()
  const carrier = await relay()
  const [desk, lap] = await Promise.all([device('desk', carrier), device('lap', carrier)])

  await desk.note('Shopping', 'milk')
  expect(await desk.badge()).toBe('On this device only')
  await connect(desk, lap)

  await lap.openNote('Shopping')
  await lap.finds('Text', 'milk')
  await lap.write('Text', ' and bread')
  await desk.finds('Text', 'milk and bread')
  await desk.write('Text', '!')
  await lap.finds('Text', 'milk and bread!')
  await Promise.all([desk.shows('Synced'), lap.shows('Synced')])
})

test('a device joins by a picture of the other’s screen', async () => {
  const { folder, relay, device } = world()
  const carrier = await relay()
  const [desk, lap] = await Promise.all([device('desk', carrier), device('lap', carrier)])
  await desk.note('Shopping', 'milk')
  await showInvite(desk)
  const picture = join(folder, 'screen.png')
  await desk.pictureInto(picture)

  await lap.settings()
  await lap.press('Join a device that has a code')
  await lap.write('Choose a picture of the QR code', picture)
  await agree(desk, lap)
  await lap.openNote('Shopping')
})

test('a picture without an invitation is no way in, and says so', async () => {
  const { folder, relay, device } = world()
  const lap = await device('lap', await relay())
  await lap.settings()
  await lap.press('Join a device that has a code')
  const nothing = join(folder, 'nothing.png')
  await lap.pictureInto(nothing)
  await lap.write('Choose a picture of the QR code', nothing)
  await lap.sees('There is no QR code in this picture that can be read.')
  const text = join(folder, 'text.png')
  writeFileSync(text, 'no picture at all')
  await lap.write('Choose a picture of the QR code', text)
  await lap.sees('This file is no picture that can be read here.')
})

test('the camera is offered where there is one, and shows what it sees', async () => {
  const { newcomer } = world()
  const [without, having] = await Promise.all([newcomer('without'), newcomer('having', { camera: true })])
  for (const notes of [without, having]) {
    await notes.settings()
    await notes.press('Join a device that has a code')
  }
  await having.press('Use the camera')
  await until('the camera’s picture is there', () =>
    having.page.run<boolean>(`() => document.querySelector('video')?.videoWidth > 0 && !document.querySelector('video').paused`),
  )
  await having.picture('camera')
  expect(await without.hasButton('Use the camera')).toBe(false)
})

test('a wrong code is said to be wrong on both screens, and the right one is burnt by it', async () => {
  const { relay, device } = world()
  const carrier = await relay()
  const [desk, lap] = await Promise.all([device('desk', carrier), device('lap', carrier)])
  const code = await showInvite(desk)
  const last = code.endsWith('0') ? '1' : '0'
  await lap.settings()
  await lap.press('Join a device that has a code')
  await lap.fill('Code or link', code.slice(0, -1) + last)
  await lap.press('Join')
  await Promise.all([lap.sees('That did not work'), desk.sees('That did not work')])
  await lap.press('Back')
  await lap.press('Join a device that has a code')
  await lap.fill('Code or link', code)
  await lap.press('Join')
  await lap.sees('There is no invitation with this code.')
})

test('whoever sees other digits says no, and neither side has anything of the other', async () => {
  const { relay, device } = world()
  const carrier = await relay()
  const [desk, lap] = await Promise.all([device('desk', carrier), device('lap', carrier)])
  await desk.note('Diary', 'nobody’s business')
  const code = await showInvite(desk)
  await lap.settings()
  await lap.press('Join a device that has a code')
  await lap.fill('Code or link', code)
  await lap.press('Join')
  expect(await lap.digits()).toBe(await desk.digits())
  await lap.press('Yes, the same')
  await lap.sees('Now say yes on')
  await desk.press('No, stop')
  await lap.sees('It was cancelled, here or on the other device. Nothing was shared.')
  await lap.press('Back')
  await lap.press('Close')
  expect(await lap.badge()).toBe('On this device only')
  expect(await lap.titles()).toEqual([])
})
