/** What stands before a study whose data have faults that no remedy cures: which ones, and three ways on. */

import type { Problem } from '../../api/client'

type Props = { problem: Problem; dataset: string; isBusy: boolean; onChoose: (data: string) => void }

export function DataFirst({ problem, dataset, isBusy, onChoose }: Props) {
  return (
    <section class="card" aria-label="Data first" aria-live="polite">
      <header>
        <h2>The data come first</h2>
        <span class="badge bad">faults in the data</span>
      </header>
      <p>No change of the network cures this:</p>
      <ul>
        {problem.errors.map((one) => (
          <li key={one.detail}>{withoutCode(one.detail)}</li>
        ))}
      </ul>
      <div class="stack">
        {problem.choices.map((one) =>
          one.name === 'show_images' ? (
            <a key={one.name} class="button" href={pictures(dataset, one.request.path)}>
              {one.title}
            </a>
          ) : (
            <button
              key={one.name}
              type="button"
              class={one.name === 'fix' ? 'primary' : undefined}
              disabled={isBusy}
              onClick={() => onChoose(one.name)}
            >
              {one.title}
            </button>
          ),
        )}
      </div>
      {problem.choices.some((one) => one.name === 'fix') && (
        <p class="soft">
          Fixing makes a new version of the dataset. The study begins on it by itself; the old version stays as it is.
        </p>
      )}
    </section>
  )
}

/** The page of the dataset: its findings with their images, or the images of the split that is meant. */
const pictures = (dataset: string, path: string) =>
  path.endsWith('/audit') ? `/datasets/${dataset}#findings` : `/datasets/${dataset}?split=test#images`

/** `leakage: Images of …` without the code, which is for programs. */
const withoutCode = (detail: string) => detail.replace(/^[a-z_]+: /, '')
