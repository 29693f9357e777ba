/** The curves of all groups in one chart: lines for validation and training, and a band where seeds are grouped. */

import { useMemo, useState } from 'preact/hooks'

import type { Epoch } from '../../api/jobs'
import { type Line, type Mark, Plot, type PlotProps } from '../../charts/plot'
import { type Column, Readable } from '../../charts/readable'
import { smoothed } from '../../charts/smoothing'
import { CurveControls, curveChoice } from '../../parts/curve_controls'
import { isDark } from '../../parts/layout'
import { inQuery, setQuery } from '../../parts/router'
import { Segments } from '../../parts/segments'
import { figure, percent, points } from '../../words/format'
import { type Band, bandsOf, epochsOf, type Group } from './groups'
import { Key } from './key'

const MEASURES = ['loss', 'accuracy', 'gap'] as const
type Measure = (typeof MEASURES)[number]
type Split = 'validation' | 'train'
type Shown = 'both' | Split

const SPLIT_WORDS: Record<Split, string> = { validation: 'validation', train: 'training' }
const NAMES: Record<Measure, string> = { loss: 'Loss', accuracy: 'Accuracy', gap: 'Training accuracy minus validation accuracy' }
/** Training is dashed, validation is solid. */
const TRAIN_DASH = [6, 4]
const BAND_OPACITY = 0.16

type Curve = { group: Group; split: Split | 'gap'; label: string; bands: (Band | null | undefined)[] }

const FORMATS: Record<Measure, (value: number) => string> = {
  loss: (value) => figure(value),
  accuracy: (value) => percent(value),
  gap: (value) => points(value),
}

/** at: an epoch to mark. */
export function CurvesCard({ groups, at }: { groups: Group[]; at: number | null }) {
  const choice = curveChoice(MEASURES)
  const { measure, log, weight } = choice
  const shown: Shown = inQuery('of') === 'validation' ? 'validation' : inQuery('of') === 'train' ? 'train' : 'both'
  const [cursor, setCursor] = useState<number | null>(null)
  const [resets, setResets] = useState(0)
  const x = useMemo(() => epochsOf(groups), [groups])
  const curves = useMemo(() => curvesOf(groups, x, measure, shown), [groups, x, measure, shown])
  const drawn = useMemo(() => drawnOf(curves, weight), [curves, weight])
  const marks = useMemo<Mark[]>(() => (at === null ? [] : [{ at, label: `epoch ${at}`, colour: '--ink-soft' }]), [at])
  const format = FORMATS[measure]
  const columns = useMemo(() => columnsOf(curves, format), [curves, format])
  const place = cursor ?? x.length - 1
  return (
    <section class="card curves" aria-label="Curves">
      <header>
        <h2>Curves</h2>
        <CurveControls choice={choice} measures={MEASURES} onShowAll={() => setResets(resets + 1)}>
          {measure !== 'gap' && (
            <Segments
              label="Of which images"
              choices={[
                ['both', 'Both'],
                ['validation', 'Validation'],
                ['train', 'Training'],
              ]}
              chosen={shown}
              onChoose={(chosen) => setQuery({ of: chosen === 'both' ? '' : chosen })}
            />
          )}
        </CurveControls>
      </header>
      {!x.length ? (
        <p class="soft plot-empty">The curves start after the first epoch.</p>
      ) : (
        <>
          <Readable
            label={`${NAMES[measure]} of each epoch`}
            x={x}
            xLabel="Epoch"
            columns={columns}
            cursor={cursor}
            onCursor={setCursor}
          >
            <Plot
              label={measure}
              x={x}
              {...drawn}
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
            {curves.map(
              (curve) =>
                curve.bands[place] && (
                  <span key={curve.label}>
                    <Key group={curve.group} isDashed={curve.split === 'train'} /> {curve.label}{' '}
                    <span class="number">{said(curve.bands[place], format)}</span>
                  </span>
                ),
            )}
          </p>
          <p class="soft">
            {measure === 'gap'
              ? 'In percentage points.'
              : shown === 'both' && 'Solid lines are validation, dashed lines are training.'}
            {groups.some((group) => group.trials.length > 1) &&
              ' Where seeds are grouped, the line is their mean, and the band runs from the lowest to the highest.'}
          </p>
        </>
      )}
    </section>
  )
}

