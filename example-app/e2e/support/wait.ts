/** Waiting for what comes by itself. */

/** A person would have given up. */
const WAIT_MS_MAX = 20_000
const LOOK_EVERY_MS = 50

/** Something, or nothing yet. */
type Look<T> = T | undefined | null | false

/** What `look` finds, as soon as it finds something. */
export async function until<T>(what: string, look: () => Look<T> | Promise<Look<T>>, ms = WAIT_MS_MAX): Promise<T> {
  const end = performance.now() + ms
  let last: unknown
  for (;;) {
    try {
      const found = await look()
      if (found !== undefined && found !== null && found !== false) return found
      last = undefined
    } catch (cause) {
      // A page that is being drawn anew.
      last = cause
    }
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`, { cause: last })
    await sleep(LOOK_EVERY_MS)
  }
}

/** Later. */
export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
