/** Pairs of images with different labels that look alike, and the question whether they show different things. */

import { useState } from 'preact/hooks'

import { type AuditFinding, type Dataset, tellApart } from '../../api/datasets'
import { attempt, notify } from '../../parts/notices'
import { Picture } from '../../parts/picture'
import { count } from '../../words/format'

type Pair = AuditFinding['pairs'][number]
type Props = { dataset: Dataset; finding: AuditFinding; onAnswer: () => void; onLeaveOut: () => void }

const SHOWN_PAIRS = 12

export function LookAlikes({ dataset, finding, onAnswer, onLeaveOut }: Props) {
  const [isAll, setAll] = useState(false)
  const [isBusy, setBusy] = useState(false)
  const shown = isAll ? finding.pairs : finding.pairs.slice(0, SHOWN_PAIRS)
  const answer = async (pairs: Pair[]) => {
    setBusy(true)
    const named = pairs.map(([first, second]): [number, number] => [first.index, second.index])
    const noted = await attempt(() => tellApart(dataset.id, named))
    setBusy(false)
    if (!noted) return
    notify(`Remembered: ${pairs.length === 1 ? 'they are different' : `${count(pairs.length)} pairs are different`}.`)
    onAnswer()
  }
  const images = (finding.fix?.exclude as number[] | undefined)?.length ?? 0
  return (
    <>
      <p>
        <strong>Can you tell these apart?</strong>
      </p>
      <ul class="pairs asked">
        {shown.map((pair) => (
          <li key={`${pair[0].index}/${pair[1].index}`}>
            <Picture example={pair[0]} />
            <Picture example={pair[1]} />
            <button type="button" class="small" disabled={isBusy} onClick={() => answer([pair])}>
              They are different
            </button>
          </li>
        ))}
      </ul>
      <div class="row">
        {finding.pairs.length > shown.length && (
          <button type="button" class="small" onClick={() => setAll(true)}>
            All {count(finding.pairs.length)} pairs
          </button>
        )}
        {shown.length > 1 && (
          <button type="button" disabled={isBusy} onClick={() => answer(shown)}>
            All {count(shown.length)} shown are different
          </button>
        )}
        <button type="button" disabled={isBusy} onClick={onLeaveOut}>
          Leave them out: {count(images)} images …
        </button>
      </div>
    </>
  )
}
