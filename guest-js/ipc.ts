/** The way to the plugin: the only place that calls `invoke`. */

import { invoke, type InvokeArgs } from '@tauri-apps/api/core'

import { SyncError } from './error.js'

/** The plugin's commands. */
export type Command =
  | 'pair'
  | 'create_group'
  | 'create_invite'
  | 'cancel_invite'
  | 'join'
  | 'approve'
  | 'deny'
  | 'export_kit'
  | 'import_kit'
  | 'connect'
  | 'disconnect'
  | 'sync_now'
  | 'push'
  | 'pull'
  | 'ack'
  | 'last_cursor'
  | 'subscribe'
  | 'unsubscribe'
  | 'status'
  | 'blob_states'
  | 'publish_snapshot'
  | 'latest_snapshot'
  | 'snapshot_loaded'
  | 'devices'
  | 'rename_device'
  | 'remove_device'
  | 'rotate_key'
  | 'leave_group'
  | 'configure'
  | 'diagnostics'
  | 'doctor'
  | 'repair'
  | 'set_aside'

/** Asks the plugin, and throws nothing but a {@link SyncError}. */
export async function call<T>(command: Command, args?: InvokeArgs, headers?: Record<string, string>): Promise<T> {
  try {
    return await invoke<T>(`plugin:sync|${command}`, args, headers && { headers })
  } catch (cause) {
    throw SyncError.from(cause)
  }
}
