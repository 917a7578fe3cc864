/** Doing things one after the other, in this window and among all of them. */

/** Holds something up until nobody else does it. */
export type Lock = (name: string, act: () => Promise<void>) => Promise<void>

/** Of all windows of the app. The system frees it when a window goes. */
export const amongWindows: Lock = (name, act) => navigator.locks.request(name, act)

/**
 * Does it when asked, and once more if it is asked again meanwhile, however often. Resolves when it was done from the
 * beginning to the end after the asking.
 */
export function inTurns(act: () => Promise<void>): () => Promise<void> {
  let current: Promise<void> | undefined
  let next: Promise<void> | undefined
  const start = (): Promise<void> => {
    next = undefined
    current = act().finally(() => (current = undefined))
    return current
  }
  return () => {
    if (!current) return start()
    next ??= current.then(start, start)
    return next
  }
}

/** Does it a while after the last asking, and no later than the longest while after the first. */
export function calmly(act: () => void, while_ms: number, longest_ms: number): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined
  let latest = 0
  return () => {
    const now = Date.now()
    if (timer === undefined) latest = now + longest_ms
    clearTimeout(timer)
    timer = setTimeout(() => {
      timer = undefined
      act()
    }, Math.max(0, Math.min(while_ms, latest - now)))
  }
}
