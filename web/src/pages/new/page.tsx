/** A new job: a form made from the spec's schema with its JSON next to it, and what it would cost or what is wrong. */

import { useMemo, useRef, useState } from 'preact/hooks'

import augmented from '../../../../examples/augmented.json'
import overfit from '../../../../examples/overfit.json'
import photos from '../../../../examples/photos.json'
import regularized from '../../../../examples/regularized.json'
import resnet20 from '../../../../examples/resnet20.json'
import { get, Problem } from '../../api/client'
import { type Dataset, getDatasets, getStart } from '../../api/datasets'
import { createJob, estimate, getJob, type Spec } from '../../api/jobs'
import { useDryRun } from '../../parts/dry_run'
import { Labelled } from '../../parts/labelled'
import { Title } from '../../parts/layout'
import { useLoaded } from '../../parts/load'
import { attempt } from '../../parts/notices'
import { go, inQuery } from '../../parts/router'
import { Failed, Loading } from '../../parts/states'
import { Typed } from '../../parts/typed'
import { EstimatePanel } from './estimate'
import { MeasureFeatures } from './features'
import { AnyField, type Form } from './fields'
import { type Fitted, fitted, isOwn } from './fitting'
import { JsonPane } from './json'
import { NetworkField } from './network'
import { changed, type Schema, type Schemas } from './schema'

/** Without names: the service names a job after its dataset and network. */
const PRESETS: Record<string, Spec> = Object.fromEntries(
  Object.entries({ overfit, regularized, augmented, resnet20, photos }).map(([key, { name: _, ...preset }]) => [key, preset]),
)
const PRESET_HINTS: Record<string, string> = {
  overfit: 'a large network without any regularization: it memorizes its images',
  regularized: 'dropout and an L2 penalty',
  augmented: 'a small network on images that are rotated, shifted and mirrored',
  photos: 'pretrained features of color photographs, and a small network that learns from them',
  resnet20: 'a residual network of 20 layers with batch normalization (He et al. 2015)',
}
/** In this order; what comes after is folded away. */
const MAIN = ['training', 'augmentation']
const REST = ['validation', 'initial', 'evaluation', 'limits', 'resources', 'priority', 'metadata']

const EDITED = ' (edited)'
const PHOTOS_SAID = 'So this job starts from them. Choose another start above to train a network from scratch.'

type Start = Awaited<ReturnType<typeof getStart>>

/** What the service proposes to start from; undefined if it knows nothing about such a dataset. */
const findStart = (dataset: string): Promise<Start> =>
  dataset
    ? getStart(dataset).catch((error: unknown) => {
        if (error instanceof Problem) return undefined
        throw error
      })
    : Promise.resolve(undefined)

/** The spec to begin with: that of another job without its name and seed, or a preset, perhaps with an uploaded network. */
async function firstSpec(from: string, dataset: string, model: string): Promise<Spec> {
  if (!from) {
    const preset = structuredClone(PRESETS.regularized!)
    return { ...preset, ...(dataset && { dataset }), ...(model && { network: { model } }) } as Spec
  }
  const spec = structuredClone((await getJob(from)).spec) as Spec
  // On another dataset, the name of the earlier job would mislead.
  const name = dataset ? null : `${String(spec.name)}${EDITED}`.slice(-128)
  return withoutEmpty({ ...spec, name, ...(dataset && { dataset }) }) as Spec
}

/** Without the name that the form made for a clone: on another dataset it would mislead. */
const unnamed = (spec: Spec): Spec => {
  const { name, ...rest } = spec
  return String(name ?? '').endsWith(EDITED) ? rest : spec
}

/** Without what is null, which means absent. */
function withoutEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEmpty)
  if (value === null || typeof value !== 'object') return value
  const kept = Object.entries(value).filter(([, field]) => field !== null)
  return Object.fromEntries(kept.map(([name, field]) => [name, withoutEmpty(field)]))
}

export default function NewJob() {
  const from = inQuery('from')
  const schema = useLoaded('schema', (signal) =>
    get<{ components: { schemas: Schemas } }>('/openapi.json', { signal }).then((openapi) => openapi.components.schemas),
  )
  // Without them the form has no names to propose, and does not know how large images are.
  const datasets = useLoaded('datasets', (signal) =>
    getDatasets('?status=ready&limit=200', signal).then(
      (page) => page.data,
      (error: unknown) => {
        if (error instanceof Problem) return []
        throw error
      },
    ),
  )
  const first = useLoaded(`spec:${from}`, async () => {
    const spec = await firstSpec(from, inQuery('dataset'), inQuery('model'))
    return { spec, start: await findStart(String(spec.dataset ?? '')) }
  })
  if (schema.problem) return <Failed problem={schema.problem} retry={schema.reload} />
  if (first.problem) return <Failed problem={first.problem} retry={first.reload} />
  if (!schema.data || !first.data || !datasets.data) return <Loading what="the form" />
  return <Editor key={from} all={schema.data} first={first.data.spec} start={first.data.start} datasets={datasets.data} />
}

type EditorProps = { all: Schemas; first: Spec; start: Start; datasets: Dataset[] }

