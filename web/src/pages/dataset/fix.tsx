/** Shows what a change would do, then makes a new version with it. The version that is there stays as it is. */

import { useState } from 'preact/hooks'

import { query } from '../../api/client'
import { type Changes, type Dataset, type Example, fix, getEffect } from '../../api/datasets'
import { Dialog } from '../../parts/dialog'
import { useLoaded } from '../../parts/load'
import { attempt, notify } from '../../parts/notices'
import { go } from '../../parts/router'
import { Failed, Loading } from '../../parts/states'
import { changesInWords } from '../../words/datasets'
import { count } from '../../words/format'
import { Picture } from './picture'

const SHOWN = 12

type Props = { dataset: Dataset; changes: Changes; job?: string; onClose: () => void }

/** job: whose finding proposed it; the page of the new version offers to train it again. */
export function FixDialog({ dataset, changes, job = '', onClose }: Props) {
  const [isBusy, setBusy] = useState(false)
  const effect = useLoaded(`${dataset.id}${JSON.stringify(changes)}`, (signal) => getEffect(dataset.id, changes, signal))
  const make = async () => {
    setBusy(true)
    const made = await attempt(() => fix(dataset.id, changes))
    setBusy(false)
    if (!made) return
    notify(`${made.name}@${made.version} is being made.`)
    onClose()
    go(`/datasets/${made.id}${query({ job })}`)
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
        {changesInWords(changes).map((one) => (
          <li key={one}>{one}</li>
        ))}
      </ul>
      <p>
        {dataset.name}@{dataset.version} stays as it is, and so do jobs that were trained on it. The new version is audited like
        an upload.
      </p>
      <details>
        <summary>The request</summary>
        <pre class="mono request">{JSON.stringify(changes, null, 2)}</pre>
      </details>
      <div class="row end">
        <button type="button" onClick={onClose}>
          Leave it
        </button>
        <button type="button" class="primary" disabled={isBusy || !effect.data} onClick={make}>
          {isBusy ? 'Sending …' : 'Make the version'}
        </button>
      </div>
    </Dialog>
  )
}

const sum = (counts: Record<string, number>) => Object.values(counts).reduce((all, one) => all + one, 0)

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
        {shown.map((one) => (
          <li key={one.index}>
            <Picture example={one} />
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
