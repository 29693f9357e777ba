/** A table of evaluations: model, dataset, progress, and accuracy on each split. */

import { SPLITS } from '../api/datasets'
import type { Evaluation } from '../api/models'
import { ago, moment, percent } from '../words/format'
import { GapBar, Status } from './marks'
import { Scroll } from './scroll'

export const EvaluationTable = ({ evaluations, withModel = true }: { evaluations: Evaluation[]; withModel?: boolean }) => (
  <Scroll label="List of evaluations" framed>
    <table class="list cards boxless">
      <thead>
        <tr>
          <th>{withModel ? 'Model on dataset' : 'Dataset'}</th>
          <th>Status</th>
          <th>Right in training / validation / test</th>
          <th>Gap</th>
          <th>Created</th>
        </tr>
      </thead>
      <tbody>
        {evaluations.map((evaluation) => (
          <Row key={evaluation.id} evaluation={evaluation} withModel={withModel} />
        ))}
      </tbody>
    </table>
  </Scroll>
)

const Row = ({ evaluation, withModel }: { evaluation: Evaluation; withModel: boolean }) => {
  const { metrics, dataset, model } = evaluation
  return (
    <tr>
      <td class="name">
        <a href={`/evaluations/${evaluation.id}`}>
          {withModel && `${model.name} on `}
          {dataset.name}
          <span class="soft">@{dataset.version}</span>
        </a>
      </td>
      <td>
        <Status status={evaluation.status} />
      </td>
      <td data-label="Right">
        {metrics ? SPLITS.map((split) => percent(metrics[split]?.accuracy)).join(' / ') : <span class="soft none">–</span>}
      </td>
      <td data-label="Gap">
        <GapBar gap={metrics?.gap ?? null} />
      </td>
      <td data-label="Created">
        <time dateTime={evaluation.created_at} title={moment(evaluation.created_at)}>
          {ago(evaluation.created_at)}
        </time>
      </td>
    </tr>
  )
}
