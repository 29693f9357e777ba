/** The progress of a job: its epochs and time left, or its place in the queue. */

import { getQueue, type Job } from '../../api/jobs'
import { useLive, useLoaded } from '../../parts/load'
import { count, duration } from '../../words/format'

const WAITS_FOR: Record<string, string> = {
  worker: 'a free worker',
  gpu: 'a worker with a GPU',
  memory: 'memory that other jobs are using',
  backoff: 'a short pause after a failure',
  quota: 'a quota of yours that is used up',
}

export function ProgressLine({ job }: { job: Job }) {
  const { epoch, epochs, eta_s } = job.progress
  if (job.status === 'queued') return <Waiting job={job} />
  return (
    <div class="progress-line">
      <progress value={epoch} max={epochs || 1} aria-label="Epochs done" />
      <span class="number">
        Epoch {epoch} of {epochs}
        {eta_s !== null && <span class="soft"> · {duration(eta_s)} left</span>}
      </span>
    </div>
  )
}

function Waiting({ job }: { job: Job }) {
  const queue = useLoaded(job.id, (signal) => getQueue(job.id, signal))
  useLive((event) => event.subject.object === 'job', queue.reload, 2000)
  if (!queue.data || queue.data.position === null) return null
  const { position, ahead, waiting_for, estimated_start_s } = queue.data
  return (
    <p class="progress-line">
      Number {count(position)} in the queue{ahead ? `, behind ${count(ahead)}` : ''}
      {waiting_for && `, waiting for ${WAITS_FOR[waiting_for]}`}
      {estimated_start_s !== null && `. It should start in about ${duration(estimated_start_s)}`}.
    </p>
  )
}
