/**
 * Every state that a person may see, in the light and in the dark: as a picture to look at, and read by a screen reader's
 * rules (axe).
 */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { describe, expect, test } from 'vitest'

import type { Kind } from './support/machine.js'
import type { Notes } from './support/notes.js'
import { showInvite, world } from './support/world.js'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

const DRESSES: [string, Kind][] = [
  ['light', {}],
  ['dark', { dark: true }],
]

/** Leaves a picture, and has the page read. */
async function look(notes: Notes, name: string): Promise<void> {
  await notes.picture(name)
  await notes.page.run(`() => { if (!window.axe) { ${AXE} } }`)
  const found = await notes.page.later<string[]>(
    `() => window.axe.run(document.querySelector('dialog[open]') ?? document).then(({ violations }) =>
      violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html, failureSummary }) => html.slice(0, 200) + ' ' + failureSummary).join(' | ')))`,
  )
  expect(found, name).toEqual([])
}

describe.each(DRESSES)('%s', (dress, kind) => {
  test('everything can be read, by everybody', async () => {
    const { relay, device } = world()
    const carrier = await relay()
    const [desk, lap] = await Promise.all([device('desk', carrier, kind), device('lap', carrier, kind)])
    const see = (notes: Notes, name: string): Promise<void> => look(notes, `${dress} ${name}`)

    await see(desk, '01 first run')
    await desk.note('Shopping', 'For the weekend, if it does not rain.')
    for (const item of ['milk', 'bread', 'a very long line that does not fit into the narrow part of the list on the left']) {
      await desk.fill('New item', item)
      await desk.press('Add')
    }
    await desk.tick('milk')
    await see(desk, '02 a note')
    await desk.settings()
    await see(desk, '03 sync, before')
    await desk.press('Relay settings')
    await see(desk, '04 relay settings')
    await desk.press('Close')

    const code = await showInvite(desk)
    await see(desk, '05 invitation')
    await lap.settings()
    await lap.press('Join a device that has a code')
    await see(lap, '06 joining')
    await lap.fill('Code or link', 'not a code')
    await see(lap, '07 no code')
    await lap.fill('Code or link', code)
    await see(lap, '08 a code')
    await lap.press('Join')
    await desk.digits()
    await lap.digits()
    await see(desk, '09 digits')
    await lap.press('Yes, the same')
    await see(lap, '10 one side agreed')
    await desk.press('Yes, the same')
    await desk.sees('has joined')
    await see(desk, '11 connected')
    await desk.press('Done')
    await see(desk, '12 devices')
    await desk.press(`Remove ${(await desk.deviceNames())[1] ?? ''}`)
    await see(desk, '13 removing')
    await desk.press('Cancel')
    await desk.press('Close')
    await lap.sees('has joined')
    await lap.press('Done')
    await lap.press('Close')

    await desk.shows('Synced')
    await see(desk, '14 synced')
    await desk.settings()
    await desk.press('Is something wrong?')
    await desk.press('Look')
    await desk.sees('Everything that came from')
    await see(desk, '14 synced, checkup')
    await desk.press('Close')
    carrier.hang()
    await desk.write('Text', ' Or if it does.')
    await desk.shows('Syncing')
    await see(desk, '15 syncing')
    await desk.shows('Offline')
    await see(desk, '16 offline')
    carrier.wakeUp()
    await desk.shows('Synced')
    await desk.press('Move to bin')
    await desk.press('Bin (1)')
    await see(desk, '17 the bin')

    await desk.settings()
    await desk.press('Leave your devices')
    await see(desk, '18 leaving')
    await desk.press('Stay')
    await desk.press(`Remove ${(await desk.deviceNames())[1] ?? ''}`)
    await desk.press('Remove')
    await lap.sees('This device was removed from your devices.')
    await see(lap, '19 removed')
    await lap.press('What to do')
    await see(lap, '20 removed, settings')
  })

  test('it fits into a narrow window', async () => {
    const { relay, device } = world()
    const phone = await device('phone', await relay(), { ...kind, screen: '400x760x24' })
    await phone.page.resize(400, 740)
    await look(phone, `${dress} narrow 1 first run`)
    await phone.note('Shopping', 'For the weekend')
    await look(phone, `${dress} narrow 2 a note`)
    await phone.press('← All notes')
    await look(phone, `${dress} narrow 3 notes`)
    await showInvite(phone)
    await look(phone, `${dress} narrow 4 invitation`)
  })
})

test('a note is written and a pairing begun with the keyboard alone', async () => {
  const { relay, device } = world()
  const desk = await device('desk', await relay())
  const [TAB, ENTER, ESCAPE, CONTROL] = ['\uE004', '\uE007', '\uE00C', '\uE009']
  await desk.page.press(CONTROL, 'n')
  await desk.types('Shopping')
  await desk.page.press(TAB)
  await desk.types('milk')
  await desk.finds('Title', 'Shopping')
  await desk.finds('Text', 'milk')
  await desk.reach('Sync: On this device only. Open settings', TAB)
  await desk.page.press(ENTER)
  await desk.sees('There is no account.')
  await desk.reach('Join a device that has a code', TAB)
  await desk.page.press(ENTER)
  await desk.types('0123456789abcdef')
  await desk.finds('Code or link', '0123-4567-89AB-CDEF')
  await desk.page.press(ESCAPE)
  expect(await desk.focused()).toBe('Sync: On this device only. Open settings')
})
