/** The charts of documents. Each gets its description and its words from the service. */

import type { Schemas } from '../api/client'
import { inQuery, setQuery } from '../parts/router'
import { Segments } from '../parts/segments'

type Level = Schemas['Level']

/** One of the charts at a time: the address says which. */
export function FigureBlock({ figure }: { figure: Schemas['Figure'] }) {
  const chart = figure.charts.find((each) => each.measure.toLowerCase() === inQuery('gap')) ?? figure.charts[0]!
  const names = figure.charts.map((each) => [each.measure, each.measure] as const)
  const choose = (name: string) => setQuery({ gap: name === names[0]![0] ? '' : name.toLowerCase() })
  return (
    <section class="gap-part" aria-label={figure.label}>
      <header>
        <h3>{chart.title}</h3>
        {names.length > 1 && <Segments label="What is shown" choices={names} chosen={chart.measure} onChoose={choose} />}
      </header>
      <Waterfall chart={chart} />
      <p class="soft">{chart.note}</p>
    </section>
  )
}

/** The changes from one level to another, one row each: a table that screen readers can read, with bars drawn in it. */
function Waterfall({ chart }: { chart: Schemas['Waterfall'] }) {
  const { start, end } = chart
  const rows = chart.changes.map((step, place) => {
    const before = chart.changes.slice(0, place).reduce((level, { change }) => level + change, start.value)
    return { step, before, interval: step.interval?.map((bound) => before + bound) }
  })
  const all = [start.value, end.value, ...rows.flatMap((row) => [row.before + row.step.change, ...(row.interval ?? [])])]
  const [least, most] = [Math.min(...all), Math.max(...all)]
  const room = 0.15 * (most - least) || 0.05
  const [low, high] = chart.is_share ? [Math.max(0, least - room), Math.min(1, most + room)] : [0, most + room]
  const at = (value: number) => (100 * (Math.min(high, Math.max(low, value)) - low)) / (high - low || 1)
  const bar = (from: number, to: number) => ({
    insetInlineStart: `${Math.min(at(from), at(to))}%`,
    inlineSize: `max(2px, ${Math.abs(at(to) - at(from))}%)`,
  })
  const whole = (level: Level, colour: string) => (
    <tr class="whole">
      <th scope="row">
        {level.name} <span class="soft">{level.note}</span>
      </th>
      <td class="area" aria-hidden="true">
        <span class={`bar ${colour}`} style={bar(low, level.value)} />
      </td>
      <td class="number">
        <strong>{level.text}</strong>
      </td>
      <td />
    </tr>
  )
  return (
    <table class="waterfall">
      <thead class="sr">
        <tr>
          <th scope="col">Step</th>
          <th scope="col">Bar</th>
          <th scope="col">Figure</th>
          <th scope="col">95% interval</th>
        </tr>
      </thead>
      <tbody>
        {whole(start, 'train')}
        {rows.map(({ step, before, interval }) => (
          <tr key={step.name}>
            <th scope="row">
              {step.name} {step.cause && <span class="soft">{step.cause}</span>}
              <p class="soft">{step.explanation}</p>
            </th>
            <td class="area" aria-hidden="true">
              <span
                class={step.change * (end.value - start.value) < 0 ? 'bar better' : 'bar step'}
                style={bar(before, before + step.change)}
              />
              {interval && <span class="whisker" style={bar(interval[0]!, interval[1]!)} />}
            </td>
            <td class="number">{step.text}</td>
            <td class="number soft">{step.interval ? step.range : 'no interval'}</td>
          </tr>
        ))}
        {whole(end, 'test')}
      </tbody>
    </table>
  )
}
