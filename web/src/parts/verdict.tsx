/** What is wrong and what to do about it, in order; the evidence is folded away below. */

import { useState } from 'preact/hooks'

import { query } from '../api/client'
import { type Cause, type Diagnosis, type Finding, type Job, type KeyFigure, type Remedy, retry } from '../api/jobs'
import { percent, points } from '../words/format'
import { ENDED, remedyWord, verdictWord } from '../words/verdicts'
import { Fact, Facts } from './facts'
import { fixAddress } from './fix_address'
import { GapPart } from './gap'
import { Verdict } from './marks'
import { attempt } from './notices'
import { Prose } from './prose'
import { go, inQuery, setQuery } from './router'

type Props = {
  diagnosis: Diagnosis
  /** The id of the dataset; empty if the service does not have it. */
  dataset: string
  /** The training, if it can be run again. */
  job?: Job
}

export function VerdictCard({ diagnosis, dataset, job }: Props) {
  const hasEnded = !job || ENDED.has(job.status)
  // More epochs are still to come, so the advice to train longer would mislead.
  const isEarly = !hasEnded && job?.status !== 'paused' && diagnosis.verdict === 'cannot_tell'
  const { headline, summary, causes = [] } = isEarly ? EARLY : diagnosis
  return (
    <section class="card verdict" aria-label="Verdict">
      <header>
        <h2 class="headline">{headline || verdictWord(diagnosis.verdict)[0]}</h2>
        <div class="row">
          <Verdict code={diagnosis.verdict} />
          {diagnosis.certainty && <span class="badge plain">{diagnosis.certainty}</span>}
        </div>
      </header>
      {summary && <p class="sentence">{summary}</p>}
      <KeyFigures figures={diagnosis.figures ?? []} />
      {!hasEnded && !isEarly && <p class="soft">Based on the epochs so far. The job is still running.</p>}
      {causes.length > 0 && <Causes causes={causes} diagnosis={diagnosis} dataset={dataset} job={job} />}
      {job && hasEnded && <ToStudy job={job} isHealthy={diagnosis.verdict === 'healthy'} />}
      {!isEarly && <Details diagnosis={diagnosis} dataset={dataset} job={job} />}
    </section>
  )
}

const KeyFigures = ({ figures }: { figures: KeyFigure[] }) =>
  figures.length > 0 && (
    <Facts label="Key figures">
      {figures.map((one) => (
        <Fact key={one.code} name={one.name}>
          <strong>{one.text}</strong> <span class="soft">{one.note}</span>
        </Fact>
      ))}
    </Facts>
  )

const EARLY = {
  headline: 'It is too early to judge this training.',
  summary: 'A verdict comes after a few epochs. There is nothing to do until then.',
  causes: [],
}

function Causes({ causes, diagnosis, dataset, job }: Props & { causes: Cause[] }) {
  return (
    <div class="causes">
      <h3>{causes.length > 1 ? 'What to fix, in order' : 'What to do'}</h3>
      <ol class="remedies">
        {causes.map((cause) => (
          <li key={cause.code}>
            <div>
              <strong>{capital(verdictWord(cause.code)[0])}</strong>
              {says(cause.points) && <span class="soft"> · {points(cause.points).replace('+', '')} points</span>}
              {cause.what_to_do && (
                <p class="soft">
                  <Prose text={cause.what_to_do} />
                </p>
              )}
            </div>
            <CauseButton cause={cause} diagnosis={diagnosis} dataset={dataset} job={job} />
          </li>
        ))}
      </ol>
    </div>
  )
}

/** Whether a figure is not written as 0. */
const says = (share: number | null | undefined): share is number => typeof share === 'number' && points(share) !== '0.0'

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1)

/** The fix of the data, or else the first change of the training that may help. */
function CauseButton({ cause, diagnosis, dataset, job }: Props & { cause: Cause }) {
  if (cause.request) return <FixData href={fixAddress(dataset, cause.request.body, job?.id)} />
  const found = diagnosis.findings.find((one) => one.code === cause.code && one.severity !== 'info')
  const remedy = found?.remedies.find((one) => isOffered(one))
  return remedy ? <TryButton dataset={dataset} job={job} remedy={remedy} code={cause.code} /> : null
}

