/** What the audit has found, with images side by side, and what mends it. */

import { useState } from 'preact/hooks'

import { type AuditFinding, type Dataset, type Example, getAudit } from '../../api/datasets'
import { useLoaded } from '../../parts/load'
import { Prose } from '../../parts/prose'
import { Failed, Loading } from '../../parts/states'
import { SEVERITIES, SPLIT_NAMES, findingWord } from '../../words/datasets'
import { count } from '../../words/format'
import { MendDialog } from './mend'

const SHOWN_PAIRS = 6
const SHOWN_EXAMPLES = 12

export function FindingsCard({ dataset }: { dataset: Dataset }) {
  const audit = useLoaded(dataset.id, (signal) => getAudit(dataset.id, signal))
  if (!audit.data) return audit.problem ? <Failed problem={audit.problem} retry={audit.reload} /> : <Loading what="the audit" />
  const { findings, labels } = audit.data
  return (
    <section class="card" aria-label="Audit">
      <header>
        <h2>Audit</h2>
        {!findings.length && <span class="badge good">nothing found</span>}
      </header>
      {!findings.length && <p>No copies, no contradicting labels, and the splits look alike.</p>}
      {findings.map((one) => (
        <Finding key={one.code} dataset={dataset} finding={one} />
      ))}
      {labels && <p>{labels.explanation}</p>}
    </section>
  )
}

function Finding({ dataset, finding }: { dataset: Dataset; finding: AuditFinding }) {
  const [isMending, setMending] = useState(false)
  const [word, tone] = SEVERITIES[finding.severity]
  return (
    <article class="audit-finding">
      <header class="row">
        <h3>{findingWord(finding.code)}</h3>
        <span class={`badge ${tone}`}>{word}</span>
        {finding.mend && (
          <button type="button" class="small" onClick={() => setMending(true)}>
            Mend it …
          </button>
        )}
      </header>
      <p>
        <Prose text={finding.explanation} />
      </p>
      <p class="soft">
        <Prose text={finding.what_to_do} />
      </p>
      {finding.pairs.length > 0 ? <Pairs pairs={finding.pairs} /> : <Examples examples={finding.examples} />}
      {isMending && <MendDialog dataset={dataset} changes={finding.mend!} onClose={() => setMending(false)} />}
    </article>
  )
}

function Pairs({ pairs }: { pairs: AuditFinding['pairs'] }) {
  const [isAll, setAll] = useState(false)
  const shown = isAll ? pairs : pairs.slice(0, SHOWN_PAIRS)
  return (
    <>
      <ul class="pairs">
        {shown.map(([one, other]) => (
          <li key={`${one.index}/${other.index}`}>
            <Picture example={one} />
            <Picture example={other} />
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
      {examples.slice(0, SHOWN_EXAMPLES).map((one) => (
        <li key={one.index}>
          <Picture example={one} />
        </li>
      ))}
    </ul>
  ) : null

const Picture = ({ example }: { example: Example }) => (
  <figure class="example">
    <img src={example.thumbnail} alt={`Image ${example.index}`} loading="lazy" />
    <figcaption>
      {SPLIT_NAMES[example.split]}
      <span class="soft file" title={example.member}>
        {example.member || `image ${example.index}`}
      </span>
    </figcaption>
  </figure>
)
