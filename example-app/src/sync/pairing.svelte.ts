/**
 * One pairing, from this device's side: what to show now, and what a person may do.
 *
 * An invite or a code stays in memory while it is shown or tried, and nowhere else.
 */

import { approve, cancelInvite, createInvite, deny, join, type PairingEvent, SyncError } from 'tauri-plugin-sync-api'

/** What to show. */
export type Step =
  | { kind: 'idle' }
  /** An invite is being opened, or the other device is looked for. */
  | { kind: 'starting' }
  /** Show it, until the other device comes. */
  | { kind: 'invite'; code: string | null; link: string; qr: string | null; expiresAt: number }
  /** The code was sent; the other device has not answered. */
  | { kind: 'searching' }
  /** Ask whether the other screen shows the same. */
  | { kind: 'compare'; digits: string; name: string }
  /** This side said yes. */
  | { kind: 'agreed'; name: string }
  /** Done: who joined, or null if it was this device. */
  | { kind: 'done'; name: string | null }
  | { kind: 'failed'; error: SyncError }

/** See the head of this file. */
export class Pairing {
  step = $state.raw<Step>({ kind: 'idle' })
  /** Something is under way that another window, or closing this one, would end. */
  readonly active = $derived(!['idle', 'done', 'failed'].includes(this.step.kind))

  readonly #onLetIn: () => void
  /** Which attempt it is: an event of one that was given up is not shown. */
  #attempt = 0

  constructor(onLetIn: () => void = () => undefined) {
    this.#onLetIn = onLetIn
  }

  /** Lets another device in. */
  async invite(): Promise<void> {
    const hear = this.#begin()
    await createInvite(hear).catch(this.#fail(this.#attempt))
  }

  /** Joins with what the other device shows. */
  async join(invite: string): Promise<void> {
    const hear = this.#begin()
    await join(invite, hear).catch(this.#fail(this.#attempt))
  }

  /** The digits are the same. */
  async same(): Promise<void> {
    if (this.step.kind !== 'compare') return
    await approve(this.step.digits).catch(this.#fail(this.#attempt))
  }

  /** They differ. */
  async different(): Promise<void> {
    await deny().catch(this.#fail(this.#attempt))
  }

  /** Gives it up, or puts away how it ended. */
  async stop(): Promise<void> {
    const { active } = this
    this.#attempt++
    this.step = { kind: 'idle' }
    // What can't be ended has ended.
    if (active) await cancelInvite().catch(() => undefined)
  }

  #begin(): (event: PairingEvent) => void {
    const attempt = ++this.#attempt
    this.step = { kind: 'starting' }
    return (event) => {
      if (attempt === this.#attempt) this.#hear(event)
    }
  }

  #hear(event: PairingEvent): void {
    const name = 'name' in this.step ? (this.step.name ?? '') : ''
    switch (event.kind) {
      case 'invite':
        this.step = { kind: 'invite', code: event.code, link: event.link, qr: event.qrSvg, expiresAt: event.expiresAt }
        return
      case 'waiting':
        if (this.step.kind === 'starting') this.step = { kind: 'searching' }
        return
      case 'digits':
        this.step = { kind: 'compare', digits: event.digits, name: event.name }
        return
      case 'approved':
        this.step = { kind: 'agreed', name }
        return
      case 'joined':
        this.step = { kind: 'done', name: event.name }
        if (event.name !== null) this.#onLetIn()
        return
      case 'failed':
        this.step = { kind: 'failed', error: new SyncError(event.code, event.message) }
        return
    }
  }

  #fail(attempt: number): (cause: unknown) => void {
    return (cause) => {
      if (attempt !== this.#attempt || this.step.kind === 'failed') return
      this.step = { kind: 'failed', error: SyncError.from(cause) }
    }
  }
}
