/** Base and winner on test images, which had no part in any choice, and both as ensembles. */

import type { Schemas } from '../../api/client'
import type { Study } from '../../api/studies'
import { PlainTable } from '../../parts/plain_table'
import { count, figure, percent, points } from '../../words/format'
import { armWord } from '../../words/verdicts'

type Figures = Schemas['TestFiguresView']

export function TestCard({ study }: { study: Study }) {
  const { conclusion, ensemble } = study
  if (!conclusion?.test && !ensemble) return null
  const winner = armWord(conclusion?.remedy ?? 'winner')
  const test = conclusion?.test
  return (
    <section class="card" aria-label="Test">
      <h2>On test images, which each training was measured on once</h2>
      <PlainTable label="Test figures" columns={['Network', 'Right', '95% interval', 'Loss', 'Images']}>
        {test && <Row name="Unchanged" of={test.base} />}
        {test && <Row name={winner} of={test.winner} />}
        {ensemble?.base.test && <Row name={`Unchanged, ${ensemble.base.members} together`} of={ensemble.base.test} />}
        {ensemble?.winner.test && <Row name={`${winner}, ${ensemble.winner.members} together`} of={ensemble.winner.test} />}
      </PlainTable>
      {test && <Difference of={test.difference} />}
      {ensemble && <p class="soft">Together: the answers of all seeds averaged, an ensemble.</p>}
    </section>
  )
}

/** The difference in accuracy; in loss if only that decides. */
function Difference({ of }: { of: Schemas['DifferenceView'] }) {
  const isLoss = of.accuracy === null
  const change = isLoss ? of.loss : of.accuracy
  const interval = isLoss ? of.intervals.loss : of.intervals.accuracy
  if (change === null) return null
  const write = (value: number) => (isLoss ? `${value > 0 ? '+' : ''}${figure(value, 3)}` : points(value))
  return (
    <p>
      Difference: <strong>{isLoss ? `loss ${write(change)}` : `${write(change)} points`}</strong>
      {interval && (
        <span class="soft">
          , very likely between {write(interval[0])} and {write(interval[1])}
        </span>
      )}
      .
    </p>
  )
}

const Row = ({ name, of }: { name: string; of: Figures }) => (
  <tr>
    <th scope="row">{name}</th>
    <td>{percent(of.accuracy)}</td>
    <td class="soft">
      {of.intervals.accuracy ? `${percent(of.intervals.accuracy[0])} to ${percent(of.intervals.accuracy[1])}` : '–'}
    </td>
    <td>{figure(of.loss)}</td>
    <td>{count(of.count)}</td>
  </tr>
)
