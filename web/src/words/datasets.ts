/** What splits, findings of an audit and changes of a dataset are called. */

import type { Changes, Split } from '../api/datasets'
import { count, figure, plain } from './format'
import type { Tone } from './verdicts'

export const SPLIT_NAMES: Record<Split, string> = { train: 'Training', validation: 'Validation', test: 'Test' }

export const DATASET_TONES: Record<string, Tone> = { ready: 'good', rejected: 'bad', checking: 'accent', uploading: 'accent' }

/** What a change does to a dataset, in a sentence for each part. */
export function changesInWords(changes: Changes): string[] {
  const said: string[] = []
  const { exclude, relabel, rename_classes, pixel_values, resplit, drop_copies } = changes as {
    exclude?: unknown[]
    relabel?: Record<string, string>
    rename_classes?: Record<string, string | Record<string, string>>
    pixel_values?: Record<string, unknown>
    resplit?: unknown
    drop_copies?: boolean
  }
  if (exclude?.length) said.push(`${images(exclude.length)} left out.`)
  const relabelled = Object.keys(relabel ?? {}).length
  if (relabelled) said.push(`${images(relabelled)} given another label.`)
  for (const [name, meant] of Object.entries(rename_classes ?? {})) {
    if (typeof meant === 'string')
      said.push(`The class ${name} becomes ${meant}. If there is a class ${meant} already, the two are merged.`)
    else said.push(`In the ${splitWord(name)} split, labels change: ${pairs(meant)}.`)
  }
  for (const [split, change] of Object.entries(pixel_values ?? {})) {
    if (change) said.push(`In all ${splitWord(split)} images, ${pixelWord(change)}.`)
  }
  if (drop_copies) {
    said.push(
      'Of images that are copies of each other, only one stays: the one in test if there is one, else the one in validation. ' +
        'Copies with different labels are all left out.',
    )
  }
  if (resplit) said.push('All images are split again into training, validation and test. Copies and groups stay together.')
  return said
}

const images = (number: number) => `${count(number)} ${number === 1 ? 'image is' : 'images are'}`
const splitWord = (name: string) => (name in SPLIT_NAMES ? SPLIT_NAMES[name as Split].toLowerCase() : name)
const MOST_PAIRS = 6

function pairs(meant: Record<string, string>): string {
  const all = Object.entries(meant).map(([given, means]) => `${given} becomes ${means}`)
  const rest = all.length - MOST_PAIRS
  return all.slice(0, MOST_PAIRS).join(', ') + (rest > 0 ? ` and ${count(rest)} more` : '')
}

const PIXEL_WORDS: Record<string, string> = { invert: 'light and dark are swapped', swap_channels: 'red and blue are swapped' }

function pixelWord(change: unknown): string {
  if (typeof change === 'string') return PIXEL_WORDS[change] ?? `the picture is changed: ${plain(change)}`
  const { factor = 1, offset = 0 } = change as { factor?: number; offset?: number }
  const said = [factor !== 1 && `multiplied by ${figure(factor)}`, offset !== 0 && `changed by ${figure(offset)}`]
  return `pixel values are ${said.filter(Boolean).join(' and ') || 'limited to their range'}`
}
