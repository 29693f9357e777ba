/** What the fields of a spec are called in plain words, and which of them most people need. */

import { plain } from '../../words/format'
import { SPEC_FIELDS } from '../../words/labels'
import type { Path } from './schema'

/** The fields of a group that are shown first. Groups that are not named here show all of theirs. */
const FIRST: Record<string, string[]> = {
  // Of blocks, and of a network of one's own.
  network: ['blocks', 'l2', 'weights', 'head', 'dropout'],
  'network.blocks': ['filters', 'dropout'],
  training: ['epochs', 'batch_size', 'optimizer', 'early_stopping'],
  'training.optimizer': ['name', 'learning_rate'],
  'training.early_stopping': ['monitor', 'patience'],
  augmentation: ['rotation_degrees', 'width_shift', 'height_shift', 'zoom', 'horizontal_flip'],
}

export const ITEMS: Record<string, string> = { blocks: 'Block', dense: 'Dense layer' }

const keyOf = (path: Path) => path.filter((part) => typeof part === 'string').join('.')

export function labelOf(path: Path): string {
  const name = plain(String(path[path.length - 1]))
  return SPEC_FIELDS[keyOf(path)] ?? name.charAt(0).toUpperCase() + name.slice(1)
}

/** The field's own name, by which JSON, the command line and the reference call it. */
export const fieldName = (path: Path) => String(path[path.length - 1])

/** Fields of a group, parted into those that are shown at once and those behind "More settings". */
export function parted<T>(path: Path, fields: [string, T][]): [shown: [string, T][], folded: [string, T][]] {
  const first = FIRST[keyOf(path)]
  if (!first) return [fields, []]
  return [fields.filter(([name]) => first.includes(name)), fields.filter(([name]) => !first.includes(name))]
}

/** The place that a JSON pointer names, as the form calls it: `/network/blocks/0/filters` is "Block 1: Filters …". */
export function placeOf(pointer: string): string {
  const path = pointer.split('/').slice(1)
  const number = path.findIndex((part) => /^\d+$/.test(part))
  const item = number > 0 ? `${ITEMS[path[number - 1]!] ?? labelOf(path.slice(0, number))} ${Number(path[number]) + 1}` : ''
  const last = path.filter((part) => !/^\d+$/.test(part))
  return [item, number === path.length - 1 ? '' : labelOf(last)].filter(Boolean).join(': ') || 'The job'
}
