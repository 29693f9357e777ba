/** Shows what a change would do, then makes a new version with it. The version that is there stays as it is. */

import { useState } from 'preact/hooks'

import { query } from '../api/client'
import { type Changes, type Dataset, type Example, fix, getEffect } from '../api/datasets'
import { changesInWords } from '../words/datasets'
import { count } from '../words/format'
import { Dialog } from './dialog'
import { useLoaded } from './load'
import { attempt, notify } from './notices'
import { Picture } from './picture'
import { go, inQuery } from './router'
import { Failed, Loading } from './states'

const SHOWN = 12

type Props = {
  dataset: Pick<Dataset, 'id' | 'name' | 'version'>
  changes: Changes
  /** What happens in place of going to the new version, and what its button says. */
  other?: { action: string; act: () => Promise<unknown> }
  onClose: () => void
}

export function FixDialog({ dataset, changes, other, onClose }: Props) {
  const [isBusy, setBusy] = useState(false)
  const effect = useLoaded(`${dataset.id}${JSON.stringify(changes)}`, (signal) => getEffect(dataset.id, changes, signal))
  const makeVersion = async () => {
    const made = await attempt(() => fix(dataset.id, changes))
    if (!made) return
    notify(`${made.name}@${made.version} is being made.`)
    onClose()
    // The page of the new version offers to train the job again that the user comes from.
    go(`/datasets/${made.id}${query({ job: inQuery('job') })}`)
  }
  const act = async () => {
    setBusy(true)
    await (other ? other.act() : makeVersion())
    setBusy(false)
  }
  return (
    <Dialog title={`Make a new version of ${dataset.name}?`} onClose={onClose}>
      {effect.problem && <Failed problem={effect.problem} retry={effect.reload} />}
      {!effect.data && !effect.problem && <Loading what="what it changes" />}
      {effect.data && (
        <>
          <p>
            <strong>{effect.data.summary}</strong>
          </p>
          <Images what="Removed" images={effect.data.removed} total={sum(effect.data.removes)} />
          <Images what="Changed" images={effect.data.changed} total={sum(effect.data.changes)} />
        </>
      )}
      <ul class="plain-list">
        {changesInWords(changes).map((sentence) => (
          <li key={sentence}>{sentence}</li>
        ))}
      </ul>
      <p>
        {dataset.name}@{dataset.version} and the jobs that were trained on it stay as they are. The new version is checked like an
        upload.
      </p>
      <div class="row end">
        <button type="button" onClick={onClose}>
          Leave it
        </button>
        <button type="button" class="primary" disabled={isBusy || !effect.data} onClick={act}>
          {isBusy ? 'Sending …' : (other?.action ?? 'Make the version')}
        </button>
      </div>
    </Dialog>
  )
}

const sum = (counts: Record<string, number>) => Object.values(counts).reduce((all, value) => all + value, 0)

type ImagesProps = { what: string; images: Example[]; total: number }

function Images({ what, images, total }: ImagesProps) {
  const [isAll, setAll] = useState(false)
  if (!images.length) return null
  const shown = isAll ? images : images.slice(0, SHOWN)
  return (
    <section aria-label={`${what} images`}>
      <p class="soft">
        {what}
        {total > shown.length && `, the first ${count(shown.length)} of ${count(total)}`}:
      </p>
      <ul class="images small">
        {shown.map((image) => (
          <li key={image.index}>
            <Picture example={image} />
          </li>
        ))}
      </ul>
      {images.length > shown.length && (
        <button type="button" class="small" onClick={() => setAll(true)}>
          Show {count(images.length)}
        </button>
      )}
    </section>
  )
}
