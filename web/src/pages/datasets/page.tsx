/** All datasets with their versions, and the place where new ones are dropped. */

import { query } from '../../api/client'
import { type Dataset, getDataset, getDatasets, SPLITS } from '../../api/datasets'
import { Title } from '../../parts/layout'
import { useLive, useLoaded } from '../../parts/load'
import { Paging } from '../../parts/paging'
import { inQuery } from '../../parts/router'
import { Scroll } from '../../parts/scroll'
import { Failed, Loading } from '../../parts/states'
import { DATASET_TONES } from '../../words/datasets'
import { ago, bytes, count, moment } from '../../words/format'
import { Upload } from './upload'

const PAGE_SIZE = 50

export default function Datasets() {
  const wanted = query({ limit: PAGE_SIZE, after: inQuery('after') })
  const datasets = useLoaded(wanted, (signal) => getDatasets(wanted, signal))
  useLive((event) => event.subject.object === 'dataset', datasets.reload)
  const add = inQuery('add')
  const adding = useLoaded(add || null, (signal) => getDataset(add, signal))
  if (add && !adding.data) {
    return adding.problem ? <Failed problem={adding.problem} retry={adding.reload} /> : <Loading what="the dataset" />
  }
  return (
    <>
      <Title text={adding.data ? `Add images to ${adding.data.name}@${adding.data.version}` : 'Datasets'} />
      <Upload key={add} datasets={datasets.data?.data ?? []} adding={adding.data} />
      {datasets.problem && !datasets.data && <Failed problem={datasets.problem} retry={datasets.reload} />}
      {!datasets.data && !datasets.problem && <Loading what="datasets" />}
      {datasets.data && datasets.data.data.length > 0 && <DatasetTable datasets={datasets.data.data} />}
      <Paging here="/datasets" next={datasets.data?.next} />
    </>
  )
}

const DatasetTable = ({ datasets }: { datasets: Dataset[] }) => (
  <Scroll label="List of datasets" framed>
    <table class="list cards boxless">
      <thead>
        <tr>
          <th>Name</th>
          <th>Status</th>
          <th>Image</th>
          <th>Classes</th>
          <th>Training / validation / test</th>
          <th>Size</th>
          <th>From</th>
          <th>Created</th>
        </tr>
      </thead>
      <tbody>
        {datasets.map((dataset) => (
          <Row key={dataset.id} dataset={dataset} />
        ))}
      </tbody>
    </table>
  </Scroll>
)

const Row = ({ dataset }: { dataset: Dataset }) => (
  <tr>
    <td class="name">
      <a href={`/datasets/${dataset.id}`}>
        {dataset.name}
        <span class="soft">@{dataset.version}</span>
      </a>
    </td>
    <td>
      <span class={`badge ${DATASET_TONES[dataset.status] ?? 'plain'}`}>{dataset.status}</span>
    </td>
    <td data-label="Image">{dataset.shape ? dataset.shape.join(' × ') : <span class="soft none">–</span>}</td>
    <td data-label="Classes">{dataset.classes ? count(dataset.classes.length) : <span class="soft none">–</span>}</td>
    <td data-label="Images">
      {dataset.splits ? SPLITS.map((split) => count(dataset.splits![split].count)).join(' / ') : <span class="soft none">–</span>}
    </td>
    <td data-label="Size">{bytes(dataset.size_bytes)}</td>
    <td data-label="From">
      {dataset.bundled ? (
        'comes with Heldout'
      ) : dataset.derived_from ? (
        <a href={`/datasets/${dataset.derived_from.dataset.id}`}>
          {dataset.derived_from.dataset.name}@{dataset.derived_from.dataset.version}, changed
        </a>
      ) : (
        'upload'
      )}
    </td>
    <td data-label="Created">
      <time dateTime={dataset.created_at} title={moment(dataset.created_at)}>
        {ago(dataset.created_at)}
      </time>
    </td>
  </tr>
)
