/** The sizes of some images before they are sent, and one size for all where they differ. */

import type { Dropped } from '../../parts/dropping'

const MOST_FILES = 60
/** Sides to propose: a larger one shows more, but training takes longer with the square of it. */
const SIDES = [96, 64, 48, 32]
const [MIN_SIDE, MAX_SIDE] = [8, 512]
const IMAGE = /\.(png|jpe?g|jpe|jfif|webp|bmp|dib)$/i
const [END_OF_ZIP, ENTRY_OF_ZIP, DEFLATED] = [0x06054b50, 0x02014b50, 8]
/** A comment of a zip may follow its end record. */
const MAX_END_BYTES = 22 + 0xffff

type Size = [height: number, width: number]
export type Proposal = { looked: number; sizes: string[]; side: number }

/** What to do about the sizes of these files; null if they have one that can be trained on, or if none can be read. */
export async function proposeSize(dropped: Dropped[]): Promise<Proposal | null> {
  const files = dropped.flatMap(({ file }) => (file ? [file] : []))
  const images: Blob[] = spread(files.filter(({ name }) => IMAGE.test(name)))
  for (const zip of files.filter(({ name }) => /\.zip$/i.test(name))) images.push(...(await readZip(zip).catch(() => [])))
  const found: Size[] = []
  for (const image of spread(images)) {
    const size = await measure(image)
    if (size) found.push(size)
  }
  const sizes = [...new Set(found.map((size) => size.join(' × ')))]
  const isTrainable = found.every((size) => size.every((side) => side >= MIN_SIDE && side <= MAX_SIDE))
  if (!found.length || (sizes.length === 1 && isTrainable)) return null
  const shorter = found.map((size) => Math.min(...size)).sort((a, b) => a - b)[found.length >> 1]!
  return { looked: found.length, sizes, side: SIDES.find((side) => side <= shorter) ?? Math.max(MIN_SIDE, shorter) }
}

/** About as many as are looked at, from all parts of a list. */
const spread = <T>(all: T[]) => all.filter((_, place) => place % Math.ceil(all.length / MOST_FILES) === 0)

async function measure(image: Blob): Promise<Size | null> {
  try {
    const bitmap = await createImageBitmap(image)
    const size: Size = [bitmap.height, bitmap.width]
    bitmap.close()
    return size
  } catch {
    return null // the service says what is wrong with it
  }
}

/** Some images of a zip, unpacked. */
async function readZip(file: File): Promise<Blob[]> {
  const end = await view(file.slice(Math.max(0, file.size - MAX_END_BYTES)))
  let place = end.byteLength - 22
  while (place >= 0 && end.getUint32(place, true) !== END_OF_ZIP) place--
  if (place < 0) return []
  const [size, start] = [end.getUint32(place + 12, true), end.getUint32(place + 16, true)]
  const directory = await view(file.slice(start, start + size))
  const entries: { method: number; size: number; header: number }[] = []
  for (let at = 0; at + 46 <= directory.byteLength && directory.getUint32(at, true) === ENTRY_OF_ZIP; ) {
    const length = directory.getUint16(at + 28, true)
    const name = new TextDecoder().decode(new Uint8Array(directory.buffer, at + 46, length))
    const entry = {
      method: directory.getUint16(at + 10, true),
      size: directory.getUint32(at + 20, true),
      header: directory.getUint32(at + 42, true),
    }
    if (IMAGE.test(name) && !name.startsWith('__MACOSX/')) entries.push(entry)
    at += 46 + length + directory.getUint16(at + 30, true) + directory.getUint16(at + 32, true)
  }
  return Promise.all(spread(entries).map((entry) => unpack(file, entry)))
}

async function unpack(file: File, { method, size, header }: { method: number; size: number; header: number }): Promise<Blob> {
  const local = await view(file.slice(header, header + 30))
  const start = header + 30 + local.getUint16(26, true) + local.getUint16(28, true)
  const packed = file.slice(start, start + size)
  if (method !== DEFLATED) return packed
  return new Response(packed.stream().pipeThrough(new DecompressionStream('deflate-raw'))).blob()
}

const view = async (part: Blob) => new DataView(await part.arrayBuffer())
