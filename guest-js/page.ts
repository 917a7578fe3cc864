/** A page of blobs, as it comes: the length of a description, the description, and every blob's bytes. */

import type { Blob, Page, Snapshot } from './types.js'

type Described = Omit<Blob, 'payload'> & { length: number }

/** Takes it apart. Where there are no raw answers it is a list of numbers. */
export function pageOf(answer: ArrayBuffer | number[]): Page {
  const { description, bytes } = taken(answer)
  const { blobs, hasMore } = description as { blobs: Described[]; hasMore: boolean }
  let end = 0
  return {
    hasMore,
    blobs: blobs.map(({ length, ...blob }) => ({ ...blob, payload: bytes.slice(end, (end += length)) })),
  }
}

/** A snapshot comes the same way: `null` and nothing, or a description and its bytes. */
export function snapshotOf(answer: ArrayBuffer | number[]): Snapshot | undefined {
  const { description, bytes } = taken(answer)
  return description === null ? undefined : { ...(description as Omit<Snapshot, 'bytes'>), bytes: bytes.slice() }
}

function taken(answer: ArrayBuffer | number[]): { description: unknown; bytes: Uint8Array } {
  const bytes = new Uint8Array(answer)
  const start = 4 + new DataView(bytes.buffer).getUint32(0)
  return { description: JSON.parse(new TextDecoder().decode(bytes.subarray(4, start))), bytes: bytes.subarray(start) }
}
