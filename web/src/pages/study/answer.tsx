/** The answer, what readers ask next, and the final model. */

import { useState } from 'preact/hooks'

import { getJob } from '../../api/jobs'
import { continueStudy, type Study, type StudyReport } from '../../api/studies'
import { useLive, useLoaded } from '../../parts/load'
import { Status } from '../../parts/marks'
import { attempt } from '../../parts/notices'
import { Prose } from '../../parts/prose'
import { count } from '../../words/format'

type AnswerProps = { study: Study; report: StudyReport; onChange: (study: Study) => void }

export function AnswerCard({ study, report, onChange }: AnswerProps) {
  return (
    <section class="card answer" aria-label="Answer">
      <header>
        <h2 class="headline">{report.answer}</h2>
      </header>
      {study.summary && <p class="sentence">{study.summary}</p>}
      {study.can_continue && <Continue study={study} onChange={onChange} />}
      {study.warnings.map((warning) => (
        <p key={warning}>{warning}</p>
      ))}
      {study.conclusion?.gap && <p>{study.conclusion.gap.explanation}</p>}
      {study.ensemble?.explanation && <p>{study.ensemble.explanation}</p>}
      <details class="details">
        <summary>Details</summary>
        <div>
          <p>
            <strong>{report.question}</strong>
          </p>
          <dl class="questions">
            {report.in_short.slice(0, -1).map((entry) => (
              <div key={entry.question}>
                <dt>{entry.question}</dt>
                <dd>
                  <Prose text={entry.answer} />
                </dd>
              </div>
            ))}
          </dl>
        </div>
      </details>
      {study.conclusion?.refit && <Refit id={study.conclusion.refit} />}
    </section>
  )
}

/** A first answer can be continued with more seeds, and with the remedies that it left out. */
function Continue({ study, onChange }: Omit<AnswerProps, 'report'>) {
  const [isBusy, setBusy] = useState(false)
  const go = async (remedies: 'all' | 'same') => {
    setBusy(true)
    const changed = await attempt(() => continueStudy(study.id, remedies))
    setBusy(false)
    if (changed) onChange(changed)
  }
  const left = study.left_out.length
  const hasMoreSeeds = Boolean(study.conclusion?.undecided.length)
  return (
    <div class="row">
      {left > 0 && (
        <button type="button" class="primary" disabled={isBusy} onClick={() => go('all')}>
          Continue with {left === 1 ? 'one remedy' : `${count(left)} remedies`} more
        </button>
      )}
      {hasMoreSeeds && (
        <button type="button" class={left ? '' : 'primary'} disabled={isBusy} onClick={() => go('same')}>
          Continue with more seeds only
        </button>
      )}
    </div>
  )
}

/** The final model: the winner, trained on training and validation images together. */
function Refit({ id }: { id: string }) {
  const job = useLoaded(id, (signal) => getJob(id, signal))
  useLive((event) => event.subject.id === id, job.reload)
  return (
    <div class="cure">
      {job.data?.status === 'succeeded' && (
        <a class="button primary" href={`/v1/jobs/${id}/model`} download>
          Download the model
        </a>
      )}
      <span>
        <a href={`/jobs/${id}`}>The winner, trained on training and validation images together</a>{' '}
        {job.data && <Status status={job.data.status} />}
      </span>
      <span class="soft">It cannot be measured on them; expect about the test figures below.</span>
    </div>
  )
}
