/** Loads the data of a page, keeps them during a reload, and reports what went wrong. */

import { useCallback, useEffect, useRef, useState } from 'preact/hooks'

import { Problem } from '../api/client'
import { type LiveEvent, listen } from '../api/live'

export type Loaded<Data> = {
  data: Data | undefined
  problem: Problem | undefined
  loading: boolean
  reload: () => void
  set: (data: Data) => void
}

/** Loads when `key` changes; null loads nothing. A response that arrives after the next request is dropped. */
export function useLoaded<Data>(key: string | null, load: (signal: AbortSignal) => Promise<Data>): Loaded<Data> {
  const [state, setState] = useState<{ key: string | null; data?: Data; problem?: Problem }>({ key: null })
  const [loading, setLoading] = useState(key !== null)
  const running = useRef<AbortController | null>(null)
  const latest = useRef(load)
  latest.current = load

  const reload = useCallback(() => {
    running.current?.abort()
    if (key === null) return
    const control = new AbortController()
    running.current = control
    setLoading(true)
    latest.current(control.signal).then(
      (data) => {
        if (control.signal.aborted) return
        setState({ key, data })
        setLoading(false)
      },
      (error: unknown) => {
        if (control.signal.aborted) return
        const problem = error instanceof Problem ? error : new Problem(0, 'unknown', String(error))
        // Known data stay visible while the service does not respond.
        setState((before) => ({ key, data: before.key === key ? before.data : undefined, problem }))
        setLoading(false)
      },
    )
  }, [key])

  useEffect(() => {
    reload()
    return () => running.current?.abort()
  }, [reload])

  const mine = state.key === key
  return {
    data: mine ? state.data : undefined,
    problem: mine ? state.problem : undefined,
    loading,
    reload,
    set: (data) => setState({ key, data }),
  }
}

/** Calls `act` when an event concerns the page, at most once per `everyMs`. The last event of a burst is never lost. */
export function useLive(concerns: (event: LiveEvent) => boolean, act: () => void, everyMs = 1000) {
  const latest = useRef({ concerns, act })
  latest.current = { concerns, act }
  useEffect(() => {
    let timer = 0
    let lastAt = 0
    const soon = () => {
      if (timer) return
      timer = window.setTimeout(
        () => {
          timer = 0
          lastAt = performance.now()
          latest.current.act()
        },
        Math.max(0, lastAt + everyMs - performance.now()),
      )
    }
    const end = listen((event) => {
      if (event === null || latest.current.concerns(event)) soon()
    })
    return () => {
      end()
      window.clearTimeout(timer)
    }
  }, [everyMs])
}
