/** A new study of a job: which remedies, how many seeds, at what cost at most; and at once how many trainings that is. */

import { useState } from 'preact/hooks'

import { getDiagnosis, getJob, type Job } from '../../api/jobs'
import { createStudy, estimateStudy, type StudyEstimate, type StudyOrder } from '../../api/studies'
import { DataFirst } from '../../parts/data_first'
import { useDryRun } from '../../parts/dry_run'
import { Labelled } from '../../parts/labelled'
import { Title } from '../../parts/layout'
import { type Loaded, useLoaded } from '../../parts/load'
import { attempt } from '../../parts/notices'
import { go, inQuery } from '../../parts/router'
import { Empty, Failed, Loading } from '../../parts/states'
import { count, duration } from '../../words/format'
import { STUDY_KINDS, WHAT_IT_DOES } from '../../words/labels'
import { remedyWord } from '../../words/verdicts'

const HOUR_S = 3600
const NONE_CHOSEN = 'Choose at least one remedy.'

export default function OrderStudy() {
  const from = inQuery('job')
  const job = useLoaded(from || null, (signal) => getJob(from, signal))
  if (!from) {
    return (
      <>
        <Title text="New study" />
        <Empty title="A study starts from a job">
          <p>Open a job that has ended, and press "Measure what helps" below its verdict.</p>
          <a class="button primary" href="/jobs?status=succeeded">
            Choose a job
          </a>
        </Empty>
      </>
    )
  }
  if (!job.data) return job.problem ? <Failed problem={job.problem} retry={job.reload} /> : <Loading what="the job" />
  return <Form job={job.data} />
}

type Kind = 'remedies' | 'learning_curve'
/** `chosen` is null until one is ticked or unticked: until then those are chosen that the verdict names. */
type Choice = {
  kind: Kind
  name: string
  isAuto: boolean
  /** Whether all remedies that suit are compared at once, instead of a first answer that can be continued. */
  isFull: boolean
  chosen: string[] | null
  areTogether: boolean
  seeds: string
  jobs: string
  hours: string
}

const FIRST: Choice = {
  kind: 'remedies',
  name: '',
  isAuto: true,
  isFull: false,
  chosen: null,
  areTogether: false,
  seeds: '3',
  jobs: '',
  hours: '',
}

/** As the API takes it; what is left empty is left out. */
function orderOf(job: string, choice: Choice, chosen: string[]): StudyOrder {
  const named = choice.areTogether && chosen.length > 1 ? [...chosen, chosen.join('+')] : chosen
  const budget = {
    ...(choice.jobs && { jobs: Number(choice.jobs) }),
    ...(choice.hours && { seconds: Number(choice.hours) * HOUR_S }),
  }
  return {
    job,
    ...(choice.name && { name: choice.name }),
    ...(choice.kind === 'learning_curve' ? { kind: choice.kind } : { remedies: choice.isAuto ? 'auto' : named }),
    ...(choice.kind === 'remedies' && choice.isFull && { extent: 'full' }),
    seeds: Number(choice.seeds),
    ...(Object.keys(budget).length && { budget }),
  }
}

