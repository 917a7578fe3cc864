/**
 * Invites that come as links: the app was started by one, or is opened with one while it runs.
 *
 * A link that starts the app is there before any page is, so it is asked for; one that comes later is told. The question has
 * the same answer for as long as the app runs, also when the page is loaded anew, so what was answered is remembered for that
 * long: as a hash, since an invite is a secret.
 */

import { getCurrentWindow } from '@tauri-apps/api/window'
import { getCurrent, onOpenUrl } from '@tauri-apps/plugin-deep-link'

import { inviteOf } from './invite.js'

/** How this app's links begin; the same in `tauri.conf.json`, twice. */
export const SCHEME = 'zerok-notes'

const HANDLED = 'handled-link'

/** Holds something for as long as the page is there; told when it has it. Of all windows one has it. */
export type Hold = (name: string, held: () => void) => void

/** The system's own, which goes to the next window when one is closed. */
export const oneWindow: Hold = (name, held) => {
  void navigator.locks.request(name, () => {
    held()
    return new Promise<never>(() => undefined)
  })
}

/** Calls the function with each invite, in one window. */
export function followLinks(onInvite: (invite: string) => void, hold: Hold = oneWindow): void {
  hold('links', () => void follow(onInvite).catch(() => undefined))
}

async function follow(onInvite: (invite: string) => void): Promise<void> {
  // First to listen and then to ask, so that none comes in between.
  await onOpenUrl((urls) => {
    const invite = inviteIn(urls)
    if (invite === undefined) return
    onInvite(invite)
    void hashOf(invite).then((hash) => sessionStorage.setItem(HANDLED, hash))
  })
  // A window that was opened later was not opened by the link that started the app.
  if (getCurrentWindow().label !== 'main') return
  const invite = inviteIn(await getCurrent())
  if (invite === undefined) return
  const hash = await hashOf(invite)
  if (sessionStorage.getItem(HANDLED) === hash) return
  sessionStorage.setItem(HANDLED, hash)
  onInvite(invite)
}

const inviteIn = (urls: string[] | null): string | undefined =>
  urls?.map((url) => inviteOf(url, SCHEME)).find((invite) => invite !== undefined)

async function hashOf(text: string): Promise<string> {
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
