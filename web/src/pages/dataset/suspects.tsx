/** A work list of labels that are probably wrong: keep, change, or leave out each, then make one new version with all changes. */

import { useEffect, useState } from 'preact/hooks'

import type { Schemas } from '../../api/client'
import { type Changes, type Dataset, getSuspects, SPLITS, type Split, type Suspect, type Suspects } from '../../api/datasets'
import { FixDialog } from '../../parts/fix'
import { useLive, useLoaded } from '../../parts/load'
import { Failed, Loading } from '../../parts/states'
import { SPLIT_NAMES } from '../../words/datasets'
import { count, percent } from '../../words/format'

type Decision = 'keep' | 'relabel' | 'exclude'
type Decisions = ReadonlyMap<number, Decision>

const DECISIONS: [Decision, (suspect: Suspect) => string][] = [
  ['keep', () => 'right'],
  ['relabel', (suspect) => `it is ${suspect.suggested}`],
  ['exclude', () => 'leave it out'],
]
/** A search has events of its own, but trainings have more. */
const ASK_AGAIN_MS = 5000

export function SuspectsCard({ dataset }: { dataset: Dataset }) {
  const [isAsked, setAsked] = useState(false)
  return (
    <section id="suspects" class="card" aria-label="Suspected labels" ref={intoView}>
      <h2>Labels that are probably wrong</h2>
      {isAsked ? (
        <Found dataset={dataset} />
      ) : (
        <div class="row">
          <button type="button" onClick={() => setAsked(true)}>
            Look for them
          </button>
          <span class="soft">
            Small networks learn the labels and point out those that look wrong. The first search takes a few minutes and counts
            as a look at held-out labels.
          </span>
        </div>
      )}
    </section>
  )
}

/** The page is built after the browser looked for the anchor in the address, so it is scrolled to here. */
const intoView = (card: HTMLElement | null) => {
  if (location.hash === '#suspects') card?.scrollIntoView()
}

function Found({ dataset }: { dataset: Dataset }) {
  const [again, setAgain] = useState('')
  const first = useLoaded(`${dataset.id}${again}`, (signal) => getSuspects(dataset.id, { again }, signal))
  const isWaiting = first.data?.status === 'queued' || first.data?.status === 'running'
  useLive((event) => isWaiting && event.subject.object === 'dataset', first.reload)
  useEffect(() => {
    if (!isWaiting) return
    const timer = setInterval(first.reload, ASK_AGAIN_MS)
    return () => clearInterval(timer)
  }, [isWaiting])
  if (!first.data) return first.problem ? <Failed problem={first.problem} retry={first.reload} /> : <Loading what="the search" />
  if (isWaiting)
    return <p role="status">{first.data.explanation.replace(' Ask again in a while.', '')} This page updates by itself.</p>
  if (first.data.status === 'failed') {
    return (
      <div class="row">
        <p>{first.data.error?.detail ?? 'The search was cancelled.'}</p>
        <button type="button" onClick={() => setAgain('true')}>
          Search again
        </button>
      </div>
    )
  }
  return (
    <>
      <WorkList key={dataset.id} dataset={dataset} first={first.data} />
      {first.data.verdict === null && (
        <button type="button" onClick={() => setAgain('true')}>
          Search again
        </button>
      )}
    </>
  )
}

function WorkList({ dataset, first }: { dataset: Dataset; first: Suspects }) {
  const [suspects, setSuspects] = useState(first.data)
  const [next, setNext] = useState(first.next)
  const [decisions, setDecisions] = useState<Decisions>(new Map())
  const [isFixing, setFixing] = useState(false)
  const decide = (suspect: Suspect, decision: Decision) => setDecisions(new Map(decisions).set(suspect.index, decision))
  const more = async () => {
    const page = await getSuspects(dataset.id, { after: next ?? 0 })
    setSuspects([...suspects, ...page.data])
    setNext(page.next)
  }
  const changes = changesOf(suspects, decisions)
  const canTell = first.verdict === 'can_tell' && suspects.some(isLikelyWrong)
  const number = [...decisions.values()].filter((choice) => choice !== 'keep').length
  return (
    <>
      <p>{first.explanation}</p>
      {first.splits && (
        <ul>
          {SPLITS.filter((split) => first.splits?.[split]).map((split) => (
            <li key={split}>{inSplit(split, first.splits?.[split])}</li>
          ))}
        </ul>
      )}
      {suspects.length > 0 && (
        <>
          <ul class="work-list">
            {suspects.map((suspect) => (
              <Row
                key={suspect.index}
                suspect={suspect}
                decision={decisions.get(suspect.index)}
                onDecide={(chosen) => decide(suspect, chosen)}
              />
            ))}
          </ul>
          <div class="row">
            {next !== null && (
              <button type="button" onClick={more}>
                More
              </button>
            )}
            {canTell && (
              <button
                type="button"
                onClick={() =>
                  setDecisions(
                    new Map([
                      ...suspects.filter(isLikelyWrong).map((suspect) => [suspect.index, 'relabel'] as const),
                      ...decisions,
                    ]),
                  )
                }
              >
                Take every suggestion
              </button>
            )}
            <button type="button" class="primary" disabled={!number} onClick={() => setFixing(true)}>
              Make a version with {count(number)} {number === 1 ? 'change' : 'changes'} …
            </button>
            <span class="soft" role="status">
              {count(decisions.size)} of {count(suspects.length)} decided
            </span>
          </div>
        </>
      )}
      {isFixing && <FixDialog dataset={dataset} changes={changes} onClose={() => setFixing(false)} />}
    </>
  )
}

const isLikelyWrong = (suspect: Suspect) => (suspect.probability ?? 0) > 0.5

const inSplit = (split: Split, found: Schemas['SplitLabelsView'] | undefined) =>
  found && `${SPLIT_NAMES[split]}: ${count(found.count)} of ${count(found.images)} (${count(found.low)} to ${count(found.high)})`

function changesOf(suspects: Suspect[], decisions: Decisions): Changes {
  const by = (decision: Decision) => suspects.filter((suspect) => decisions.get(suspect.index) === decision)
  const relabel = Object.fromEntries(by('relabel').map((suspect) => [String(suspect.index), suspect.suggested]))
  const exclude = by('exclude').map((suspect) => suspect.index)
  return { ...(Object.keys(relabel).length && { relabel }), ...(exclude.length && { exclude }) }
}

type RowProps = { suspect: Suspect; decision: Decision | undefined; onDecide: (decision: Decision) => void }

const Row = ({ suspect, decision, onDecide }: RowProps) => (
  <li>
    <img src={suspect.thumbnail} alt={`Image ${suspect.index}`} loading="lazy" />
    <div>
      <p>
        <strong>{suspect.label}</strong>, looks like <strong>{suspect.suggested}</strong>
      </p>
      <p class="soft">
        {suspect.probability !== null && `${percent(suspect.probability, 0)} wrong · `}
        {SPLIT_NAMES[suspect.split].toLowerCase()} · <span class="file">{suspect.member ?? `image ${suspect.index}`}</span>
      </p>
      <div class="segments" role="group" aria-label={`Label of image ${suspect.index}`}>
        {DECISIONS.map(([name, word]) => (
          <button key={name} type="button" aria-pressed={decision === name} onClick={() => onDecide(name)}>
            {word(suspect)}
          </button>
        ))}
      </div>
    </div>
  </li>
)
