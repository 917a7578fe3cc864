/** Turns: nothing runs twice at once, and nothing that was asked for is left undone. */

import { afterEach, expect, test, vi } from 'vitest'

import { calmly, inTurns } from '../src/sync/turns.js'

afterEach(() => vi.useRealTimers())

test('what is asked for meanwhile is done once more, however often it is asked for', async () => {
  let running = 0
  let most = 0
  let done = 0
  const act = inTurns(async () => {
    most = Math.max(most, ++running)
    await Promise.resolve()
    running--
    done++
  })
  await Promise.all([act(), act(), act(), act()])
  expect([most, done]).toEqual([1, 2])
  await act()
  expect(done).toBe(3)
})

test('a failure reaches who asked, and the next turn is taken all the same', async () => {
  let times = 0
  const act = inTurns(async () => {
    await Promise.resolve()
    if (++times === 1) throw new Error('the first')
  })
  const [first, second] = await Promise.allSettled([act(), act()])
  expect([first.status, second.status]).toEqual(['rejected', 'fulfilled'])
})

test('who types without a pause is not put off for ever', () => {
  vi.useFakeTimers()
  let done = 0
  const ask = calmly(() => done++, 400, 2000)
  for (let n = 0; n < 100; n++) {
    ask()
    vi.advanceTimersByTime(100)
  }
  expect(done).toBeGreaterThanOrEqual(4)
  expect(done).toBeLessThanOrEqual(5)
  const before = done
  vi.advanceTimersByTime(1000)
  expect(done).toBeLessThanOrEqual(before + 1)
})
