/** The training images that were hardest to learn, page by page, of all classes or of one. */

import { useState } from 'preact/hooks'

import { getDataset } from '../../api/datasets'
import { getMemorized, type Job } from '../../api/jobs'
import { useLoaded } from '../../parts/load'
import { Failed, Loading } from '../../parts/states'
import { count, figure } from '../../words/format'

const PAGE_SIZE = 24

export function MemorizedCard({ job }: { job: Job }) {
  const [label, setLabel] = useState('')
  const [from, setFrom] = useState(0)
  const dataset = useLoaded(job.dataset.id, (signal) => getDataset(job.dataset.id, signal))
  const asked = { class: label, after: from, limit: PAGE_SIZE }
  const page = useLoaded(`${job.id}${JSON.stringify(asked)}`, (signal) => getMemorized(job.id, asked, signal))
  const images = page.data?.data ?? []
  return (
    <section class="card" id="memorized" aria-label="Images that were hard to learn">
      <header>
        <h2>The images that were hardest to learn</h2>
        {page.data?.epochs !== null && dataset.data?.classes && (
          <label class="row">
            Class
            <select
              value={label}
              onChange={(event) => {
                setLabel(event.currentTarget.value)
                setFrom(0)
              }}
            >
              <option value="">all</option>
              {dataset.data.classes.map((labelName) => (
                <option key={labelName} value={labelName}>
                  {labelName}
                </option>
              ))}
            </select>
          </label>
        )}
      </header>
      {page.problem && <Failed problem={page.problem} retry={page.reload} />}
      {!page.data && !page.problem && <Loading what="the images" />}
      {page.data && <p class="soft">{page.data.explanation}</p>}
      {images.length > 0 && (
        <ul class="images">
          {images.map((image) => (
            <li key={image.index}>
              <img src={image.thumbnail} alt={`Image ${image.index}, ${image.label}`} loading="lazy" />
              <span class="file" title={image.member ?? undefined}>
                {image.member ?? `image ${image.index}`}
              </span>
              <span>
                <strong>{image.label}</strong>
                {image.label !== image.answer && <> → {image.answer}</>}{' '}
                <span class="soft" title="Sum of its losses over all epochs">
                  {figure(image.loss_sum)}
                </span>
              </span>
            </li>
          ))}
        </ul>
      )}
      {page.data?.count != null && page.data.count > PAGE_SIZE && (
        <nav class="row" aria-label="Parts of the hardest images">
          <button type="button" disabled={!from} onClick={() => setFrom(Math.max(0, from - PAGE_SIZE))}>
            Previous
          </button>
          <span class="number">
            {count(from + 1)} to {count(from + images.length)} of {count(page.data.count)}
          </span>
          <button type="button" disabled={!page.data.has_more} onClick={() => setFrom(page.data?.next ?? 0)}>
            Next
          </button>
        </nav>
      )}
    </section>
  )
}
