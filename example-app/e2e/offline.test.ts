/** Relays and apps that go and come back. Nothing that was written is lost, and nothing is called synced that is not. */

import { expect, test } from 'vitest'

import { until } from './support/wait.js'
import { pair, world } from './support/world.js'

test('what two devices write while the relay is away comes together once it is back', async () => {
  const { relay, desk, lap } = await pair(world())
  await desk.note('Plan', 'one')
  await lap.openNote('Plan')
  await lap.finds('Text', 'one')
  await Promise.all([desk.shows('Synced'), lap.shows('Synced')])

  await relay.stop()
  await Promise.all([desk.shows('Offline'), lap.shows('Offline')])
  await desk.write('Text', ' by desk')
  await lap.write('Text', ' by lap')
  await desk.fill('New item', 'of the desk')
  await desk.press('Add')
  await lap.fill('New item', 'of the lap')
  await lap.press('Add')
  await desk.sees('Changes here will be sent when you are online')

  await relay.start()
  await Promise.all([desk.shows('Synced'), lap.shows('Synced')])
  await until('both lines are on the desk', async () => (await desk.items()).length === 2)
  const text = await desk.reads('Text')
  expect(text).toContain('one')
  expect(text).toContain(' by desk')
  expect(text).toContain(' by lap')
  await lap.finds('Text', text)
  expect(await lap.items()).toEqual(await desk.items())
  expect((await lap.items()).toSorted()).toEqual(['of the desk', 'of the lap'])

  // Said a few seconds after things have been quiet.
  await desk.settings()
  await desk.sees('Has everything from here')
  await desk.picture('the other has everything')
})

test('the badge goes from synced to pending to offline and back, as the relay hangs and wakes up', async () => {
  const { relay, desk, lap } = await pair(world())
  await desk.note('Plan')
  await desk.shows('Synced')

  relay.hang()
  await desk.write('Text', 'not there yet')
  const seen = await desk.shows('Offline')
  expect(seen).toContain('Syncing')
  expect(seen.slice(seen.indexOf('Syncing'))).not.toContain('Synced')

  relay.wakeUp()
  await desk.shows('Synced')
  await lap.openNote('Plan')
  await lap.finds('Text', 'not there yet')
})

test('an app that is killed with changes it could not send has them when it is started again, and sends them', async () => {
  const { relay, desk, lap } = await pair(world())
  await desk.note('Plan', 'one')
  await desk.shows('Synced')
  await relay.stop()
  await desk.shows('Offline')
  await desk.write('Text', ', two')
  // Saved, which is what a note's badge speaks of.
  await desk.sees('Changes here will be sent when you are online')

  await desk.kill()
  await desk.open()
  await desk.openNote('Plan')
  await desk.finds('Text', 'one, two')
  await desk.shows('Offline')
  await relay.start()
  await desk.shows('Synced')
  await lap.openNote('Plan')
  await lap.finds('Text', 'one, two')
})

test('a window closes at once, also when the relay hangs, and what was written then is sent later', async () => {
  const { relay, desk, lap } = await pair(world())
  await desk.note('Plan', 'one')
  await desk.shows('Synced')
  relay.hang()
  await desk.write('Text', ', two')
  // Keys that the page has not come to yet are nothing that was written.
  await desk.finds('Text', 'one, two')
  await desk.sees('Changes on their way to your other devices')
  const took = await desk.close()
  console.info(`the app was gone ${took.toFixed(0)} ms after its window was closed`)
  // It is promised 600, and never hangs; a busy machine may take a while to let it go.
  expect(took).toBeLessThan(5000)

  relay.wakeUp()
  await desk.open()
  await desk.shows('Synced')
  await lap.openNote('Plan')
  await lap.finds('Text', 'one, two')
})
