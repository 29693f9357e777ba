/** Models that were trained elsewhere, and the upload of new ones. */

import { query } from '../../api/client'
import { getModels, type Model } from '../../api/models'
import { Title } from '../../parts/layout'
import { useLive, useLoaded } from '../../parts/load'
import { Paging } from '../../parts/paging'
import { inQuery } from '../../parts/router'
import { Scroll } from '../../parts/scroll'
import { Empty, Failed, Loading } from '../../parts/states'
import { ago, bytes, count, moment } from '../../words/format'
import { formatWord, givesWord, MODEL_TONES, takesWord } from '../../words/models'
import { Upload } from './upload'

const PAGE_SIZE = 50

export default function Models() {
  const wanted = query({ limit: PAGE_SIZE, after: inQuery('after') })
  const models = useLoaded(wanted, (signal) => getModels(wanted, signal))
  useLive((event) => event.subject.object === 'model', models.reload)
  return (
    <>
      <div class="heading">
        <Title text="Models" />
        <a class="button" href="/evaluations">
          Evaluations
        </a>
      </div>
      <Upload />
      {models.problem && !models.data && <Failed problem={models.problem} retry={models.reload} />}
      {!models.data && !models.problem && <Loading what="models" />}
      {models.data && !models.data.data.length && <NoModels />}
      {models.data && models.data.data.length > 0 && <ModelTable models={models.data.data} />}
      <Paging here="/models" next={models.data?.next} />
    </>
  )
}

const NoModels = () => (
  <Empty title="No models yet">
    <p>
      Upload a model that was trained elsewhere and measure it on one of your datasets. You learn how often it is right on images
      it has not seen, which classes it mixes up, and why it does worse than in training. Models of your own jobs are measured
      already: see the page of the job.
    </p>
  </Empty>
)

const ModelTable = ({ models }: { models: Model[] }) => (
  <Scroll label="List of models" framed>
    <table class="list cards boxless">
      <thead>
        <tr>
          <th>Name</th>
          <th>Status</th>
          <th>Format</th>
          <th>Image</th>
          <th>Answers</th>
          <th>Parameters</th>
          <th>Size</th>
          <th>Created</th>
        </tr>
      </thead>
      <tbody>
        {models.map((model) => (
          <Row key={model.id} model={model} />
        ))}
      </tbody>
    </table>
  </Scroll>
)

const Row = ({ model }: { model: Model }) => (
  <tr>
    <td class="name">
      <a href={`/models/${model.id}`}>{model.name}</a>
    </td>
    <td>
      <span class={`badge ${MODEL_TONES[model.status] ?? 'plain'}`}>{model.status}</span>
    </td>
    <Known label="Format">{model.format && formatWord(model.format)[0]}</Known>
    <Known label="Image">{takesWord(model)}</Known>
    <Known label="Answers">{givesWord(model)}</Known>
    <Known label="Parameters">{model.parameters === null ? null : count(model.parameters)}</Known>
    <Known label="Size">{bytes(model.size_bytes)}</Known>
    <td data-label="Created">
      <time dateTime={model.created_at} title={moment(model.created_at)}>
        {ago(model.created_at)}
      </time>
    </td>
  </tr>
)

/** A fact that is unknown until the file has been read. */
const Known = ({ label, children }: { label: string; children: string | null }) => (
  <td data-label={label}>{children ?? <span class="soft none">–</span>}</td>
)
