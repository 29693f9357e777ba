/** The list of jobs: search, sort, compare, and cancel many at once. Each page is one request. */

import { useEffect, useState } from 'preact/hooks'

import { query } from '../../api/client'
import { cancelJobs, getJobs, SPARK_POINTS } from '../../api/jobs'
import { compareAddress, MOST_COMPARED } from '../../parts/compare'
import { Confirm } from '../../parts/dialog'
import { Title } from '../../parts/layout'
import { useLive, useLoaded } from '../../parts/load'
import { attempt, notify } from '../../parts/notices'
import { Paging } from '../../parts/paging'
import { allInQuery, inQuery, setQuery } from '../../parts/router'
import { Empty, Failed, Loading } from '../../parts/states'
import { count } from '../../words/format'
import { ENDED } from '../../words/verdicts'
import { Filters } from './filters'
import { JobTable } from './table'

const PAGE_SIZE = 50
/** The address's words for `study`, as the API takes them. Trainings of studies would fill the list, so it begins without them. */
const STUDIES: Record<string, string> = { '': 'none', all: '' }

export default function Jobs() {
  const after = inQuery('after')
  const filters = {
    status: allInQuery('status'),
    search: inQuery('search'),
    dataset: inQuery('dataset'),
    study: STUDIES[inQuery('study')] ?? inQuery('study'),
  }
  const isFiltered = Boolean(filters.status.length || filters.search || filters.dataset || inQuery('study'))
  const wanted = query({ ...filters, sort: inQuery('sort'), limit: PAGE_SIZE, after, curves: SPARK_POINTS, queue: 'true' })
  const jobs = useLoaded(wanted, (signal) => getJobs(wanted, signal))
  useLive((event) => event.subject.object === 'job', jobs.reload)

  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set())
  useEffect(() => setSelected(new Set()), [wanted])
  const [asking, setAsking] = useState(false)
  const shown = jobs.data?.data ?? []
  const cancellable = shown.filter((job) => selected.has(job.id) && !ENDED.has(job.status))

  const cancel = async () => {
    const done = await attempt(() => cancelJobs(cancellable.map((job) => job.id)))
    if (!done) return
    const [reached, late] = [done.cancelled + done.cancelling, done.jobs?.filter((job) => job.status === null).length ?? 0]
    const words = [
      reached && `${count(reached)} ${reached === 1 ? 'job is' : 'jobs are'} cancelled. A running job takes a moment to stop.`,
      late && `${count(late)} had already ended.`,
    ]
    notify(words.filter(Boolean).join(' '))
    setSelected(new Set())
    jobs.reload()
  }

  return (
    <>
      <div class="heading">
        <Title text="Jobs" />
        <a class="button primary" href="/new">
          New job
        </a>
      </div>
      <Filters />
      {selected.size > 0 && (
        <div class="selection" role="region" aria-label="Selected jobs">
          <span>{count(selected.size)} selected</span>
          {selected.size === 1 && (
            <a class="button" href={`/new?from=${[...selected][0]}`}>
              Clone and edit
            </a>
          )}
          {selected.size <= MOST_COMPARED && (
            <a class="button" href={compareAddress(selected)}>
              Compare {count(selected.size)}
            </a>
          )}
          {cancellable.length > 0 && (
            <button type="button" class="danger" onClick={() => setAsking(true)}>
              Cancel {count(cancellable.length)}
            </button>
          )}
          <button type="button" class="quiet" onClick={() => setSelected(new Set())}>
            Clear
          </button>
        </div>
      )}
      {asking && (
        <Confirm
          title={`Cancel ${count(cancellable.length)} ${cancellable.length === 1 ? 'job' : 'jobs'}?`}
          action="Cancel them"
          onYes={cancel}
          onClose={() => setAsking(false)}
        >
          <p>Finished epochs are kept, and so are models. A cancelled job cannot be resumed.</p>
        </Confirm>
      )}
      {jobs.problem && !jobs.data && <Failed problem={jobs.problem} retry={jobs.reload} />}
      {!jobs.data && !jobs.problem && <Loading what="jobs" />}
      {jobs.data && !shown.length && <NoJobs isFiltered={isFiltered} />}
      {shown.length > 0 && <JobTable jobs={shown} selected={selected} onSelect={setSelected} />}
      <Paging here="/jobs" next={jobs.data?.next} />
    </>
  )
}

const NoJobs = ({ isFiltered }: { isFiltered: boolean }) =>
  isFiltered ? (
    <Empty title="No matching jobs">
      <button type="button" onClick={() => setQuery({ status: [], search: '', dataset: '', study: 'all', after: '' })}>
        Show all jobs
      </button>
    </Empty>
  ) : (
    <Empty title="No jobs yet">
      <p>Train your first network. It takes a minute and shows how much worse it does on images it has not seen.</p>
      <div class="row">
        <a class="button primary" href="/new">
          New job
        </a>
        <a class="button" href="/jobs?study=all">
          Show the trainings of studies
        </a>
      </div>
    </Empty>
  )
