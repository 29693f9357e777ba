/** What a spec would cost: parameters, memory, time, and the size after each layer. Or what is wrong with it. */

import type { Estimate } from '../../api/jobs'
import type { Loaded } from '../../parts/load'
import { Scroll } from '../../parts/scroll'
import { bytes, count, duration } from '../../words/format'

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
          <p>{problem.detail}</p>
          <ul class="plain-list">
            {problem.errors.map((one) => (
              <li key={one.pointer}>
                <a href={`#${one.pointer}`} class="mono" onClick={(event) => focusOn(event, one.pointer)}>
                  {one.pointer}
                </a>{' '}
                {one.detail}
              </li>
            ))}
          </ul>
        </>
      )}
      {data && (
        <>
          <dl class="facts tight">
            <div>
              <dt>Parameters</dt>
              <dd>{count(data.parameters)}</dd>
            </div>
            <div>
              <dt>Memory</dt>
              <dd>{bytes(data.memory_bytes)}</dd>
            </div>
            <div>
              <dt>An epoch</dt>
              <dd>{data.seconds_per_epoch === null ? 'not known yet' : duration(data.seconds_per_epoch)}</dd>
            </div>
            <div>
              <dt>All epochs</dt>
              <dd>
                {data.seconds_per_epoch === null
                  ? 'not known yet'
                  : duration(data.seconds_per_epoch * (data.spec.training?.epochs ?? 10))}
              </dd>
            </div>
          </dl>
          <Scroll label="Layers">
            <table class="plain-table">
              <thead>
                <tr>
                  <th scope="col">Layer</th>
                  <th scope="col">Size</th>
                  <th scope="col">Parameters</th>
                </tr>
              </thead>
              <tbody>
                {data.layers.map((one) => (
                  <tr key={one.name}>
                    <td class="mono">{one.name}</td>
                    <td>{one.shape.join(' × ')}</td>
                    <td>{count(one.parameters)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
        </>
      )}
    </section>
  )
}

function focusOn(event: MouseEvent, pointer: string) {
  event.preventDefault()
  document.getElementById(pointer)?.focus()
}
