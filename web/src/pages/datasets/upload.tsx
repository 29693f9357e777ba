/** Drop files and folders, name the dataset, and see how far the upload is on its way. */

import { useEffect, useMemo, useRef, useState } from 'preact/hooks'

import { type Problem, query } from '../../api/client'
import { createDataset, type Dataset, upload } from '../../api/datasets'
import { DropPlace, DroppedItem, SendForm } from '../../parts/drop'
import type { Dropped } from '../../parts/dropping'
import { Labelled } from '../../parts/labelled'
import { inQuery } from '../../parts/router'
import { SizeFields } from '../../parts/size_fields'
import { count } from '../../words/format'
import { proposeName, refuseName } from '../../words/names'
import { planUpload } from './plan'
import { type Proposal, proposeSize } from './sizes'

/** `datasets`: those that are there, whose names get a new version. `adding`: one that gets more images. */
export const Upload = ({ datasets, adding }: { datasets: Dataset[]; adding: Dataset | undefined }) => (
  <DropPlace
    label="File with images"
    hint="Folders named after the classes, or folders train and test with such folders in them. They can be packed as .zip or .tar, all together or each on its own. Arrays in .npz files and Parquet files are read too, one file or one for each split."
    takesMany
  >
    {(dropped, again) => <UploadForm dropped={dropped} datasets={datasets} adding={adding} onAgain={again} />}
  </DropPlace>
)

type Choice = {
  name: string
  description: string
  test: string
  validation: string
  seed: string
  side: string
  rule: string
  colour: string
  grouping: Grouping
  pattern: string
  isMerged: boolean
  skips: boolean
  /** Whether the images of the version before are kept. */
  adds: boolean
}

/** What the service does unless the form says otherwise. */
const USUAL = { test: '20', validation: '10', seed: '0' }

type Grouping = '' | 'beginning' | 'pattern'
/** A file's name up to its first hyphen or underscore; a name without them is a group of its own. */
const BEGINNING = '([^/_-]+)[^/]*$'

/** As the API takes it; what is left as it is is left out. */
function specOf(choice: Choice, before: Dataset | undefined) {
  const group = { '': '', beginning: BEGINNING, pattern: choice.pattern }[choice.grouping]
  return {
    name: choice.name,
    ...(choice.adds && before && { adds_to: `${before.name}@${before.version}` }),
    ...(choice.description && { description: choice.description }),
    ...(choice.side && { resize: { height: Number(choice.side), width: Number(choice.side), rule: choice.rule } }),
    ...(group && { group_by: group }),
    ...(choice.colour && { colour: choice.colour }),
    ...splitsOf(choice),
    ...(choice.skips && { skip_broken: true }),
  }
}

/** Shares of the form are per cent, those of the API fractions. */
function splitsOf({ test, validation, seed, isMerged }: Choice) {
  const splits = {
    ...(isMerged && { existing: 'merge' }),
    ...(test !== USUAL.test && test && { test: Number(test) / 100 }),
    ...(validation !== USUAL.validation && validation && { validation: Number(validation) / 100 }),
    ...(seed !== USUAL.seed && seed && { seed: Number(seed) }),
  }
  return Object.keys(splits).length > 0 && { splits }
}

type FormProps = { dropped: Dropped[]; datasets: Dataset[]; adding: Dataset | undefined; onAgain: () => void }

