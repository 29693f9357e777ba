/** One uploaded model: what is in its file or wrong with it, and how well it does on datasets. */

import { useState } from 'preact/hooks'

import { query } from '../../api/client'
import { getAboutModel, getEvaluations, getModel, type Model, removeModel } from '../../api/models'
import { Confirm } from '../../parts/dialog'
import { DocumentCards, DocumentFacts } from '../../parts/document'
import { EvaluationTable } from '../../parts/evaluation_table'
import { Title } from '../../parts/layout'
import { useLive, useLoaded } from '../../parts/load'
import { MeasureForm } from '../../parts/measure'
import { attempt, notify } from '../../parts/notices'
import { go } from '../../parts/router'
import { Failed, Loading } from '../../parts/states'
import { MODEL_TONES } from '../../words/models'

const SHOWN_EVALUATIONS = 20

export default function OneModel({ id }: { id: string }) {
  const model = useLoaded(id, (signal) => getModel(id, signal))
  const about = useLoaded(id, (signal) => getAboutModel(id, signal))
  useLive(
    (event) => event.subject.id === id,
    () => {
      model.reload()
      about.reload()
    },
  )
  if (!model.data) return model.problem ? <Failed problem={model.problem} retry={model.reload} /> : <Loading what="the model" />
  const { data } = model
  return (
    <>
      <div class="heading">
        <div class="row">
          <Title text={data.name} />
          <span class={`badge ${MODEL_TONES[data.status] ?? 'plain'}`}>{data.status}</span>
        </div>
        <div class="row">
          {data.status === 'ready' && data.format === 'keras' && (
            <a class="button" href={`/new?model=${data.id}`}>
              Train this network
            </a>
          )}
          {data.shared ? <span class="badge plain">shared with everyone</span> : <Delete model={data} />}
        </div>
      </div>
      <DocumentFacts document={about.data} />
      {data.status === 'checking' && (
        <p class="state" role="status">
          A worker is checking the file. This page updates by itself.
        </p>
      )}
      {data.status === 'rejected' && (
        <div class="state failed" role="alert">
          <h2>This file was rejected</h2>
          <p>{data.error?.detail}</p>
          <a class="button" href="/models">
            Upload a fixed file
          </a>
        </div>
      )}
      {data.status === 'ready' && <Ready model={data} />}
      {about.data && <DocumentCards label="Layers" document={about.data} />}
    </>
  )
}

const Ready = ({ model }: { model: Model }) => (
  <>
    <section class="card" aria-label="How well it does">
      <h2>How well it does</h2>
      {model.weights === false ? (
        <p>It is an architecture without weights, so it cannot be measured. Train it first.</p>
      ) : model.gives === 'answers' ? (
        <>
          <MeasureForm model={model} />
          <EvaluationsOf model={model} />
        </>
      ) : (
        <p>
          It outputs features, not a score for each class, so it cannot be measured. A training can start from it, or give it a
          new head.
        </p>
      )}
    </section>
  </>
)

function EvaluationsOf({ model }: { model: Model }) {
  const wanted = query({ model: model.id, limit: SHOWN_EVALUATIONS })
  const evaluations = useLoaded(wanted, (signal) => getEvaluations(wanted, signal))
  useLive((event) => event.subject.object === 'evaluation', evaluations.reload)
  if (!evaluations.data) {
    const { problem, reload } = evaluations
    return problem ? <Failed problem={problem} retry={reload} /> : <Loading what="evaluations" />
  }
  const { data, has_more } = evaluations.data
  if (!data.length) return <p class="soft">It has not been measured yet.</p>
  return (
    <>
      <EvaluationTable evaluations={data} withModel={false} />
      {has_more && <a href={`/evaluations?model=${model.id}`}>All evaluations of this model</a>}
    </>
  )
}

function Delete({ model }: { model: Model }) {
  const [isAsking, setAsking] = useState(false)
  const remove = () =>
    attempt(async () => {
      await removeModel(model.id)
      notify(`${model.name} is deleted.`)
      go('/models')
    })
  return (
    <div class="row">
      <button type="button" class="danger" onClick={() => setAsking(true)}>
        Delete
      </button>
      {isAsking && (
        <Confirm title={`Delete ${model.name}?`} action="Delete it" onYes={remove} onClose={() => setAsking(false)}>
          <p>The file is deleted. Its evaluations are kept, and trainings that start from it continue.</p>
        </Confirm>
      )}
    </div>
  )
}
