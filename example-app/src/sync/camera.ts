/** Cameras, where there are any: a web view need not let pages use them. */

/** There is one that a page may ask for. */
export async function hasCamera(): Promise<boolean> {
  const media = navigator.mediaDevices as MediaDevices | undefined
  if (!media?.getUserMedia || !media.enumerateDevices) return false
  const devices = await media.enumerateDevices().catch(() => [])
  return devices.some(({ kind }) => kind === 'videoinput')
}

/** Opens it, if the person lets the app; the one that looks away from the person, if there are two. */
export function openCamera(): Promise<MediaStream> {
  return navigator.mediaDevices.getUserMedia({ audio: false, video: { facingMode: 'environment' } })
}

/** Lets go of it. */
export function closeCamera(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop()
}
