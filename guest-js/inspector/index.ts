/**
 * What goes on inside, for developers: a panel with the relays, what has not got everywhere, what can't be read, and the events
 * as they happen. It is made of plain elements and shows ids, numbers and words, never what was pushed. Leave it out of what
 * your users get, or put it behind a switch.
 *
 * ```ts
 * if (import.meta.env.DEV) {
 *   const { mountInspector } = await import('tauri-plugin-sync-api/inspector')
 *   mountInspector(document.body)
 * }
 * ```
 *
 * @module
 */

import { blobStates, type BlobState, type Options, status, type Status, subscribe, SyncError, type SyncEvent } from '../index.js'

/** Events that are kept on show. */
const EVENTS_MAX = 200
/** Blobs that are looked at, the newest. */
const BLOBS_MAX = 100
/** How often the panel is drawn again, at most. */
const PAUSE_MS = 250

/** Shows the panel at the end of an element, and keeps it up to date. Returns what takes it away. */
export function mountInspector(host: HTMLElement, options: Options = {}): () => void {
  const panel = new Panel(options)
  host.append(panel.root)
  panel.start()
  return () => panel.end()
}

interface Heard {
  at: Date
  event: SyncEvent
}

class Panel {
  readonly root = element('details', {}, element('summary', {}, 'Sync inspector'))
  readonly #body = element('div', {})
  readonly #options: Options
  readonly #heard: Heard[] = []
  #status: Status | undefined
  #blobs: BlobState[] = []
  #trouble: SyncError | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #over = false
  #unsubscribe: Promise<(() => Promise<void>) | undefined> = Promise.resolve(undefined)

  constructor(options: Options) {
    this.#options = options
    this.root.dataset['syncInspector'] = ''
    this.root.style.cssText = 'font: 12px/1.4 monospace; overflow-x: auto; text-align: left'
    this.root.append(this.#body)
    // What nobody looks at is not asked for.
    this.root.addEventListener('toggle', () => this.#soon())
  }

  start(): void {
    this.#unsubscribe = subscribe((event) => this.#hear(event), this.#options).catch((cause: unknown) => {
      this.#trouble = SyncError.from(cause)
      this.#soon()
      return undefined
    })
  }

  end(): void {
    this.#over = true
    clearTimeout(this.#timer)
    this.root.remove()
    void this.#unsubscribe.then((end) => end?.()).catch(() => undefined)
  }

  #hear(event: SyncEvent): void {
    this.#heard.unshift({ at: new Date(), event })
    this.#heard.length = Math.min(this.#heard.length, EVENTS_MAX)
    this.#soon()
  }

  #soon(): void {
    if (this.#over || this.#timer !== undefined || !this.root.open) return
    this.#timer = setTimeout(() => void this.#look(), PAUSE_MS)
  }

  async #look(): Promise<void> {
    try {
      this.#status = await status(this.#options)
      const { groupId, headCursor } = this.#status
      const first = Math.max(1, headCursor - BLOBS_MAX + 1)
      const cursors = Array.from({ length: headCursor - first + 1 }, (_, index) => headCursor - index)
      this.#blobs = groupId === null || cursors.length === 0 ? [] : await blobStates(cursors, this.#options)
      this.#trouble = undefined
    } catch (cause) {
      this.#trouble = SyncError.from(cause)
    }
    this.#timer = undefined
    if (!this.#over) this.#draw()
  }

  #draw(): void {
    const parts = [
      this.#trouble && element('p', { role: 'alert' }, `${this.#trouble.code}: ${this.#trouble.message}`),
      this.#status && standing(this.#status),
      this.#status && relays(this.#status),
      blobs(this.#blobs),
      this.#status && parked(this.#status),
      events(this.#heard),
    ]
    this.#body.replaceChildren(...parts.filter((part) => part !== undefined))
  }
}

function standing(now: Status): HTMLElement {
  const words = [
    now.badge,
    now.connection,
    `group ${short(now.groupId)}`,
    `device ${short(now.deviceId)}`,
    `log ${now.lastCursor}/${now.headCursor} acknowledged`,
    `${now.pending} to send`,
    `${now.unread} to read`,
    `${now.waiting} waiting`,
    now.removed && 'REMOVED',
    now.identityReused && 'COPIED',
  ]
  return element('p', {}, words.filter(Boolean).join(' · '))
}

function relays({ relays }: Status): HTMLElement {
  const rows = relays.map((relay) => [
    short(relay.relayId),
    relay.connection,
    String(relay.pending),
    String(relay.unread),
    relay.refilling ? 'refilling' : '',
    relay.problem ?? '',
    relay.contradictions.map(({ kind, deviceId, cursor }) => `${kind} (${short(deviceId)} at ${cursor})`).join(', '),
  ])
  return table('Relays', ['relay', 'connection', 'to send', 'to read', '', 'problem', 'contradicted'], rows)
}

/** The outbox, and what of the newest has not reached everybody. */
function blobs(states: BlobState[]): HTMLElement {
  const isOnAll = ({ own, relays, relaysConfigured }: BlobState): boolean => !own || relays.length === relaysConfigured
  const rows = states.map((state) => [
    String(state.cursor),
    short(state.pushId),
    state.own ? 'own' : short(state.sender),
    state.own ? `${state.relays.length} of ${state.relaysConfigured}${isOnAll(state) ? '' : ' ←'}` : '',
    state.receivedBy.map(short).join(' '),
    state.appliedBy.map(short).join(' '),
    state.lostBy.map(short).join(' '),
  ])
  return table('Newest blobs', ['cursor', 'push', 'from', 'relays', 'received by', 'applied by', 'lost for'], rows)
}

function parked({ parked }: Status): HTMLElement {
  return table('Parked', ['blob', 'why'], parked.map(({ blobId, reason }) => [short(blobId), reason]))
}

function events(heard: Heard[]): HTMLElement {
  const rows = heard.map(({ at, event }) => {
    const { kind, ...rest } = event
    // A status is shown above, as it is now.
    const said = kind === 'statusChanged' ? '' : Object.entries(rest).map(([key, value]) => `${key} ${short(value)}`).join(', ')
    return [at.toISOString().slice(11, 23), kind, said]
  })
  return table('Events', ['at', 'what', ''], rows)
}

function table(title: string, heads: string[], rows: string[][]): HTMLElement {
  const row = (cells: string[], tag: 'th' | 'td'): HTMLElement =>
    element('tr', {}, ...cells.map((cell) => element(tag, { style: 'padding: 0 1em 0 0; white-space: nowrap' }, cell)))
  const empty = rows.length === 0 ? [element('p', {}, 'none')] : []
  const filled = rows.length > 0 ? [element('table', {}, row(heads, 'th'), ...rows.map((cells) => row(cells, 'td')))] : []
  return element('section', { 'aria-label': title }, element('h4', { style: 'margin: 0.6em 0 0.2em' }, title), ...empty, ...filled)
}

/** Ids are told by their beginning; everything else as it is. */
function short(value: unknown): string {
  if (typeof value !== 'string') return value === null ? '–' : String(value)
  return /^[0-9a-f]{16,}$/.test(value) ? value.slice(0, 8) : value
}

function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string>,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    // A strict content security policy lets no attribute be a style.
    if (name === 'style') made.style.cssText = value
    else made.setAttribute(name, value)
  }
  made.append(...children)
  return made
}
