/** One version of a dataset: what is wrong with it, its images, its splits, and labels that are probably wrong. */

import { useState } from 'preact/hooks'

import { query } from '../../api/client'
import {
  type Changes,
  type Dataset,
  getAbout,
  getAudit,
  getDataset,
  getLedger,
  removeDataset,
  resizeUpload,
} from '../../api/datasets'
import { Confirm } from '../../parts/dialog'
import { DocumentCards, DocumentFacts } from '../../parts/document'
import { Fact, Facts } from '../../parts/facts'
import { FixDialog } from '../../parts/fix'
import { Head } from '../../parts/head'
import { useLive, useLoaded } from '../../parts/load'
import { MapCard } from '../../parts/map'
import { attempt, notify } from '../../parts/notices'
import { go, inQuery, setQuery } from '../../parts/router'
import { SizeFields } from '../../parts/size_fields'
import { Failed, Loading } from '../../parts/states'
import { DATASET_TONES } from '../../words/datasets'
import { count, moment } from '../../words/format'
import { ImagesCard } from './images'
import { SplitsCard } from './splits'
import { SuspectsCard } from './suspects'

export default function OneDataset({ id }: { id: string }) {
  const dataset = useLoaded(id, (signal) => getDataset(id, signal))
  const about = useLoaded(id, (signal) => getAbout(id, signal))
  useLive(
    (event) => event.subject.object === 'dataset' && event.subject.id === dataset.data?.id,
    () => {
      dataset.reload()
      about.reload()
    },
  )
  if (!dataset.data) {
    return dataset.problem ? <Failed problem={dataset.problem} retry={dataset.reload} /> : <Loading what="the dataset" />
  }
  const { data } = dataset
  return (
    <>
      <Head
        title={`${data.name}@${data.version}`}
        badge={<span class={`badge ${DATASET_TONES[data.status] ?? 'plain'}`}>{data.status}</span>}
        actions={<Actions dataset={data} />}
        facts={<DocumentFacts document={about.data} />}
      >
        {data.status !== 'ready' ? <NotReady dataset={data} onBegun={dataset.set} /> : !data.bundled && <Audit id={data.id} />}
      </Head>
      {data.status === 'ready' && <Ready dataset={data} />}
    </>
  )
}

function Audit({ id }: { id: string }) {
  const audit = useLoaded(id, (signal) => getAudit(id, signal))
  if (!audit.data) return audit.problem ? <Failed problem={audit.problem} retry={audit.reload} /> : <Loading what="the audit" />
  return <DocumentCards label="Audit" document={audit.data} reload={audit.reload} />
}

const Ready = ({ dataset }: { dataset: Dataset }) => (
  <>
    <ImagesCard dataset={dataset} />
    <SplitsCard dataset={dataset} />
    <MapCard dataset={dataset.id} job={inQuery('job')} />
    <SuspectsCard dataset={dataset} />
    <LedgerCard dataset={dataset} />
    <AskedFix dataset={dataset} />
  </>
)

/** The fix that a job's finding proposes, taken from the address that its page links to. */
function AskedFix({ dataset }: { dataset: Dataset }) {
  const changes = parsed(inQuery('fix'))
  return changes && <FixDialog dataset={dataset} changes={changes} onClose={() => setQuery({ fix: '' })} />
}

function parsed(text: string): Changes | null {
  try {
    const found: unknown = JSON.parse(text)
    return found !== null && typeof found === 'object' && !Array.isArray(found) ? (found as Changes) : null
  } catch {
    return null
  }
}

type NotReadyProps = { dataset: Dataset; onBegun: (dataset: Dataset) => void }

/** The upload was refused for the sizes of its images, and is still there. */
function ReadAgain({ dataset, onBegun }: NotReadyProps) {
  const [size, setSize] = useState({ side: '64', rule: 'pad' })
  const send = async () => {
    const begun = await attempt(() => resizeUpload(dataset.id, Number(size.side), size.rule))
    if (begun) onBegun(begun)
  }
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        void send()
      }}
    >
      <p>The upload is kept until {moment(dataset.upload_kept_until!)}: nothing has to be sent again.</p>
      <div class="fields">
        <SizeFields {...size} onChange={(part) => setSize({ ...size, ...part })} />
      </div>
      <button type="submit" class="primary" disabled={!size.side}>
        Read it with this size
      </button>
    </form>
  )
}

const NotReady = ({ dataset, onBegun }: NotReadyProps) => {
  if (dataset.status === 'rejected') {
    return (
      <div class="state failed" role="alert">
        <h2>This upload was rejected</h2>
        <p>{dataset.error?.detail}</p>
        {dataset.error?.member && (
          <p>
            It is about <code>{dataset.error.member}</code>.
          </p>
        )}
        {dataset.upload_kept_until && <ReadAgain dataset={dataset} onBegun={onBegun} />}
        <a class="button" href="/datasets">
          Upload a fixed file
        </a>
      </div>
    )
  }
  return (
    <p class="state" role="status">
      {dataset.status === 'checking'
        ? 'A worker is reading all images, looking for copies and comparing the splits. This page updates by itself.'
        : 'It is waiting for its upload.'}
    </p>
  )
}

/** Trains like the earlier job if a finding of a job led here. */
const trainAddress = (name: string) => `/new${query({ from: inQuery('job'), dataset: name })}`

function Actions({ dataset }: { dataset: Dataset }) {
  const [isAsking, setAsking] = useState(false)
  const name = `${dataset.name}@${dataset.version}`
  const remove = () =>
    attempt(async () => {
      await removeDataset(dataset.id)
      notify(`${name} is deleted.`)
      go('/datasets')
    })
  return (
    <div class="row">
      {dataset.status === 'ready' && (
        <a class="button primary" href={trainAddress(dataset.bundled ? dataset.name : name)}>
          {inQuery('job') ? 'Train the job again on it' : 'Train on it'}
        </a>
      )}
      {dataset.status === 'ready' && (
        <a class="button" href={`/datasets${query({ add: name, job: inQuery('job') })}`}>
          Add images
        </a>
      )}
      <a class="button" href={`/jobs?dataset=${dataset.id}`}>
        Its jobs
      </a>
      {!dataset.bundled && (
        <button type="button" class="danger" onClick={() => setAsking(true)}>
          Delete
        </button>
      )}
      {isAsking && (
        <Confirm title={`Delete ${name}?`} action="Delete it" onYes={remove} onClose={() => setAsking(false)}>
          <p>Its images are deleted. Jobs that have ended keep their figures and models, and still name it.</p>
        </Confirm>
      )}
    </div>
  )
}

function LedgerCard({ dataset }: { dataset: Dataset }) {
  const ledger = useLoaded(dataset.id, (signal) => getLedger(dataset.id, signal))
  if (!ledger.data) return ledger.problem ? <Failed problem={ledger.problem} retry={ledger.reload} /> : null
  const { splits, explanation } = ledger.data
  return (
    <section class="card" aria-label="Ledger">
      <h2>How often you have looked at held-out labels</h2>
      <Facts>
        {(['validation', 'test'] as const).map((split) => (
          <Fact key={split} name={split === 'test' ? 'Test' : 'Validation'}>
            {count(splits[split].reads)} {splits[split].reads === 1 ? 'look' : 'looks'}
            {splits[split].jobs > 0 && (
              <span class="soft">
                {' '}
                by {count(splits[split].jobs)} {splits[split].jobs === 1 ? 'job' : 'jobs'}
              </span>
            )}
          </Fact>
        ))}
      </Facts>
      <p class="soft">{explanation}</p>
    </section>
  )
}
