/** The actions on a job, depending on its state. */

import { useState } from 'preact/hooks'

import { act, type Job, remove, rename, retry } from '../../api/jobs'
import { compareAddress } from '../../parts/compare'
import { Confirm, Dialog } from '../../parts/dialog'
import { attempt, notify } from '../../parts/notices'
import { go } from '../../parts/router'
import { ENDED } from '../../words/verdicts'

export function Actions({ job, onChange }: { job: Job; onChange: (job: Job) => void }) {
  const [asking, setAsking] = useState<'cancel' | 'delete' | 'rename' | null>(null)
  const change = async (action: 'cancel' | 'pause' | 'resume') => {
    const changed = await attempt(() => act(job.id, action))
    if (changed) onChange(changed)
  }
  const [busy, setBusy] = useState(false)
  const again = async () => {
    setBusy(true)
    const made = await attempt(() => retry(job.id))
    setBusy(false)
    if (made) go(`/jobs/${made.id}`)
  }
  const forget = async () => {
    await attempt(async () => {
      await remove(job.id)
      notify(`${job.name} is deleted.`)
      go('/jobs')
    })
  }
  const hasEnded = ENDED.has(job.status)
  return (
    <div class="row">
      {(job.status === 'running' || job.status === 'queued') && (
        <button type="button" onClick={() => change('pause')}>
          Pause
        </button>
      )}
      {job.status === 'paused' && (
        <button type="button" onClick={() => change('resume')}>
          Resume
        </button>
      )}
      {!hasEnded && job.status !== 'cancelling' && (
        <button type="button" class="danger" onClick={() => setAsking('cancel')}>
          Stop
        </button>
      )}
      <button type="button" onClick={() => setAsking('rename')}>
        Rename
      </button>
      <a class="button" href={compareAddress([...(job.retry_of ? [job.retry_of] : []), job.id])}>
        {job.retry_of ? 'Compare with the earlier job' : 'Compare'}
      </a>
      <a class="button" href={`/new?from=${job.id}`}>
        Clone and edit
      </a>
      {hasEnded && (
        <button type="button" disabled={busy} onClick={again}>
          Run again
        </button>
      )}
      {hasEnded && !job.study_id && (
        <button type="button" class="danger" onClick={() => setAsking('delete')}>
          Delete
        </button>
      )}
      {asking === 'rename' && <RenameDialog job={job} onChange={onChange} onClose={() => setAsking(null)} />}
      {asking === 'cancel' && (
        <Confirm title={`Stop ${job.name}?`} action="Stop it" onYes={() => change('cancel')} onClose={() => setAsking(null)}>
          <p>Finished epochs are kept, and so is the model if there is one. A stopped job cannot be resumed.</p>
        </Confirm>
      )}
      {asking === 'delete' && (
        <Confirm title={`Delete ${job.name}?`} action="Delete it" onYes={forget} onClose={() => setAsking(null)}>
          <p>Its figures, model, and predictions are deleted too.</p>
        </Confirm>
      )}
    </div>
  )
}

const LONGEST_NAME = 128

function RenameDialog({ job, onChange, onClose }: { job: Job; onChange: (job: Job) => void; onClose: () => void }) {
  const [name, setName] = useState(job.name)
  const save = async () => {
    const changed = await attempt(() => rename(job.id, name.trim()))
    if (!changed) return
    onChange(changed)
    onClose()
  }
  return (
    <Dialog title="Rename the job" onClose={onClose}>
      <form
        class="field"
        onSubmit={(event) => {
          event.preventDefault()
          void save()
        }}
      >
        <label for="new-name">Name</label>
        <input
          id="new-name"
          required
          autofocus
          maxLength={LONGEST_NAME}
          value={name}
          onFocus={(event) => event.currentTarget.select()}
          onInput={(event) => setName(event.currentTarget.value)}
        />
        <div class="row end">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="primary" disabled={!name.trim()}>
            Rename
          </button>
        </div>
      </form>
    </Dialog>
  )
}
