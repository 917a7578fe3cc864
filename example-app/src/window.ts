/** The app's windows. They share one engine and one store, so there may be any number. */

import { invoke } from '@tauri-apps/api/core'
import { getCurrentWindow } from '@tauri-apps/api/window'

/** Longest that a window stays because of what is still to be saved. A disk that refuses keeps nobody here. */
const LAST_WORDS_MS = 500

/** Opens another one. */
export const newWindow = (): Promise<void> => invoke('new_window')

/** Whoever closes this window waits until this is done: it is what was typed just now. Returns what ends that. */
export function beforeClosing(finish: () => Promise<void>): () => void {
  const patience = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS))
  const listening = getCurrentWindow().onCloseRequested(async () => {
    await Promise.race([finish(), patience()])
  })
  return () => void listening.then((end) => end())
}