const VALUES: Record<Measure, Record<Split | 'gap', (epoch: Epoch) => number | null>> = {
  loss: { validation: (epoch) => epoch.validation_loss, train: (epoch) => epoch.train_loss, gap: () => null },
  accuracy: { validation: (epoch) => epoch.validation_accuracy, train: (epoch) => epoch.train_accuracy, gap: () => null },
  gap: {
    validation: () => null,
    train: () => null,
    gap: (epoch) =>
      epoch.train_accuracy === null || epoch.validation_accuracy === null
        ? null
        : epoch.train_accuracy - epoch.validation_accuracy,
  },
}

function curvesOf(groups: Group[], epochs: number[], measure: Measure, shown: Shown): Curve[] {
  const splits: (Split | 'gap')[] = measure === 'gap' ? ['gap'] : shown === 'both' ? ['validation', 'train'] : [shown]
  return groups.flatMap((group) =>
    splits.map((split) => ({
      group,
      split,
      label: split === 'gap' ? group.letter : `${group.letter} ${SPLIT_WORDS[split]}`,
      bands: bandsOf(group, epochs, VALUES[measure][split]),
    })),
  )
}

/** Means come first, so that tables and colors follow the groups; then the measured values of smoothed lines, then the edges of bands. */
function drawnOf(curves: Curve[], weight: number): Pick<PlotProps, 'lines' | 'bands'> {
  const means = curves.map((curve) => curve.bands.map((band) => pick(band, 'mean')))
  const style = ({ group, split }: Curve) => ({ colour: group.colour, dash: split === 'train' ? TRAIN_DASH : group.dash })
  const lines: Line[] = curves.map((curve, place) => ({
    label: curve.label,
    ...style(curve),
    values: weight ? smoothed(means[place]!, weight) : means[place]!,
  }))
  if (weight) {
    lines.push(
      ...curves.map((curve, place) => ({
        label: `${curve.label}, as measured`,
        colour: curve.group.colour,
        values: means[place]!,
        width: 1,
        faint: true,
      })),
    )
  }
  const bands: PlotProps['bands'] = []
  for (const curve of curves.filter(({ group }) => group.trials.length > 1)) {
    bands.push({ between: [lines.length, lines.length + 1], colour: curve.group.colour, opacity: BAND_OPACITY })
    for (const edge of ['high', 'low'] as const) {
      lines.push({
        label: `${curve.label}, ${edge}est`,
        colour: curve.group.colour,
        values: curve.bands.map((band) => pick(band, edge)),
        width: 0,
      })
    }
  }
  return { lines, bands }
}

/** Keeps null and undefined: a line breaks at null and continues past undefined. */
const pick = (band: Band | null | undefined, name: keyof Band) => (band ? band[name] : band)

function columnsOf(curves: Curve[], format: (value: number) => string): Column[] {
  return curves.flatMap((curve) => {
    const mean = { label: curve.label, values: curve.bands.map((band) => pick(band, 'mean')), format }
    if (curve.group.trials.length === 1) return [mean]
    const edge = (name: 'low' | 'high') => ({
      label: `${curve.label}, ${name}est`,
      values: curve.bands.map((band) => pick(band, name)),
      format,
    })
    return [{ ...mean, label: `${curve.label}, mean` }, edge('low'), edge('high')]
  })
}

function said(band: Band, format: (value: number) => string): string {
  return band.count > 1 ? `${format(band.mean)} (${format(band.low)} to ${format(band.high)})` : format(band.mean)
}
