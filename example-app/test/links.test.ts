/** Links that open the app: at its start, while it runs, and when its page is loaded anew. */

import { clearMocks, mockIPC, mockWindows } from '@tauri-apps/api/mocks'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { followLinks } from '../src/sync/links.js'

const LINK = 'zerok-notes://join#lQGoQUJDREVGR0jEIAUFBQUFBQUFBQUF'
const OTHER = 'zerok-notes://join#mRGoQUJDREVGR0jEIAUFBQUFBQUFBQUF'

let opened: string[]
let tell: (urls: string[]) => void

/** A page of the app, which was started with these addresses. */
function page(startedWith: string[] | null, label = 'main'): void {
  opened = []
  mockWindows(label)
  mockIPC((command, args) => {
    if (command === 'plugin:deep-link|get_current') return startedWith
    if (command === 'plugin:event|listen') {
      const { handler } = args as { handler: number }
      const internals = (window as unknown as { __TAURI_INTERNALS__: { runCallback: (id: number, data: unknown) => void } })
        .__TAURI_INTERNALS__
      tell = (payload) => internals.runCallback(handler, { event: 'deep-link://new-url', id: 1, payload })
    }
    return 1
  })
  followLinks(
    (invite) => opened.push(invite),
    (_, held) => held(),
  )
}

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 30))

beforeEach(() => sessionStorage.clear())
afterEach(clearMocks)

test('the link that started the app is there although no page was, and once', async () => {
  page([LINK])
  await vi.waitFor(() => expect(opened).toEqual([LINK]))
  page([LINK])
  await settled()
  expect(opened).toEqual([])
})

test('a link while the app runs opens each time, and not again when the page is loaded anew', async () => {
  page(null)
  await settled()
  tell([OTHER])
  tell([OTHER])
  expect(opened).toEqual([OTHER, OTHER])
  await settled()
  page([OTHER])
  await settled()
  expect(opened).toEqual([])
})

test('a window that takes over later is not opened by the old link', async () => {
  page([LINK], 'notes-2')
  await settled()
  expect(opened).toEqual([])
  tell([OTHER])
  expect(opened).toEqual([OTHER])
})

test('what is no invite of this app opens nothing, and no invite is kept', async () => {
  page(['https://example.org/', 'zerok-notes://join#x'])
  await settled()
  expect(opened).toEqual([])
  page([LINK])
  await vi.waitFor(() => expect(opened).toEqual([LINK]))
  expect(JSON.stringify({ ...sessionStorage, ...localStorage })).not.toContain('lQGo')
})
