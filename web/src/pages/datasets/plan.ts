/** Decides which dropped files and folders become one upload, and why the others do not. Pure. */

import { type Member, packTar } from '../../api/tar'
import type { Dropped } from '../../parts/dropping'
import { count } from '../../words/format'

/** A dropped file, or a dropped folder with everything in it. `why` is empty where it is taken. */
export type Part = { name: string; what: string; bytes: number; why: string }
export type Plan = { parts: Part[]; content: () => Blob }

type Kind = 'folder' | 'archive' | 'arrays' | 'table' | 'image' | 'other'
type Top = { name: string; kind: Kind; files: Dropped[] }

const KINDS: [Kind, RegExp][] = [
  ['archive', /\.(zip|tar|tgz|tar\.gz)$/i],
  ['arrays', /\.npz$/i],
  ['table', /\.parquet$/i],
  ['image', /\.(png|jpe?g|jpe|jfif|webp|bmp|dib|gif|tiff?|hei[cf]|avif)$/i],
]
const KIND_WORDS: Record<Kind, string> = {
  folder: 'folder',
  archive: 'archive',
  arrays: 'arrays',
  table: 'Parquet file',
  image: 'image',
  other: 'file',
}
const LEFT_BY_SYSTEMS = /(^|\/)(\._|(\.DS_Store|Thumbs\.db|desktop\.ini)$|(__MACOSX|\.ipynb_checkpoints|\.git)\/)/i
const OTHERS: [RegExp, string][] = [
  [/\.(csv|tsv|xlsx?|json|xml|txt)$/i, 'Labels are read from the names of folders, not from a table or text beside the images.'],
  [/\.(keras|h5|onnx|tflite|pt|pth)$/i, 'This is a model. Upload it on the page "Models".'],
  [/\.(rar|7z|bz2|xz|zst)$/i, 'Archives of this kind are not read. Pack it as a zip.'],
  [/\.(npy|pkl|pickle|mat|hdf5)$/i, 'Save images and labels together in one .npz file.'],
]

const isImage = ({ path, file }: Dropped) => file !== undefined && (kindOf(path) === 'image' || !/[^/]\.[^/.]*$/.test(path))
const kindOf = (path: string): Kind => KINDS.find(([, form]) => form.test(path))?.[0] ?? 'other'
const isPack = ({ kind }: Top) => kind === 'folder' || kind === 'archive'
const stemOf = ({ name, kind }: Top) => (kind === 'archive' ? name.replace(/\.(zip|tar|tgz|tar\.gz)$/i, '') : name)

export function planUpload(dropped: Dropped[]): Plan {
  const useful = dropped.filter(({ path }) => !LEFT_BY_SYSTEMS.test(path))
  const tops = groupByTop(liftArchives(useful))
  const whys = tops.map((top, place) => refuse(top, tops, place))
  const parts = tops.map((top, place) => ({
    name: top.name,
    what: describe(top),
    bytes: top.files.reduce((all, { file }) => all + (file?.size ?? 0), 0),
    why: whys[place]!,
  }))
  const ignored = dropped.length - useful.length
  if (ignored) {
    const what = `${count(ignored)} ${ignored === 1 ? 'file' : 'files'}`
    parts.push({ name: 'System files', what, bytes: 0, why: 'The operating system has left them beside your images.' })
  }
  const taken = tops.filter((_, place) => !whys[place])
  return { parts, content: () => pack(taken) }
}

/** Archives that lie in a folder without images, as if they had been dropped themselves. */
function liftArchives(dropped: Dropped[]): Dropped[] {
  const withImages = new Set(dropped.filter(isImage).map(({ path }) => topOf(path)))
  return dropped.map((item) => {
    const [top, name, deeper] = item.path.split('/')
    const isLifted =
      name && deeper === undefined && !withImages.has(top!) && ['archive', 'arrays', 'table'].includes(kindOf(name))
    return isLifted ? { ...item, path: name } : item
  })
}

const topOf = (path: string) => path.split('/')[0]!

function groupByTop(dropped: Dropped[]): Top[] {
  const tops = new Map<string, Top>()
  for (const item of dropped) {
    const name = topOf(item.path)
    const top = tops.get(name) ?? { name, kind: item.path === name ? kindOf(name) : ('folder' as const), files: [] }
    top.files.push(item)
    tops.set(name, top)
  }
  return [...tops.values()]
}

/** Why this cannot be part of the upload; empty where it can. */
function refuse(top: Top, tops: Top[], place: number): string {
  const hasPacks = tops.some((other) => isPack(other) && !isEmpty(other))
  const before = tops.slice(0, place)
  switch (top.kind) {
    case 'folder':
    case 'archive':
      if (isEmpty(top)) return 'There is no image in this folder.'
      return before.some((other) => isPack(other) && stemOf(other) === stemOf(top))
        ? `There is another "${stemOf(top)}" already. Rename one of them.`
        : ''
    case 'table':
      return hasPacks ? 'A Parquet file is uploaded without folders and archives beside it.' : ''
    case 'arrays':
      return hasPacks || tops.some(({ kind }) => kind === 'table')
        ? 'Arrays are uploaded without folders, archives and Parquet files beside them.'
        : ''
    case 'image':
      return 'An image by itself has no class. Put it into a folder named after its class, and drop that folder.'
    default: {
      const known = OTHERS.find(([form]) => form.test(top.name))?.[1]
      if (known) return known
      // The service knows formats by their first bytes, whatever a file is called.
      return tops.length === 1 ? '' : 'Its name does not end in .zip, .tar, .npz or .parquet, so it is not clear what it is.'
    }
  }
}

const isEmpty = (top: Top) => top.kind === 'folder' && !top.files.some(isImage)

function describe({ kind, files }: Top): string {
  if (kind !== 'folder') return KIND_WORDS[kind]
  const images = files.filter(isImage).length
  const others = files.filter(({ file }) => file).length - images
  const beside = others ? ` and ${count(others)} other ${others === 1 ? 'file' : 'files'}, not read as images` : ''
  return `folder with ${count(images)} ${images === 1 ? 'image' : 'images'}${beside}`
}

/** One file as it is, or one tar of everything. If it has archives, each folder in it becomes an archive, too. */
function pack(taken: Top[]): Blob {
  const [first] = taken
  if (taken.length === 1 && first?.kind !== 'folder') return first?.files[0]?.file ?? new Blob()
  const hasArchive = taken.some(({ kind }) => kind === 'archive')
  const members = ({ files }: Top, within = ''): Member[] =>
    files.map(({ path, file }) => ({ path: path.slice(within.length), ...(file && { content: file }) }))
  return packTar(
    taken.flatMap((top) =>
      hasArchive && top.kind === 'folder'
        ? [{ path: `${top.name}.tar`, content: packTar(members(top, `${top.name}/`)) }]
        : members(top),
    ),
  )
}
