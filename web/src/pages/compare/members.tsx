/** The compared jobs: remove some or add others without leaving the page. */

import { useEffect, useState } from 'preact/hooks'

import { get, type Job, type Page, query } from '../../api/client'
import { add, MOST_COMPARED, remove } from '../../parts/compare'
import { useLoaded } from '../../parts/load'
import { Status } from '../../parts/marks'
import { count } from '../../words/format'
import { ENDED } from '../../words/verdicts'
import type { Group } from './groups'
import { Key } from './key'
import { type Asked, isLoading } from './loading'

const TYPING_MS = 250
const FOUND = 8
const IDS = /\bjob_[0-9a-z]{26}\b/g

export function MembersCard({ groups, asked }: { groups: Group[]; asked: Asked[] }) {
  const failed = asked.filter((member) => member.problem && !member.trial)
  const areLoading = asked.some(isLoading)
  return (
    <section class="card members" aria-label="Compared jobs">
      <ul class="groups" aria-busy={areLoading}>
        {groups.map((group) => (
          <li key={group.letter}>
            <strong>
              <Key group={group} /> {group.letter}
            </strong>
            {group.trials.length > 1 && <span>{group.name}</span>}
            {group.trials.map(({ job }) => (
              <Member key={job.id} job={job} isOfMany={group.trials.length > 1} />
            ))}
          </li>
        ))}
        {failed.map((member) => (
          <li key={member.id}>
            <span class="badge bad">not loaded</span> <code>{member.id}</code> <span class="soft">{member.problem!.detail}</span>
            <button type="button" class="quiet small" aria-label={`Take out ${member.id}`} onClick={() => remove([member.id])}>
              ×
            </button>
          </li>
        ))}
      </ul>
      {areLoading && (
        <p class="soft" role="status">
          Loading jobs…
        </p>
      )}
      <AddField ids={asked.map((member) => member.id)} />
    </section>
  )
}

const Member = ({ job, isOfMany }: { job: Job; isOfMany: boolean }) => (
  <span class="member">
    <a href={`/jobs/${job.id}`} title={job.name}>
      {isOfMany ? `seed ${job.spec.training?.seed ?? '?'}` : job.name}
    </a>
    {!ENDED.has(job.status) || job.status === 'failed' ? <Status status={job.status} /> : null}
    <button type="button" class="quiet small" aria-label={`Take out ${job.name}`} onClick={() => remove([job.id])}>
      ×
    </button>
  </span>
)

function AddField({ ids }: { ids: string[] }) {
  const [typed, setTyped] = useState('')
  const [wanted, setWanted] = useState('')
  useEffect(() => {
    const timer = setTimeout(() => setWanted(typed.trim()), TYPING_MS)
    return () => clearTimeout(timer)
  }, [typed])
  const named: string[] = typed.match(IDS) ?? []
  const found = useLoaded(wanted && !named.length ? wanted : null, (signal) =>
    get<Page<Job>>(`/v1/jobs${query({ search: wanted, limit: FOUND })}`, { signal }),
  )
  const others = (found.data?.data ?? []).filter((job) => !ids.includes(job.id))
  const addNamed = () => {
    add(named)
    setTyped('')
  }
  if (ids.length >= MOST_COMPARED) return <p class="soft">At most {count(MOST_COMPARED)} jobs can be compared.</p>
  return (
    <form
      class="add"
      role="search"
      onSubmit={(event) => {
        event.preventDefault()
        if (named.length) addNamed()
        else if (others[0]) add([others[0].id])
      }}
    >
      <label for="add">Add a job</label>
      <input
        id="add"
        type="search"
        placeholder="Part of its name, or ids"
        value={typed}
        autocomplete="off"
        onInput={(event) => setTyped(event.currentTarget.value)}
      />
      {named.length > 0 && (
        <button type="submit" class="small">
          Add {named.length === 1 ? 'it' : `these ${count(named.length)}`}
        </button>
      )}
      <div class="row" role="status">
        {wanted && !named.length && found.data && !others.length && <span class="soft">No other job matches.</span>}
        {wanted &&
          !named.length &&
          others.map((job) => (
            <button key={job.id} type="button" class="small" onClick={() => add([job.id])}>
              <span aria-hidden="true">+</span> {job.name}
              <span class="soft">
                {job.dataset.name}@{job.dataset.version}
              </span>
            </button>
          ))}
      </div>
    </form>
  )
}
