/** The actions on a study, depending on its state. */

import { useState } from 'preact/hooks'

import { cancelStudy, removeStudy, reportPage, type Study } from '../../api/studies'
import { compareAddress, MOST_COMPARED } from '../../parts/compare'
import { Confirm } from '../../parts/dialog'
import { attempt, notify } from '../../parts/notices'
import { go } from '../../parts/router'

export function Actions({ study, onChange }: { study: Study; onChange: (study: Study) => void }) {
  const [isAsking, setAsking] = useState(false)
  const runs = study.status === 'running'
  const jobs = study.kind === 'remedies' ? study.arms.flatMap((arm) => arm.jobs) : []
  const cancel = async () => {
    const changed = await attempt(() => cancelStudy(study.id))
    if (changed) onChange(changed)
  }
  const remove = () =>
    attempt(async () => {
      await removeStudy(study.id)
      notify(`${study.name} is deleted.`)
      go('/studies')
    })
  return (
    <div class="row">
      <a class="button" href={reportPage(study.id)} target="_blank" rel="noreferrer">
        Report
      </a>
      {jobs.length > 0 && jobs.length <= MOST_COMPARED && (
        <a class="button" href={compareAddress(jobs)}>
          Compare its curves
        </a>
      )}
      <a class="button" href={`/jobs?study=${study.id}`}>
        Its jobs
      </a>
      <button type="button" class="danger" onClick={() => setAsking(true)}>
        {runs ? 'Cancel' : 'Delete'}
      </button>
      {isAsking && (
        <Confirm
          title={`${runs ? 'Cancel' : 'Delete'} ${study.name}?`}
          action={runs ? 'Cancel it' : 'Delete it'}
          onYes={runs ? cancel : remove}
          onClose={() => setAsking(false)}
        >
          <p>
            {runs
              ? 'All of its trainings are cancelled. Figures measured so far are kept, but there will be no answer.'
              : 'Its trainings are deleted too, with their figures and models.'}
          </p>
        </Confirm>
      )}
    </div>
  )
}
