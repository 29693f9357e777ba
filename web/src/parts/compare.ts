/** The compared jobs, as the address of their page has them. */

import { allInQuery, setQuery } from './router'

/** People cannot tell more curves than this apart. */
export const MOST_COMPARED = 40

export const compareAddress = (ids: Iterable<string>) =>
  `/compare?${new URLSearchParams([...ids].slice(0, MOST_COMPARED).map((id) => ['job', id]))}`

export const comparedIds = () => [...new Set(allInQuery('job'))].slice(0, MOST_COMPARED)

export const add = (ids: string[]) => setQuery({ job: [...new Set([...comparedIds(), ...ids])].slice(0, MOST_COMPARED) })

export const remove = (ids: string[]) => setQuery({ job: comparedIds().filter((id) => !ids.includes(id)) })
