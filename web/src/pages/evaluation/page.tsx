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
import { DocumentCards, DocumentFacts } from '../../parts/document'
import { Head } from '../../parts/head'
import { useLive, useLoaded } from '../../parts/load'
import { Status } from '../../parts/marks'
import { attempt, notify } from '../../parts/notices'
import { go } from '../../parts/router'
import { ErrorState, Failed, Loading } from '../../parts/states'
import { ENDED } from '../../words/verdicts'

export default function OneEvaluation({ id }: { id: string }) {
  const evaluation = useLoaded(id, (signal) => getEvaluation(id, signal))
  const isMeasured = evaluation.data?.status === 'succeeded'
  const found = useLoaded(isMeasured ? id : null, (signal) => getEvaluationDiagnosis(id, signal))
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
        facts={<DocumentFacts document={found.data} />}
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
        {found.data ? (
          <DocumentCards label="Figures" document={found.data} />
        ) : found.problem ? (
          <Failed problem={found.problem} retry={found.reload} />
        ) : (
          isMeasured && <Loading what="the figures" />
        )}
      </Head>
      {isMeasured && <ConfusionCard of={id} load={getEvaluationConfusion} />}
    </>
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
