/**
 * What happens to the owner's jobs, datasets and studies, as it happens: one stream for the whole page.
 *
 * A browser opens only six connections to a host, so a page that nobody sees gives its stream back. Whoever listens is
 * also called after each return, since something may have been missed.
 */

import { signal } from '@preact/signals'

export type LiveEvent = {
  id: number
  type: string
  level: string
  message: string
  subject: { object: string; id: string }
  data: Record<string, unknown>
}
type Listener = (event: LiveEvent | null) => void

/** `lost`: events do not come, and are asked for again and again. */
export const stream = signal<'closed' | 'opening' | 'open' | 'lost'>('closed')

const TYPES = [
  ...['queued', 'started', 'epoch', 'overfitting', 'warning', 'requeued', 'cancelling', 'pausing', 'paused', 'resumed'],
  ...['succeeded', 'failed', 'cancelled'],
].map((name) => `job.${name}`)
const OTHER_TYPES = [
  ...['checking', 'ready', 'rejected', 'deleted'].map((name) => `dataset.${name}`),
  ...['started', 'arm_dropped', 'arm', 'progress', 'decided', 'succeeded', 'failed', 'cancelled'].map((n) => `study.${n}`),
]
const RETRY_MS = 3000

const listeners = new Set<Listener>()
let source: EventSource | null = null
let retry = 0

/** Be called with each event, and with null after the stream was away. Gives the function that ends it. */
export function listen(listener: Listener): () => void {
  listeners.add(listener)
  open()
  return () => {
    listeners.delete(listener)
    if (!listeners.size) close()
  }
}

function tell(event: LiveEvent | null) {
  for (const listener of listeners) listener(event)
}

function open() {
  if (source || document.hidden || !listeners.size) return
  const wasAway = stream.value !== 'closed'
  if (stream.value !== 'lost') stream.value = 'opening'
  source = new EventSource('/v1/events?after=latest')
  source.onopen = () => {
    stream.value = 'open'
    if (wasAway) tell(null)
  }
  source.onerror = () => {
    stream.value = 'lost'
    // A browser tries again by itself, but not after every kind of failure.
    if (source?.readyState === EventSource.CLOSED) {
      close('lost')
      retry = window.setTimeout(open, RETRY_MS)
    }
  }
  const receive = (message: MessageEvent<string>) => tell(JSON.parse(message.data))
  for (const type of [...TYPES, ...OTHER_TYPES]) source.addEventListener(type, receive)
}

function close(state: 'closed' | 'lost' = 'closed') {
  window.clearTimeout(retry)
  source?.close()
  source = null
  stream.value = state
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) close('lost')
  else open()
})
