/** Filters and order of the list of jobs, kept in the address. */

import { useEffect, useState } from 'preact/hooks'

import { allInQuery, inQuery, setQuery } from '../../parts/router'
import { STATUSES } from '../../words/verdicts'

const TYPING_MS = 250
const SHOWN = STATUSES.filter((status) => !['cancelling', 'pausing'].includes(status))

export function Filters() {
  const search = inQuery('search')
  const [typed, setTyped] = useState(search)
  useEffect(() => setTyped(search), [search])
  useEffect(() => {
    if (typed === search) return
    const timer = setTimeout(() => setQuery({ search: typed, after: '' }), TYPING_MS)
    return () => clearTimeout(timer)
  }, [typed])

  const study = inQuery('study')
  const statuses = new Set(allInQuery('status'))
  const toggle = (status: string) => {
    const next = new Set(statuses)
    if (!next.delete(status)) next.add(status)
    setQuery({ status: [...next], after: '' })
  }

  return (
    <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
      <label class="sr" for="search">
        Search by name
      </label>
      <input
        id="search"
        type="search"
        placeholder="Search by name"
        value={typed}
        onInput={(event) => setTyped(event.currentTarget.value)}
      />
      <fieldset class="chips">
        <legend class="sr">Status</legend>
        {SHOWN.map((status) => (
          <button key={status} type="button" class="chip" aria-pressed={statuses.has(status)} onClick={() => toggle(status)}>
            {status}
          </button>
        ))}
      </fieldset>
      {!study.startsWith('std_') && (
        <label class="row">
          <input
            type="checkbox"
            checked={study === 'all'}
            onChange={() => setQuery({ study: study === 'all' ? '' : 'all', after: '' })}
          />
          Include trainings of studies
        </label>
      )}
      {(['dataset', 'study'] as const).map(
        (name) =>
          inQuery(name) &&
          inQuery(name) !== 'all' && (
            <button key={name} type="button" class="chip" aria-pressed onClick={() => setQuery({ [name]: '', after: '' })}>
              {name} {inQuery(name)} <span aria-hidden="true">×</span>
              <span class="sr">Show all</span>
            </button>
          ),
      )}
      <label class="row">
        Sort
        <select
          value={inQuery('sort') || 'created'}
          onChange={(event) =>
            setQuery({ sort: event.currentTarget.value === 'created' ? '' : event.currentTarget.value, after: '' })
          }
        >
          <option value="created">newest first</option>
          <option value="best">highest validation accuracy first</option>
          <option value="gap">widest gap first</option>
          <option value="name">by name</option>
        </select>
      </label>
    </form>
  )
}
