/** One study: its answer, how its remedies compare, its test figures, and its cost. */

import { getJob } from '../../api/jobs'
import type { LiveEvent } from '../../api/live'
import { getReport, getStudy, getStudyEvents, type Study } from '../../api/studies'
import { EventsCard } from '../../parts/events'
import { Fact, Facts } from '../../parts/facts'
import { Head } from '../../parts/head'
import { useLive, useLoaded } from '../../parts/load'
import { Status } from '../../parts/marks'
import { ErrorState, Failed, Loading } from '../../parts/states'
import { count, duration, moment } from '../../words/format'
import { STUDY_KINDS } from '../../words/labels'
import { Actions } from './actions'
import { AnswerCard } from './answer'
import { ArmsCard } from './arms'
import { CommandsCard } from './commands'
import { LearningCard } from './learning'
import { TestCard } from './test'

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

  if (!study.data) return study.problem ? <Failed problem={study.problem} retry={study.reload} /> : <Loading what="the study" />
  const { data } = study
  return (
    <>
      <Head
        title={data.name}
        badge={<Status status={data.status} />}
        actions={<Actions study={data} onChange={study.set} />}
        facts={<StudyFacts study={data} />}
      >
        {data.waits_for && data.dataset && (
          <div class="state" role="status">
            <h2>It starts by itself</h2>
            <p>
              First, {data.waits_for}. <a href={`/datasets/${data.dataset.id}`}>See the dataset</a>
            </p>
          </div>
        )}
        {data.status === 'running' && !data.waits_for && <ProgressLine study={data} />}
        {data.error && <ErrorState error={data.error} />}
        {data.waits_for ? null : report.data ? (
          <AnswerCard study={data} report={report.data} onChange={study.set} />
        ) : report.problem ? (
          <Failed problem={report.problem} retry={report.reload} />
        ) : (
          <Loading what="the answer" />
        )}
      </Head>
      {data.kind === 'learning_curve' ? <LearningCard study={data} /> : <ArmsCard study={data} report={report.data} />}
      <TestCard study={data} />
      {report.data && (
        <section class="card" aria-label="What it cost">
          <h2>What it cost</h2>
          <p>{report.data.in_short.at(-1)?.answer}</p>
        </section>
      )}
      {report.data && report.data.commands.length > 0 && <CommandsCard report={report.data} />}
      <EventsCard of={id} load={getStudyEvents} />
    </>
  )
}

const StudyFacts = ({ study }: { study: Study }) => (
  <Facts>
    <Fact name="Question">{STUDY_KINDS[study.kind]}</Fact>
    {study.dataset ? (
      <Fact name="Dataset">
        <a href={`/datasets/${study.dataset.id}`}>
          {study.dataset.name}@{study.dataset.version}
        </a>
      </Fact>
    ) : (
      <Fact name="Trainings">{study.recorded ? 'done before' : 'run elsewhere'}</Fact>
    )}
    {study.job && (
      <Fact name="Job">
        <BaseJob id={study.job} />
      </Fact>
    )}
    {!study.recorded && <Fact name="First look">{count(study.seeds)} seeds</Fact>}
    <Fact name="Validation">{study.splits === 'fixed' ? 'the same images for all' : 'different images for each seed'}</Fact>
    {study.objective && <Fact name="Decides">{study.objective}</Fact>}
    {!study.recorded && <Fact name="Budget">{budgetWord(study)}</Fact>}
    <Fact name="Created">{moment(study.created_at)}</Fact>
  </Facts>
)

/** The name of the job whose network is compared, unless that job was deleted. */
function BaseJob({ id }: { id: string }) {
  const job = useLoaded(id, (signal) => getJob(id, signal))
  return job.problem?.status === 404 ? <span class="soft">deleted</span> : <a href={`/jobs/${id}`}>{job.data?.name ?? id}</a>
}

function budgetWord({ budget }: Study): string {
  const parts = [budget.jobs !== null && `${count(budget.jobs)} trainings`, budget.seconds !== null && duration(budget.seconds)]
  return parts.filter(Boolean).join(', ') || 'no limit'
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
