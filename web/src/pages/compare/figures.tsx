/** The figures of all groups side by side: of the weights each kept, or of the same epoch. */

import { useState } from 'preact/hooks'

import { inQuery, setQuery } from '../../parts/router'
import { Scroll } from '../../parts/scroll'
import { Segments } from '../../parts/segments'
import { count, figure, percent, points } from '../../words/format'
import { type Band, type Group, lastEpochOf } from './groups'
import { Key } from './key'
import { type Measure, type Row, rowOf } from './rows'

const SPLITS = ['train', 'validation', 'test'] as const

/** The epoch that the address asks for; null for the kept weights. */
export function chosenEpoch(groups: Group[]): number | null {
  const asked = inQuery('at')
  if (!asked) return null
  return Math.min(furthest(groups), Math.max(1, Math.round(Number(asked)) || shared(groups)))
}

const lasts = (groups: Group[]) => groups.flatMap((group) => group.trials.map(lastEpochOf)).filter(Boolean)
const furthest = (groups: Group[]) => Math.max(1, ...lasts(groups))
/** The last epoch that all have. */
const shared = (groups: Group[]) => Math.max(1, Math.min(...lasts(groups)))

export function FiguresCard({ groups, at }: { groups: Group[]; at: number | null }) {
  const [measure, setMeasure] = useState<Measure>('accuracy')
  const rows = groups.map((group) => rowOf(group, measure, at))
  const level = measure === 'accuracy' ? (value: number) => percent(value) : (value: number) => figure(value)
  const change =
    measure === 'accuracy' ? (value: number) => points(value) : (value: number) => `${value > 0 ? '+' : ''}${figure(value, 3)}`
  return (
    <section class="card" aria-label="Figures">
      <header>
        <h2>Figures</h2>
        <div class="row">
          <Segments
            label="Which epoch"
            choices={[
              ['kept', 'Kept epoch'],
              ['same', 'Same epoch'],
            ]}
            chosen={at === null ? 'kept' : 'same'}
            onChoose={(choice) => setQuery({ at: choice === 'kept' ? '' : String(shared(groups)) })}
          />
          {at !== null && (
            <label class="row">
              Epoch
              <input
                type="number"
                aria-label="Epoch"
                min="1"
                max={furthest(groups)}
                value={at}
                onChange={(event) => setQuery({ at: event.currentTarget.value || String(shared(groups)) })}
              />
              <span class="soft">of {count(furthest(groups))}</span>
            </label>
          )}
          <Segments
            label="What is shown"
            choices={[
              ['accuracy', 'Accuracy'],
              ['loss', 'Loss'],
            ]}
            chosen={measure}
            onChoose={setMeasure}
          />
        </div>
      </header>
      <Scroll label="Figures of each">
        <table class="plain-table figures">
          <thead>
            <tr>
              <th scope="col">Job</th>
              <th scope="col">Epoch</th>
              <th scope="col">Training</th>
              <th scope="col">Validation</th>
              <th scope="col">Test</th>
              <th scope="col">Gap</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.group.letter}>
                <th scope="row">
                  <Key group={row.group} /> {row.group.letter} <span class="soft">{row.group.name}</span>
                  {row.group.trials.length > 1 && <span class="soft"> · {count(row.group.trials.length)} seeds</span>}
                </th>
                <td>{epochWord(row)}</td>
                {SPLITS.map((split) => (
                  <td key={split}>
                    <Spread band={row.splits[split]} format={level} interval={row.intervals[split]} />
                  </td>
                ))}
                <td>
                  <Spread band={row.gap} format={change} />
                  {row.gap && row.gapTo === 'validation' && <span class="soft"> to validation</span>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      <p class="soft">
        {at === null
          ? 'Figures are of the weights that each job kept. Below a single job is its 95% interval; below several seeds, the lowest and the highest. '
          : 'Figures are as measured after this epoch. Test images are measured after each epoch only if the spec asks for it. '}
        {measure === 'accuracy' ? 'The gap is in percentage points. ' : 'Losses are in nats. '}A difference that is smaller than
        these intervals may be chance. <a href="/studies">A study</a> can tell.
      </p>
    </section>
  )
}

function epochWord(row: Row): string {
  if (!row.epochs.length) return '–'
  const [low, high] = [Math.min(...row.epochs), Math.max(...row.epochs)]
  const words = low === high ? count(low) : `${count(low)} to ${count(high)}`
  return row.isKept ? words : `${words}, the lowest loss so far`
}

type SpreadProps = { band: Band | null; format: (value: number) => string; interval?: readonly number[] }

function Spread({ band, format, interval }: SpreadProps) {
  if (!band) return <span class="none">–</span>
  const range = band.count > 1 ? [band.low, band.high] : interval
  return (
    <>
      <span class="number">{format(band.mean)}</span>
      {range && (
        <span class="soft range">
          {format(range[0]!)} to {format(range[1]!)}
        </span>
      )}
    </>
  )
}
