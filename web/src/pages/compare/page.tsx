/** Jobs side by side: how their specs differ, what cannot be compared, their curves and figures. */

import { useMemo } from 'preact/hooks'

import { comparedIds } from '../../parts/compare'
import { Title } from '../../parts/layout'
import { inQuery, setQuery } from '../../parts/router'
import { Empty } from '../../parts/states'
import { type Answer, answerOf } from './answer'
import { cautions } from './comparable'
import { CurvesCard } from './curves'
import { DifferencesCard } from './differences_card'
import { chosenEpoch, FiguresCard } from './figures'
import { groupsOf } from './groups'
import { isLoading, useTrials } from './loading'
import { MembersCard } from './members'

export default function Compare() {
  const ids = comparedIds()
  const { asked } = useTrials(ids)
  const areSeedsTogether = inQuery('seeds') !== 'apart'
  const trials = asked.flatMap((member) => member.trial ?? [])
  const groups = useMemo(() => groupsOf(trials, areSeedsTogether), [...trials, trials.length, areSeedsTogether])
  const hasSeeds = useMemo(() => groupsOf(trials, true).some((group) => group.trials.length > 1), [groups])
  const at = chosenEpoch(groups)
  // An answer from some of the jobs could change a moment later.
  const answer = asked.some(isLoading) ? null : answerOf(groups)
  return (
    <>
      <div class="heading">
        <Title text="Compare" />
        {hasSeeds && (
          <label class="row">
            <input
              type="checkbox"
              checked={areSeedsTogether}
              onChange={() => setQuery({ seeds: areSeedsTogether ? 'apart' : '' })}
            />
            Group jobs that differ only in the seed
          </label>
        )}
      </div>
      <MembersCard groups={groups} asked={asked} />
      {!ids.length && (
        <Empty title="Nothing to compare yet">
          <p>Tick jobs in the list and press "Compare", or add them here by name.</p>
          <a class="button" href="/jobs">
            Go to jobs
          </a>
        </Empty>
      )}
      {groups.length > 0 && (
        <>
          <AnswerCard answer={answer} />
          <DifferencesCard groups={groups} />
          <Cautions said={cautions(groups)} isOne={trials.length < 2} />
          <CurvesCard groups={groups} at={at} />
          <FiguresCard groups={groups} at={at} />
        </>
      )}
    </>
  )
}

function AnswerCard({ answer }: { answer: Answer | null }) {
  if (!answer) return null
  return (
    <section class="card" aria-label="Did it help?">
      <header>
        <h2>Did it help?</h2>
        <span class={`badge ${answer.tone}`}>{answer.word}</span>
      </header>
      <p class="sentence">{answer.text}</p>
      {answer.asksForStudy && (
        <p class="soft">
          A study trains both several times and compares them image by image: start one from a job's verdict, or see{' '}
          <a href="/studies">your studies</a>.
        </p>
      )}
    </section>
  )
}

function Cautions({ said, isOne }: { said: string[]; isOne: boolean }) {
  if (isOne && !said.length) return null
  return (
    <section class={said.length ? 'cautions some' : 'cautions'} aria-label="What can be compared">
      {said.length ? (
        <ul class="plain-list">
          {said.map((sentence) => (
            <li key={sentence}>{sentence}</li>
          ))}
        </ul>
      ) : (
        <p>All were measured on the same images, so their figures can be compared.</p>
      )}
    </section>
  )
}
