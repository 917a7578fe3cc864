/** The app as a person uses it: by what its buttons and fields are called, and what stands on the screen. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

import { APP } from './built.js'
import { type Kind, Machine } from './machine.js'
import { sleep, until } from './wait.js'
import { type Element, WebDriver } from './webdriver.js'

/** Where pictures of what people see are left, to be looked at. */
const PICTURES = resolve(import.meta.dirname, '../pictures')

/** What a dialog covers is not there. */
const SCOPE = `(document.querySelector('dialog[open]') ?? document.body)`
const shown = `(element) => element.checkVisibility() && !element.disabled`
const words = `(text) => text.replaceAll(/\\s+/g, ' ').trim()`

export class Notes {
  #page: WebDriver | undefined

  private constructor(
    readonly name: string,
    readonly machine: Machine,
  ) {}

  /** A computer on which the app was never started. */
  static async install(folder: string, name: string, kind: Kind = {}): Promise<Notes> {
    return new Notes(name, await Machine.start(join(folder, name), kind))
  }

  /** Starts it. */
  async open(...args: string[]): Promise<this> {
    this.#page = await WebDriver.open(await this.machine.driver(), APP, args)
    await until(`${this.name} is open`, () => this.page.run<boolean>(`() => document.querySelector('nav.list') !== null`))
    return this
  }

  /** Closes its window by the window's own button; when the process has gone, in milliseconds. */
  async close(): Promise<number> {
    if (this.machine.processes.running('example-app').length === 0) throw new Error('it is not open')
    const start = performance.now()
    const closing = this.page.closeWindow().catch(() => undefined)
    await until('the app has ended', () => this.machine.processes.running('example-app').length === 0)
    const took = performance.now() - start
    await closing
    this.#forget()
    return took
  }

  /** Its process ends, from one instruction to the next. */
  async kill(): Promise<void> {
    this.machine.processes.signal('SIGKILL', 'example-app')
    await until('the app has ended', () => this.machine.processes.running('example-app').length === 0)
    this.#forget()
  }

