/** What a spec would cost: parameters, memory, time, and the size after each layer. Or what is wrong with it. */

import type { Estimate } from '../../api/jobs'
import { Fact, Facts } from '../../parts/facts'
import type { Loaded } from '../../parts/load'
import { PlainTable } from '../../parts/plain_table'
import { Prose } from '../../parts/prose'
import { placeOf } from '../../words/fields'
import { bytes, count, duration } from '../../words/format'

/** With more, the list is folded: a pretrained network has 150, and the button to train would be far below. */
const MOST_LAYERS = 40

export function EstimatePanel({ checked }: { checked: Loaded<Estimate> }) {
  const { data, problem } = checked
  return (
    <section class="card" aria-label="Size and cost" aria-live="polite" aria-busy={checked.loading}>
      <header>
        <h2>Size and cost</h2>
        {problem ? <span class="badge bad">not valid</span> : <span class="badge good">valid</span>}
      </header>
      {problem && (
        <>
          {!problem.errors.length && <p>{problem.detail}</p>}
          <ul class="plain-list">
            {problem.errors.map(({ pointer, detail }) => (
              <li key={pointer}>
                <a href={`#${pointer}`} onClick={(event) => focusOn(event, pointer)}>
                  {placeOf(pointer)}
                </a>
                : <Prose text={detail} />
              </li>
            ))}
          </ul>
        </>
      )}
      {data && (
        <>
          <Facts tight>
            <Fact name="Parameters">{count(data.parameters)}</Fact>
            <Fact name="Memory">{bytes(data.memory_bytes)}</Fact>
            <Fact name="An epoch">{time(data.seconds_per_epoch, 1)}</Fact>
            <Fact name="All epochs">{time(data.seconds_per_epoch, data.spec.training?.epochs ?? 10)}</Fact>
          </Facts>
          {!!data.notes?.length && (
            <>
              <h3>Check of the layers</h3>
              <ul class="plain-list">
                {data.notes.map(({ text, line }) => (
                  <li key={text}>
                    <Prose text={line ? `${text} ${line.startsWith('`') ? 'Change: ' : ''}${line}` : text} />
                  </li>
                ))}
              </ul>
            </>
          )}
          {data.layers.length > MOST_LAYERS ? (
            <details>
              <summary>All {data.layers.length} layers</summary>
              <Layers layers={data.layers} />
            </details>
          ) : (
            <Layers layers={data.layers} />
          )}
        </>
      )}
    </section>
  )
}

const Layers = ({ layers }: { layers: Estimate['layers'] }) => (
  <PlainTable label="Layers" columns={['Layer', 'Size', 'Parameters']}>
    {layers.map((layer) => (
      <tr key={layer.name}>
        <td class="mono">{layer.name}</td>
        <td>{layer.shape.join(' × ')}</td>
        <td>{count(layer.parameters)}</td>
      </tr>
    ))}
  </PlainTable>
)

const time = (seconds: number | null, times: number) => (seconds === null ? 'not known yet' : duration(seconds * times))

function focusOn(event: MouseEvent, pointer: string) {
  event.preventDefault()
  document.getElementById(pointer)?.focus()
}
