/** One story's relay and computers. What it made ends with it. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

import type { Kind } from './machine.js'
import { Notes } from './notes.js'
import { Relay } from './relay.js'

export interface World {
  readonly folder: string
  relay(): Promise<Relay>
  /** A computer on which the app was never opened. */
  computer(name: string, kind?: Kind): Promise<Notes>
  /** One on which it is open for the first time. */
  newcomer(name: string, kind?: Kind): Promise<Notes>
  /** The same, with this relay entered. */
  device(name: string, relay: Relay, kind?: Kind): Promise<Notes>
}

export function world(): World {
  const folder = mkdtempSync(join(tmpdir(), 'notes-'))
  onTestFinished(({ task }) => {
    // What programs said is kept where somebody will want to read it.
    if (task.result?.state === 'fail') console.error(`what the programs said is in ${folder}`)
    else rmSync(folder, { recursive: true, force: true })
  })
  let relays = 0
  const made: World = {
    folder,
    async relay() {
      const relay = await Relay.start(join(folder, `relay${++relays}`))
      onTestFinished(() => relay.end())
      return relay
    },
    async computer(name, kind) {
      const notes = await Notes.install(folder, name, kind)
      onTestFinished(async ({ task }) => {
        if (task.result?.state === 'fail') await notes.picture(`failed ${name}`).catch(() => undefined)
        notes.end()
      })
      return notes
    },
    async newcomer(name, kind) {
      return (await made.computer(name, kind)).open()
    },
    async device(name, relay, kind) {
      const notes = await made.newcomer(name, kind)
      await notes.useRelay(relay.address)
      return notes
    },
  }
  return made
}

/** Two devices that are connected. */
export async function pair({ relay, device }: World): Promise<{ relay: Relay; desk: Notes; lap: Notes }> {
  const carrier = await relay()
  const [desk, lap] = await Promise.all([device('desk', carrier), device('lap', carrier)])
  await connect(desk, lap)
  return { relay: carrier, desk, lap }
}

/** Opens an invitation; its code. */
export async function showInvite(creator: Notes): Promise<string> {
  await creator.settings()
  const again = await creator.hasButton('Connect another device')
  await creator.press(again ? 'Connect another device' : 'Start here, and connect another device')
  return creator.sees(/[0-9A-Z]{4}(-[0-9A-Z]{4}){3}/)
}

/** Lets the second join the first by the code on its screen, as two people with two screens do. */
export async function connect(creator: Notes, joiner: Notes): Promise<void> {
  const code = await showInvite(creator)
  await joiner.settings()
  await joiner.press('Join a device that has a code')
  await joiner.fill('Code or link', code)
  await joiner.press('Join')
  await agree(creator, joiner)
}

/** Both compare the digits and say yes. */
export async function agree(creator: Notes, joiner: Notes): Promise<void> {
  const digits = await creator.digits()
  if ((await joiner.digits()) !== digits) throw new Error('the screens show different digits')
  await joiner.press('Yes, the same')
  await creator.press('Yes, the same')
  for (const notes of [creator, joiner]) {
    await notes.sees('has joined')
    await notes.press('Done')
    await notes.press('Close')
  }
}