function Form({ job }: { job: Job }) {
  const [choice, setChoice] = useState<Choice>({
    ...FIRST,
    kind: inQuery('kind') === 'learning_curve' ? 'learning_curve' : 'remedies',
  })
  const [isBusy, setBusy] = useState(false)
  const diagnosis = useLoaded(job.id, (signal) => getDiagnosis(job.id, signal))
  const offered = new Map(
    (diagnosis.data?.findings ?? [])
      .flatMap((finding) => finding.remedies)
      .filter((remedy) => remedy.patch)
      .map((remedy) => [remedy.name, remedy.reason]),
  )
  const chosen = choice.chosen ?? [...offered.keys()]
  const order = orderOf(job.id, choice, chosen)
  const checked = useDryRun(order, estimateStudy)
  const change = (part: Partial<Choice>) => setChoice({ ...choice, ...part })
  const error = (pointer: string) => checked.problem?.errors.find((entry) => entry.pointer.startsWith(pointer))?.detail

  const send = async (wanted: StudyOrder = order) => {
    setBusy(true)
    const study = await attempt(() => createStudy(wanted))
    setBusy(false)
    if (study) go(`/studies/${study.id}`)
  }
  return (
    <>
      <Title text="New study" />
      <p>
        For <a href={`/jobs/${job.id}`}>{job.name}</a>, on {job.dataset.name}@{job.dataset.version}.
      </p>
      <form
        class="columns new-job"
        onSubmit={(event) => {
          event.preventDefault()
          void send()
        }}
      >
        <div class="card form">
          <fieldset class="group">
            <legend>What do you want to know?</legend>
            {(['remedies', 'learning_curve'] as const).map((kind) => (
              <label key={kind} class="row">
                <input type="radio" name="kind" checked={choice.kind === kind} onChange={() => change({ kind })} />
                {STUDY_KINDS[kind]}
              </label>
            ))}
          </fieldset>
          {choice.kind === 'remedies' && (
            <Remedies job={job} offered={offered} choice={choice} chosen={chosen} change={change} wrong={error('/remedies')} />
          )}
          {choice.kind === 'remedies' && (
            <fieldset class="group">
              <legend>How much?</legend>
              <label class="row">
                <input type="radio" name="extent" checked={!choice.isFull} onChange={() => change({ isFull: false })} />A first
                answer: at most three remedies. It can be continued.
              </label>
              <label class="row">
                <input type="radio" name="extent" checked={choice.isFull} onChange={() => change({ isFull: true })} />
                All remedies at once
              </label>
            </fieldset>
          )}
          <div class="fields">
            <Field
              id="name"
              label="Name"
              value={choice.name}
              onChange={(name) => change({ name })}
              wrong={error('/name')}
              placeholder="generated if empty"
            />
            <Field
              id="seeds"
              label="Seeds"
              type="number"
              value={choice.seeds}
              onChange={(seeds) => change({ seeds })}
              wrong={error('/seeds')}
              hint="Trainings per remedy in the first look, from 2 to 20."
            />
            <Field
              id="jobs"
              label="Maximum trainings"
              type="number"
              value={choice.jobs}
              onChange={(jobs) => change({ jobs })}
              wrong={error('/budget/jobs')}
              placeholder="no limit"
            />
            <Field
              id="hours"
              label="Maximum hours"
              type="number"
              value={choice.hours}
              onChange={(hours) => change({ hours })}
              wrong={error('/budget/seconds')}
              hint="For all trainings together."
              placeholder="no limit"
            />
          </div>
        </div>
        <div class="beside">
          {checked.problem?.code === 'data_first' ? (
            <DataFirst
              problem={checked.problem}
              dataset={job.dataset}
              isBusy={isBusy}
              onChoose={(data) => send({ ...order, data })}
            />
          ) : (
            <Estimate
              checked={checked}
              missing={choice.kind === 'remedies' && !choice.isAuto && !chosen.length ? NONE_CHOSEN : ''}
            />
          )}
          <button type="submit" class="primary" disabled={isBusy || Boolean(checked.problem)}>
            {isBusy ? 'Sending …' : 'Start the study'}
          </button>
        </div>
      </form>
    </>
  )
}

type RemediesProps = {
  job: Job
  /** Remedies of the verdict, with their reasons. */
  offered: Map<string, string>
  choice: Choice
  chosen: string[]
  change: (part: Partial<Choice>) => void
  wrong: string | undefined
}