  #forget(): void {
    this.#page = undefined
    this.machine.restartDriver()
  }

  get page(): WebDriver {
    if (!this.#page) throw new Error(`${this.name} is not open`)
    return this.#page
  }

  /** Presses a button. */
  async press(name: string): Promise<void> {
    await until(`${this.name} has a button “${name}”`, async () => {
      const button = await this.#named('button, summary, [role=button]', name)
      if (button) await this.page.click(button)
      return button !== null
    })
  }

  /** There is such a button, now. */
  async hasButton(name: string): Promise<boolean> {
    return (await this.#named('button, summary, [role=button]', name)) !== null
  }

  /** Writes into a field what is to stand in it. */
  async fill(label: string, text: string): Promise<void> {
    const field = await this.field(label)
    await this.page.clear(field)
    await this.page.type(field, text)
  }

  /** Goes on writing in it. */
  async write(label: string, text: string): Promise<void> {
    await this.page.type(await this.field(label), text)
  }

  /** A field. */
  field(label: string): Promise<Element> {
    return until(`${this.name} has a field “${label}”`, () => this.#named('input, textarea', label))
  }

  /** What stands in it. */
  async reads(label: string): Promise<string> {
    return this.page.run<string>('(field) => field.value', await this.field(label))
  }

  /** Waits until this stands in it. */
  async finds(label: string, text: string): Promise<void> {
    await until(`“${label}” of ${this.name} says “${text}”`, async () => (await this.reads(label)) === text)
  }

  /** Everything that can be read. */
  text(): Promise<string> {
    return this.page.run<string>(`() => (${words})(${SCOPE}.innerText)`)
  }

  /** Waits until this can be read somewhere. */
  async sees(text: string | RegExp, ms?: number): Promise<string> {
    return until(
      `${this.name} sees ${String(text)}`,
      async () => {
        const all = await this.text()
        if (typeof text === 'string') return all.includes(text) && text
        return text.exec(all)?.[0]
      },
      ms,
    )
  }

  /** The app's badge. */
  badge(): Promise<string> {
    return this.page.run<string>(`() => document.querySelector('header .badge').textContent.replace(/^[^A-Za-z]+/, '').trim()`)
  }

  /** Waits for a badge; those before it, in their order. */
  async shows(badge: string, ms?: number): Promise<string[]> {
    const seen: string[] = []
    await until(
      `the badge of ${this.name} is “${badge}”`,
      async () => {
        const now = await this.badge()
        if (seen.at(-1) !== now) seen.push(now)
        return now === badge
      },
      ms,
    )
    return seen
  }

  /** Opens what there is to know and to set about sync. */
  async settings(): Promise<void> {
    const button = await until(`${this.name} has a badge`, () => this.#first('header .badge'))
    await this.page.click(button)
  }

  /** Uses this relay. */
  async useRelay(address: string): Promise<void> {
    await this.settings()
    await this.press('Relay settings')
    await this.fill('Addresses, one in a line', address)
    await this.press('Use these relays')
    await this.sees('These are used from now on.')
    await this.press('Close')
  }

  /** The six digits that two people compare. */
  digits(): Promise<string> {
    return until(`${this.name} shows digits`, async () =>
      this.page.run<string | null>(`() => document.querySelector('dialog[open] .digits')?.textContent.match(/[0-9]{6}/)?.[0]`),
    )
  }

  /** Writes a note. */
  async note(title: string, text = ''): Promise<void> {
    await this.press('New note')
    await this.fill('Title', title)
    if (text) await this.write('Text', text)
  }

  /** Opens a note from the list. */
  async openNote(title: string): Promise<void> {
    const note = await until(
      `${this.name} has a note “${title}”`,
      () =>
        this.page.run<Element | null>(
          `(title) => [...document.querySelectorAll('nav .note')].find((note) => note.querySelector('.title').textContent === title) ?? null`,
          title,
        ),
    )
    await this.page.click(note)
    await this.finds('Title', title)
  }

  /** The titles in the list. */
  titles(): Promise<string[]> {
    return this.page.run<string[]>(`() => [...document.querySelectorAll('nav .note .title')].map((title) => title.textContent)`)
  }

  /** The lines of the open note's checklist. */
  items(): Promise<string[]> {
    return this.page.run<string[]>(`() => [...document.querySelectorAll('[aria-label="Text of the item"]')].map((item) => item.value)`)
  }

  /** Ticks a line of the checklist. */
  async tick(item: string): Promise<void> {
    await this.page.click(await this.field(item))
  }

  /** The devices in the settings, as they are called. */
  deviceNames(): Promise<string[]> {
    return until(`${this.name} lists devices`, async () => {
      const names = await this.page.run<string[]>(`() => [...document.querySelectorAll('dialog .about strong')].map((name) => name.textContent)`)
      return names.length > 0 && names
    })
  }

  /** Types, where the keyboard is. */
  async types(text: string): Promise<void> {
    for (const letter of text) await this.page.press(letter)
  }

  /** What the keyboard is at. */
  focused(): Promise<string> {
    return this.page.run<string>(`() => document.activeElement.ariaLabel ?? (${words})(document.activeElement.innerText ?? '')`)
  }

  /** Presses a key until the keyboard is at the button of that name. */
  async reach(name: string, key: string): Promise<void> {
    for (let steps = 0; steps < 40; steps++) {
      if ((await this.focused()) === name) return
      await this.page.press(key)
    }
    throw new Error(`the keyboard does not reach “${name}”`)
  }

  /** What this device is called, of which the settings are open. */
  ownName(): Promise<string> {
    return until(`${this.name} has a name`, async () =>
      this.page.run<string | null>(
        `() => [...document.querySelectorAll('dialog .about')].find((row) => row.textContent.includes('(this device)'))?.querySelector('strong').textContent`,
      ),
    )
  }

  /** The link of the invitation that is shown, as “Copy as a link” copies it. */
  async inviteLink(): Promise<string> {
    await this.page.run(`() => { navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve() } }`)
    await this.press('Copy as a link')
    await this.sees('Copied.')
    return this.page.run<string>('() => window.copied')
  }

  /** Follows a link, as a browser on this computer does: by starting the app once more. */
  follow(link: string): void {
    this.machine.processes.start(APP, [link], this.machine.env)
  }

  /** A window that is not this one. */
  otherWindow(known: string | undefined): Promise<string> {
    return until(`${this.name} has another window`, async () => (await this.page.windows()).find((handle) => handle !== known))
  }

  /** Leaves a picture of the screen. */
  async picture(name: string): Promise<void> {
    mkdirSync(PICTURES, { recursive: true })
    await this.pictureInto(join(PICTURES, `${name}.png`))
  }

  /** The same, in a file. */
  async pictureInto(file: string): Promise<void> {
    // What was changed is drawn with the next frame, and is on the screen a moment later.
    await this.page.later(`() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))`)
    await sleep(250)
    writeFileSync(file, this.machine.screenshot())
  }

  end(): void {
    this.machine.end()
  }

  #named(kind: string, name: string): Promise<Element | null> {
    return this.page.run<Element | null>(
      `(kind, name) => {
        const words = ${words}
        const nameOf = (element) => element.ariaLabel ?? (words([...(element.labels ?? [])].map((label) => label.textContent).join(' ')) || words(element.innerText ?? ''))
        return [...${SCOPE}.querySelectorAll(kind)].filter(${shown}).find((element) => [nameOf(element), element.placeholder].includes(name)) ?? null
      }`,
      kind,
      name,
    )
  }

  #first(css: string): Promise<Element | null> {
    return this.page.run<Element | null>(`(css) => document.querySelector(css)`, css)
  }
}
