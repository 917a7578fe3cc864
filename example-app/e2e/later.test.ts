/** Devices that come when there is much already, or nobody any more. */

import { join } from 'node:path'
import { expect, test } from 'vitest'

import { until } from './support/wait.js'
import { connect, pair, world } from './support/world.js'

test('who has lost every device has the notes again by the page and the code of a kit', async () => {
  const here = world()
  const page = join(here.folder, 'page.png')
  const { relay, desk, lap } = await pair(here)
  await desk.note('Shopping', 'milk')
  await lap.openNote('Shopping')
  await desk.settings()
  await desk.press('Make a recovery kit')
  const text = await desk.sees(/ZEROK:KIT:1:[ 0-9A-Z]+(?= The code)/)
  const code = await desk.sees(/[0-9A-Z]{4}(-[0-9A-Z]{4}){6}/)
  await desk.pictureInto(page)
  await desk.picture('kit')
  await desk.press('I have both')
  await desk.press('Close')
  await Promise.all([desk.shows('Synced'), lap.shows('Synced')])
  await Promise.all([desk.kill(), lap.kill()])

  const tablet = await here.device('tablet', relay)
  await tablet.settings()
  await tablet.press('I have a recovery kit')
  await tablet.write('Or a picture of its QR code', page)
  await tablet.finds('Letters of the page', text.replaceAll(' ', ''))
  await tablet.fill('Code', `${code.startsWith('0') ? '1' : '0'}${code.slice(1)}`)
  await tablet.press('Get my notes back')
  await tablet.sees('Compare it with what you wrote down.')
  await tablet.fill('Code', code)
  await tablet.press('Get my notes back')
  await tablet.sees('Your notes are on their way to this device.')
  await tablet.picture('kit used')
  await tablet.press('Go on')
  await tablet.press('Close')
  await tablet.openNote('Shopping')
  await tablet.finds('Text', 'milk')
  await tablet.shows('Synced')
})

test('notes are given all at once for whoever joins later', async () => {
  const { relay, device } = world()
  const carrier = await relay()
  const [desk, lap] = await Promise.all([device('desk', carrier, { snapshotAfter: 2 }), device('lap', carrier)])
  await connect(desk, lap)
  await desk.note('Shopping', 'milk')
  await lap.openNote('Shopping')
  await lap.write('Text', ' and bread')
  await until('the relay keeps all notes as one', async () => (await carrier.snapshots()) > 0)
  const tablet = await device('tablet', carrier)
  await connect(desk, tablet)
  await tablet.openNote('Shopping')
  await tablet.finds('Text', 'milk and bread')
  await tablet.shows('Synced')
  expect(await tablet.titles()).toEqual(['Shopping'])
})
