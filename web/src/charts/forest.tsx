/** Differences around 0 with their intervals, one row each, better on the right: a table that screen readers can read. */

import type { ComponentChildren } from 'preact'

export type Range = [number, number]
/** change, interval: null if unknown. noInterval: the text in its place. */
export type Compared = {
  key: string
  heading: ComponentChildren
  change: number | null
  interval: Range | null
  noInterval?: string
  beside: ComponentChildren
}

type Props = {
  rows: Compared[]
  /** What is in `heading` and in `beside`. */
  columns: [string, string]
  isRiseBetter: boolean
  format: (change: number) => string
  /** The name of the measure. */
  measure: string
}

/** The widest value shown in full, so that one wild row leaves room for the others. */
const MOST_TIMES_THE_MEDIAN = 4

export function Forest({ rows, columns, isRiseBetter, format, measure }: Props) {
  const reach = reachOf(rows)
  const at = (value: number) => {
    const part = (isRiseBetter ? value : -value) / reach
    return 50 + 50 * Math.min(1, Math.max(-1, part))
  }
  return (
    <table class="forest">
      <thead>
        <tr>
          <th scope="col">{columns[0]}</th>
          {/* biome-ignore lint/a11y/noAriaHiddenOnFocusable: a heading takes no focus; the column is a drawing */}
          <th scope="col" class="scale" aria-hidden="true">
            <span>← worse</span>
            <span>better →</span>
          </th>
          <th scope="col">{measure}</th>
          <th scope="col">very likely between</th>
          <th scope="col">{columns[1]}</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.key}>
            <th scope="row">{row.heading}</th>
            <td class="area" aria-hidden="true">
              <span class="zero" />
              {row.interval && <Whisker interval={row.interval} at={at} reach={reach} />}
              {row.change !== null && (
                <span class={`dot ${toneOf(row.interval, isRiseBetter)}`} style={{ insetInlineStart: `${at(row.change)}%` }} />
              )}
            </td>
            <td class="number">{row.change === null ? '–' : format(row.change)}</td>
            <td class="number soft">
              {row.interval ? `${format(row.interval[0])} to ${format(row.interval[1])}` : (row.noInterval ?? '–')}
            </td>
            <td>{row.beside}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function Whisker({ interval, at, reach }: { interval: Range; at: (value: number) => number; reach: number }) {
  const ends = interval.map(at).sort((a, b) => a - b)
  const isCut = Math.abs(interval[0]) > reach || Math.abs(interval[1]) > reach
  return (
    <span
      class={isCut ? 'whisker cut' : 'whisker'}
      style={{ insetInlineStart: `${ends[0]}%`, inlineSize: `${Math.max(0.5, ends[1]! - ends[0]!)}%` }}
    />
  )
}

/** The side of 0 on which the whole interval lies. */
function toneOf(interval: Range | null, isRiseBetter: boolean): string {
  if (!interval || (interval[0] <= 0 && interval[1] >= 0)) return 'open'
  return interval[0] > 0 === isRiseBetter ? 'better' : 'worse'
}

function reachOf(rows: Compared[]): number {
  const widest = rows
    .filter((row) => row.change !== null)
    .map((row) => Math.max(Math.abs(row.change!), ...(row.interval ?? []).map(Math.abs)))
    .sort((a, b) => a - b)
  if (!widest.length) return 1
  const median = widest[Math.floor(widest.length / 2)]!
  return 1.08 * Math.min(widest[widest.length - 1]!, MOST_TIMES_THE_MEDIAN * median) || 1
}
