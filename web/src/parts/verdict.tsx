/** The verdict in plain words, what it rests on, and what to do: try a remedy, or have a study measure which one helps. */

import { useState } from 'preact/hooks'

import { type Diagnosis, type Finding, type Job, type Remedy, retry } from '../api/jobs'
import { percent } from '../words/format'
import { ENDED, remedyWord, verdictWord } from '../words/verdicts'
import { Verdict } from './marks'
import { mendAddress } from './mend_address'
import { attempt } from './notices'
import { Prose } from './prose'
import { go } from './router'

type Props = {
  diagnosis: Diagnosis
  /** The id of the dataset. */
  dataset: string
  /** The training, where it is one that can be tried again. */
  job?: Job
}

export function VerdictCard({ diagnosis, dataset, job }: Props) {
  const hasEnded = !job || ENDED.has(job.status)
  // What it lacks is epochs that are still to come, so its advice to train longer would mislead.
  const isEarly = !hasEnded && job?.status !== 'paused' && diagnosis.verdict === 'cannot_tell'
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
      {diagnosis.left_out?.map((file) => (
        <p key={file.detail} class="caveat">
          Left out: {file.detail}
        </p>
      ))}
      {first && <Remedies dataset={dataset} job={job} finding={first} />}
      {job && hasEnded && <ToStudy job={job} isHealthy={diagnosis.verdict === 'healthy'} />}
      {others.length > 0 && (
        <details>
          <summary>
            {others.length} more {others.length === 1 ? 'finding' : 'findings'}
          </summary>
          {others.map((one) => (
            <div key={one.code} class="finding">
              <h3>{verdictWord(one.code)[0]}</h3>
              <p>{one.explanation}</p>
              <Remedies dataset={dataset} job={job} finding={one} />
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

type RemediesProps = { dataset: string; job: Job | undefined; finding: Finding }

function Remedies({ dataset, job, finding }: RemediesProps) {
  if (!finding.remedies.length) return null
  return (
    <ul class="remedies">
      {finding.remedies.map((one) => (
        <li key={one.name}>
          <div>
            <strong>{one.name === 'mend_data' ? (WANT_IMAGES.has(finding.code) ? 'more images' : 'mend the data') : remedyWord(one.name)}</strong>
            <p class="soft">
              <Prose text={one.reason} />
            </p>
          </div>
          <TryButton dataset={dataset} job={job} remedy={one} code={finding.code} />
        </li>
      ))}
    </ul>
  )
}

/** Findings that only more images cure; a learning curve says how many it takes. */
const WANT_IMAGES = new Set(['too_little_data', 'test_too_small', 'class_imbalance'])
/** Findings about labels themselves, which the search for wrong ones shows. */
const OF_LABELS = new Set(['label_noise', 'memorised_noise', 'label_conflicts'])

type TryProps = { dataset: string; job: Job | undefined; remedy: Remedy; code: string }

function TryButton({ dataset, job, remedy, code }: TryProps) {
  const [busy, setBusy] = useState(false)
  const { patch, request } = remedy
  if (!request && !patch && remedy.name !== 'mend_data') return null
  const hasEnded = job !== undefined && ENDED.has(job.status)

  const tryIt = async (job: Job) => {
    setBusy(true)
    const made = await attempt(() => retry(job.id, { remedy: remedy.name }))
    setBusy(false)
    if (made) go(`/jobs/${made.id}`)
  }
  if (!request && !patch && code === 'too_little_data' && job) {
    return hasEnded && (
      <a class="button small" href={`/studies/new?job=${job.id}&kind=learning_curve`}>
        Would they help?
      </a>
    )
  }
  if (!request && !patch) {
    return (
      <a class="button small" href={`/datasets/${dataset}${OF_LABELS.has(code) ? '#suspects' : ''}`}>
        {OF_LABELS.has(code) ? 'Look for wrong labels' : 'Look at the data'}
      </a>
    )
  }
  if (request) {
    return (
      <a class="button small" href={mendAddress(dataset, request.body, job?.id)}>
        Mend the data …
      </a>
    )
  }
  return job ? (
    <button
      type="button"
      class="small"
      disabled={busy || !hasEnded}
      title={hasEnded ? 'Queue a new job with this change' : 'When the job has ended'}
      onClick={() => tryIt(job)}
    >
      Try it
    </button>
  ) : null
}

/** Said so that a low share does not read as praise. */
function sureness(confidence: number): string {
  const share = percent(confidence, 0)
  return confidence >= 0.5
    ? `Verdicts like this one are right in ${share} of cases.`
    : `Take it as a hint: verdicts like this one are right in only ${share} of cases.`
}
