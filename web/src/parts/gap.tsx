/** The gap from training to test as a waterfall: each term with its interval, and what it means. */

import type { Budget } from '../api/jobs'
import { Waterfall } from '../charts/waterfall'
import { figure, percent, points } from '../words/format'
import { termWord } from '../words/verdicts'
import { inQuery, setQuery } from './router'
import { Segments } from './segments'

/** Anything smaller would be written as 0.0 points, or as a loss of 0.000. */
const SMALLEST_SHARE = 0.0005
const SMALLEST_LOSS = 0.0005

export function GapPart({ gap }: { gap: Budget }) {
  const hasLoss = gap.terms.every((one) => one.loss !== null) && gap.train.loss !== null && gap.test.loss !== null
  const byLoss = inQuery('gap') === 'loss' && hasLoss
  // From training to test, accuracy falls and loss rises. Terms that widen the gap are positive.
  const written = byLoss ? (value: number) => `${value > 0 ? '+' : ''}${figure(value, 3)}` : (value: number) => points(value)
  const steps = gap.terms
    .map((one) => ({
      name: termWord(one.code),
      change: byLoss ? one.loss! : -one.accuracy,
      interval: turned(byLoss ? one.loss_interval : one.accuracy_interval, byLoss ? 1 : -1),
      explanation: one.explanation,
    }))
    // A term that would be written as 0 tells readers nothing.
    .filter((one) => Math.abs(one.change) >= (byLoss ? SMALLEST_LOSS : SMALLEST_SHARE))
  const total = byLoss ? gap.test.loss! - gap.train.loss! : gap.train.accuracy - gap.test.accuracy
  return (
    <section class="gap-part" aria-label="The gap">
      <header>
        <h3>Where the gap of {byLoss ? `${figure(total)} nats` : `${points(total).replace('+', '')} points`} comes from</h3>
        {hasLoss && (
          <Segments
            label="What is shown"
            choices={[
              ['accuracy', 'Accuracy'],
              ['loss', 'Loss'],
            ]}
            chosen={byLoss ? 'loss' : 'accuracy'}
            onChoose={(one) => setQuery({ gap: one === 'loss' ? one : '' })}
          />
        )}
      </header>
      <Waterfall
        start={{ name: 'Training', value: byLoss ? gap.train.loss! : gap.train.accuracy, count: gap.train.count }}
        end={{ name: 'Test', value: byLoss ? gap.test.loss! : gap.test.accuracy, count: gap.test.count }}
        steps={steps}
        level={byLoss ? (value) => figure(value) : (value) => percent(value)}
        change={written}
        bounds={byLoss ? undefined : [0, 1]}
      />
      <p class="soft">
        Thin lines are 95% intervals. Changes are in {byLoss ? 'nats' : 'percentage points'}; they add up from training to test.
      </p>
    </section>
  )
}

function turned(interval: number[] | [number, number] | null | undefined, sign: number): [number, number] | null {
  if (!interval) return null
  const [a, b] = [sign * interval[0]!, sign * interval[1]!]
  return a < b ? [a, b] : [b, a]
}
