/** The figures of a group: of the kept weights, or of all its jobs at one epoch. */

import { type Band, bandOf, type Group } from './groups'
import type { Trial } from './loading'

export type Measure = 'accuracy' | 'loss'
type Split = 'train' | 'validation' | 'test'
type Numbers = Partial<Record<Split, number | null>>

/** epochs: those of the figures. isKept: false if a job has no kept weights (yet); then they are those of its lowest validation loss. */
export type Row = {
  group: Group
  epochs: number[]
  isKept: boolean
  splits: Record<Split, Band | null>
  /** 95% intervals of one job's kept weights. */
  intervals: Partial<Record<Split, readonly number[]>>
  gap: Band | null
  /** The images that training is compared with. */
  gapTo: 'test' | 'validation'
}

const SPLITS: Split[] = ['train', 'validation', 'test']

/** at: the epoch; null for the kept weights. */
export function rowOf(group: Group, measure: Measure, at: number | null): Row {
  const found = group.trials.map((trial) => (at === null ? keptFigures(trial, measure) : figuresAt(trial, measure, at)))
  const known = found.filter((figures) => figures !== null)
  const splits = Object.fromEntries(
    SPLITS.map((split) => [split, bandOf(numbers(known.map((figures) => figures.of[split])))]),
  ) as Row['splits']
  // One kind of gap for the whole row: to test if all of its jobs were tested.
  const gapTo = known.length && known.every((figures) => isNumber(figures.of.test)) ? 'test' : 'validation'
  const sign = measure === 'accuracy' ? 1 : -1
  const gaps = known.map(({ of }) => (isNumber(of.train) && isNumber(of[gapTo]) ? sign * (of.train - of[gapTo]) : null))
  return {
    group,
    epochs: known.map((figures) => figures.epoch),
    isKept: at !== null || known.every((figures) => figures.isKept),
    splits,
    intervals: group.trials.length === 1 && measure === 'accuracy' ? (known[0]?.intervals ?? {}) : {},
    gap: bandOf(numbers(gaps)),
    gapTo,
  }
}

type Found = { epoch: number; of: Numbers; isKept: boolean; intervals: Row['intervals'] }

function keptFigures(trial: Trial, measure: Measure): Found | null {
  const { final, epochs } = trial.metrics
  if (final) {
    const of: Numbers = {}
    const intervals: Row['intervals'] = {}
    for (const split of SPLITS) {
      const figures = final[split]
      of[split] = figures?.[measure] ?? null
      if (figures?.interval) intervals[split] = figures.interval
    }
    return { epoch: final.epoch, of, isKept: true, intervals }
  }
  const measured = epochs.filter((epoch) => epoch.validation_loss !== null)
  if (!measured.length) return null
  const best = measured.reduce((least, epoch) => (epoch.validation_loss! < least.validation_loss! ? epoch : least))
  return figuresAt(trial, measure, best.epoch, false)
}

/** A thinned history lacks some epochs; then the figures are those of the last one before. */
function figuresAt(trial: Trial, measure: Measure, at: number, isKept = true): Found | null {
  const epoch = trial.metrics.epochs.filter((row) => row.epoch <= at).at(-1)
  const last = trial.metrics.epochs.at(-1)
  if (!epoch || !last || last.epoch < at) return null
  const of = Object.fromEntries(SPLITS.map((split) => [split, epoch[`${split}_${measure}`] ?? null]))
  return { epoch: epoch.epoch, of, isKept, intervals: {} }
}

const isNumber = (value: number | null | undefined): value is number => value !== null && value !== undefined
const numbers = (values: (number | null | undefined)[]) => values.filter(isNumber)
