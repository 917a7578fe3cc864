/** A person's computer: a screen, a session's message bus, an unlocked keychain, and a home. */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'

import { DRIVER } from './built.js'
import { freePort, Processes } from './processes.js'
import { until } from './wait.js'

const SCREEN = '1000x760x24'

/** What is special about a computer. */
export interface Kind {
  /** Its colours. */
  dark?: boolean
  /** Nobody has unlocked its keychain, for there is none. */
  keychain?: boolean
  /** It has a camera. */
  camera?: boolean
  /** All notes are given for devices that join later after so few changes. */
  snapshotAfter?: number
  /** The screen, as X has it. */
  screen?: string
}

export class Machine {
  readonly processes: Processes
  /** What programs on it find in their environment. */
  readonly env: NodeJS.ProcessEnv
  #driver: string | undefined

  private constructor(
    readonly folder: string,
    display: string,
    bus: string,
    dark: boolean,
    processes: Processes,
  ) {
    this.processes = processes
    this.env = {
      HOME: folder,
      XDG_DATA_HOME: join(folder, 'data'),
      XDG_CONFIG_HOME: join(folder, 'config'),
      XDG_CACHE_HOME: join(folder, 'cache'),
      XDG_RUNTIME_DIR: join(folder, 'run'),
      DBUS_SESSION_BUS_ADDRESS: bus,
      DISPLAY: display,
      WAYLAND_DISPLAY: '',
      GDK_BACKEND: 'x11',
      GTK_THEME: dark ? 'Adwaita:dark' : 'Adwaita',
      NO_AT_BRIDGE: '1',
      LANG: 'C.UTF-8',
      RUST_LOG: 'info',
    }
  }

  static async start(
    folder: string,
    { dark = false, keychain = true, camera = false, snapshotAfter, screen = SCREEN }: Kind = {},
  ): Promise<Machine> {
    for (const name of ['data', 'config', 'cache', 'run']) mkdirSync(join(folder, name), { recursive: true, mode: 0o700 })
    const processes = new Processes(join(folder, 'log'))
    const bus = `unix:path=${join(folder, 'run', 'bus')}`
    const machine = new Machine(folder, await display(processes, screen), bus, dark, processes)
    if (camera) machine.env['NOTES_TRIAL_CAMERA'] = '1'
    if (snapshotAfter) machine.env['NOTES_TRIAL_SNAPSHOT_AFTER'] = String(snapshotAfter)
    processes.start('dbus-daemon', ['--session', '--nofork', '--nopidfile', '--address', bus], machine.env)
    await until('the bus is there', () => existsSync(join(folder, 'run', 'bus')))
    if (keychain) {
      const service = processes.start('gnome-keyring-daemon', ['--foreground', '--unlock', '--components=secrets'], machine.env, ['pipe'])
      service.stdin?.end('of a test')
      await until('the keychain is unlocked', () => existsSync(join(folder, 'data', 'keyrings')))
    }
    return machine
  }

  /** The driver that starts programs here. */
  async driver(): Promise<string> {
    if (this.#driver !== undefined) return this.#driver
    const [port, native] = [await freePort(), await freePort()]
    this.processes.start(DRIVER, ['--port', String(port), '--native-port', String(native), '--native-host', '127.0.0.1'], this.env)
    const address = `http://127.0.0.1:${port}`
    await until('the driver answers', async () => (await fetch(`${address}/status`)).ok)
    this.#driver = address
    return address
  }

  /** A driver whose program has ended starts no other. */
  restartDriver(): void {
    this.processes.signal('SIGKILL', 'tauri-driver')
    this.processes.signal('SIGKILL', 'WebKitWebDriver')
    this.#driver = undefined
  }

  /** What the screen shows, as PNG. */
  screenshot(): Buffer {
    return execFileSync('import', ['-display', this.env['DISPLAY'] ?? '', '-window', 'root', 'png:-'], { maxBuffer: 64 << 20 })
  }

  end(): void {
    this.processes.end()
  }
}

/** A screen that nobody else has. */
async function display(processes: Processes, screen: string): Promise<string> {
  const server = processes.start('Xvfb', ['-displayfd', '3', '-screen', '0', screen, '-nolisten', 'tcp'], {}, ['ignore', 'ignore', 'ignore', 'pipe'])
  const pipe = server.stdio[3] as Readable
  let number = ''
  pipe.on('data', (chunk: Buffer) => (number += chunk.toString()))
  await until('the screen is there', () => number.endsWith('\n'))
  return `:${number.trim()}`
}
