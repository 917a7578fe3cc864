/** A page of blobs, as it comes: the length of a description, the description, and every blob's bytes. */

import type { Blob, Page } from './types.js'

type Described = Omit<Blob, 'payload'> & { length: number }

/** Takes it apart. Where there are no raw answers it is a list of numbers. */
export function pageOf(answer: ArrayBuffer | number[]): Page {
  const bytes = new Uint8Array(answer)
  const start = 4 + new DataView(bytes.buffer).getUint32(0)
  const description = new TextDecoder().decode(bytes.subarray(4, start))
  const { blobs, hasMore } = JSON.parse(description) as { blobs: Described[]; hasMore: boolean }
  let end = start
  return {
    hasMore,
    blobs: blobs.map(({ length, ...blob }) => ({ ...blob, payload: bytes.slice(end, (end += length)) })),
  }
}
