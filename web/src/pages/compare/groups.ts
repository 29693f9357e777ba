/** Groups jobs whose specs differ only in the seed: one line with a band from the lowest to the highest. */

import type { Epoch } from '../../api/jobs'
import type { Trial } from './loading'

/** letter: its name in charts and tables. colour: a custom property. */
export type Group = { letter: string; colour: string; dash: number[] | undefined; name: string; trials: Trial[] }
export type Band = { mean: number; low: number; high: number; count: number }
export type Figure = 'train_loss' | 'train_accuracy' | 'validation_loss' | 'validation_accuracy'

const COLOURS = 8
/** When colors repeat, lines get another dash pattern. */
const DASHES = [undefined, [2, 3], [10, 4, 2, 4]]

export function groupsOf(trials: Trial[], areSeedsTogether: boolean): Group[] {
  const found = new Map<string, Trial[]>()
  for (const trial of trials) {
    const key = areSeedsTogether ? withoutSeed(trial) : trial.job.id
    found.set(key, [...(found.get(key) ?? []), trial])
  }
  return [...found.values()].map((members, place) => ({
    letter: letterOf(place),
    colour: `--series-${(place % COLOURS) + 1}`,
    dash: DASHES[Math.floor(place / COLOURS) % DASHES.length],
    name: nameOf(members),
    trials: members,
  }))
}

/** The parts of a spec that change what is learned, without the seed and the fold that a study gives each seed. */
function withoutSeed({ job: { spec, dataset } }: Trial): string {
  const { training, validation } = spec
  const same = { name: '', metadata: {}, priority: 0, dataset: dataset.id, training: { ...training, seed: 0 } }
  return JSON.stringify({ ...spec, ...same, validation: validation && { ...validation, fold: 0 } })
}

const letterOf = (place: number): string =>
  (place < 26 ? '' : letterOf(Math.floor(place / 26) - 1)) + String.fromCharCode(65 + (place % 26))

/** The common beginning of the names of its jobs. */
function nameOf(trials: Trial[]): string {
  const [first = '', ...others] = trials.map((trial) => trial.job.name)
  let length = first.length
  for (const other of others) {
    while (!other.startsWith(first.slice(0, length))) length -= 1
  }
  return first.slice(0, length).replace(/[\s,:;·_(#-]+(seed\s*)?$/, '') || first
}

export const epochsOf = (groups: Group[]): number[] =>
  [...new Set(groups.flatMap((group) => group.trials.flatMap((trial) => trial.metrics.epochs.map((epoch) => epoch.epoch))))].sort(
    (a, b) => a - b,
  )

export const lastEpochOf = (trial: Trial): number => trial.metrics.epochs.at(-1)?.epoch ?? 0

/**
 * The figure of a group at each epoch.
 *
 * Undefined where a job that ran longer has no point, as in thinned histories: the mean of the others would jump.
 */
export function bandsOf(group: Group, epochs: number[], measure: (epoch: Epoch) => number | null): (Band | null | undefined)[] {
  const rows = group.trials.map((trial) => ({
    last: lastEpochOf(trial),
    byEpoch: new Map(trial.metrics.epochs.map((epoch) => [epoch.epoch, epoch])),
  }))
  return epochs.map((number) => {
    const values: number[] = []
    let isThere = false
    for (const { last, byEpoch } of rows) {
      const epoch = byEpoch.get(number)
      if (!epoch && last > number) return undefined
      if (!epoch) continue
      isThere = true
      const value = measure(epoch)
      if (value !== null) values.push(value)
    }
    return isThere ? bandOf(values) : undefined
  })
}

export function bandOf(values: number[]): Band | null {
  if (!values.length) return null
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  return { mean, low: Math.min(...values), high: Math.max(...values), count: values.length }
}
