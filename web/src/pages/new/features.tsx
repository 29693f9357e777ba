/** For photographs: a study of what pretrained features add to the network of the form, before anything is trained. */

import { useState } from 'preact/hooks'

import type { Dataset } from '../../api/datasets'
import type { Spec } from '../../api/jobs'
import { createStudy, estimateStudy, type StudyOrder } from '../../api/studies'
import { DataFirst } from '../../parts/data_first'
import { useDryRun } from '../../parts/dry_run'
import { attempt } from '../../parts/notices'
import { go } from '../../parts/router'
import { duration } from '../../words/format'

const SEEDS = 3

/** base: a spec without a backbone, to compare with. */
export function MeasureFeatures({ base, dataset }: { base: Spec; dataset: Dataset }) {
  const order: StudyOrder = { spec: base, remedies: ['pretrained'], seeds: SEEDS }
  const checked = useDryRun(order, estimateStudy)
  const [isBusy, setBusy] = useState(false)
  const send = async (data?: string) => {
    setBusy(true)
    const study = await attempt(() => createStudy({ ...order, ...(data && { data }) }))
    setBusy(false)
    if (study) go(`/studies/${study.id}`)
  }
  if (checked.problem?.code === 'data_first')
    return <DataFirst problem={checked.problem} dataset={dataset} isBusy={isBusy} onChoose={send} />
  if (!checked.data) return null
  const { jobs, seconds } = checked.data
  return (
    <section class="card" aria-label="Pretrained features">
      <header>
        <h2>Do pretrained features help?</h2>
      </header>
      <p>
        {jobs} trainings{seconds != null && `, about ${duration(seconds)}`}: a network trained from scratch, and one on pretrained
        features, with {SEEDS} seeds each.
      </p>
      <button type="button" disabled={isBusy} onClick={() => send()}>
        Measure what pretrained features add
      </button>
    </section>
  )
}
