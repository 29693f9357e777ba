/** The list of studies: their questions, progress, and answers. */

import { query } from '../../api/client'
import { getStudies, type Study } from '../../api/studies'
import { Title } from '../../parts/layout'
import { useLive, useLoaded } from '../../parts/load'
import { Status } from '../../parts/marks'
import { Paging } from '../../parts/paging'
import { allInQuery, inQuery, setQuery } from '../../parts/router'
import { Scroll } from '../../parts/scroll'
import { Empty, Failed, Loading } from '../../parts/states'
import { ago, count, duration, moment } from '../../words/format'
import { STUDY_KINDS, STUDY_STATUSES } from '../../words/labels'

const PAGE_SIZE = 50

export default function Studies() {
  const statuses = allInQuery('status')
  const wanted = query({ status: statuses, limit: PAGE_SIZE, after: inQuery('after') })
  const studies = useLoaded(wanted, (signal) => getStudies(wanted, signal))
  useLive((event) => event.subject.object === 'study', studies.reload)
  const toggle = (status: string) => {
    const next = statuses.includes(status) ? statuses.filter((other) => other !== status) : [...statuses, status]
    setQuery({ status: next, after: '' })
  }
  return (
    <>
      <div class="heading">
        <Title text="Studies" />
        <a class="button primary" href="/studies/new">
          New study
        </a>
      </div>
      <fieldset class="chips">
        <legend class="sr">Status</legend>
        {STUDY_STATUSES.map((status) => (
          <button key={status} type="button" class="chip" aria-pressed={statuses.includes(status)} onClick={() => toggle(status)}>
            {status}
          </button>
        ))}
      </fieldset>
      {studies.problem && !studies.data && <Failed problem={studies.problem} retry={studies.reload} />}
      {!studies.data && !studies.problem && <Loading what="studies" />}
      {studies.data && !studies.data.data.length && <NoStudies isFiltered={statuses.length > 0} />}
      {studies.data && studies.data.data.length > 0 && <StudyTable studies={studies.data.data} />}
      <Paging here="/studies" next={studies.data?.next} />
    </>
  )
}

const NoStudies = ({ isFiltered }: { isFiltered: boolean }) =>
  isFiltered ? (
    <Empty title="No matching studies">
      <button type="button" onClick={() => setQuery({ status: [], after: '' })}>
        Show all studies
      </button>
    </Empty>
  ) : (
    <Empty title="No studies yet">
      <p>
        A study trains a network several times with each remedy and without, and says which remedies clearly help. To start one,
        open a finished job and press "Measure what helps".
      </p>
      <a class="button primary" href="/jobs?status=succeeded">
        Go to jobs
      </a>
    </Empty>
  )

const StudyTable = ({ studies }: { studies: Study[] }) => (
  <Scroll label="List of studies" framed>
    <table class="list cards boxless">
      <thead>
        <tr>
          <th>Name</th>
          <th>Status</th>
          <th>Question</th>
          <th>Answer</th>
          <th>Dataset</th>
          <th>Trainings</th>
          <th>Time</th>
          <th>Created</th>
        </tr>
      </thead>
      <tbody>
        {studies.map((study) => (
          <Row key={study.id} study={study} />
        ))}
      </tbody>
    </table>
  </Scroll>
)

function Row({ study }: { study: Study }) {
  return (
    <tr>
      <td class="name">
        <a href={`/studies/${study.id}`}>{study.name}</a>
      </td>
      <td>
        <Status status={study.status} />
      </td>
      <td data-label="Question">{STUDY_KINDS[study.kind]}</td>
      <td data-label="Answer">{study.status === 'succeeded' ? study.headline : <span class="soft none">–</span>}</td>
      <td data-label="Dataset">
        {study.dataset ? (
          <>
            {study.dataset.name}
            <span class="soft">@{study.dataset.version}</span>
          </>
        ) : (
          <span class="soft">elsewhere</span>
        )}
      </td>
      <td data-label="Trainings">
        {study.status === 'succeeded'
          ? count(study.ledger.jobs)
          : `${count(study.progress.done)} of ${count(study.progress.jobs)}`}
      </td>
      <td data-label="Time">
        <Took study={study} />
      </td>
      <td data-label="Created">
        <time dateTime={study.created_at} title={moment(study.created_at)}>
          {ago(study.created_at)}
        </time>
      </td>
    </tr>
  )
}

function Took({ study }: { study: Study }) {
  if (study.started_at && study.finished_at) {
    return <>{duration((Date.parse(study.finished_at) - Date.parse(study.started_at)) / 1000)}</>
  }
  if (study.status === 'running' && study.progress.eta_s !== null) {
    return <span class="soft">{duration(study.progress.eta_s)} left</span>
  }
  return <span class="soft none">–</span>
}
