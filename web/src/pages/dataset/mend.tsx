/** Shows what a change would do, then makes a new version with it. The version that is there stays as it is. */

import { useState } from 'preact/hooks'

import { query } from '../../api/client'
import { type Changes, type Dataset, mend } from '../../api/datasets'
import { Dialog } from '../../parts/dialog'
import { attempt, notify } from '../../parts/notices'
import { go } from '../../parts/router'
import { changesInWords } from '../../words/datasets'

type Props = { dataset: Dataset; changes: Changes; job?: string; onClose: () => void }

/** job: whose finding proposed it; the page of the new version offers to train it again. */
export function MendDialog({ dataset, changes, job = '', onClose }: Props) {
  const [isBusy, setBusy] = useState(false)
  const make = async () => {
    setBusy(true)
    const made = await attempt(() => mend(dataset.id, changes))
    setBusy(false)
    if (!made) return
    notify(`${made.name}@${made.version} is being made.`)
    onClose()
    go(`/datasets/${made.id}${query({ job })}`)
  }
  return (
    <Dialog title={`Make a mended version of ${dataset.name}?`} onClose={onClose}>
      <ul class="plain-list">
        {changesInWords(changes).map((one) => (
          <li key={one}>{one}</li>
        ))}
      </ul>
      <p>
        {dataset.name}@{dataset.version} stays as it is, and so do jobs that were trained on it. The new version is audited like an
        upload.
      </p>
      <details>
        <summary>The request</summary>
        <pre class="mono request">{JSON.stringify(changes, null, 2)}</pre>
      </details>
      <div class="row end">
        <button type="button" onClick={onClose}>
          Leave it
        </button>
        <button type="button" class="primary" disabled={isBusy} onClick={make}>
          {isBusy ? 'Sending …' : 'Make the version'}
        </button>
      </div>
    </Dialog>
  )
}
