/** How often a model is right on each split, and how surely that is known; with other pixels than its own, too. */

import { SPLITS } from '../../api/datasets'
import type { Evaluation } from '../../api/models'
import { PlainTable } from '../../parts/plain_table'
import { SPLIT_NAMES } from '../../words/datasets'
import { count, figure, percent } from '../../words/format'

export function FiguresCard({ evaluation }: { evaluation: Evaluation }) {
  const { metrics, preprocessing, as_given } = evaluation
  if (!metrics) return null
  return (
    <section class="card" aria-label="Figures">
      <h2 class="headline">{evaluation.headline || 'How often it is right'}</h2>
      {evaluation.summary && <p class="sentence">{evaluation.summary}</p>}
      {preprocessing && (
        <p class="caveat">
          The dataset's pixels go from {figure(preprocessing.value_range[0]!)} to {figure(preprocessing.value_range[1]!)}; the
          model understands {preprocessing.in_words}. The figures are those with these pixels. "As given" is what it answers to
          the dataset's own.
        </p>
      )}
      <PlainTable
        label="Figures of each split"
        columns={['Images for', 'Number', 'Right', 'Very likely between', 'Loss', ...(as_given ? ['As given'] : [])]}
      >
        {SPLITS.map((split) => {
          const one = metrics[split]
          if (!one) return null
          return (
            <tr key={split}>
              <th scope="row">{SPLIT_NAMES[split]}</th>
              <td>{count(one.count)}</td>
              <td>{percent(one.accuracy)}</td>
              <td>
                {percent(one.interval[0])} to {percent(one.interval[1])}
              </td>
              <td>{figure(one.loss)}</td>
              {as_given && <td>{percent(as_given[split]?.accuracy)}</td>}
            </tr>
          )
        })}
      </PlainTable>
      <p class="soft">
        By chance a few images more or fewer are right. On very many such images it would be right as often as between the two
        bounds, in 95 of 100 cases; the fewer images were shown, the wider apart they are. The loss is lower the surer the model
        is of right answers.
      </p>
    </section>
  )
}
