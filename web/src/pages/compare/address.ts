/** The ids of the compared jobs, as the address has them. */

import { MOST_COMPARED } from '../../parts/compare'
import { allInQuery, setQuery } from '../../parts/router'

export const comparedIds = () => [...new Set(allInQuery('job'))].slice(0, MOST_COMPARED)

export const add = (ids: string[]) => setQuery({ job: [...new Set([...comparedIds(), ...ids])].slice(0, MOST_COMPARED) })

export const remove = (ids: string[]) => setQuery({ job: comparedIds().filter((id) => !ids.includes(id)) })