function UploadForm({ dropped, datasets, adding, onAgain }: FormProps) {
  const [choice, setChoice] = useState<Choice>({
    ...{ name: adding?.name ?? '', description: '', side: '', rule: 'pad', colour: '', grouping: '', pattern: '', ...USUAL },
    ...{ isMerged: false, skips: false, adds: Boolean(adding) },
  })
  const [isNamed, setNamed] = useState(Boolean(adding))
  const plan = useMemo(() => planUpload(dropped), [dropped])
  const taken = plan.parts.filter(({ why }) => !why)
  const known = datasets.map(({ name }) => name)
  const proposed = taken.length
    ? proposeName(
        taken.map(({ name }) => name),
        known,
      )
    : ''
  useEffect(() => {
    if (proposed && !isNamed) setChoice((before) => ({ ...before, name: proposed }))
  }, [proposed, isNamed])
  const before = adding?.name === choice.name ? adding : newestOf(datasets, choice.name)
  const [proposal, setProposal] = useState<Proposal | null>(null)
  useEffect(() => {
    let isCurrent = true
    void proposeSize(dropped).then((found) => {
      if (!isCurrent) return
      setProposal(found)
      if (found) setChoice((given) => ({ ...given, side: given.side || String(found.side) }))
    })
    return () => {
      isCurrent = false
    }
  }, [dropped])
  const announced = useRef<{ id: string; spec: string } | null>(null)
  const change = (part: Partial<Choice>) => {
    if ('name' in part) setNamed(true)
    setChoice({ ...choice, ...part })
  }

  const send = async (onSent: (bytes: number) => void, signal: AbortSignal) => {
    const spec = specOf(choice, before)
    // After a failure the same version gets its content, unless the form has changed since.
    if (announced.current?.spec !== JSON.stringify(spec)) {
      announced.current = { id: (await createDataset(spec)).id, spec: JSON.stringify(spec) }
    }
    const { id } = await upload(announced.current.id, plan.content(), onSent, signal)
    return `/datasets/${id}${query({ job: inQuery('job') })}`
  }
  return (
    <SendForm
      size={taken.reduce((all, { bytes }) => all + bytes, 0)}
      send={send}
      onAgain={onAgain}
      isReady={taken.length > 0 && !refuseName(choice.name)}
    >
      {(problem) => (
        <>
          <ul class="dropped" aria-label="What was dropped">
            {plan.parts.map(({ name, what, bytes, why }) => (
              <DroppedItem key={name} name={name} what={what} size={bytes} why={why} />
            ))}
          </ul>
          {!taken.length && <p role="status">Nothing to send yet. Drop files here, or choose some above.</p>}
          {proposal && !(before && choice.adds) && <Sizes proposal={proposal} choice={choice} onChange={change} />}
          <Fields
            choice={choice}
            before={before}
            hasSizes={proposal !== null}
            hint={explainName(choice.name, datasets)}
            problem={problem}
            onChange={change}
          />
        </>
      )}
    </SendForm>
  )
}

/** What the images are like, and one size for all, before anything is sent. */
const Sizes = ({
  proposal,
  choice,
  onChange,
}: {
  proposal: Proposal
  choice: Choice
  onChange: (part: Partial<Choice>) => void
}) => (
  <fieldset class="group">
    <legend>Images need one size</legend>
    <p role="status">
      {proposal.sizes.length > 1
        ? `${count(proposal.looked)} images that were looked at have ${count(proposal.sizes.length)} sizes, such as ${proposal.sizes.slice(0, 2).join(' and ')}.`
        : `The images have ${proposal.sizes[0]} pixels, and sides of 8 to 512 are accepted.`}{' '}
      A larger size shows more, and training takes longer.
    </p>
    <SizeFields side={choice.side} rule={choice.rule} onChange={onChange} />
  </fieldset>
)

/** The newest version of this name whose images can be kept. */
const newestOf = (datasets: Dataset[], name: string) =>
  datasets
    .filter((dataset) => dataset.name === name && dataset.status === 'ready')
    .sort((a, b) => Number(a.bundled) - Number(b.bundled) || b.version - a.version)[0]

/** What the name leads to, if the page knows. */
function explainName(name: string, datasets: Dataset[]): string {
  const same = datasets.filter((dataset) => dataset.name === name)
  const newest = Math.max(...same.filter(({ bundled }) => !bundled).map(({ version }) => version))
  if (newest > 0) return `There is a dataset of this name. This becomes its version ${newest + 1}.`
  if (same.length) return 'A dataset that comes with Heldout has this name. A name of your own is clearer.'
  return 'Lowercase letters, digits, dots, hyphens and underscores.'
}

type FieldsProps = {
  choice: Choice
  before: Dataset | undefined
  /** Whether the form has the fields for the size already. */
  hasSizes: boolean
  hint: string
  problem: Problem | null
  onChange: (part: Partial<Choice>) => void
}

