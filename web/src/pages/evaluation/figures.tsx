/** How often a model is right on each split, with intervals; also for pixels other than those it was trained with. */

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
          The dataset's pixel values run from {figure(preprocessing.value_range[0]!)} to {figure(preprocessing.value_range[1]!)},
          but the model expects {preprocessing.in_words}. The figures use the pixels that it expects; "As given" uses the
          dataset's own.
        </p>
      )}
      <PlainTable
        label="Figures of each split"
        columns={['Images for', 'Number', 'Right', 'Very likely between', 'Loss', ...(as_given ? ['As given'] : [])]}
      >
        {SPLITS.map((split) => {
          const figures = metrics[split]
          if (!figures) return null
          return (
            <tr key={split}>
              <th scope="row">{SPLIT_NAMES[split]}</th>
              <td>{count(figures.count)}</td>
              <td>{percent(figures.accuracy)}</td>
              <td>
                {percent(figures.interval[0])} to {percent(figures.interval[1])}
              </td>
              <td>{figure(figures.loss)}</td>
              {as_given && <td>{percent(as_given[split]?.accuracy)}</td>}
            </tr>
          )
        })}
      </PlainTable>
      <p class="soft">
        With other images of the same kind, the share of right answers would be a little different. In 95 of 100 cases its true
        value lies between the two bounds; fewer images put them wider apart. The loss is lower when the model is more certain of
        right answers.
      </p>
    </section>
  )
}
