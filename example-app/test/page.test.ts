/** The page that a relay shows for an invite, as the relay has it: what it opens, and what its picture says. */

import { beforeAll, expect, test } from 'vitest'
import { prepareZXingModule, readBarcodes } from 'zxing-wasm/reader'
import reader from 'zxing-wasm/reader/zxing_reader.wasm?url&inline'

import html from '../../relay/src/http/join/page.html?raw'
import script from '../../relay/src/http/join/page.js?raw'
import { inviteOf } from '../src/sync/invite.js'
import { SCHEME } from '../src/sync/links.js'

const INVITE = 'lQGoQUJDREVGR0jEIAUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFkbR'

beforeAll(() => {
  const bytes = Uint8Array.from(atob(reader.slice(reader.indexOf(',') + 1)), (char) => char.charCodeAt(0))
  prepareZXingModule({ overrides: { wasmBinary: bytes.buffer } })
})

/** The page at an address that ends like this, of a relay with these schemes. */
function opened(hash: string, schemes = `zerok ${SCHEME}`): void {
  history.replaceState(null, '', `/join${hash}`)
  const page = new DOMParser().parseFromString(html.replace('{schemes}', schemes), 'text/html')
  document.replaceChild(document.adoptNode(page.documentElement), document.documentElement)
  new Function(script)()
}

const element = <T extends Element = HTMLElement>(id: string): T => document.querySelector<T>(`#${id}`) as T
const shown = (): string[] => ['broken', 'unlisted', 'invite'].filter((id) => !element(id).hidden)
const link = (): string | null => element('open').getAttribute('href')

/** What a camera reads off the picture. */
async function scanned(): Promise<string | undefined> {
  const picture = element<SVGElement>('picture')
  const side = Number(picture.getAttribute('viewBox')?.split(' ')[3])
  const pixels = 4
  const data = new Uint8ClampedArray((side * pixels) ** 2 * 4).fill(255)
  for (const [, x, y] of picture.querySelector('path')?.getAttribute('d')?.matchAll(/M(\d+) (\d+)h1v1h-1z/g) ?? []) {
    for (let row = 0; row < pixels; row++) {
      const start = 4 * ((Number(y) * pixels + row) * side * pixels + Number(x) * pixels)
      for (let at = start; at < start + 4 * pixels; at += 4) data.fill(0, at, at + 3)
    }
  }
  const picked = { data, width: side * pixels, height: side * pixels, colorSpace: 'srgb' } as ImageData
  return (await readBarcodes(picked, { formats: ['QRCode'] }))[0]?.text
}

test.each([
  [`#${INVITE}`, `zerok://join#${INVITE}`],
  [`#${SCHEME}:${INVITE}`, `${SCHEME}://join#${INVITE}`],
  [`#Zerok-Notes:${INVITE}`, `${SCHEME}://join#${INVITE}`],
])('%s opens an app', async (hash, expected) => {
  opened(hash)
  expect(shown()).toEqual(['invite'])
  expect(link()).toBe(expected)
  expect(element<HTMLTextAreaElement>('text').value).toBe(expected)
  expect(await scanned()).toBe(expected)
})

test('an invite that names no app is for the first that the relay lists, and this app takes what is for it', () => {
  opened(`#${INVITE}`, `${SCHEME} zerok`)
  expect(inviteOf(link() ?? '', SCHEME)).toBe(`${SCHEME}://join#${INVITE}`)
})

test.each(['javascript', 'data', 'https', 'file', 'vbscript', 'other', 'zero', 'zerok.x', 'x.zerok', 'a'.repeat(64)])(
  'nothing is opened by %s, which the relay does not list',
  (scheme) => {
    opened(`#${scheme}:${INVITE}`)
    expect(shown()).toEqual(['unlisted'])
    expect(document.querySelectorAll('[href]:not(link)')).toHaveLength(0)
    expect(element<HTMLTextAreaElement>('text').value).toBe('')
  },
)

test.each([
  '',
  '#',
  `#${INVITE.slice(0, 39)}`,
  `#zerok:${INVITE.slice(0, 39)}`,
  `#:${INVITE}`,
  `#zerok:zerok:${INVITE}`,
  `#zerok zerok-notes:${INVITE}`,
  `#zerok://join#${INVITE}`,
  `#1:${INVITE}`,
  `#${'a'.repeat(65)}:${INVITE}`,
  `#java%0Ascript:${INVITE}`,
  `#${INVITE}%0A`,
  `#${INVITE}"`,
  `#${INVITE}<b>`,
  `#${'A'.repeat(4097)}`,
])('no whole invite: %s', (hash) => {
  opened(hash)
  expect(shown()).toEqual(['broken'])
  expect(document.querySelectorAll('[href]:not(link)')).toHaveLength(0)
  expect(element<HTMLTextAreaElement>('text').value).toBe('')
})

/** How many bytes a QR code of each size holds, by the standard: those that the page draws and a link needs. */
const ROOM = [
  53, 78, 106, 134, 154, 192, 230, 271, 321, 367, 425, 458, 520, 586, 644, 718, 792, 858, 929, 1003, 1091, 1171, 1273,
]

test.each(ROOM.map((room, at) => [at + 3, room]))('a picture of version %d holds %d bytes', async (version, room) => {
  const invite = INVITE.repeat(21).slice(0, room - 'zerok://join#'.length)
  opened(`#${invite}`)
  expect(await scanned()).toBe(`zerok://join#${invite}`)
  expect(element('picture').getAttribute('viewBox')).toBe(`0 0 ${4 * version + 25} ${4 * version + 25}`)
})

test('an invite that no picture holds is there as a link and as text', () => {
  const invite = 'A'.repeat(Math.max(...ROOM) - 'zerok://join#'.length + 1)
  opened(`#${invite}`)
  expect([link(), element<HTMLTextAreaElement>('text').value]).toEqual([`zerok://join#${invite}`, `zerok://join#${invite}`])
  expect(element('picture').hasAttribute('hidden')).toBe(true)
})

test('another invite at the same address takes the place of the first', async () => {
  opened(`#${INVITE}`)
  const changed = () => new Promise((told) => addEventListener('hashchange', told, { once: true }))
  for (const [hash, expected] of [[`#other:${INVITE}`, null], [`#${SCHEME}:${INVITE}`, `${SCHEME}://join#${INVITE}`]]) {
    const told = changed()
    location.hash = hash ?? ''
    await told
    expect(link()).toBe(expected)
  }
})

test('the text is copied on demand, where the browser lets it be', async () => {
  opened(`#${INVITE}`)
  expect(element('copy').hidden).toBe(true)
  const copied: string[] = []
  Object.defineProperty(navigator, 'clipboard', {
    configurable: true,
    value: { writeText: async (text: string) => void copied.push(text) },
  })
  try {
    opened(`#${INVITE}`)
    element('copy').click()
    await Promise.resolve()
    expect(copied).toEqual([`zerok://join#${INVITE}`])
  } finally {
    Reflect.deleteProperty(navigator, 'clipboard')
  }
})
