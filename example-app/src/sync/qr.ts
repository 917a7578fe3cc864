/** QR codes in pictures. The reader is part of the app: it is fetched from nowhere. */

import { prepareZXingModule, readBarcodes } from 'zxing-wasm/reader'
import wasmUrl from 'zxing-wasm/reader/zxing_reader.wasm?url'

prepareZXingModule({ overrides: { locateFile: (path: string) => (path.endsWith('.wasm') ? wasmUrl : path) } })

/** A picture that is larger than this is made smaller first. */
const SIDE_MAX = 2048

/** The text of the QR code in a picture, if one is found. Rejects if it is no picture. */
export async function readPicture(file: Blob): Promise<string | undefined> {
  const picture = await createImageBitmap(file)
  try {
    return await readFrame(picture, picture.width, picture.height)
  } finally {
    picture.close()
  }
}

/** The same for what a camera shows just now. */
export async function readFrame(picture: CanvasImageSource, width: number, height: number): Promise<string | undefined> {
  const scale = Math.min(1, SIDE_MAX / Math.max(width, height))
  const canvas = document.createElement('canvas')
  canvas.width = Math.max(1, Math.round(width * scale))
  canvas.height = Math.max(1, Math.round(height * scale))
  const context = canvas.getContext('2d', { willReadFrequently: true })
  if (!context) return undefined
  context.drawImage(picture, 0, 0, canvas.width, canvas.height)
  const found = await readBarcodes(context.getImageData(0, 0, canvas.width, canvas.height), {
    formats: ['QRCode'],
    tryHarder: true,
    maxNumberOfSymbols: 1,
  })
  return found[0]?.text
}