function Details({ diagnosis, dataset, job }: Props) {
  const isOpen = inQuery('why') !== ''
  const { causes, confidence, caveats, left_out, findings, gap } = diagnosis
  return (
    <details
      class="details"
      open={isOpen}
      onToggle={(event) =>
        event.currentTarget.open !== isOpen && setQuery({ why: isOpen ? '' : 'open', ...(isOpen && { gap: '' }) })
      }
    >
      <summary>Details</summary>
      <div>
        <p>{diagnosis.explanation}</p>
        {confidence !== null && confidence !== undefined && <p class="soft">{sureness(confidence)}</p>}
        {caveats && caveats.length > 0 && (
          <p class="caveat">Read the figures with care: {caveats.map((one) => verdictWord(one)[0]).join(', ')}.</p>
        )}
        {left_out?.map((file) => (
          <p key={file.detail} class="caveat">
            Left out: {file.detail}
          </p>
        ))}
        {gap && <GapPart gap={gap} />}
        {findings.map((one) => (
          <div key={one.code} class="finding">
            <h3>{capital(verdictWord(one.code)[0])}</h3>
            {!diagnosis.explanation.includes(one.explanation) && <p>{one.explanation}</p>}
            {one.severity !== 'info' && <p>{causes?.find((cause) => cause.code === one.code)?.figure_after?.explanation}</p>}
            <Remedies dataset={dataset} job={job} finding={one} />
          </div>
        ))}
      </div>
    </details>
  )
}

const ToStudy = ({ job, isHealthy }: { job: Job; isHealthy: boolean }) => (
  <div class="cure">
    <a class={isHealthy ? 'button' : 'button primary'} href={`/studies/new?job=${job.id}`}>
      Measure what helps
    </a>
    <span class="soft">A study trains with several remedies and seeds and compares them.</span>
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
            <strong>
              {one.name === 'fix_data' ? (WANT_IMAGES.has(finding.code) ? 'more images' : 'fix the data') : remedyWord(one.name)}
            </strong>
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

/** Findings that only more images cure. A learning curve says how many are needed. */
const WANT_IMAGES = new Set(['too_little_data', 'test_too_small', 'class_imbalance'])
/** Findings about wrong labels, which the search for them shows. */
const OF_LABELS = new Set(['label_noise', 'memorised_noise', 'label_conflicts'])

/** Whether there is a button for it. */
const isOffered = ({ request, patch, name }: Remedy) => Boolean(request || patch || name === 'fix_data')

const FixData = ({ href }: { href: string }) => (
  <a class="button small" href={href}>
    Fix the data …
  </a>
)

type TryProps = { dataset: string; job: Job | undefined; remedy: Remedy; code: string }

function TryButton({ dataset, job, remedy, code }: TryProps) {
  const [busy, setBusy] = useState(false)
  const { patch, request } = remedy
  if (!isOffered(remedy) || !dataset) return null
  const hasEnded = job !== undefined && ENDED.has(job.status)

  const tryIt = async (job: Job) => {
    setBusy(true)
    const made = await attempt(() => retry(job.id, { remedy: remedy.name }))
    setBusy(false)
    if (made) go(`/jobs/${made.id}`)
  }
  if (!request && !patch && code === 'too_little_data' && job) {
    return (
      hasEnded && (
        <a class="button small" href={`/studies/new?job=${job.id}&kind=learning_curve`}>
          Would they help?
        </a>
      )
    )
  }
  if (!request && !patch) {
    return (
      <a
        class="button small"
        href={`/datasets/${dataset}${query({ job: job?.id ?? '' })}${OF_LABELS.has(code) ? '#suspects' : ''}`}
      >
        {OF_LABELS.has(code) ? 'Look for wrong labels' : 'Look at the data'}
      </a>
    )
  }
  if (request) return <FixData href={fixAddress(dataset, request.body, job?.id)} />
  return job ? (
    <button
      type="button"
      class="small"
      disabled={busy || !hasEnded}
      title={hasEnded ? 'Queue a new job with this change' : 'Available once the job has ended'}
      onClick={() => tryIt(job)}
    >
      Train with it
    </button>
  ) : null
}

const sureness = (confidence: number) =>
  `In our trials with planted faults, ${percent(confidence, 0)} of verdicts like this one were right.`
