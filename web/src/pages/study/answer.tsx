/** The answer, what readers ask next, and the final model. */

import { getJob } from '../../api/jobs'
import type { Study, StudyReport } from '../../api/studies'
import { useLive, useLoaded } from '../../parts/load'
import { Status } from '../../parts/marks'
import { Prose } from '../../parts/prose'

export function AnswerCard({ study, report }: { study: Study; report: StudyReport }) {
  return (
    <section class="card answer" aria-label="Answer">
      <header>
        <h2 class="headline">{report.answer}</h2>
      </header>
      {study.summary && <p class="sentence">{study.summary}</p>}
      {study.conclusion?.gap && <p>{study.conclusion.gap.explanation}</p>}
      {study.ensemble?.explanation && <p>{study.ensemble.explanation}</p>}
      <details class="details">
        <summary>Details</summary>
        <div>
          <p>
            <strong>{report.question}</strong>
          </p>
          <dl class="questions">
            {report.in_short.slice(0, -1).map((one) => (
              <div key={one.question}>
                <dt>{one.question}</dt>
                <dd>
                  <Prose text={one.answer} />
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
