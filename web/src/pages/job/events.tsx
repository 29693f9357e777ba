/** What happened to a job, oldest first. */

import { useState } from 'preact/hooks'

import { type Job, type JobEvent, getEvents } from '../../api/jobs'
import { useLive, useLoaded } from '../../parts/load'
import { Scroll } from '../../parts/scroll'
import { Failed } from '../../parts/states'
import { moment } from '../../words/format'

const OFTEN = new Set(['job.epoch', 'job.checkpoint'])
const MAX_PAGES = 10

/** All events, page by page; of a job with thousands of epochs the first ones. */
async function allEvents(id: string, signal: AbortSignal): Promise<JobEvent[]> {
  const found: JobEvent[] = []
  let after: number | null = 0
  for (let page = 0; page < MAX_PAGES && after !== null; page += 1) {
    const part: Awaited<ReturnType<typeof getEvents>> = await getEvents(id, after, signal)
    found.push(...part.data)
    after = part.next
  }
  return found
}

export function EventsCard({ job }: { job: Job }) {
  const [isOpen, setOpen] = useState(false)
  const [withOften, setOften] = useState(false)
  const events = useLoaded(isOpen ? job.id : null, (signal) => allEvents(job.id, signal))
  useLive((event) => isOpen && event.subject.id === job.id, events.reload, 2000)
  const shown = (events.data ?? []).filter((one) => withOften || !OFTEN.has(one.type))
  return (
    <details class="card" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <h2>Events</h2>
      </summary>
      {events.problem && !events.data && <Failed problem={events.problem} retry={events.reload} />}
      <label class="row">
        <input type="checkbox" checked={withOften} onChange={() => setOften(!withOften)} />
        Epochs and checkpoints too
      </label>
      <Scroll label="List of events">
        <table class="plain-table events">
          <thead class="sr">
            <tr>
              <th scope="col">Time</th>
              <th scope="col">Event</th>
              <th scope="col">Message</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((one) => (
              <tr key={one.id} class={one.level}>
                <td class="soft">{moment(one.created_at)}</td>
                <td class="mono">{one.type.replace('job.', '')}</td>
                <td>{one.message}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </details>
  )
}
