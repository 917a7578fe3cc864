/** What the app says to people: sentences for somebody who has never heard of keys. */

import { type Badge, type BlobState, type Device, type ErrorCode, type Finding, type Relay, type Repaired, type Status, SyncError } from 'tauri-plugin-sync-api'

/** The badge of the app: that of the sync, and of a device without others just that. */
export type AppBadge = Badge | 'alone'

/** What it says. */
export const BADGES: Record<AppBadge, string> = {
  synced: 'Synced',
  pending: 'Syncing',
  failed: 'Needs attention',
  offline: 'Offline',
  alone: 'On this device only',
}

/** What a note's badge means. */
export const NOTE_BADGES: Record<Badge, string> = {
  synced: 'Synced',
  pending: 'Changes on their way to your other devices',
  failed: 'Changes here cannot be sent',
  offline: 'Changes here will be sent when you are online',
}

/** How it all stands, in a sentence or two. */
export function statusSentence(status: Status | undefined): string {
  if (!status) return 'Looking how things stand…'
  if (status.removed) return 'This device was removed from your devices. Its notes are still here, but they sync no more.'
  if (status.identityReused)
    return 'A copy of this device is in use somewhere, and you have as many devices as possible. Remove one, and start this app anew.'
  if (status.groupId === null) return 'Your notes are on this device only.'
  switch (status.badge) {
    case 'synced':
      return 'Everything you wrote is on the relay, and everything from your other devices is here.'
    case 'pending':
      return pendingSentence(status)
    case 'failed':
      return status.parked.length > 0
        ? `${counted(status.parked.length, 'change')} from another device cannot be opened here. Nothing is lost; updating the app may help.`
        : (status.relays.map(relaySentence).find(Boolean) ?? 'Something does not go on by itself.')
    case 'offline':
      return 'The relay cannot be reached. Go on writing: everything is kept here and sent when it is back.'
  }
}

function pendingSentence({ pending, unread, loading }: Status): string {
  if (loading) return `Getting your notes: ${Math.floor((100 * loading.done) / Math.max(1, loading.total))} %.`
  const parts = [pending > 0 && `${pending} to send`, unread > 0 && `${unread} to receive`].filter(Boolean)
  return parts.length > 0 ? `Syncing: ${parts.join(', ')}.` : 'Syncing…'
}

/** Where the newest change of a note is. */
export function whereSentence(state: BlobState, devices: Device[]): string {
  // What is on paper gets no notes.
  const others = devices.filter((device) => !device.this && !device.kit)
  const [having, lacking] = [true, false].map((has) =>
    others.filter(({ deviceId }) => state.receivedBy.includes(deviceId) === has).map(({ name }) => name),
  ) as [string[], string[]]
  const missing = lacking.length > 0 && having.length > 0 ? `; not on ${listed(lacking)} yet` : ''
  if (!state.own) {
    const sender = others.find(({ deviceId }) => deviceId === state.sender)?.name ?? 'a device that is none of yours any more'
    if (lacking.length === 0) return `Last changed on ${sender}; on all your devices.`
    return `Last changed on ${sender}; not on ${listed(lacking)} yet, as far as is known.`
  }
  const [on, all] = [state.relays.length, state.relaysConfigured]
  const relays = all === 1 ? 'the relay' : on === all ? `all ${all} relays` : `${on} of ${all} relays`
  if (on === 0) return having.length > 0 ? `On ${listed(having)}${missing}.` : 'On this device only.'
  return having.length > 0 ? `On ${relays} and on ${listed(having)}${missing}.` : `On ${relays}, and on no other device yet.`
}

