/** The real relay, on ports of its own. */

import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

import { RELAY } from './built.js'
import { freePort, Processes } from './processes.js'
import { until } from './wait.js'

export class Relay {
  readonly address: string
  readonly #processes: Processes
  readonly #data: string

  private constructor(
    folder: string,
    private readonly quic: number,
    private readonly http: number,
  ) {
    mkdirSync(folder, { recursive: true })
    this.address = `http://127.0.0.1:${http}`
    this.#data = join(folder, 'data')
    this.#processes = new Processes(join(folder, 'log'))
  }

  static async start(folder: string, http?: number): Promise<Relay> {
    const relay = new Relay(folder, await freePort(), http ?? (await freePort()))
    await relay.start()
    return relay
  }

  /** Starts it, with what it had. */
  async start(): Promise<void> {
    this.#processes.start(RELAY, [
      ...['--quic-bind', `127.0.0.1:${this.quic}`, '--http-bind', `127.0.0.1:${this.http}`],
      ...['--data-dir', this.#data, '--limits-invites-per-minute', '100', '--limits-claims-per-minute', '100'],
      ...['--limits-connections-per-ip', '100'],
    ])
    await until('the relay answers', async () => (await fetch(`${this.address}/health`)).ok)
  }

  /** Stops it. */
  async stop(): Promise<void> {
    this.#processes.signal('SIGTERM')
    await until('the relay has ended', () => this.#processes.running().length === 0)
  }

  /** How many blobs it keeps. */
  async blobs(): Promise<number> {
    const health = (await (await fetch(`${this.address}/health`)).json()) as { blobs_stored: number }
    return health.blobs_stored
  }

  /** How many snapshots it was given. */
  async snapshots(): Promise<number> {
    const metrics = await (await fetch(`${this.address}/metrics`)).text()
    return Number(/^\S*snapshots_published_total (\d+)$/m.exec(metrics)?.[1])
  }

  /** Loses everything but who it is, while it is stopped. */
  wipe(): void {
    for (const file of readdirSync(this.#data)) {
      if (file.includes('.db')) rmSync(join(this.#data, file))
    }
  }

  /** Puts all it has aside, as an operator does who makes a copy. */
  async copy(): Promise<string> {
    await this.stop()
    const copy = `${this.#data}-copy`
    cpSync(this.#data, copy, { recursive: true })
    await this.start()
    return copy
  }

  /** Goes back to a copy. */
  async restore(copy: string): Promise<void> {
    await this.stop()
    rmSync(this.#data, { recursive: true })
    cpSync(copy, this.#data, { recursive: true })
    await this.start()
  }

  /** It goes on running, and does nothing any more. */
  hang(): void {
    this.#processes.signal('SIGSTOP')
  }

  /** It goes on after that. */
  wakeUp(): void {
    this.#processes.signal('SIGCONT')
  }

  end(): void {
    this.#processes.end()
  }
}
