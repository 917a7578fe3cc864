/** Programs that a story starts, and what they start in turn: all of them end with it. */

import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process'
import { openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { basename } from 'node:path'

/** A variable by which everything that belongs to a story is known. */
const MARK = 'NOTES_STORY'

/** The programs of one machine or relay of a story. */
export class Processes {
  readonly #mark = crypto.randomUUID()

  constructor(private readonly log: string) {}

  /** Starts one. What it says goes into the log. */
  start(program: string, args: string[], env: NodeJS.ProcessEnv = {}, more: StdioOptions = []): ChildProcess {
    const log = openSync(this.log, 'a')
    const extra = Array.isArray(more) ? more.slice(3) : []
    const stdin = Array.isArray(more) ? more[0] : undefined
    const child = spawn(program, args, {
      env: { ...process.env, ...env, [MARK]: this.#mark },
      stdio: [stdin ?? 'ignore', log, log, ...extra],
    })
    child.on('error', (cause) => {
      throw new Error(`${program} can't be started`, { cause })
    })
    return child
  }

  /** Those that run now, of a program's name or all. */
  running(program?: string): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        try {
          if (!readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`${MARK}=${this.#mark}`)) return false
          return program === undefined || basename(readlinkSync(`/proc/${pid}/exe`)) === program
        } catch {
          return false // it has ended, or is not ours to look at
        }
      })
      .map(Number)
  }

  /** Sends all of that name a signal. */
  signal(signal: NodeJS.Signals, program?: string): void {
    for (const pid of this.running(program)) {
      try {
        process.kill(pid, signal)
      } catch {
        // It was faster.
      }
    }
  }

  /** Ends all of them. */
  end(): void {
    this.signal('SIGKILL')
  }
}

/** A port that nobody listens on. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}
