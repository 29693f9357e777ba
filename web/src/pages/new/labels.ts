/** Which fields of a spec most people need. */

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

const keyOf = (path: Path) => path.filter((part) => typeof part === 'string').join('.')

/** Fields of a group, parted into those that are shown at once and those behind "More settings". */
export function parted<T>(path: Path, fields: [string, T][]): [shown: [string, T][], folded: [string, T][]] {
  const first = FIRST[keyOf(path)]
  if (!first) return [fields, []]
  return [fields.filter(([name]) => first.includes(name)), fields.filter(([name]) => !first.includes(name))]
}