function Remedies({ job, offered, choice, chosen, change, wrong }: RemediesProps) {
  // Without first weights there are no layers that have learned something already.
  const named = Object.keys(WHAT_IT_DOES).filter((name) => name !== 'transfer' || job.spec.initial)
  const names = [...new Set([...offered.keys(), ...named])]
  const toggle = (name: string) =>
    change({ chosen: chosen.includes(name) ? chosen.filter((other) => other !== name) : [...chosen, name] })
  return (
    <fieldset class="group">
      <legend>Which remedies?</legend>
      <label class="row">
        <input type="radio" name="which" checked={choice.isAuto} onChange={() => change({ isAuto: true })} />
        Chosen automatically from its results
      </label>
      <label class="row">
        <input type="radio" name="which" checked={!choice.isAuto} onChange={() => change({ isAuto: false })} />
        Let me choose
      </label>
      {!choice.isAuto && (
        <>
          {offered.size > 0 && <p class="soft">Remedies from the verdict come first.</p>}
          {names.map((name) => (
            <label key={name} class="choice">
              <input type="checkbox" checked={chosen.includes(name)} onChange={() => toggle(name)} />
              <span>
                <strong>{remedyWord(name)}</strong> <span class="soft">{offered.get(name) ?? WHAT_IT_DOES[name]}</span>
              </span>
            </label>
          ))}
          {chosen.length > 1 && (
            <label class="choice">
              <input type="checkbox" checked={choice.areTogether} onChange={() => change({ areTogether: !choice.areTogether })} />
              <span>
                <strong>All of these at once, too</strong>{' '}
                <span class="soft">{remedyWord(chosen.join('+'))}, as one more remedy.</span>
              </span>
            </label>
          )}
          {(wrong || !chosen.length) && (
            <p class="hint wrong" role="alert">
              {chosen.length ? wrong : NONE_CHOSEN}
            </p>
          )}
        </>
      )}
    </fieldset>
  )
}

type FieldProps = {
  id: string
  label: string
  value: string
  onChange: (value: string) => void
  wrong?: string
  hint?: string
  placeholder?: string
  type?: 'text' | 'number'
}

const Field = ({ id, label, value, onChange, wrong, hint, placeholder, type = 'text' }: FieldProps) => (
  <Labelled id={id} label={label} hint={hint} error={wrong}>
    <input
      id={id}
      type={type as 'number'}
      step="any"
      value={value}
      placeholder={placeholder}
      aria-invalid={wrong ? true : undefined}
      aria-describedby={`${id}-hint`}
      onInput={(event) => onChange(event.currentTarget.value)}
    />
  </Labelled>
)

/** missing: what the form lacks, in its own words. */
const Estimate = ({ checked: { data, problem }, missing }: { checked: Loaded<StudyEstimate>; missing: string }) => (
  <section class="card" aria-label="Size and cost" aria-live="polite">
    <header>
      <h2>What it takes</h2>
      {problem ? <span class="badge bad">not possible</span> : <span class="badge good">{data ? 'possible' : '…'}</span>}
    </header>
    {problem && <p>{missing || problem.detail}</p>}
    {data && (
      <>
        <p>
          <strong>{count(data.jobs)} trainings</strong>
          {data.max_jobs > data.jobs ? `, at most ${count(data.max_jobs)} until the answer` : ''}
          {data.seconds !== null && data.seconds !== undefined && <span class="soft"> · about {duration(data.seconds)}</span>}
        </p>
        {data.sizes ? (
          <p>On {data.sizes.map(count).join(', ')} training images.</p>
        ) : (
          <p>The base, and {data.remedies.map(remedyWord).join(', ')}.</p>
        )}
        <p class="soft">
          {data.splits === 'fixed'
            ? 'All are compared on the same validation images.'
            : 'There are few validation images, so each seed has its own.'}
        </p>
        {data.left_out.length > 0 && (
          <p class="soft">If it cannot tell yet, it can be continued with {data.left_out.map(remedyWord).join(', ')}.</p>
        )}
        {data.warnings.map((warning) => (
          <p key={warning} class="hint wrong">
            {warning}
          </p>
        ))}
        {data.waits_for && <p>It starts later: {data.waits_for}.</p>}
      </>
    )}
  </section>
)
