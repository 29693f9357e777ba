/** Small marks for a figure or a state: badges, gap bars, progress. */

import type { Job } from '../api/client'
import { percent, points } from '../words/format'
import { STATUS_TONES, verdictWord } from '../words/verdicts'

export const Status = ({ status }: { status: string }) => <span class={`badge ${STATUS_TONES[status] ?? 'plain'}`}>{status}</span>

type Text = string | null | undefined

/** headline: shown instead of the verdict's name, if there is one. */
export function Verdict({ code, headline }: { code: Text; headline?: Text }) {
  if (!code) return <span class="none">–</span>
  const [word, tone] = verdictWord(code)
  return headline ? <span class={`judgement ${tone}`}>{headline}</span> : <span class={`badge ${tone}`}>{word}</span>
}

/** The widest gap that a bar shows in full. */
const FULL_GAP = 0.5

/** How much worse the network does on held-out images: a bar and a figure in percentage points. */
export function GapBar({ gap }: { gap: NonNullable<Job['summary']>['gap'] }) {
  const [split, value] = gap?.test ? ['test', gap.test.accuracy] : ['validation', gap?.validation?.accuracy]
  if (value === null || value === undefined) return <span class="none">–</span>
  const width = Math.min(1, Math.abs(value) / FULL_GAP)
  return (
    <span class="gap-bar" title={`Training accuracy minus ${split} accuracy, in percentage points`}>
      <span class="track">
        <span class={value < 0 ? 'fill turned' : 'fill'} style={{ inlineSize: `${100 * width}%` }} />
      </span>
      <span class="number">{points(value)}</span>
      {split !== 'test' && <span class="soft"> val.</span>}
    </span>
  )
}

export function Progress({ epoch, epochs }: { epoch: number; epochs: number }) {
  const done = epochs ? epoch / epochs : 0
  return (
    <span class="progress" role="progressbar" aria-label="Epochs" aria-valuemin={0} aria-valuemax={epochs} aria-valuenow={epoch}>
      <span class="track">
        <span class="fill" style={{ inlineSize: `${100 * done}%` }} />
      </span>
      <span class="number">
        {epoch}/{epochs}
      </span>
    </span>
  )
}

export const Accuracy = ({ value }: { value: number | null | undefined }) => <span class="number">{percent(value)}</span>
