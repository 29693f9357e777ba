/** What the audit has found, with images side by side, and what fixes it. */

import { useState } from 'preact/hooks'

import { type AuditFinding, type Dataset, type Example, getAudit } from '../../api/datasets'
import { FixDialog } from '../../parts/fix'
import { useLoaded } from '../../parts/load'
import { Picture } from '../../parts/picture'
import { Prose } from '../../parts/prose'
import { Failed, Loading } from '../../parts/states'
import { findingWord, SEVERITIES } from '../../words/datasets'
import { count } from '../../words/format'
import { LookAlikes } from './look_alikes'

const SHOWN_PAIRS = 6
const SHOWN_EXAMPLES = 12

export function FindingsCard({ dataset }: { dataset: Dataset }) {
  const audit = useLoaded(dataset.id, (signal) => getAudit(dataset.id, signal))
  if (!audit.data) return audit.problem ? <Failed problem={audit.problem} retry={audit.reload} /> : <Loading what="the audit" />
  const { findings, question, labels, headline, summary } = audit.data
  return (
    <section class="card" id="findings" aria-label="Audit">
      <header>
        <h2 class="headline">{headline || 'Audit'}</h2>
        {!findings.length && <span class="badge good">nothing found</span>}
      </header>
      {summary && <p class="sentence">{summary}</p>}
      {findings.map((finding) => (
        <Finding key={finding.code} dataset={dataset} finding={finding} onAnswer={audit.reload} />
      ))}
      {question && (
        <p>
          <Prose text={question.text} /> <a href={`/manual/${question.page}`}>How to name images that belong together</a>
        </p>
      )}
      {labels && <p>{labels.explanation}</p>}
    </section>
  )
}

type FindingProps = { dataset: Dataset; finding: AuditFinding; onAnswer: () => void }

function Finding({ dataset, finding, onAnswer }: FindingProps) {
  const [isFixing, setFixing] = useState(false)
  const [word, tone] = SEVERITIES[finding.severity]
  const isQuestion = finding.code === 'look_alikes'
  return (
    <article class="audit-finding">
      <header class="row">
        <h3>{findingWord(finding.code)}</h3>
        <span class={`badge ${tone}`}>{word}</span>
        {finding.fix && !isQuestion && (
          <button type="button" class="small" onClick={() => setFixing(true)}>
            Fix it …
          </button>
        )}
      </header>
      <p>
        <Prose text={finding.explanation} />
      </p>
      {!isQuestion && (
        <p class="soft">
          <Prose text={finding.what_to_do} />
        </p>
      )}
      {finding.effect && !isQuestion && <p>The fix {lowered(finding.effect.summary)}</p>}
      {isQuestion ? (
        <LookAlikes dataset={dataset} finding={finding} onAnswer={onAnswer} onLeaveOut={() => setFixing(true)} />
      ) : finding.pairs.length > 0 ? (
        <Pairs pairs={finding.pairs} />
      ) : (
        <Examples examples={finding.examples} />
      )}
      {isFixing && <FixDialog dataset={dataset} changes={finding.fix!} onClose={() => setFixing(false)} />}
    </article>
  )
}

const lowered = (text: string) => text.charAt(0).toLowerCase() + text.slice(1)

function Pairs({ pairs }: { pairs: AuditFinding['pairs'] }) {
  const [isAll, setAll] = useState(false)
  const shown = isAll ? pairs : pairs.slice(0, SHOWN_PAIRS)
  return (
    <>
      <ul class="pairs">
        {shown.map(([first, second]) => (
          <li key={`${first.index}/${second.index}`}>
            <Picture example={first} />
            <Picture example={second} />
          </li>
        ))}
      </ul>
      {pairs.length > shown.length && (
        <button type="button" class="small" onClick={() => setAll(true)}>
          All {count(pairs.length)} pairs
        </button>
      )}
    </>
  )
}

const Examples = ({ examples }: { examples: Example[] }) =>
  examples.length ? (
    <ul class="images">
      {examples.slice(0, SHOWN_EXAMPLES).map((image) => (
        <li key={image.index}>
          <Picture example={image} />
        </li>
      ))}
    </ul>
  ) : null
