/** What the fields of a spec are called in plain words. */

import { plain } from './format'
import { SPEC_FIELDS } from './labels'

type Path = (string | number)[]

export const ITEMS: Record<string, string> = { blocks: 'Block', dense: 'Dense layer' }

const keyOf = (path: Path) => path.filter((part) => typeof part === 'string').join('.')

export function labelOf(path: Path): string {
  const name = plain(String(path[path.length - 1]))
  return SPEC_FIELDS[keyOf(path)] ?? name.charAt(0).toUpperCase() + name.slice(1)
}

/** The place that a JSON pointer names, as the form calls it: `/network/blocks/0/filters` is "Block 1: Filters …". */
export function placeOf(pointer: string): string {
  const path = pointer.split('/').slice(1)
  const number = path.findIndex((part) => /^\d+$/.test(part))
  const item = number > 0 ? `${ITEMS[path[number - 1]!] ?? labelOf(path.slice(0, number))} ${Number(path[number]) + 1}` : ''
  const last = path.filter((part) => !/^\d+$/.test(part))
  return [item, number === path.length - 1 ? '' : labelOf(last)].filter(Boolean).join(': ') || 'The job'
}

/** A label without its explanation in parentheses. */
const short = (label: string) => label.replace(/ \(.*\)$/, '')

/** A value of a spec as words. */
export function valueWord(value: unknown): string {
  if (value === undefined) return '–'
  if (value === null) return 'none'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value === 'number') return value.toLocaleString('en', { maximumSignificantDigits: 12 })
  if (typeof value === 'string') return plain(value)
  if (Array.isArray(value)) return value.map(valueWord).join(', ')
  return Object.entries(value)
    .map(([name, inner]) => `${plain(name)} ${valueWord(inner)}`)
    .join(', ')
}

/** `training.optimizer.learning_rate` or `network.blocks[1].dropout`, as the form calls the place. */
export const pathWord = (path: string) => placeOf(`/${path.replaceAll(/[.[]/g, '/').replaceAll(']', '')}`)

/** A field of a block that a table shows in the block's own row: `kernel_size` is "size of a filter". */
export function itemFieldWord(path: string): string {
  const label = short(labelOf(path.replaceAll(/\[\d+\]/g, '').split('.')))
  return /^[A-Z]\d|^[A-Z]{2}/.test(label) ? label : label.charAt(0).toLowerCase() + label.slice(1)
}

/** Labels by the last part of a field's path. Fields of blocks come first, which texts mean most often. */
const BY_NAME: Record<string, string> = {}
for (const [path, label] of Object.entries(SPEC_FIELDS)) BY_NAME[path.slice(path.lastIndexOf('.') + 1)] ??= short(label)

/** Settings outside of a job's spec, as their forms call them. */
const SETTINGS: Record<string, string> = {
  group_by: 'Images that belong together',
  'remedies: all': 'all remedies',
  'extent: full': 'a full comparison',
  resplit: 'Split all images again',
}

/** Text in which fields of specs have the names that the form gives them: `padding: same` is "Padding …: same". */
export const withFieldWords = (text: string) =>
  text.replaceAll(/`([a-z_.\d]+)(?:: ([\w.]+))?`/g, (whole, name: string, value?: string) => {
    const setting = SETTINGS[value === undefined ? name : `${name}: ${value}`]
    if (setting) return `"${setting}"`
    const label = name.includes('.') ? dottedWord(name) : /_/.test(name) || value !== undefined ? BY_NAME[name] : null
    if (value === undefined) return label ? `"${label}"` : whole
    return `"${label ?? plain(name)}: ${plain(value)}"`
  })

function dottedWord(path: string): string | null {
  if (SPEC_FIELDS[path]) return short(SPEC_FIELDS[path])
  const parent = SPEC_FIELDS[path.slice(0, path.lastIndexOf('.'))]
  return parent ? `${short(parent)}: ${plain(path.slice(path.lastIndexOf('.') + 1))}` : null
}
