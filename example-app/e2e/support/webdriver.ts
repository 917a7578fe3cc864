/** As much of the WebDriver protocol as the stories take: https://www.w3.org/TR/webdriver2/. */

/** The key under which a reference to an element travels. */
const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'
/** What takes longer than this will not come. */
const ANSWER_MS_MAX = 30_000

/** An element of the page. */
export interface Element {
  readonly [ELEMENT]: string
}

/** A program under a driver's control. */
export class WebDriver {
  private constructor(
    private readonly driver: string,
    private readonly session: string,
  ) {}

  /** Starts the program by the driver at that address. */
  static async open(driver: string, application: string, args: string[]): Promise<WebDriver> {
    const capabilities = { alwaysMatch: { 'tauri:options': { application, args } } }
    const { sessionId } = (await call(driver, 'POST', '/session', { capabilities })) as { sessionId: string }
    return new WebDriver(driver, sessionId)
  }

  /** Runs a function of that source in the page, and has what it returns. */
  run<T>(source: string, ...args: unknown[]): Promise<T> {
    return this.#call('POST', '/execute/sync', { script: `return (${source})(...arguments)`, args }) as Promise<T>
  }

  /** The element that a function finds, if it finds one. */
  async find(source: string, ...args: unknown[]): Promise<Element | null> {
    return (await this.run<Element | null | undefined>(source, ...args)) ?? null
  }

  /** The same as {@link run} for one that returns a promise. */
  async later<T>(source: string, ...args: unknown[]): Promise<T> {
    const script = `const done = [...arguments].pop(); (${source})(...[...arguments].slice(0, -1)).then((value) => done({ value }), (error) => done({ error: String(error?.message ?? error) }))`
    const { value, error } = (await this.#call('POST', '/execute/async', { script, args })) as { value: T; error?: string }
    if (error !== undefined) throw new Error(error)
    return value
  }

  /** Clicks it as a person would: not where something else is in the way. */
  async click(element: Element): Promise<void> {
    await this.#call('POST', `/element/${element[ELEMENT]}/click`, {})
  }

  /** Types into it. Into a file's field, the file's name. */
  async type(element: Element, text: string): Promise<void> {
    await this.#call('POST', `/element/${element[ELEMENT]}/value`, { text })
  }

  /** Empties it. */
  async clear(element: Element): Promise<void> {
    await this.#call('POST', `/element/${element[ELEMENT]}/clear`, {})
  }

  /** Presses these keys together, where the keyboard is. */
  async press(...keys: string[]): Promise<void> {
    const actions = [
      ...keys.map((value) => ({ type: 'keyDown', value })),
      ...keys.toReversed().map((value) => ({ type: 'keyUp', value })),
    ]
    await this.#call('POST', '/actions', { actions: [{ type: 'key', id: 'keyboard', actions }] })
  }

  /** The program's windows. */
  windows(): Promise<string[]> {
    return this.#call('GET', '/window/handles') as Promise<string[]>
  }

  /** Goes on in another window. */
  async use(handle: string): Promise<void> {
    await this.#call('POST', '/window', { handle })
  }

  /** Makes the window that large. */
  async resize(width: number, height: number): Promise<void> {
    await this.#call('POST', '/window/rect', { x: 0, y: 0, width, height })
  }

  /** Closes the window, as its own button does. */
  async closeWindow(): Promise<void> {
    await this.#call('DELETE', '/window')
  }

  #call(method: string, path: string, body?: unknown): Promise<unknown> {
    return call(this.driver, method, `/session/${this.session}${path}`, body)
  }
}

async function call(driver: string, method: string, path: string, body?: unknown): Promise<unknown> {
  const response = await fetch(driver + path, {
    method,
    signal: AbortSignal.timeout(ANSWER_MS_MAX),
    ...(body !== undefined && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  })
  const { value } = (await response.json()) as { value: { error?: string; message?: string } | null }
  if (value?.error !== undefined) throw new Error(`${method} ${path}: ${value.error}: ${value.message ?? ''}`)
  return value
}
