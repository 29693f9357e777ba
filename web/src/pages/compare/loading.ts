/** Loads jobs with their epochs, one by one as they are added, and again when they progress. */

import { useEffect, useRef, useState } from 'preact/hooks'

import { Problem } from '../../api/client'
import { getJob, getMetrics, type Job, type Metrics } from '../../api/jobs'
import { useLive } from '../../parts/load'

export type Trial = { job: Job; metrics: Metrics }
/** Both parts are undefined during the first load. */
export type Asked = { id: string; trial?: Trial; problem?: Problem }

export const isLoading = (member: Asked) => !member.problem && !member.trial

export function useTrials(ids: string[]): { asked: Asked[]; reload: (id: string) => void } {
  const [known, setKnown] = useState<ReadonlyMap<string, Asked>>(new Map())
  const control = useRef(new AbortController())
  const begun = useRef(new Set<string>())
  const stale = useRef(new Set<string>())

  const put = (id: string, part: Partial<Asked>) => {
    // Known data stay visible while the service does not respond.
    setKnown((before) => new Map(before).set(id, { ...before.get(id), id, ...part }))
  }
  const load = async (id: string) => {
    const { signal } = control.current
    try {
      const [job, metrics] = await Promise.all([getJob(id, signal), getMetrics(id, signal)])
      put(id, { trial: { job, metrics }, problem: undefined })
    } catch (error) {
      if (!signal.aborted) put(id, { problem: error instanceof Problem ? error : new Problem(0, 'unknown', String(error)) })
    }
  }

  useEffect(() => {
    for (const id of ids) {
      if (begun.current.has(id)) continue
      begun.current.add(id)
      void load(id)
    }
  }, [ids.join()])
  useEffect(() => () => control.current.abort(), [])
  useLive(
    (event) => {
      const isOurs = ids.includes(event.subject.id)
      if (isOurs) stale.current.add(event.subject.id)
      return isOurs
    },
    () => {
      // If no job is named, events were missed, and any job may have progressed.
      const wanted = stale.current.size ? [...stale.current] : ids
      stale.current.clear()
      wanted.forEach((id) => void load(id))
    },
  )
  return { asked: ids.map((id) => known.get(id) ?? { id }), reload: (id) => void load(id) }
}
