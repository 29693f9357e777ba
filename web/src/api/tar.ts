/** Makes a tar in the browser from files on the disk, without reading them before they are sent. */

const BLOCK = 512
const MAX_PLAIN_NAME = 100

/** A file, or an empty folder if there is no content. */
export type Member = { path: string; content?: Blob }

export function packTar(members: Member[]): Blob {
  const parts: BlobPart[] = []
  for (const { path, content } of members) {
    const name = new TextEncoder().encode(path)
    if (name.length > MAX_PLAIN_NAME || name.some((byte) => byte > 127)) addRecord(parts, path)
    parts.push(makeHeader(name.slice(0, MAX_PLAIN_NAME), content?.size ?? 0, content ? '0' : '5'))
    if (content) parts.push(content, makePadding(content.size))
  }
  parts.push(new Uint8Array(2 * BLOCK))
  return new Blob(parts)
}

const makePadding = (size: number) => new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK)

/** The name of the next member, where it is long or not ASCII, as POSIX has it: a length that counts its own digits. */
function addRecord(parts: BlobPart[], path: string) {
  const text = ` path=${path}\n`
  const rest = new TextEncoder().encode(text).length
  let length = rest
  while (length !== rest + String(length).length) length = rest + String(length).length
  const record = new TextEncoder().encode(length + text)
  parts.push(makeHeader(new TextEncoder().encode('pax'), record.length, 'x'), record, makePadding(record.length))
}

function makeHeader(name: Uint8Array, size: number, type: string): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(BLOCK)
  const write = (text: string, at: number) => header.set(new TextEncoder().encode(text), at)
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`
  header.set(name)
  write(octal(type === '5' ? 0o755 : 0o644, 7), 100)
  write(octal(0, 7), 108)
  write(octal(0, 7), 116)
  write(octal(size, 11), 124)
  write(octal(0, 11), 136)
  write(' '.repeat(8), 148) // the checksum counts itself as spaces
  write(type, 156)
  write('ustar\x0000', 257)
  const sum = header.reduce((all, byte) => all + byte, 0)
  write(`${octal(sum, 6)} `, 148)
  return header
}
