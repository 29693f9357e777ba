/** Names of datasets: proposed from names of files, and refused in words where the service would not take them. */

const MAX_LENGTH = 64
/** What says a part of a dataset rather than its name. */
const PARTS = new Set('train training val valid validation dev test testing set data split images'.split(' '))

const FALLBACK = 'images'

/** A name that the service takes, made of what the names of files or folders have in common; `taken` are there already. */
export function proposeName(files: string[], taken: string[] = []): string {
  const words = files.map((file) => cleaned(file.replace(/(\.(zip|tar|tgz|gz|npz|parquet))+$/i, '')))
  if (words.length === 1 && words[0]) return words[0]
  const [first = [], ...others] = words.map((text) => text.split(/[._-]+/))
  const shared = first.filter((word) => word && !PARTS.has(word) && others.every((rest) => rest.includes(word)))
  if (shared.length) return shared.join('-')
  // A name that says nothing is not that of another dataset.
  let number = 1
  while (taken.includes(numbered(number))) number += 1
  return numbered(number)
}

const numbered = (number: number) => (number === 1 ? FALLBACK : `${FALLBACK}-${number}`)

const cleaned = (text: string) =>
  text
    .normalize('NFKD')
    .toLowerCase()
    .replace(/\p{M}+/gu, '')
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^ds_/, 'ds-')
    .replace(/^[^a-z0-9]+/, '')
    .slice(0, MAX_LENGTH)
    .replace(/[^a-z0-9]+$/, '')

/** Why the service would not take a name, and what to change; empty where it would. */
export function refuseName(name: string): string {
  if (!name) return 'Give the dataset a name.'
  if (name.length > MAX_LENGTH) return `A name has at most ${MAX_LENGTH} characters; this one has ${name.length}.`
  if (/[A-Z]/.test(name)) return `Use lowercase letters only, such as "${cleaned(name) || FALLBACK}".`
  const wrong = /[^a-z0-9._-]/.exec(name)?.[0]
  if (wrong !== undefined) {
    const what = wrong === ' ' ? 'Spaces cannot' : `"${wrong}" cannot`
    return `${what} be part of a name. Use lowercase letters (a to z), digits, dots, hyphens and underscores.`
  }
  if (!/^[a-z0-9]/.test(name)) return 'Begin the name with a letter or a digit.'
  return name.startsWith('ds_') ? 'A name cannot begin with "ds_", as ids of datasets do.' : ''
}
