/** How much each arm differs from the unchanged network, whether that is certain, and which arms were dropped and why. */

import type { Arm, ReportArm, Study, StudyReport } from '../../api/studies'
import { type Compared, Forest, type Range } from '../../charts/forest'
import { Prose } from '../../parts/prose'
import { inQuery, setQuery } from '../../parts/router'
import { Scroll } from '../../parts/scroll'
import { Segments } from '../../parts/segments'
import { count, figure, percent, points } from '../../words/format'
import { EFFECTS, HOW_TO_READ, TOO_FEW_SEEDS } from '../../words/labels'
import { armWord, EFFECT_TONES } from '../../words/verdicts'

/** As in heldout/views/study.py. */
const MIN_SEEDS_OF_RANGE = 3

type Measure = 'accuracy' | 'loss'

export function ArmsCard({ study, report }: { study: Study; report: StudyReport | undefined }) {
  // Final figures of recorded trainings are one measure, shown as an accuracy or as a loss. An objective is one, too.
  const metric = study.recorded?.metric
  const objective = metric ? (study.recorded?.better === 'lower' ? 'loss' : 'accuracy') : study.objective
  const measure: Measure = objective ?? (inQuery('by') === 'loss' ? 'loss' : 'accuracy')
  const reported = new Map(report?.arms.map((arm) => [arm.name, arm]))
  const [base, ...others] = study.arms
  const sorted = [...others].sort((a, b) => orderOf(b, measure) - orderOf(a, measure))
  const rows = sorted.map((arm) => rowOf(arm, study, reported.get(arm.name), measure))
  return (
    <section class="card" aria-label="Arms">
      <header>
        <h2>{study.status === 'running' ? 'The remedies so far' : 'How the remedies compare'}</h2>
        {objective ? (
          <span class="soft">{metric ?? objective}</span>
        ) : (
          <Segments
            label="What is shown"
            choices={[
              ['accuracy', 'Accuracy'],
              ['loss', 'Loss'],
            ]}
            chosen={measure}
            onChoose={(choice) => setQuery({ by: choice === 'loss' ? choice : '' })}
          />
        )}
      </header>
      {base && <Base arm={base} study={study} />}
      <Scroll label="Remedies">
        <Forest
          rows={rows}
          columns={[study.spec ? 'Remedy' : 'Arm', 'Is that sure?']}
          isRiseBetter={measure === 'accuracy'}
          measure={measure === 'accuracy' ? 'points' : (metric ?? 'nats')}
          format={measure === 'accuracy' ? (value) => points(value) : (value) => `${value > 0 ? '+' : ''}${figure(value, 3)}`}
        />
      </Scroll>
      <p class="soft">{HOW_TO_READ}</p>
    </section>
  )
}

function orderOf(arm: Arm, measure: Measure): number {
  const gain = arm.difference?.accuracy ?? (measure === 'loss' ? -(arm.difference?.loss ?? 5) : -5)
  return (arm.status === 'dropped' ? -10 : 0) + gain
}

const Base = ({ arm, study }: { arm: Arm; study: Study }) => (
  <p>
    <strong>{study.recorded ? 'Base' : 'Unchanged network'}:</strong>{' '}
    {arm.validation && study.recorded?.metric ? (
      <>
        {study.recorded.metric} {reached(arm)}; mean of {count(arm.seeds)} runs.
      </>
    ) : arm.validation ? (
      <>
        {percent(arm.validation.accuracy)} of validation images right
        {arm.train?.accuracy != null && <>, {percent(arm.train.accuracy)} of training images</>}; mean of {count(arm.seeds)}{' '}
        {arm.seeds === 1 ? 'training' : 'trainings'}.
      </>
    ) : arm.provisional ? (
      <Provisional of={arm.provisional} />
    ) : (
      <span class="soft">{study.status === 'running' ? 'not trained yet.' : 'not measured.'}</span>
    )}
  </p>
)

const reached = ({ validation }: Arm) =>
  validation?.accuracy == null ? figure(validation?.loss ?? null) : percent(validation.accuracy)

function rowOf(arm: Arm, study: Study, reportArm: ReportArm | undefined, measure: Measure): Compared {
  const { difference } = arm
  const interval = difference?.adjusted_intervals[measure] ?? null
  return {
    key: arm.name,
    heading: (
      <>
        {armWord(arm.name)} {arm.status === 'dropped' && <span class="badge warn">dropped</span>}
        {arm.status === 'racing' && study.status === 'running' && <span class="badge accent">running</span>}
        {reportArm?.idea && <p class="soft">{reportArm.idea}</p>}
        {arm.why && (
          <p>
            <Prose text={arm.why} />
          </p>
        )}
      </>
    ),
    change: difference?.[measure] ?? null,
    interval: interval as Range | null,
    noInterval: difference && arm.seeds < MIN_SEEDS_OF_RANGE ? TOO_FEW_SEEDS : undefined,
    beside: <Sure arm={arm} effect={reportArm?.effect} measure={measure} />,
  }
}

/** Means of the trainings that are done, before a first look compares them. Nothing follows from them yet. */
const Provisional = ({ of }: { of: NonNullable<Arm['provisional']> }) => (
  <>
    {percent(of.accuracy)} of validation images right so far, loss {figure(of.loss)}{' '}
    <span class="soft">
      (provisional, mean of {count(of.seeds)} {of.seeds === 1 ? 'training' : 'trainings'})
    </span>
  </>
)

/** Whether an interval lies entirely on the side of the effect. A lower loss is better. */
function shows(arm: Arm, measure: Measure, effect: 'better' | 'worse'): boolean {
  const interval = arm.difference?.adjusted_intervals[measure]
  if (!interval) return false
  const isRise = (effect === 'better') === (measure === 'accuracy')
  return isRise ? interval[0]! > 0 : interval[1]! < 0
}

/** Names the measure that is not shown if only that one shows the effect, because the line next to it crosses 0. */
function elsewhere(arm: Arm, effect: string | null | undefined, shown: Measure): string {
  if (effect !== 'better' && effect !== 'worse') return ''
  const other: Measure = shown === 'accuracy' ? 'loss' : 'accuracy'
  return !shows(arm, shown, effect) && shows(arm, other, effect) ? ` in ${other}` : ''
}

type SureProps = { arm: Arm; effect: string | null | undefined; measure: Measure }

function Sure({ arm, effect, measure }: SureProps) {
  return (
    <>
      {effect && (
        <span class={`badge ${EFFECT_TONES[effect] ?? 'plain'}`}>
          {EFFECTS[effect]}
          {elsewhere(arm, effect, measure)}
        </span>
      )}
      {!arm.validation && arm.provisional && (
        <p>
          {measure === 'accuracy' ? percent(arm.provisional.accuracy) : figure(arm.provisional.loss)} so far{' '}
          <span class="badge plain">provisional</span>
        </p>
      )}
      <p class="soft">
        {arm.validation && <>{reached(arm)} · </>}
        {count(arm.validation ? arm.seeds : (arm.provisional?.seeds ?? arm.seeds))}
        {arm.jobs.length > 0 && <> of {count(arm.jobs.length)}</>} {arm.jobs.length === 1 ? 'training' : 'trainings'}
      </p>
    </>
  )
}
