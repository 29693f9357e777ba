/** What stands before a study whose data have faults that no remedy cures: which ones, and three ways on. */

import { useState } from 'preact/hooks'

import { type Problem, query } from '../api/client'
import type { Job } from '../api/jobs'
import { FixDialog } from './fix'
import { inQuery } from './router'

type Props = { problem: Problem; dataset: Job['dataset']; isBusy: boolean; onChoose: (data: string) => Promise<void> }

export function DataFirst({ problem, dataset, isBusy, onChoose }: Props) {
  const [isAsking, setAsking] = useState(false)
  const changes = problem.request?.body
  return (
    <section class="card" aria-label="Data first" aria-live="polite">
      <header>
        <h2>Fix the data first</h2>
        <span class="badge bad">faults in the data</span>
      </header>
      <p>No change of the network can make up for this:</p>
      <ul>
        {problem.errors.map((error) => (
          <li key={error.detail}>{withoutCode(error.detail)}</li>
        ))}
      </ul>
      <div class="stack">
        {problem.choices.map((choice) =>
          choice.name === 'show_images' ? (
            <a key={choice.name} class="button" href={pictures(dataset.id, choice.request.path)}>
              {choice.title}
            </a>
          ) : (
            <button
              key={choice.name}
              type="button"
              class={choice.name === 'fix' ? 'primary' : undefined}
              disabled={isBusy}
              onClick={() => (choice.name === 'fix' && changes ? setAsking(true) : onChoose(choice.name))}
            >
              {choice.title}
              {choice.name === 'fix' && ' …'}
            </button>
          ),
        )}
      </div>
      {problem.choices.some((choice) => choice.name === 'fix') && (
        <p class="soft">
          Fixing shows what would change, then makes a new version of the dataset. The study starts on it automatically; the old
          version stays as it is.
        </p>
      )}
      {isAsking && changes && (
        <FixDialog
          dataset={dataset}
          changes={changes}
          other={{ action: 'Fix the data and start', act: () => onChoose('fix') }}
          onClose={() => setAsking(false)}
        />
      )}
    </section>
  )
}

/** The page of the dataset: its findings with their images, or the images of the split that is meant. */
const pictures = (dataset: string, path: string) =>
  path.endsWith('/audit')
    ? `/datasets/${dataset}${query({ job: inQuery('job') })}`
    : `/datasets/${dataset}${query({ split: 'test', job: inQuery('job') })}#images`

/** `leakage: Images of …` without the code, which is for programs. */
const withoutCode = (detail: string) => detail.replace(/^[a-z_]+: /, '')
