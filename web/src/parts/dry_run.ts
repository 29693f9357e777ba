/** What an order would cost, or what is wrong with it, a moment after the last change. */

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
  // While a change is being checked, the figures before stay in sight.
  return { ...checked, data: checked.data ?? (checked.problem ? undefined : last) }
}
