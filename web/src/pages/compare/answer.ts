/** Whether a change helped, in one sentence: how validation accuracy differs, and how much of that may be chance. Pure. */

import { percent, points } from '../../words/format'
import { ENDED } from '../../words/verdicts'
import type { Group } from './groups'

/** word: a badge before the text; tone: its color. */
export type Answer = { word: string; tone: 'good' | 'bad' | 'plain'; text: string; asksForStudy: boolean }

/** The 97.5% quantile of a normal distribution. */
const Z = 1.96
/** Student's t for 95%, by degrees of freedom from 1; the last one is used for more. */
const T = [12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.2, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.1, 2.09, 2.09]

type Measured = { group: Group; accuracies: number[]; mean: number; images: number }

/** Compares the first group with the most accurate of the others; null for a single group. */
export function answerOf(groups: Group[]): Answer | null {
  const [first, ...others] = groups
  if (!first || !others.length) return null
  const reason = cannotTell(groups)
  if (reason)
    return { word: 'cannot tell', tone: 'plain', text: `These jobs cannot show which is better: ${reason}`, asksForStudy: false }
  const before = measured(first)
  const after = others.map(measured).reduce((best, candidate) => (candidate.mean > best.mean ? candidate : best))
  const change = after.mean - before.mean
  const chance = byChance(before, after)
  const isSure = Math.abs(change) > chance
  const size = points(Math.abs(change)).replace('+', '')
  const start =
    Number(size) === 0
      ? `Validation accuracy is the same ${withWhat(after.group, first).replace(' than in ', ' and in ')}`
      : `Validation accuracy is ${size} points ${change > 0 ? 'higher' : 'lower'} ${withWhat(after.group, first)}`
  const figures = `${percent(after.mean)} against ${percent(before.mean)}`
  const luck = `${runs(before, after)}: chance alone can make a difference of ±${points(chance).replace('+', '')}`
  const best = others.length > 1 ? ` It is the best of ${others.length}, and the best of several is partly luck.` : ''
  const so = !isSure
    ? ' That may be chance: these jobs cannot show whether it helps.'
    : change > 0
      ? ' So it most likely helps.'
      : ' So it most likely makes things worse.'
  return {
    word: !isSure ? 'may be chance' : change > 0 ? 'helped' : 'made it worse',
    tone: !isSure ? 'plain' : change > 0 ? 'good' : 'bad',
    text: `${start}: ${figures} (${luck}).${so}${best}`,
    asksForStudy: !isSure,
  }
}

function cannotTell(groups: Group[]): string {
  const trials = groups.flatMap((group) => group.trials)
  if (new Set(trials.map((trial) => trial.job.dataset.id)).size > 1)
    return 'they were validated on images of different datasets or versions.'
  if (new Set(trials.map((trial) => JSON.stringify(trial.job.spec.validation ?? null))).size > 1)
    return 'they were validated on different images (different folds).'
  if (trials.some((trial) => !ENDED.has(trial.job.status))) return 'not all of them have ended yet.'
  if (trials.some((trial) => !trial.metrics.final?.validation?.count))
    return 'not all of them were measured on validation images at the end.'
  return ''
}

function measured(group: Group): Measured {
  const finals = group.trials.map((trial) => trial.metrics.final!.validation!)
  const accuracies = finals.map((final) => final.accuracy)
  return { group, accuracies, mean: meanOf(accuracies), images: finals[0]!.count }
}

/**
 * How far apart two accuracies are by chance alone in 95 of 100 cases, as a fraction.
 *
 * The first part is the choice of images, computed as if each group had its own: slightly too wide if all share them.
 * The second part, if both groups have several runs, is how much these runs differ.
 */
function byChance(first: Measured, second: Measured): number {
  const known = (first.mean + second.mean) / 2
  const ofImages = Z * Math.sqrt(known * (1 - known) * (1 / first.images + 1 / second.images))
  const [n, m] = [first.accuracies.length, second.accuracies.length]
  if (n < 2 || m < 2) return ofImages
  const ofRuns =
    T[Math.min(n + m - 2, T.length) - 1]! * Math.sqrt(variance(first.accuracies) / n + variance(second.accuracies) / m)
  return Math.hypot(ofImages, ofRuns)
}

const meanOf = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

function variance(values: number[]): number {
  const mean = meanOf(values)
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1)
}

function runs(before: Measured, after: Measured): string {
  const [n, m] = [before.accuracies.length, after.accuracies.length]
  return n === m ? `${n} ${n === 1 ? 'run' : 'runs'} each` : `${n} and ${m} runs`
}

/** "with dropout", if the name shows that the second job tries a remedy on the first; otherwise the letters of both. */
function withWhat(after: Group, before: Group): string {
  const added = after.name.startsWith(`${before.name} + `) ? after.name.slice(before.name.length + 3) : ''
  return added ? `with ${added}` : `in ${after.letter} (${after.name}) than in ${before.letter} (${before.name})`
}
