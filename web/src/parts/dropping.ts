/** Files and folders as a browser hands them over when they are dropped or chosen. */

/** A file with its path below what was dropped; without `file` it is an empty folder, whose path ends in `/`. */
export type Dropped = { path: string; file?: File }

/** All that was dropped, folders with everything in them. */
export async function readDrop(transfer: DataTransfer): Promise<Dropped[]> {
  // The browser forgets what was dropped as soon as this function waits for anything.
  const items = [...transfer.items].filter(({ kind }) => kind === 'file')
  const found = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile())
  const all = await Promise.all(
    found.map((entry) => (entry instanceof File ? [{ path: entry.name, file: entry }] : entry ? readEntry(entry) : [])),
  )
  return all.flat()
}

export const readChoice = (files: FileList | null): Dropped[] =>
  [...(files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file }))

/** What was there with what comes; a path that is there already is replaced. */
export const added = (before: Dropped[], more: Dropped[]): Dropped[] => {
  const paths = new Set(more.map(({ path }) => path))
  return [...before.filter(({ path }) => !paths.has(path)), ...more]
}

async function readEntry(entry: FileSystemEntry): Promise<Dropped[]> {
  const path = entry.fullPath.replace(/^\//, '')
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))
    return [{ path, file }]
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  const found: Dropped[] = []
  for (;;) {
    // A hundred at a time, and none at the end.
    const entries = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
    if (!entries.length) return found.length ? found : [{ path: `${path}/` }]
    for (const part of await Promise.all(entries.map(readEntry))) found.push(...part)
  }
}
