/** One study: what the service says of it, how far it is, and what can be done with it. */

import type { LiveEvent } from '../../api/live'
import { getReport, getStudy, getStudyEvents, type Study } from '../../api/studies'
import { DocumentCards, DocumentFacts } from '../../parts/document'
import { EventsCard } from '../../parts/events'
import { Head } from '../../parts/head'
import { useLive, useLoaded } from '../../parts/load'
import { Status } from '../../parts/marks'
import { Failed, Loading } from '../../parts/states'
import { count, duration } from '../../words/format'
import { Actions } from './actions'

/** A report reads the curves of all trainings, so it is loaded less often. */
const REPORT_EVERY_MS = 5000
const JOB_ENDS = new Set(['job.succeeded', 'job.failed', 'job.cancelled'])

export default function OneStudy({ id }: { id: string }) {
  const study = useLoaded(id, (signal) => getStudy(id, signal))
  const report = useLoaded(id, (signal) => getReport(id, signal))
  // Its trainings have events of their own, and any training that ends may belong to this study.
  const isRunning = study.data?.status === 'running'
  const concerns = (event: LiveEvent) => event.subject.id === id || (isRunning && JOB_ENDS.has(event.type))
  useLive(concerns, study.reload)
  useLive(concerns, report.reload, REPORT_EVERY_MS)
  const reload = () => {
    study.reload()
    report.reload()
  }

  if (!study.data) return study.problem ? <Failed problem={study.problem} retry={study.reload} /> : <Loading what="the study" />
  const { data } = study
  return (
    <>
      <Head
        title={data.name}
        badge={<Status status={data.status} />}
        actions={<Actions study={data} onChange={study.set} />}
        facts={<DocumentFacts document={report.data} />}
      >
        {data.waits_for && data.dataset && (
          <div class="state" role="status">
            <h2>It starts by itself</h2>
            <p>
              First, {data.waits_for}. <a href={`/datasets/${data.dataset.id}`}>See the dataset</a>
            </p>
          </div>
        )}
        {data.status === 'running' && !data.waits_for && data.kind !== 'judge' && <ProgressLine study={data} />}
        {data.waits_for ? null : report.data ? (
          <DocumentCards label="Answer" document={report.data} reload={reload} />
        ) : report.problem ? (
          <Failed problem={report.problem} retry={report.reload} />
        ) : (
          <Loading what="the answer" />
        )}
      </Head>
      <EventsCard of={id} load={getStudyEvents} />
    </>
  )
}

const ProgressLine = ({ study: { progress } }: { study: Study }) => (
  <div class="progress-line">
    <progress value={progress.done} max={progress.jobs || 1} aria-label="Trainings done" />
    <span class="number">
      {count(progress.done)} of {count(progress.jobs)} trainings
      {progress.eta_s !== null && <span class="soft"> · {duration(progress.eta_s)} left</span>}
    </span>
  </div>
)
