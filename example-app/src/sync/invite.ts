/** What a person typed, pasted or scanned to join: a code, an invite link, or something else. */

/** An invite as it goes to the sync, or why it can't be one. */
export type Read = { kind: 'code' | 'link'; invite: string } | { kind: 'partial' | 'unknown' }

/** Letters and digits of a code. */
const CODE_LEN = 16
/** No invite is longer; what is, isn't looked at. */
const TEXT_LEN_MAX = 4096

/** Looks at a text. The sync itself looks closer; this says early what can't be meant, and finds a link in a message. */
export function readInvite(text: string): Read {
  const trimmed = text.trim()
  if (trimmed.length > TEXT_LEN_MAX) return { kind: 'unknown' }
  const link = /[a-z][a-z0-9+.-]*:\/\/[^\s#]*join#(?:[a-z][a-z0-9+.-]*:)?[A-Za-z0-9_-]{20,}/i.exec(trimmed)
  if (link) return { kind: 'link', invite: link[0] }
  const letters = lettersOf(trimmed)
  if (letters === undefined) return { kind: 'unknown' }
  return letters.length === CODE_LEN ? { kind: 'code', invite: grouped(letters) } : { kind: 'partial' }
}

/** A code as it is typed: in groups of four, with the letters that look like digits as what they are meant to be. */
export function asTyped(text: string): string {
  const letters = lettersOf(text)
  return letters === undefined ? text : grouped(letters)
}

/** An address that the system opened the app with, if it is an invite of this app. */
export function inviteOf(url: string, scheme: string): string | undefined {
  const read = readInvite(url)
  return read.kind === 'link' && read.invite.toLowerCase().startsWith(`${scheme}://join#`) ? read.invite : undefined
}

function lettersOf(text: string): string | undefined {
  const letters = text.toUpperCase().replace(/[\s-]/g, '').replace(/O/g, '0').replace(/[IL]/g, '1')
  return /^[0-9A-HJKMNP-TV-Z]{0,16}$/.test(letters) ? letters : undefined
}

const grouped = (letters: string): string => letters.match(/.{1,4}/g)?.join('-') ?? ''
