/** Relays that lose what they had, go, or do not tell everybody the same. */

import { expect, test } from 'vitest'

import { sleep, until } from './support/wait.js'
import { pair, world } from './support/world.js'

test('a relay that lost everything is named, and filled again without a click', async () => {
  const { relay, desk, lap } = await pair(world())
  await desk.note('Plan', 'one')
  await lap.openNote('Plan')
  await lap.finds('Text', 'one')
  await Promise.all([desk.shows('Synced'), lap.shows('Synced')])
  const kept = await relay.blobs()
  expect(kept).toBeGreaterThan(0)

  await relay.stop()
  relay.wipe()
  await relay.start()
  await Promise.all([desk.sees('The relay had lost notes'), lap.sees('The relay had lost notes')])
  await Promise.all([desk.shows('Synced'), lap.shows('Synced')])
  await desk.sees('has given back all it has')
  await desk.picture('healed')
  await until('the relay has all it had', async () => (await relay.blobs()) >= kept)
  await desk.press('All right')

  await desk.write('Text', ', two')
  await lap.finds('Text', 'one, two')
})

test('with two relays, one may go: the other carries on, and a checkup names the one', async () => {
  const made = world()
  const { relay, desk, lap } = await pair(made)
  const second = await made.relay()
  for (const notes of [desk, lap]) await notes.useRelay([relay.address, second.address].join(' '))
  await desk.note('Plan', 'one')
  await Promise.all([desk.shows('Synced'), lap.shows('Synced')])

  await relay.stop()
  await desk.write('Text', ', two')
  await lap.openNote('Plan')
  await lap.finds('Text', 'one, two')
  await desk.settings()
  await desk.press('Is something wrong?')
  await desk.press('Look')
  await desk.sees(`Relay ${relay.address}:`)
  await desk.sees('Problem')
  await desk.picture('one of two relays')
  await desk.press('Close')

  await relay.start()
  await Promise.all([desk.shows('Synced'), lap.shows('Synced')])
})

test('a relay that shows one device less than another has read there is named, until it has all again', async () => {
  const made = world()
  const { relay, desk, lap } = await pair(made)
  const honest = await made.relay()
  for (const notes of [desk, lap]) await notes.useRelay([relay.address, honest.address].join(' '))
  await desk.note('Plan', 'one')
  await lap.openNote('Plan')
  await Promise.all([desk.shows('Synced'), lap.shows('Synced')])
  const copy = await relay.copy()
  await lap.close()
  await desk.write('Text', ', two')
  await desk.shows('Synced')
  // How far it has read each relay it says half a minute later.
  await sleep(35_000)
  await desk.close()
  await relay.restore(copy)

  await lap.open()
  await lap.openNote('Plan')
  await lap.finds('Text', 'one, two')
  // What is on its way is no lie: it is given half a minute.
  await lap.sees('Relay 1 shows this device less than another of yours has read there.', 60_000)
  await lap.picture('a relay that shows less')
  await lap.settings()
  await lap.press('Is something wrong?')
  await lap.press('Look')
  await lap.sees('Problem')
  await lap.picture('a checkup of a relay that shows less')
  await lap.press('Close')

  await desk.open()
  await Promise.all([desk.shows('Synced'), lap.shows('Synced')])
  await until('nobody is blamed any more', async () => !(await lap.text()).includes('shows this device less'))
}, 240_000)
