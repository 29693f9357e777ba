/** The controls of a chart of curves: measure, log axis, smoothing. The address keeps them. */

import type { ComponentChildren } from 'preact'
import { inQuery, setQuery } from './router'
import { Segments } from './segments'

export type Measure = 'loss' | 'accuracy' | 'gap'

const WORDS: Record<Measure, string> = { loss: 'Loss', accuracy: 'Accuracy', gap: 'Gap' }

/** The choice in the address. Only losses can have a log axis. */
export function curveChoice<One extends Measure>(measures: readonly One[]) {
  const measure = measures.find((candidate) => candidate === inQuery('curve')) ?? measures[0]!
  return {
    measure,
    log: inQuery('log') === 'yes' && measure === 'loss',
    weight: Math.min(0.95, Math.max(0, Number(inQuery('smooth')) || 0)),
  }
}

type Props = {
  choice: ReturnType<typeof curveChoice>
  measures: readonly Measure[]
  onShowAll: () => void
  children?: ComponentChildren
}

export const CurveControls = ({ choice: { measure, log, weight }, measures, onShowAll, children }: Props) => (
  <div class="row">
    <Segments
      label="What is shown"
      choices={measures.map((choice) => [choice, WORDS[choice]])}
      chosen={measure}
      onChoose={(choice) => setQuery({ curve: choice === measures[0] ? '' : choice })}
    />
    {children}
    {measure === 'loss' && (
      <label class="row">
        <input type="checkbox" checked={log} onChange={() => setQuery({ log: log ? '' : 'yes' })} />
        Log axis
      </label>
    )}
    <label class="row">
      Smoothing
      <input
        type="range"
        min="0"
        max="0.95"
        step="0.05"
        value={weight}
        onInput={(event) => setQuery({ smooth: Number(event.currentTarget.value) ? event.currentTarget.value : '' })}
      />
    </label>
    <button type="button" class="small" onClick={onShowAll} title="Drag across the chart to zoom in">
      Show all
    </button>
  </div>
)
