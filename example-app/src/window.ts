/** The app's windows. They share one engine and one store, so there may be any number. */

import { invoke } from '@tauri-apps/api/core'

/** Opens another one. */
export const newWindow = (): Promise<void> => invoke('new_window')
