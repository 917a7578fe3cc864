/** README's quick start, in the app that somebody made by it. Only where there is one: `cargo xtask e2e --full` makes it. */

import { join } from 'node:path'
import { expect, test } from 'vitest'

import { Machine } from './support/machine.js'
import { Relay } from './support/relay.js'
import { until } from './support/wait.js'
import { WebDriver } from './support/webdriver.js'
import { world } from './support/world.js'

const APP = process.env['FRESH_APP']

/** The relay that the quick start's configuration names. */
const RELAY_PORT = 8080

test.skipIf(APP === undefined)('two of a new app are in step', async ({ onTestFinished }) => {
  const { folder } = world()
  const relay = await Relay.start(join(folder, 'relay'), RELAY_PORT)
  onTestFinished(() => relay.end())
  const [one, other] = await Promise.all(
    ['one', 'other'].map(async (name) => {
      const machine = await Machine.start(join(folder, name))
      onTestFinished(() => machine.end())
      return WebDriver.open(await machine.driver(), APP ?? '', [])
    }),
  )
  if (!one || !other) throw new Error('two were started')

  await press(one, 'Connect another device')
  const code = await reads(one, /[0-9A-Z]{4}(-[0-9A-Z]{4}){3}/)
  await type(other, 'Code', code)
  await press(other, 'Join')
  expect(await reads(one, /[0-9]{6}/)).toBe(await reads(other, /[0-9]{6}/))
  await Promise.all([press(one, 'Yes'), press(other, 'Yes')])
  await Promise.all([reads(one, /Connected/), reads(other, /Connected/)])

  await type(one, 'A line', 'from one')
  await press(one, 'Add')
  await reads(other, /from one/)
  await type(other, 'A line', 'from the other')
  await press(other, 'Add')
  await reads(one, /from one\s+from the other/)
  await Promise.all([reads(one, /synced/), reads(other, /synced/)])
})

function press(page: WebDriver, name: string): Promise<boolean> {
  return until(`a button “${name}”`, async () => {
    const button = await page.find(`(name) => [...document.querySelectorAll('button')].find((it) => it.innerText === name)`, name)
    if (button) await page.click(button)
    return button !== null
  })
}

async function type(page: WebDriver, label: string, text: string): Promise<void> {
  const field = await until(`a field “${label}”`, () => page.find(`(label) => document.querySelector('[aria-label="' + label + '"]')`, label))
  await page.type(field, text)
}

function reads(page: WebDriver, what: RegExp): Promise<string> {
  return until(String(what), async () => what.exec(await page.run<string>('() => document.body.innerText'))?.[0])
}
