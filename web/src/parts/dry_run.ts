/** Checks an order shortly after its last change: what it would cost, or what is wrong with it. */

import { useEffect, useState } from 'preact/hooks'

import { type Loaded, useLoaded } from './load'

const TYPING_MS = 350

export function useDryRun<Order, Estimate>(
  order: Order,
  estimate: (order: Order, signal: AbortSignal) => Promise<Estimate>,
): Loaded<Estimate> {
  const wanted = JSON.stringify(order)
  const [asked, setAsked] = useState(wanted)
  useEffect(() => {
    const timer = setTimeout(() => setAsked(wanted), TYPING_MS)
    return () => clearTimeout(timer)
  }, [wanted])
  const [last, setLast] = useState<Estimate>()
  const checked = useLoaded(asked, (signal) => estimate(JSON.parse(asked), signal))
  useEffect(() => {
    if (checked.data) setLast(checked.data)
  }, [checked.data])
  // The earlier figures stay visible while a change is being checked.
  return { ...checked, data: checked.data ?? (checked.problem ? undefined : last) }
}
