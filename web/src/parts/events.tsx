/** The events of a job or a study, oldest first. They are loaded when the card is opened, and again when something happens. */

import { useState } from 'preact/hooks'

import type { Schemas } from '../api/client'
import { moment, plain } from '../words/format'
import { useLive, useLoaded } from './load'
import { inQuery, setQuery } from './router'
import { Scroll } from './scroll'
import { Failed, Loading } from './states'

type Event = Schemas['EventView']
type Part = { data: Event[]; next: number | null }

const MAX_PAGES = 10

type Props = {
  /** The id of the job or study. */
  of: string
  load: (id: string, after: number, signal: AbortSignal) => Promise<Part>
  /** Frequent types, which are hidden at first. */
  often?: ReadonlySet<string>
  oftenWord?: string
}

/** Loads all events, page by page; of a job with thousands of epochs, only the first. */
async function allEvents({ of, load }: Props, signal: AbortSignal): Promise<Event[]> {
  const found: Event[] = []
  let after: number | null = 0
  for (let page = 0; page < MAX_PAGES && after !== null; page += 1) {
    const part: Part = await load(of, after, signal)
    found.push(...part.data)
    after = part.next
  }
  return found
}

export function EventsCard(props: Props) {
  const { of, often, oftenWord } = props
  const isOpen = inQuery('events') === 'open'
  const [withOften, setOften] = useState(false)
  const events = useLoaded(isOpen ? of : null, (signal) => allEvents(props, signal))
  useLive((event) => isOpen && event.subject.id === of, events.reload, 2000)
  const shown = (events.data ?? []).filter((event) => withOften || !often?.has(event.type))
  return (
    <details
      class="card"
      open={isOpen}
      onToggle={(event) => event.currentTarget.open !== isOpen && setQuery({ events: event.currentTarget.open ? 'open' : '' })}
    >
      <summary>
        <h2>Events</h2>
      </summary>
      {events.problem && !events.data && <Failed problem={events.problem} retry={events.reload} />}
      {isOpen && !events.data && !events.problem && <Loading what="the events" />}
      {oftenWord && (
        <label class="row">
          <input type="checkbox" checked={withOften} onChange={() => setOften(!withOften)} />
          {oftenWord}
        </label>
      )}
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
            {shown.map((event) => (
              <tr key={event.id} class={event.level}>
                <td class="soft">{moment(event.created_at)}</td>
                <td>{plain(event.type.split('.').slice(1).join(' '))}</td>
                <td>{event.message}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </details>
  )
}
