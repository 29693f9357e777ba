/** One job: its verdict, its curves, what it gets wrong, and its files. */

import { getCell, getConfusion, getEvents, getJob, getLaidOutDiagnosis, getMetrics } from '../../api/jobs'
import { ConfusionCard } from '../../parts/confusion'
import { DocumentCards, DocumentFacts } from '../../parts/document'
import { EventsCard } from '../../parts/events'
import { Head } from '../../parts/head'
import { useLive, useLoaded } from '../../parts/load'
import { MapCard } from '../../parts/map'
import { Status } from '../../parts/marks'
import { ErrorState, Failed, Loading } from '../../parts/states'
import { ENDED } from '../../words/verdicts'
import { Actions } from './actions'
import { CurvesCard } from './curves'
import { ExportsCard } from './exports'
import { WhereItLooks } from './heatmap'
import { MemorizedCard } from './memorized'
import { ProgressLine } from './progress'
import { SpecCard } from './spec'
import { TryCard } from './try'

/** A diagnosis costs the service more than figures do, and changes less often. */
const DIAGNOSIS_EVERY_MS = 4000
const OFTEN = new Set(['job.epoch', 'job.checkpoint'])

export default function OneJob({ id }: { id: string }) {
  const job = useLoaded(id, (signal) => getJob(id, signal))
  const metrics = useLoaded(id, (signal) => getMetrics(id, signal))
  const hasStarted = job.data !== undefined && job.data.status !== 'queued'
  const diagnosis = useLoaded(id, (signal) => getLaidOutDiagnosis(id, signal))
  const concerns = (event: { subject: { id: string } }) => event.subject.id === id
  useLive(concerns, () => {
    job.reload()
    metrics.reload()
  })
  useLive(concerns, diagnosis.reload, DIAGNOSIS_EVERY_MS)
  useLive((event) => concerns(event) && event.type === 'job.proof', diagnosis.reload)

  if (!job.data) return job.problem ? <Failed problem={job.problem} retry={job.reload} /> : <Loading what="the job" />
  const hasEnded = ENDED.has(job.data.status)
  return (
    <>
      <Head
        title={job.data.name}
        badge={<Status status={job.data.status} />}
        actions={<Actions job={job.data} onChange={job.set} />}
        facts={<DocumentFacts document={diagnosis.data} />}
      >
        {!hasEnded && <ProgressLine job={job.data} />}
        {job.data.error && <ErrorState error={job.data.error} />}
        {hasStarted && diagnosis.data && <DocumentCards label="Verdict" document={diagnosis.data} />}
        {diagnosis.problem && !diagnosis.data && <Failed problem={diagnosis.problem} retry={diagnosis.reload} />}
      </Head>
      {job.data.status === 'succeeded' && <TryCard job={job.data} />}
      {metrics.data && <CurvesCard metrics={metrics.data} diagnosis={diagnosis.data} job={job.data} />}
      {metrics.problem && !metrics.data && <Failed problem={metrics.problem} retry={metrics.reload} />}
      {job.data.status === 'succeeded' && (
        <ConfusionCard
          of={id}
          load={getConfusion}
          loadCell={getCell}
          under={(image) => <WhereItLooks job={id} image={image} />}
        />
      )}
      {job.data.status === 'succeeded' && <MapCard dataset={job.data.dataset.id} job={id} />}
      {job.data.status === 'succeeded' && <MemorizedCard job={job.data} />}
      {(job.data.status === 'succeeded' || job.data.status === 'cancelled') && <ExportsCard job={job.data} />}
      <SpecCard job={job.data} />
      <EventsCard of={id} load={getEvents} often={OFTEN} oftenWord="Include epochs and checkpoints" />
    </>
  )
}