function listed(names: string[]): string {
  return names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${names.at(-1)}` : names.join('')
}

/** What is wrong with a relay, if anything is. */
export function relaySentence({ problem, refilling, contradictions }: Relay): string | undefined {
  if (problem) return errorSentence(new SyncError(problem, PROBLEMS[problem] ?? 'The relay cannot be used right now.'))
  if (contradictions.length > 0) return contradictedSentence('The relay', contradictions)
  return refilling ? 'The relay lacks some of what it should have; this device looks what, and gives it.' : undefined
}

function contradictedSentence(name: string, contradictions: Relay['contradictions']): string {
  const less = contradictions.every(({ kind }) => kind === 'withheld')
  return `${name} shows this device ${less ? 'less' : 'something else'} than another of yours has read there. It was restored from an old copy, or it does not tell the truth: ask its operator, or use another relay.`
}

/** What relays show this device that they showed another otherwise, a sentence for each of them. */
export function contradictedSentences(relays: Relay[]): string[] {
  const lying = relays.filter(({ contradictions }) => contradictions.length > 0)
  return lying.map(({ relayId, contradictions }) => contradictedSentence(relayName(relayId, relays), contradictions))
}

/** What a person knows a relay by: its place in the settings, if there are several. */
function relayName(relayId: string, relays: Relay[]): string {
  const index = relays.findIndex((relay) => relay.relayId === relayId)
  return relays.length > 1 && index >= 0 ? `Relay ${index + 1}` : 'The relay'
}

/** That a relay had lost something, and what became of it. */
export function forgetfulSentence(relayId: string, relays: Relay[]): string {
  const name = relayName(relayId, relays)
  const done = relays.find((relay) => relay.relayId === relayId)?.refilling === false
  return `${name} had lost notes that it kept for your devices. This device ${done ? 'has given back' : 'is giving back'} all it has.`
}

const PROBLEMS: Partial<Record<ErrorCode, string>> = {
  group_full: 'The relay has no more room for your notes. It frees some with time, or its operator can raise the limit.',
  storage_full: 'The relay is full. Its operator has to make room, or you use another relay.',
  rate_limited: 'The relay asks to slow down. Sending goes on by itself in a moment.',
  relay_identity_changed:
    'Another relay answers at this address than before. If its operator says that is right, add it as a new relay.',
  version_unsupported: 'The relay and this app do not understand each other. Update the older one.',
}

const ERRORS: Partial<Record<ErrorCode, string>> = {
  ...PROBLEMS,
  offline: 'The relay cannot be reached. Check the network, or the relay’s address in the settings.',
  timed_out: 'That took too long. It goes on by itself as soon as the connection is better.',
  invalid_code: 'That is neither a code of sixteen letters and digits nor a whole link. Look again at the other device.',
  wrong_code: 'The code was not right, and each code can be tried only once. Make a new one on the other device.',
  code_expired: 'The code is too old. Make a new one on the other device.',
  invite_not_found: 'There is no invitation with this code. Check it, or make a new one: codes work once, for ten minutes.',
  invite_claimed: 'Another device used this code already. If that was not you, make a new one.',
  pairing_denied: 'It was cancelled, here or on the other device. Nothing was shared.',
  pairing_failed: 'The two devices did not come to an agreement. Make a new code and try again.',
  invalid_kit: 'That is not a whole recovery kit. Compare the letters with the page, or take another picture of it.',
  invalid_kit_code: 'That is not a recovery kit’s code of twenty-eight letters and digits. Compare it with what you wrote down.',
  wrong_kit_code: 'This code belongs to another recovery kit.',
  kit_too_new: 'The recovery kit was made by a newer version of this app. Update this one.',
  kit_unknown: 'No relay knows this recovery kit. Use the relay that your devices used.',
  already_in_group: 'This device is connected to others already. Leave them first.',
  other_app: 'That code belongs to another app.',
  removed: 'This device was removed from your devices.',
  not_safe_to_leave: 'Some changes are on no other device or relay yet.',
  group_too_large: 'You have as many devices as possible. Remove one first.',
  keychain_unavailable: 'The system’s keychain cannot be used. Unlock it, and try again.',
  key_missing: 'The keys of this device are gone from the keychain. Leave, and connect this device anew.',
  local_full: 'This device has no room left. Free some, and it goes on.',
  local_storage: 'The sync cannot write to this device’s disk.',
  profile_in_use: 'Another copy of this app is running. Close it first.',
  blob_too_large: 'A note is too large to be sent. Shorten it.',
  relay_unknown: 'No relay was found at that address. It looks like https://relay.example.org.',
  unsupported_tier: 'This version of the app cannot use that kind of relay.',
}

/** What went wrong and what to do. What the app has no words for, the plugin has. */
export function errorSentence(error: SyncError): string {
  return sentence(ERRORS[error.code] ?? error.message)
}

const sentence = (text: string): string =>
  /[.!?]$/.test(text) ? text : `${text.charAt(0).toUpperCase()}${text.slice(1)}.`

/** What a checkup looks at. */
const CHECKS: Record<Finding['check'], string> = {
  profile: 'This device',
  keys: 'Keys',
  store: 'Storage',
  group: 'Your devices',
  clock: 'Clock',
  relay: 'Relay',
}

/** What was found of one thing, and what to do. */
export function findingWords({ check, relay, code, text }: Finding): { about: string; sentence: string } {
  const known = code ? ERRORS[code] : undefined
  return { about: relay === null ? CHECKS[check] : `${CHECKS[check]} ${relay}`, sentence: sentence(known ?? text) }
}

const PARTS: Record<Repaired['part'], string> = {
  store: 'Storage',
  envelopes: 'From your other devices',
  own: 'From this device',
  waiting: 'What waits',
  snapshots: 'For new devices',
  relay: 'Relay',
}

/** What a repair found of one thing, and did. */
export function repairedWords({ part, relay, code, found, mended, text }: Repaired): { about: string; sentence: string } {
  const about = relay === null ? PARTS[part] : `${PARTS[part]} ${relay}`
  if (code !== null) return { about, sentence: part === 'relay' ? sentence(ERRORS[code] ?? text) : sentence(text) }
  if (found === 0) return { about, sentence: 'Nothing to mend.' }
  return { about, sentence: part === 'relay' ? `It lacked ${counted(found, 'change')}, and has ${found === 1 ? 'it' : 'them'} now.` : `${mended} of ${found} mended.` }
}

/** How much room sync takes on this device. */
export function diskSentence({ disk, headCursor }: Pick<Status, 'disk' | 'headCursor'>): string | undefined {
  if (disk === null) return undefined
  const unreadable = disk.parked > 0 ? `, ${sizeWords(disk.parked)} of it not readable here` : ''
  return `${counted(headCursor, 'change')} ${headCursor === 1 ? 'takes' : 'take'} ${sizeWords(disk.database)} on this device${unreadable}.`
}

/** So many bytes, in the unit that fits. */
export function sizeWords(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`
  const [kib, mib] = [bytes / 1024, bytes / 1024 ** 2]
  return mib < 1 ? `${Math.round(kib)} KB` : mib < 1024 ? `${mib.toFixed(mib < 10 ? 1 : 0)} MB` : `${(mib / 1024).toFixed(1)} GB`
}

