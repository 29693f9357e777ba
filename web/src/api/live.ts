/**
 * Live events about the owner's jobs, datasets and the rest: one stream for the whole page.
 *
 * A browser opens only six connections to a host, so a hidden page closes its stream. Listeners are also called when it
 * is open again, since they may have missed something.
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

/** `lost`: the stream broke and is being opened again. */
export const stream = signal<'closed' | 'opening' | 'open' | 'lost'>('closed')

const TYPES = Object.entries({
  job: 'queued started epoch overfitting warning requeued cancelling pausing paused resumed succeeded failed cancelled proof',
  dataset: 'uploading checking ready rejected deleted',
  study: 'started arm_dropped cancelling succeeded failed cancelled',
  model: 'checking ready rejected deleted',
  evaluation: 'queued started warning requeued cancelling succeeded failed cancelled',
  webhook: 'disabled',
}).flatMap(([subject, names]) => names.split(' ').map((name) => `${subject}.${name}`))
const RETRY_MS = 3000

const listeners = new Set<Listener>()
let source: EventSource | null = null
let retry = 0
/** Whether events may have been missed, since the stream was open and was closed. */
let wasAway = false

/** Calls the listener with each event, and with null once the stream is back. Returns the function that ends this. */
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
  if (stream.value !== 'lost') stream.value = 'opening'
  source = new EventSource('/v1/events?after=latest')
  source.onopen = () => {
    stream.value = 'open'
    if (wasAway) tell(null)
    wasAway = false
  }
  source.onerror = () => {
    stream.value = 'lost'
    wasAway = true
    // A browser retries by itself, but not after a refusal. Listeners then load their data and get the reason.
    if (source?.readyState === EventSource.CLOSED) {
      close('lost')
      retry = window.setTimeout(open, RETRY_MS)
      tell(null)
    }
  }
  const receive = (message: MessageEvent<string>) => tell(JSON.parse(message.data))
  for (const type of TYPES) source.addEventListener(type, receive)
}

function close(state: 'closed' | 'lost' = 'closed') {
  window.clearTimeout(retry)
  source?.close()
  source = null
  stream.value = state
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden) return open()
  wasAway ||= source !== null
  close()
})
