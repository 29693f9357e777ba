/** A chart for screen readers: arrow keys move a cursor whose figures are read out, and a table has all of them. */

import { useMemo, useState } from 'preact/hooks'

export type Column = { label: string; values: (number | null | undefined)[]; format: (value: number) => string }

type Props = {
  label: string
  x: number[]
  xLabel: string
  columns: Column[]
  cursor: number | null
  onCursor: (place: number | null) => void
  children: preact.ComponentChildren
}

const STEPS: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }

export function Readable({ label, x, xLabel, columns, cursor, onCursor, children }: Props) {
  const [byKey, setByKey] = useState(false)
  const last = x.length - 1
  const move = (event: KeyboardEvent) => {
    const step = STEPS[event.key]
    let next: number
    if (event.key === 'Home') next = 0
    else if (event.key === 'End') next = last
    else if (step !== undefined) next = Math.min(last, Math.max(0, (cursor ?? (step > 0 ? -1 : x.length)) + step))
    else return
    event.preventDefault()
    setByKey(true)
    onCursor(next)
  }
  // The table has up to a thousand rows, and a moving cursor must not build it again: pass the same `columns` for the same figures.
  const table = useMemo(() => tableOf(label, x, xLabel, columns), [label, x, xLabel, columns])
  const said = cursor === null || x[cursor] === undefined ? '' : sentence(cursor, x, xLabel, columns)
  return (
    <figure class="chart">
      <div
        class="chart-area"
        role="slider"
        tabIndex={0}
        aria-label={`${label}. Arrow keys move from one ${xLabel.toLowerCase()} to the next.`}
        aria-valuemin={x[0] ?? 0}
        aria-valuemax={x[last] ?? 0}
        aria-valuenow={cursor === null ? (x[last] ?? 0) : (x[cursor] ?? 0)}
        aria-valuetext={said || `${x.length} ${xLabel.toLowerCase()}s`}
        onKeyDown={move}
        onBlur={() => setByKey(false)}
      >
        {children}
      </div>
      <p class="sr" aria-live="polite">
        {byKey ? said : ''}
      </p>
      {table}
    </figure>
  )
}

function tableOf(label: string, x: number[], xLabel: string, columns: Column[]) {
  return (
    <table class="sr">
      <caption>{label}</caption>
      <thead>
        <tr>
          <th scope="col">{xLabel}</th>
          {columns.map((column) => (
            <th key={column.label} scope="col">
              {column.label}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {x.map((at, place) => (
          <tr key={at}>
            <th scope="row">{at}</th>
            {columns.map((column) => {
              const value = column.values[place] ?? null
              return <td key={column.label}>{value === null ? 'none' : column.format(value)}</td>
            })}
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function sentence(place: number, x: number[], xLabel: string, columns: Column[]): string {
  const parts = columns.map((column) => {
    const value = column.values[place] ?? null
    return `${column.label} ${value === null ? 'none' : column.format(value)}`
  })
  return `${xLabel} ${x[place]}: ${parts.join(', ')}.`
}
