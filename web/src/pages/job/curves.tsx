/** Training and validation in one chart: the gap is shaded, the lowest validation loss and the onset of overfitting are marked. */

import { useMemo, useState } from 'preact/hooks'
import type { Document } from '../../api/documents'
import type { Epoch, Job, Metrics } from '../../api/jobs'
import { type Line, type Mark, Plot } from '../../charts/plot'
import { Readable } from '../../charts/readable'
import { smoothed } from '../../charts/smoothing'
import { CurveControls, curveChoice } from '../../parts/curve_controls'
import { isDark } from '../../parts/layout'
import { figure, percent, points } from '../../words/format'
import { ENDED } from '../../words/verdicts'

const MEASURES = ['loss', 'accuracy'] as const
type Measure = (typeof MEASURES)[number]
type Curve = { split: 'train' | 'validation' | 'test'; label: string; values: (number | null)[] }

const LABELS = { train: 'Training', validation: 'Validation', test: 'Test' }

function curvesOf(epochs: Epoch[], measure: Measure): Curve[] {
  const splits = epochs.some((epoch) => epoch.test_loss !== null && epoch.test_loss !== undefined)
    ? (['train', 'validation', 'test'] as const)
    : (['train', 'validation'] as const)
  return splits.map((split) => ({
    split,
    label: LABELS[split],
    values: epochs.map((epoch) => epoch[`${split}_${measure}`] ?? null),
  }))
}

const FORMATS: Record<Measure, (value: number) => string> = {
  loss: (value) => figure(value),
  accuracy: (value) => percent(value),
}

export function CurvesCard({ metrics, diagnosis, job }: { metrics: Metrics; diagnosis?: Document; job: Job }) {
  const choice = curveChoice(MEASURES)
  const { measure, log, weight } = choice
  const [cursor, setCursor] = useState<number | null>(null)
  const [resets, setResets] = useState(0)
  const { epochs } = metrics

  const x = useMemo(() => epochs.map((epoch) => epoch.epoch), [epochs])
  const curves = useMemo(() => curvesOf(epochs, measure), [epochs, measure])
  const lines = useMemo(() => linesOf(curves, weight), [curves, weight])
  const { best, onset } = epochsOf(diagnosis)
  const marks = useMemo(() => marksOf(best, onset), [best, onset])
  const format = FORMATS[measure]
  const columns = useMemo(() => curves.map((curve) => ({ label: curve.label, values: curve.values, format })), [curves, format])
  const place = cursor ?? x.length - 1

  return (
    <section class="card curves" aria-label="Curves">
      <header>
        <h2>Training and validation</h2>
        <CurveControls choice={choice} measures={MEASURES} onShowAll={() => setResets(resets + 1)} />
      </header>
      {!x.length ? (
        <p class="soft plot-empty">
          {ENDED.has(job.status) ? 'No epoch was finished.' : 'The curves start after the first epoch.'}
        </p>
      ) : (
        <>
          <Readable
            label={`${measure === 'loss' ? 'Loss' : 'Accuracy'} of each epoch`}
            x={x}
            xLabel="Epoch"
            columns={columns}
            cursor={cursor}
            onCursor={setCursor}
          >
            <Plot
              label={measure}
              x={x}
              lines={lines}
              bands={[{ between: [0, 1], colour: '--gap' }]}
              marks={marks}
              log={log}
              format={format}
              cursor={cursor}
              onCursor={setCursor}
              isDark={isDark.value}
              resets={resets}
            />
          </Readable>
          <p class="readout">
            <strong>Epoch {x[place]}</strong>
            {curves.map((curve) => (
              <span key={curve.split}>
                <span class={`key ${curve.split}`} /> {curve.label}{' '}
                <span class="number">{curve.values[place] === null ? '–' : format(curve.values[place]!)}</span>
              </span>
            ))}
            <GapAt curves={curves} place={place} measure={measure} />
          </p>
        </>
      )}
    </section>
  )
}

/** The two curves around the gap come first. Measured values stay visible behind smoothed lines. */
function linesOf(curves: Curve[], weight: number): Line[] {
  const drawn = curves.map((curve) => ({
    label: curve.label,
    colour: `--${curve.split}`,
    values: weight ? smoothed(curve.values, weight) : curve.values,
  }))
  const measured = curves.map((curve) => ({
    label: `${curve.label}, as measured`,
    colour: `--${curve.split}`,
    values: curve.values,
    width: 1,
    faint: true,
  }))
  return weight ? [...drawn, ...measured] : drawn
}

function epochsOf(diagnosis: Document | undefined) {
  const blocks = diagnosis?.blocks.flatMap((block) => (block.kind === 'details' ? block.blocks : block)) ?? []
  return blocks.find((block) => block.kind === 'epochs') ?? { best: null, onset: null }
}

function marksOf(best: number | null, onset: number | null): Mark[] {
  const marks: Mark[] = []
  if (best) marks.push({ at: best, label: `lowest validation loss: epoch ${best}`, colour: '--good' })
  if (onset) marks.push({ at: onset, label: `worse from epoch ${onset}`, colour: '--bad' })
  return marks
}

function GapAt({ curves, place, measure }: { curves: Curve[]; place: number; measure: Measure }) {
  const [train, validation] = [curves[0]?.values[place], curves[1]?.values[place]]
  if (train === null || train === undefined || validation === null || validation === undefined) return null
  return (
    <span>
      <span class="key gap" /> Gap{' '}
      <span class="number">{measure === 'loss' ? figure(validation - train) : `${points(train - validation)} points`}</span>
    </span>
  )
}
