/** The list of evaluations of uploaded models, and the form for a new one. The address keeps the filter by model. */

import { query } from '../../api/client'
import { getEvaluations, getModel } from '../../api/models'
import { EvaluationTable } from '../../parts/evaluation_table'
import { Title } from '../../parts/layout'
import { useLive, useLoaded } from '../../parts/load'
import { MeasureForm } from '../../parts/measure'
import { Paging } from '../../parts/paging'
import { inQuery, setQuery } from '../../parts/router'
import { Empty, Failed, Loading } from '../../parts/states'

const PAGE_SIZE = 50

export default function Evaluations() {
  const model = inQuery('model')
  const wanted = query({ model, limit: PAGE_SIZE, after: inQuery('after') })
  const evaluations = useLoaded(wanted, (signal) => getEvaluations(wanted, signal))
  useLive((event) => event.subject.object === 'evaluation', evaluations.reload)
  const { data, problem, reload } = evaluations
  return (
    <>
      <div class="heading">
        <Title text="Evaluations" />
        <a class="button" href="/models">
          Models
        </a>
      </div>
      <section class="card" aria-label="Measure a model">
        <h2>Measure a model</h2>
        <MeasureForm key={model} chosen={model} />
      </section>
      {model && <Narrowed model={model} />}
      {problem && !data && <Failed problem={problem} retry={reload} />}
      {!data && !problem && <Loading what="evaluations" />}
      {data && !data.data.length && <NoEvaluations isFiltered={model !== ''} />}
      {data && data.data.length > 0 && <EvaluationTable evaluations={data.data} />}
      <Paging here="/evaluations" next={data?.next} />
    </>
  )
}

function Narrowed({ model }: { model: string }) {
  const known = useLoaded(model, (signal) => getModel(model, signal))
  return (
    <div class="row">
      <button type="button" class="chip" aria-pressed onClick={() => setQuery({ model: '', after: '' })}>
        of {known.data?.name ?? model} <span aria-hidden="true">×</span>
        <span class="sr">Show all</span>
      </button>
    </div>
  )
}

const NoEvaluations = ({ isFiltered }: { isFiltered: boolean }) =>
  isFiltered ? (
    <Empty title="This model has not been measured">
      <button type="button" onClick={() => setQuery({ model: '', after: '' })}>
        Show all evaluations
      </button>
    </Empty>
  ) : (
    <Empty title="No evaluations yet">
      <p>
        An evaluation shows a model every image of a dataset. It says how often the model is right on training, validation, and
        test images, how certain these figures are, and why they differ.
      </p>
      <a class="button primary" href="/models">
        Upload a model
      </a>
    </Empty>
  )