function Editor({ all, first, start, datasets }: EditorProps) {
  const from = inQuery('from')
  // What the form has proposed changes with the dataset; what a person has chosen stays.
  const [isChosen, setChosen] = useState(Boolean(from || inQuery('model')))
  // A network from a job is left as it is. One that the form proposes has to fit the images.
  const proposed = (proposal: Spec) => {
    const shape = shapeOf(datasets, String(proposal.dataset ?? ''))
    return shape ? fitted(proposal, shape) : { spec: proposal, said: '' }
  }
  const suggested = (dataset: string, start: Start): Fitted<Spec> => {
    const spec = { ...structuredClone(PRESETS[start?.preset ?? 'regularized']!), dataset }
    return start?.preset === 'photos' ? { spec, said: `${start.reason} ${PHOTOS_SAID}` } : proposed(spec)
  }
  const [begun] = useState(() => {
    if (!isChosen) return suggested(String(first.dataset ?? ''), start)
    return from && !inQuery('dataset') ? { spec: first, said: '' } : proposed(first)
  })
  const [spec, setSpec] = useState<Spec>(begun.spec)
  const [fit, setFit] = useState(begun.said)
  const show = (found: Fitted<Spec>) => {
    setSpec(found.spec)
    setFit(found.said)
  }
  const latest = useRef(spec)
  latest.current = spec
  const suggest = async (dataset: string) => {
    const plain = suggested(dataset, undefined)
    show(plain)
    const found = await findStart(dataset)
    if (latest.current === plain.spec) show(suggested(dataset, found)) // nothing was edited meanwhile
  }
  const propose = (proposal: Spec) => {
    setChosen(true)
    show(proposed(proposal))
  }
  const edit = (next: Spec) => {
    setChosen(true)
    setSpec(next)
  }
  const checked = useDryRun(spec, estimate)
  const named = String(spec.dataset ?? '')
  const isOfPhotos = useLoaded(`start:${named}`, async () => (await findStart(named))?.preset === 'photos')
  const photographs = isOfPhotos.data && findDataset(datasets, named)
  /** A network to compare pretrained features with: that of the form, unless it starts from them. */
  const withoutBackbone = (of: Spec) => ((of.network as { backbone?: unknown }).backbone ? suggested(named, undefined).spec : of)
  const [busy, setBusy] = useState(false)
  const errors = useMemo(
    () => new Map((checked.problem?.errors ?? []).map((error) => [error.pointer, error.detail])),
    [checked.problem],
  )
  const form: Form = {
    all,
    spec,
    set: (next) => edit(next as Spec),
    errors,
    quiet: new Set(fit ? ['seed', 'padding', 'pool'] : ['seed']),
  }
  const fits = !fit && proposed(spec).said
  const properties = all.JobSpec!.properties as Record<string, Schema>
  const part = (name: string) => <AnyField key={name} form={form} path={[name]} schema={properties[name]!} />

  const send = async () => {
    setBusy(true)
    const job = await attempt(() => createJob(spec))
    setBusy(false)
    if (job) go(`/jobs/${job.id}`)
  }

  return (
    <>
      <div class="heading">
        <Title text="New job" />
        <div class="row">
          <span class="soft">Start from</span>
          {Object.entries(PRESETS).map(([name, preset]) => (
            <button
              key={name}
              type="button"
              class="small"
              title={PRESET_HINTS[name]}
              onClick={() => propose({ ...structuredClone(preset), dataset: spec.dataset || preset.dataset })}
            >
              {name}
            </button>
          ))}
        </div>
      </div>
      <form
        class="columns new-job"
        onSubmit={(event) => {
          event.preventDefault()
          void send()
        }}
      >
        <div class="card form">
          <div class="fields">
            <DatasetField
              datasets={datasets}
              error={errors.get('/dataset')}
              value={String(spec.dataset ?? '')}
              onDone={(text) => (isChosen ? propose(unnamed(changed(spec, ['dataset'], text) as Spec)) : void suggest(text))}
            />
            {part('name')}
          </div>
          {fit && !isOwn(spec.network) && (
            <p class="fitted" role="status">
              {fit}
            </p>
          )}
          {fits && checked.problem?.code === 'network_too_deep' && (
            <p class="fitted">
              The images are too small for this network.{' '}
              <button type="button" class="small" onClick={() => propose(spec)}>
                Make the network fit
              </button>
            </p>
          )}
          <NetworkField form={form} onRead={checked.reload} />
          {MAIN.map(part)}
          <details>
            <summary>More settings: validation images, initial weights, limits, machine</summary>
            {REST.filter((name) => properties[name]).map(part)}
          </details>
        </div>
        <div class="beside">
          <EstimatePanel checked={checked} />
          <button type="submit" class="primary" disabled={busy || Boolean(checked.problem)}>
            {busy ? 'Sending …' : 'Train'}
          </button>
          {photographs && !isOwn(spec.network) && <MeasureFeatures base={withoutBackbone(spec)} dataset={photographs} />}
          <JsonPane spec={spec} onChange={edit} />
        </div>
      </form>
    </>
  )
}

type DatasetFieldProps = { datasets: Dataset[]; value: string; error: string | undefined; onDone: (text: string) => void }

const DatasetField = ({ datasets, value, error, onDone }: DatasetFieldProps) => (
  <Labelled id="/dataset" label="Dataset" error={error} hint="A name means its newest version, and name@3 means version 3.">
    <Typed
      id="/dataset"
      list="datasets"
      required
      value={value}
      aria-invalid={error ? true : undefined}
      aria-describedby="/dataset-hint"
      onDone={onDone}
    />
    <datalist id="datasets">
      {datasets.map((dataset) => (
        <option key={dataset.id} value={dataset.bundled ? dataset.name : `${dataset.name}@${dataset.version}`} />
      ))}
    </datalist>
  </Labelled>
)

/** The shape of a dataset's images; null if the form does not know the dataset. */
const shapeOf = (datasets: Dataset[], named: string) => findDataset(datasets, named)?.shape ?? null

function findDataset(datasets: Dataset[], named: string): Dataset | undefined {
  const ofName = datasets
    .filter((dataset) => dataset.name === named)
    .sort((a, b) => Number(a.bundled) - Number(b.bundled) || b.version - a.version)
  return datasets.find((dataset) => dataset.id === named || `${dataset.name}@${dataset.version}` === named) ?? ofName[0]
}
