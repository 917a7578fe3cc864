/** The programs that the stories run, as `cargo build` leaves them. */

import { resolve } from 'node:path'

const TARGET = process.env['SYNC_BIN_DIR'] ?? resolve(import.meta.dirname, '../../../target/debug')

export const APP = resolve(TARGET, 'example-app')
export const RELAY = resolve(TARGET, 'sync-relay')
export const DRIVER = process.env['TAURI_DRIVER'] ?? resolve(import.meta.dirname, '../../../target/tools/bin/tauri-driver')
