/** One evaluation: how often the model is right on each split, why it does worse on new images, and which classes it mixes up. */

import { useState } from 'preact/hooks'

import {
  cancelEvaluation,
  type Evaluation,
  getEvaluation,
  getEvaluationConfusion,
  getEvaluationDiagnosis,
  removeEvaluation,
} from '../../api/models'
import { ConfusionCard } from '../../parts/confusion'
import { Confirm } from '../../parts/dialog'
import { DocumentCard } from '../../parts/document'
import { Fact, Facts } from '../../parts/facts'
import { Head } from '../../parts/head'
import { useLive, useLoaded } from '../../parts/load'
import { Status } from '../../parts/marks'
import { attempt, notify } from '../../parts/notices'
import { go } from '../../parts/router'
import { ErrorState, Failed, Loading } from '../../parts/states'
import { duration, moment } from '../../words/format'
import { ENDED } from '../../words/verdicts'
import { FiguresCard } from './figures'

export default function OneEvaluation({ id }: { id: string }) {
  const evaluation = useLoaded(id, (signal) => getEvaluation(id, signal))
  useLive((event) => event.subject.id === id, evaluation.reload)
  if (!evaluation.data) {
    const { problem, reload } = evaluation
    return problem ? <Failed problem={problem} retry={reload} /> : <Loading what="the evaluation" />
  }
  const { data } = evaluation
  return (
    <>
      <Head
        title={`${data.model.name} on ${data.dataset.name}@${data.dataset.version}`}
        badge={<Status status={data.status} />}
        actions={<Actions evaluation={data} onChange={evaluation.set} />}
        facts={<EvaluationFacts evaluation={data} />}
      >
        {!ENDED.has(data.status) && (
          <p class="state" role="status">
            {data.status === 'queued'
              ? 'It is waiting for a worker.'
              : 'A worker is showing the model every image of the dataset.'}{' '}
            This page updates by itself.
          </p>
        )}
        {data.error && <ErrorState error={data.error} />}
        {data.status === 'succeeded' && <Measured evaluation={data} />}
      </Head>
      {data.status === 'succeeded' && <ConfusionCard of={id} load={getEvaluationConfusion} />}
    </>
  )
}

function Measured({ evaluation }: { evaluation: Evaluation }) {
  const diagnosis = useLoaded(evaluation.id, (signal) => getEvaluationDiagnosis(evaluation.id, signal))
  return (
    <>
      <FiguresCard evaluation={evaluation} />
      {diagnosis.data ? (
        <DocumentCard label="Verdict" document={diagnosis.data} />
      ) : diagnosis.problem ? (
        <Failed problem={diagnosis.problem} retry={diagnosis.reload} />
      ) : (
        <Loading what="the verdict" />
      )}
    </>
  )
}

const EvaluationFacts = ({ evaluation }: { evaluation: Evaluation }) => {
  const { model, dataset, started_at, finished_at, created_at } = evaluation
  return (
    <Facts>
      <Fact name="Model">
        <a href={`/models/${model.id}`}>{model.name}</a>
      </Fact>
      <Fact name="Dataset">
        <a href={`/datasets/${dataset.id}`}>
          {dataset.name}@{dataset.version}
        </a>
      </Fact>
      <Fact name="Created">{moment(created_at)}</Fact>
      {started_at && finished_at && (
        <Fact name="Took">{duration((Date.parse(finished_at) - Date.parse(started_at)) / 1000)}</Fact>
      )}
    </Facts>
  )
}

function Actions({ evaluation, onChange }: { evaluation: Evaluation; onChange: (changed: Evaluation) => void }) {
  const [isAsking, setAsking] = useState(false)
  const hasEnded = ENDED.has(evaluation.status)
  const stop = async () => {
    const changed = await attempt(() => cancelEvaluation(evaluation.id))
    if (changed) onChange(changed)
  }
  const remove = () =>
    attempt(async () => {
      await removeEvaluation(evaluation.id)
      notify('The evaluation is deleted.')
      go('/evaluations')
    })
  return (
    <div class="row">
      <a class="button" href={`/evaluations?model=${evaluation.model.id}`}>
        Other evaluations of this model
      </a>
      {evaluation.status !== 'cancelling' && (
        <button type="button" class="danger" onClick={() => setAsking(true)}>
          {hasEnded ? 'Delete' : 'Stop'}
        </button>
      )}
      {isAsking && (
        <Confirm
          title={hasEnded ? 'Delete this evaluation?' : 'Stop this evaluation?'}
          action={hasEnded ? 'Delete it' : 'Stop it'}
          onYes={hasEnded ? remove : stop}
          onClose={() => setAsking(false)}
        >
          <p>
            {hasEnded
              ? 'Its figures are deleted; the model and the dataset stay.'
              : 'Nothing is kept. The model can be measured again.'}
          </p>
        </Confirm>
      )}
    </div>
  )
}
