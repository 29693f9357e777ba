/** All jobs: found, sorted, compared at a glance, cancelled many at once. One request a page. */

import { useEffect, useState } from 'preact/hooks'

import { type Job, type Page, get, post, query } from '../../api/client'
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

export function Jobs() {
  const after = inQuery('after')
  const filters = {
    status: allInQuery('status'),
    search: inQuery('search'),
    dataset: inQuery('dataset'),
    study: inQuery('study'),
  }
  const isFiltered = Boolean(filters.status.length || filters.search || filters.dataset || filters.study)
  const wanted = query({ ...filters, sort: inQuery('sort'), limit: PAGE_SIZE, after })
  const jobs = useLoaded<Page<Job>>(wanted, (signal) => get(`/v1/jobs${wanted}`, { signal }))
  useLive((event) => event.subject.object === 'job', jobs.reload)

  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set())
  useEffect(() => setSelected(new Set()), [wanted])
  const [asking, setAsking] = useState(false)
  const shown = jobs.data?.data ?? []
  const cancellable = shown.filter((job) => selected.has(job.id) && !ENDED.has(job.status))

  const cancel = async () => {
    let asked = 0
    for (const job of cancellable) {
      if (await attempt(() => post(`/v1/jobs/${job.id}/cancel`))) asked += 1
    }
    if (asked) notify(`${count(asked)} ${asked === 1 ? 'job is' : 'jobs are'} being cancelled.`)
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
          <button type="button" class="danger" disabled={!cancellable.length} onClick={() => setAsking(true)}>
            Cancel {count(cancellable.length)}
          </button>
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
          <p>Whole epochs are kept, and a job that has one keeps its model. A cancelled job cannot be resumed.</p>
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
    <Empty title="No job fits">
      <button
        type="button"
        onClick={() => setQuery({ status: [], search: '', dataset: '', study: '', after: '' })}
      >
        Show all jobs
      </button>
    </Empty>
  ) : (
    <Empty title="No jobs yet">
      <p>Train a first network: it takes a minute, and shows what overfitting looks like.</p>
      <a class="button primary" href="/new">
        New job
      </a>
    </Empty>
  )
