/** The form for an evaluation: choose a model and a dataset. */

import { useState } from 'preact/hooks'

import { Problem, query } from '../api/client'
import { type Dataset, getDatasets } from '../api/datasets'
import { createEvaluation, getModels, type Model } from '../api/models'
import { takesWord } from '../words/models'
import { Labelled } from './labelled'
import { useLoaded } from './load'
import { go } from './router'

const MOST = query({ limit: 200 })

/** `model`: the model to measure. Without it, the form offers a choice, at first the one with the id `chosen`. */
export function MeasureForm({ model, chosen = '' }: { model?: Model; chosen?: string }) {
  const datasets = useLoaded('datasets', (signal) => getDatasets(MOST, signal))
  const models = useLoaded(model ? null : 'models', (signal) => getModels(MOST, signal))
  const measurable = model
    ? [model]
    : (models.data?.data ?? []).filter((candidate) => candidate.status === 'ready' && candidate.gives === 'answers')
  const [wantedModel, setModel] = useState(chosen)
  const [wantedDataset, setDataset] = useState('')
  const [problem, setProblem] = useState<Problem | null>(null)
  const [busy, setBusy] = useState(false)

  const asked = measurable.find((candidate) => candidate.id === wantedModel) ?? measurable[0]
  const fitting = (datasets.data?.data ?? []).filter(
    (candidate) => candidate.status === 'ready' && asked && fits(asked, candidate),
  )
  const dataset = fitting.find((candidate) => candidate.id === wantedDataset) ?? fitting[0]
  const send = async () => {
    if (!asked || !dataset) return
    setBusy(true)
    setProblem(null)
    try {
      go(`/evaluations/${(await createEvaluation(asked.id, dataset.id)).id}`)
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, 'unknown', String(error)))
      setBusy(false)
    }
  }
  const failed = datasets.problem ?? models.problem
  if (failed) return <p role="alert">{failed.detail}</p>
  if (!datasets.data || (!model && !models.data)) return null
  if (!asked) return <p class="soft">No model can be measured yet. Upload one first.</p>
  return (
    <form
      class="measure"
      onSubmit={(event) => {
        event.preventDefault()
        void send()
      }}
    >
      {!model && (
        <Labelled id="model" label="Model">
          <select id="model" value={asked.id} onChange={(event) => setModel(event.currentTarget.value)}>
            {measurable.map((choice) => (
              <option key={choice.id} value={choice.id}>
                {choice.name}
              </option>
            ))}
          </select>
        </Labelled>
      )}
      {dataset ? (
        <>
          <Labelled id="dataset" label="Dataset">
            <select id="dataset" value={dataset.id} onChange={(event) => setDataset(event.currentTarget.value)}>
              {fitting.map((choice) => (
                <option key={choice.id} value={choice.id}>
                  {choice.name}@{choice.version}
                </option>
              ))}
            </select>
          </Labelled>
          <button type="submit" class="primary" disabled={busy}>
            Measure it
          </button>
        </>
      ) : (
        <p class="soft">
          None of your datasets has images of {takesWord(asked)} in {asked.classes} classes, which this model needs.
        </p>
      )}
      {problem && (
        <p class="said" role="alert">
          {problem.detail}
        </p>
      )}
    </form>
  )
}

/** Whether the model accepts the dataset's images and has as many classes. The service checks this again. */
function fits(model: Model, dataset: Dataset): boolean {
  const { shape, classes } = dataset
  if (!shape || !classes || classes.length !== model.classes) return false
  return (model.input_shape ?? []).every((size, place) => size === null || size === shape[place])
}
