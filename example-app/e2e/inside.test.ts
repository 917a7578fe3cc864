/** What a person, somebody who helps, and a developer can find out about the sync. */

import { expect, test } from 'vitest'

import { pair, world } from './support/world.js'

test('a note says where it is, a report says how it all stands, and the inspector shows it', async () => {
  const { desk, lap } = await pair(world())
  await desk.note('Plan', 'one')
  await lap.openNote('Plan')
  await lap.finds('Text', 'one')
  // The other says what it has a few seconds after things have been quiet.
  await desk.sees(/On the relay and on \S.*\./, 90_000)
  await lap.sees('on all your devices.')
  await desk.picture('where a note is')

  await desk.settings()
  await desk.press('Is something wrong?')
  await desk.press('Look')
  await desk.sees('It names no person, device, relay or note.', 30_000)
  expect(await desk.hasButton('Sync inspector')).toBe(false)
  await desk.press('Copy a report')
  await desk.sees(/Copied: paste it|This is the report:/, 30_000)
  const report = await desk.reads('Report')
  expect(JSON.parse(report)).toMatchObject({ fails_with: null, profile: { status: { badge: 'synced' } } })
  expect(report).not.toMatch(/Plan|127\.0\.0\.1/)
  await desk.picture('a report')
  await desk.press('Close')

  await desk.page.run(`() => localStorage.setItem('inspector', 'on')`)
  await desk.settings()
  await desk.press('Sync inspector')
  await desk.sees('Newest blobs')
  await desk.sees(/1 of 1/)
  await desk.picture('the inspector')
})