/** When a device was last there. */
export function seenWords(online: boolean, lastSeen: number | null, now: number): string {
  if (online) return 'Online'
  if (lastSeen === null) return 'Not seen yet'
  const minutes = Math.max(0, Math.round((now - lastSeen) / 60_000))
  if (minutes < 2) return 'Seen just now'
  if (minutes < 120) return `Seen ${minutes} minutes ago`
  const hours = Math.round(minutes / 60)
  return hours < 48 ? `Seen ${hours} hours ago` : `Seen ${Math.round(hours / 24)} days ago`
}

/** Which device this one is a copy of, if it is one. */
export function copyWords(
  { copyOf }: Pick<Device, 'copyOf'>,
  devices: Pick<Device, 'deviceId' | 'name'>[],
): string | undefined {
  if (copyOf === null) return undefined
  return `A copy of ${devices.find(({ deviceId }) => deviceId === copyOf)?.name ?? 'a device that was removed'}`
}

/** How much of what is here another device has; nothing of this one, and of one that has not said. */
export function hasWords({ this: isThis, behind, lost }: Device): string | undefined {
  if (isThis || behind === null) return undefined
  if (behind > 0) return `Still to get ${counted(behind, 'change')} from here`
  return lost > 0 ? `Has everything from here but ${counted(lost, 'old change')} it missed` : 'Has everything from here'
}

/** How long a code still works. */
export function remaining(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000))
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}

/** So many of them. */
export const counted = (count: number, one: string): string => `${count} ${one}${count === 1 ? '' : 's'}`
