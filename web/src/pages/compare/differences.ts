/** Finds the fields in which the specs of jobs differ, and other differences between the runs. */

import type { Job } from '../../api/jobs'
import { itemFieldWord, valueWord } from '../../words/fields'
import type { Group } from './groups'

/** values: one for each group; undefined if its spec has no such field. */
export type Difference = { path: string; values: unknown[] }
type Leaves = Map<string, unknown>

/** Fields that do not change what is learned, or that the page shows elsewhere. */
const LEFT_OUT = new Set(['name', 'dataset', 'metadata', 'priority', 'training.seed'])

export function specDifferences(groups: Group[]): Difference[] {
  const all = wholeItems(groups.map(({ trials: [first] }) => leavesOf(first!.job.spec)))
  const datasets = groups.map(({ trials: [first] }) => `${first!.job.dataset.name}@${first!.job.dataset.version}`)
  const rows = [{ path: 'dataset', values: datasets as unknown[] }]
  for (const path of new Set(all.flatMap((leaves) => [...leaves.keys()]))) {
    if (LEFT_OUT.has(path.split('.')[0]!) || LEFT_OUT.has(path)) continue
    rows.push({ path, values: all.map((leaves) => leaves.get(path)) })
  }
  return rows.filter((row) => differ(row.values))
}

/** Makes one row, not one for each field, of a block that some specs lack. */
function wholeItems(all: Leaves[]): Leaves[] {
  const itemOf = (path: string) => /^.*?\[\d+\]/.exec(path)?.[0]
  const items = new Set(all.flatMap((leaves) => [...leaves.keys()].flatMap((path) => itemOf(path) ?? [])))
  const torn = new Set(
    [...items].filter((item) => all.some((leaves) => ![...leaves.keys()].some((path) => itemOf(path) === item))),
  )
  return all.map((leaves) => {
    const kept: Leaves = new Map()
    for (const [path, value] of leaves) {
      const item = itemOf(path)
      if (!item || !torn.has(item)) kept.set(path, value)
      else if (value !== null && value !== 0 && value !== false) {
        const before = kept.get(item)
        kept.set(item, `${before ? `${String(before)}, ` : ''}${itemFieldWord(path)} ${valueWord(value)}`)
      }
    }
    return kept
  })
}

/** Differences in what follows from specs and machines. */
export function runDifferences(groups: Group[]): Difference[] {
  const firsts = groups.map(({ trials: [first] }) => first!.job)
  const rows: [string, (job: Job) => unknown][] = [
    ['parameters', (job) => job.parameters],
    ['device', (job) => job.engine?.device ?? null],
    ['TensorFlow', (job) => job.engine?.tensorflow ?? null],
    ['host', (job) => job.engine?.host ?? null],
  ]
  return rows
    .map(([path, of]) => ({ path, values: firsts.map(of) }))
    .filter(({ values }) => differ(values.filter((value) => value !== null)))
}

/** Whether there are two different values. An absent value counts as off. */
function differ(values: unknown[]): boolean {
  const isAbsent = values.includes(undefined)
  const texts = values.map((value) =>
    isAbsent && (value === undefined || value === null || value === 0 || value === false) ? '' : JSON.stringify(value),
  )
  return new Set(texts).size > 1
}

function leavesOf(value: unknown, path = '', found: Leaves = new Map()): Leaves {
  if (Array.isArray(value) && value.some((item) => item !== null && typeof item === 'object')) {
    for (const [place, item] of value.entries()) leavesOf(item, `${path}[${place}]`, found)
  } else if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
    for (const [name, item] of Object.entries(value)) leavesOf(item, path ? `${path}.${name}` : name, found)
  } else if (value !== null || path.includes('.')) {
    found.set(path, value)
  }
  return found
}
