/** What happened to a study, oldest first. Its trainings have events of their own. */

import { useState } from 'preact/hooks'

import { type Study, getStudyEvents } from '../../api/studies'
import { useLive, useLoaded } from '../../parts/load'
import { Scroll } from '../../parts/scroll'
import { Failed } from '../../parts/states'
import { moment } from '../../words/format'

export function EventsCard({ study }: { study: Study }) {
  const [isOpen, setOpen] = useState(false)
  const events = useLoaded(isOpen ? study.id : null, (signal) => getStudyEvents(study.id, signal))
  useLive((event) => isOpen && event.subject.id === study.id, events.reload, 2000)
  return (
    <details class="card" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <h2>Events</h2>
      </summary>
      {events.problem && !events.data && <Failed problem={events.problem} retry={events.reload} />}
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
            {events.data?.data.map((one) => (
              <tr key={one.id} class={one.level}>
                <td class="soft">{moment(one.created_at)}</td>
                <td class="mono">{one.type.replace('study.', '')}</td>
                <td>{one.message}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </details>
  )
}
