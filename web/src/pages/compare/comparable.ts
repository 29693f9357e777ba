/** What cannot be compared between jobs, in plain words. */

import { ENDED } from '../../words/verdicts'
import { type Group, lastEpochOf } from './groups'

/** Sentences for a reader; empty if all figures are of the same images. */
export function cautions(groups: Group[]): string[] {
  const said: string[] = []
  const jobs = groups.flatMap((group) => group.trials.map((trial) => ({ letter: group.letter, trial, job: trial.job })))
  const letters = (which: (compared: (typeof jobs)[number]) => boolean) =>
    list([...new Set(jobs.filter(which).map((compared) => compared.letter))])

  const names = [...new Set(jobs.map((compared) => compared.job.dataset.name))]
  const datasets = [...new Map(jobs.map(({ job }) => [job.dataset.id, `${job.dataset.name}@${job.dataset.version}`])).values()]
  if (names.length > 1) {
    said.push(
      `They were trained on different datasets (${list(datasets)}): their figures cannot be compared. Compare the shapes of ` +
        'the curves and the sizes of the gaps instead.',
    )
  } else if (datasets.length > 1) {
    said.push(
      `They were trained on different versions of a dataset (${list(datasets)}): if these have different validation or test images, ` +
        'figures differ for that reason too.',
    )
  }
  const cuts = new Set(jobs.map(({ job }) => `${job.dataset.id} ${JSON.stringify(job.spec.validation ?? null)}`))
  if (cuts.size > datasets.length) {
    said.push(
      'They were validated on different images (different folds), so validation figures differ for that reason too. Test images are the same.',
    )
  }
  const untested = letters(({ job }) => job.spec.evaluation?.test === 'never')
  if (untested) said.push(`${untested} was not tested, as its spec says, so there are no test figures to compare.`)
  const running = letters(({ job }) => !ENDED.has(job.status))
  if (running) said.push(`${running} has not ended, so its figures will change.`)
  const failed = letters(({ job }) => job.status === 'failed')
  if (failed) said.push(`${failed} failed. Its figures are those of the epochs before.`)
  const empty = letters(({ trial }) => !lastEpochOf(trial))
  if (empty) said.push(`${empty} has not finished an epoch.`)
  return said
}

/** "A, B and C". */
const list = (words: string[]) => (words.length > 1 ? `${words.slice(0, -1).join(', ')} and ${words.at(-1)}` : (words[0] ?? ''))