function Fields({ choice, before, hasSizes, hint, problem, onChange: change }: FieldsProps) {
  const wrong = (pointer: string) => problem?.errors.find((error) => error.pointer.startsWith(pointer))?.detail
  const wrongName = refuseName(choice.name)
  return (
    <>
      <div class="fields">
        <Labelled id="name" label="Name" hint={hint} error={wrongName || undefined}>
          <input
            id="name"
            required
            value={choice.name}
            aria-invalid={wrongName ? true : undefined}
            aria-describedby="name-hint"
            onInput={(event) => change({ name: event.currentTarget.value })}
          />
        </Labelled>
        <Labelled id="description" label="Description">
          <input
            id="description"
            value={choice.description}
            onInput={(event) => change({ description: event.currentTarget.value })}
          />
        </Labelled>
      </div>
      {before && (
        <fieldset class="group">
          <legend>Which images does the new version have?</legend>
          <label class="row">
            <input type="radio" name="adds" checked={!choice.adds} onChange={() => change({ adds: false })} />
            Only those in the files above
          </label>
          <label class="row">
            <input type="radio" name="adds" checked={choice.adds} onChange={() => change({ adds: true })} />
            Those of {before.name}@{before.version} and those in the files above
          </label>
          {choice.adds && (
            <p class="soft">
              The validation and test images stay the same. New images are for training, unless they lie in a folder named
              validation or test. They are resized to fit the others.
            </p>
          )}
        </fieldset>
      )}
      {!(before && choice.adds) && (
        <>
          <div class="fields">
            <Share
              id="test"
              label="Test share (%)"
              value={choice.test}
              onChange={(test) => change({ test })}
              wrong={wrong('/splits/test')}
            >
              Images that are used once, at the end. The more there are, the surer the test accuracy.
            </Share>
            <Share
              id="validation"
              label="Validation share (%)"
              value={choice.validation}
              onChange={(validation) => change({ validation })}
              wrong={wrong('/splits/validation')}
            >
              Images of the rest that trainings are compared on.
            </Share>
          </div>
          <p class="soft">These shares are taken from each class, unless your files have such splits already.</p>
        </>
      )}
      <details>
        <summary>More settings: size, colors, images that belong together, splits</summary>
        <div class="fields">
          {!hasSizes && <SizeFields side={choice.side} rule={choice.rule} error={wrong('/resize')} onChange={change} />}
          <Labelled id="colour" label="Colors">
            <select id="colour" value={choice.colour} onChange={(event) => change({ colour: event.currentTarget.value })}>
              <option value="">gray if all images are gray</option>
              <option value="grey">gray</option>
              <option value="rgb">red, green, blue</option>
            </select>
          </Labelled>
          <Labelled
            id="seed"
            label="Seed of the splits"
            hint="Another number chooses other images."
            error={wrong('/splits/seed')}
          >
            <input
              id="seed"
              aria-describedby="seed-hint"
              type="number"
              min="0"
              value={choice.seed}
              onInput={(event) => change({ seed: event.currentTarget.value })}
            />
          </Labelled>
          <Labelled id="group" label="Images that belong together" hint="They all stay in one split." error={wrong('/group_by')}>
            <select
              id="group"
              aria-describedby="group-hint"
              value={choice.grouping}
              onChange={(event) => change({ grouping: event.currentTarget.value as Grouping })}
            >
              <option value="">none</option>
              <option value="beginning">file names that begin alike, up to - or _</option>
              <option value="pattern">file names by a pattern of my own</option>
            </select>
          </Labelled>
          {choice.grouping === 'pattern' && (
            <Labelled id="pattern" label="Pattern" hint="A regular expression; its one group names what belongs together.">
              <input
                id="pattern"
                class="mono"
                aria-describedby="pattern-hint"
                placeholder="patient(\d+)"
                value={choice.pattern}
                onInput={(event) => change({ pattern: event.currentTarget.value })}
              />
            </Labelled>
          )}
          <label class="row">
            <input type="checkbox" checked={choice.isMerged} onChange={() => change({ isMerged: !choice.isMerged })} />
            Split all images again, even if the files have splits
          </label>
          <label class="row">
            <input type="checkbox" checked={choice.skips} onChange={() => change({ skips: !choice.skips })} />
            Skip files that cannot be read
          </label>
        </div>
      </details>
    </>
  )
}

type ShareProps = {
  id: string
  label: string
  value: string
  onChange: (value: string) => void
  wrong: string | undefined
  children: string
}

const Share = ({ id, label, value, onChange, wrong, children }: ShareProps) => (
  <Labelled id={id} label={label} hint={children} error={wrong}>
    <input
      id={id}
      type="number"
      min="1"
      max="50"
      value={value}
      aria-invalid={wrong ? true : undefined}
      aria-describedby={`${id}-hint`}
      onInput={(event) => onChange(event.currentTarget.value)}
    />
  </Labelled>
)
