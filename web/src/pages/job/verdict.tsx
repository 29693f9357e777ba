/** The verdict in plain words, what it rests on, and what to do: try a remedy, or have a study measure which one helps. */

import { useState } from 'preact/hooks'

import { type Diagnosis, type Finding, type Job, type Remedy, retry } from '../../api/jobs'
import { Verdict } from '../../parts/marks'
import { mendAddress } from '../../parts/mend_address'
import { attempt } from '../../parts/notices'
import { go } from '../../parts/router'
import { percent } from '../../words/format'
import { ENDED, remedyWord, verdictWord } from '../../words/verdicts'

export function VerdictCard({ job, diagnosis }: { job: Job; diagnosis: Diagnosis }) {
  const hasEnded = ENDED.has(job.status)
  // What it lacks is epochs that are still to come, so its advice to train longer would mislead.
  const isEarly = !hasEnded && job.status !== 'paused' && diagnosis.verdict === 'cannot_tell'
  const first = diagnosis.findings.find((one) => one.code === diagnosis.verdict)
  const others = diagnosis.findings.filter((one) => one !== first)
  return (
    <section class="card verdict" aria-label="Verdict">
      <header>
        <h2>Verdict</h2>
        <Verdict code={diagnosis.verdict} />
      </header>
      {!hasEnded && !isEarly && <p class="soft">By the epochs so far; the job still runs.</p>}
      {isEarly ? (
        <p>It comes once a few epochs are done. There is nothing to do until then.</p>
      ) : diagnosis.verdict === 'healthy' ? (
        <InShort text={diagnosis.explanation} />
      ) : (
        <p>{diagnosis.explanation}</p>
      )}
      {diagnosis.confidence !== null && diagnosis.confidence !== undefined && (
        <p class="soft">{sureness(diagnosis.confidence)}</p>
      )}
      {diagnosis.caveats && diagnosis.caveats.length > 0 && (
        <p class="caveat">Read the figures with care: {diagnosis.caveats.map((one) => verdictWord(one)[0]).join(', ')}.</p>
      )}
      {first && <Remedies job={job} finding={first} />}
      {hasEnded && <ToStudy job={job} isHealthy={diagnosis.verdict === 'healthy'} />}
      {others.length > 0 && (
        <details>
          <summary>
            {others.length} more {others.length === 1 ? 'finding' : 'findings'}
          </summary>
          {others.map((one) => (
            <div key={one.code} class="finding">
              <h3>{verdictWord(one.code)[0]}</h3>
              <p>{one.explanation}</p>
              <Remedies job={job} finding={one} />
            </div>
          ))}
        </details>
      )}
    </section>
  )
}

/** The answer first and large; the figures that it rests on after it. */
function InShort({ text }: { text: string }) {
  const end = /\.(?= \p{Lu})/u.exec(text)
  const [first, rest] = end ? [text.slice(0, end.index + 1), text.slice(end.index + 2)] : [text, '']
  return (
    <>
      <p class="sentence">{first}</p>
      {rest && (
        <details>
          <summary>The figures behind it</summary>
          <p>{rest}</p>
        </details>
      )}
    </>
  )
}

const ToStudy = ({ job, isHealthy }: { job: Job; isHealthy: boolean }) => (
  <div class="cure">
    <a class={isHealthy ? 'button' : 'button primary'} href={`/studies/new?job=${job.id}`}>
      {isHealthy ? 'Improve it: a study' : 'Cure it: a study'}
    </a>
    <span class="soft">measures over several seeds which remedy really helps.</span>
  </div>
)

function Remedies({ job, finding }: { job: Job; finding: Finding }) {
  if (!finding.remedies.length) return null
  return (
    <ul class="remedies">
      {finding.remedies.map((one) => (
        <li key={one.name}>
          <div>
            <strong>{one.name === 'mend_data' ? (WANT_IMAGES.has(finding.code) ? 'more images' : 'mend the data') : remedyWord(one.name)}</strong>
            <p class="soft">{one.reason}</p>
          </div>
          <TryButton job={job} remedy={one} code={finding.code} />
        </li>
      ))}
    </ul>
  )
}

/** Findings that only more images cure; a learning curve says how many it takes. */
const WANT_IMAGES = new Set(['too_little_data', 'test_too_small', 'class_imbalance'])
/** Findings about labels themselves, which the search for wrong ones shows. */
const OF_LABELS = new Set(['label_noise', 'memorised_noise', 'label_conflicts'])

function TryButton({ job, remedy, code }: { job: Job; remedy: Remedy; code: string }) {
  const [busy, setBusy] = useState(false)
  const { patch, request } = remedy
  if (!request && !patch && remedy.name !== 'mend_data') return null
  const hasEnded = ENDED.has(job.status)

  const tryIt = async () => {
    setBusy(true)
    const made = await attempt(() => retry(job.id, { remedy: remedy.name }))
    setBusy(false)
    if (made) go(`/jobs/${made.id}`)
  }
  if (!request && !patch && code === 'too_little_data') {
    return hasEnded && (
      <a class="button small" href={`/studies/new?job=${job.id}&kind=learning_curve`}>
        Would they help?
      </a>
    )
  }
  if (!request && !patch) {
    return (
      <a class="button small" href={`/datasets/${job.dataset.id}${OF_LABELS.has(code) ? '#suspects' : ''}`}>
        {OF_LABELS.has(code) ? 'Look for wrong labels' : 'Look at the data'}
      </a>
    )
  }
  return request ? (
    <a class="button small" href={mendAddress(job.dataset.id, request.body, job.id)}>
      Mend the data …
    </a>
  ) : (
    <button
      type="button"
      class="small"
      disabled={busy || !hasEnded}
      title={hasEnded ? 'Queue a new job with this change' : 'When the job has ended'}
      onClick={tryIt}
    >
      Try it
    </button>
  )
}

/** Said so that a low share does not read as praise. */
function sureness(confidence: number): string {
  const share = percent(confidence, 0)
  return confidence >= 0.5
    ? `Verdicts like this one are right in ${share} of cases.`
    : `Take it as a hint: verdicts like this one are right in only ${share} of cases.`
}
