/** What goes wrong, as a closed set of codes to branch on. */

import { ERROR_CODES, type ErrorCode } from './codes.js'

/** Why a call failed. Branch on `code`; `message` is for people and says what to do. */
export class SyncError extends Error {
  override readonly name = 'SyncError'

  constructor(
    /** What a program branches on. */
    readonly code: ErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }

  /**
   * Makes one of whatever a call was rejected with. Tauri itself rejects with a bare text: when a window was not given
   * the permission, or an argument has the wrong type.
   */
  static from(cause: unknown): SyncError {
    if (cause instanceof SyncError) return cause
    if (isFlat(cause)) return new SyncError(cause.code, cause.message, { cause })
    if (typeof cause === 'string') return new SyncError('invalid_argument', cause, { cause })
    return new SyncError('internal', cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

function isFlat(cause: unknown): cause is { code: ErrorCode; message: string } {
  if (typeof cause !== 'object' || cause === null || !('code' in cause) || !('message' in cause)) return false
  return typeof cause.message === 'string' && ERROR_CODES.some((code) => code === cause.code)
}
