/** A contact sheet by split and class, page by page; each image opens enlarged. */

import { useState } from 'preact/hooks'

import { type Dataset, type DatasetImage, getImages, SPLITS, type Split } from '../../api/datasets'
import { Dialog } from '../../parts/dialog'
import { useLoaded } from '../../parts/load'
import { inQuery, setQuery } from '../../parts/router'
import { Segments } from '../../parts/segments'
import { Failed, Loading } from '../../parts/states'
import { SPLIT_NAMES } from '../../words/datasets'
import { count } from '../../words/format'

const PAGE_SIZE = 48

export function ImagesCard({ dataset }: { dataset: Dataset }) {
  const wanted = inQuery('split') as Split
  const split = SPLITS.includes(wanted) ? wanted : 'train'
  const from = Math.max(0, Number(inQuery('from')) || 0)
  const label = inQuery('class')
  const asked = { split, class: label, after: from, limit: PAGE_SIZE }
  const page = useLoaded(`${dataset.id}${JSON.stringify(asked)}`, (signal) => getImages(dataset.id, asked, signal))
  const [opened, setOpened] = useState<number | null>(null)
  const images = page.data?.data ?? []
  const choose = (name: string, value: string) => setQuery({ [name]: value, from: '' })
  return (
    <section class="card" id="images" aria-label="Images">
      <header>
        <h2>Images</h2>
        <div class="row">
          <Segments
            label="Split"
            choices={SPLITS.map((choice) => [choice, SPLIT_NAMES[choice]])}
            chosen={split}
            onChoose={(choice) => choose('split', choice === 'train' ? '' : choice)}
          />
          <label class="row">
            Class
            <select value={label} onChange={(event) => choose('class', event.currentTarget.value)}>
              <option value="">all</option>
              {dataset.classes?.map((labelName) => (
                <option key={labelName} value={labelName}>
                  {labelName}
                </option>
              ))}
            </select>
          </label>
        </div>
      </header>
      {page.problem && <Failed problem={page.problem} retry={page.reload} />}
      {!page.data && !page.problem && <Loading what="images" />}
      {page.data && !images.length && <p class="soft">There are no such images.</p>}
      <ul class="images sheet">
        {images.map((image, place) => (
          <li key={image.index}>
            <button type="button" class="picture" onClick={() => setOpened(place)}>
              <img src={image.thumbnail} alt={`Image ${image.index}, ${image.label}`} loading="lazy" />
            </button>
            <span>{image.label}</span>
          </li>
        ))}
      </ul>
      {page.data && page.data.count > PAGE_SIZE && (
        <nav class="row" aria-label="Parts of the contact sheet">
          <button type="button" disabled={!from} onClick={() => setQuery({ from: String(Math.max(0, from - PAGE_SIZE) || '') })}>
            Previous
          </button>
          <span class="number">
            {count(from + 1)} to {count(from + images.length)} of {count(page.data.count)}
          </span>
          <button type="button" disabled={!page.data.has_more} onClick={() => setQuery({ from: String(page.data!.next ?? '') })}>
            Next
          </button>
        </nav>
      )}
      {split !== 'train' && <p class="soft">Viewing held-out images with their labels counts as one look.</p>}
      {opened !== null && images[opened] && (
        <Large
          image={images[opened]}
          place={opened}
          last={images.length - 1}
          onMove={setOpened}
          onClose={() => setOpened(null)}
        />
      )}
    </section>
  )
}

type LargeProps = { image: DatasetImage; place: number; last: number; onMove: (place: number) => void; onClose: () => void }

function Large({ image, place, last, onMove, onClose }: LargeProps) {
  const move = (step: number) => onMove(Math.min(last, Math.max(0, place + step)))
  return (
    <Dialog
      title={`${image.label}, ${SPLIT_NAMES[image.split].toLowerCase()} image ${count(image.index)}`}
      onClose={onClose}
      wide
    >
      {/* biome-ignore lint/a11y/noStaticElementInteractions: arrow keys are a short cut to its buttons */}
      <div
        class="large"
        onKeyDown={(event) => {
          if (event.key === 'ArrowLeft') move(-1)
          if (event.key === 'ArrowRight') move(1)
        }}
      >
        <img src={image.thumbnail} alt={`Image ${image.index}, ${image.label}`} />
        {image.member && <p class="soft file">{image.member}</p>}
        <div class="row">
          <button type="button" disabled={place === 0} onClick={() => move(-1)}>
            ← Previous
          </button>
          <button type="button" disabled={place === last} onClick={() => move(1)}>
            Next →
          </button>
        </div>
      </div>
    </Dialog>
  )
}
