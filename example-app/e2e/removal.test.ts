/** Devices that go. */

import { expect, test } from 'vitest'

import { pair, world } from './support/world.js'

test('a device that is removed is told at once, keeps its notes, and gets nothing more', async () => {
  const { desk, lap } = await pair(world())
  await lap.settings()
  await lap.press(`Rename ${await lap.ownName()}`)
  await lap.fill('Name of the device', 'Laptop')
  await lap.press('Rename')
  await lap.press('Close')
  await desk.note('Plan', 'one')
  await lap.openNote('Plan')

  await desk.settings()
  await desk.sees('Laptop')
  await desk.press('Remove Laptop')
  await desk.sees('It gets nothing that is written from now on.')
  await desk.press('Remove')
  await lap.sees('This device was removed from your devices.')
  await desk.sees('Only this one so far.')
  await desk.press('Close')

  await desk.write('Text', ', two')
  await desk.shows('Synced')
  await lap.finds('Text', 'one')
  expect(await lap.titles()).toEqual(['Plan'])

  await lap.press('What to do')
  await lap.press('Start anew')
  await lap.press('Leave')
  await lap.sees('Your notes are on this device only.')
  await lap.press('Close')
  expect(await lap.badge()).toBe('On this device only')
  expect(await lap.titles()).toEqual(['Plan'])
})

test('a device that leaves keeps its notes, and the other sees it go', async () => {
  const { desk, lap } = await pair(world())
  await desk.note('Plan', 'one')
  await lap.openNote('Plan')
  await Promise.all([desk.shows('Synced'), lap.shows('Synced')])
  await lap.settings()
  await lap.press('Leave your devices')
  await lap.press('Leave')
  await lap.sees('Your notes are on this device only.')
  await lap.press('Close')
  expect(await lap.titles()).toEqual(['Plan'])
  await desk.settings()
  await desk.sees('Only this one so far.')
})
