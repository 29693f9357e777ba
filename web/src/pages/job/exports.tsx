/** A job's model for other programs: which files exist, which are being made, and how they were checked. */

import { useEffect, useState } from 'preact/hooks'

import { cardAddress, createExport, type Export, getExports, getScript, type Job, modelAddress } from '../../api/jobs'
import { useLoaded } from '../../parts/load'
import { attempt } from '../../parts/notices'
import { Failed, Loading } from '../../parts/states'
import { bytes } from '../../words/format'
import { exportWord, formatWord, reportWord } from '../../words/models'
import { isOwn } from '../new/fitting'

/** There are no events for exports. */
const LOOK_EVERY_MS = 2000

export function ExportsCard({ job }: { job: Job }) {
  const exports = useLoaded(job.id, (signal) => getExports(job.id, signal))
  const { data, problem, reload } = exports
  const isMaking = data?.data.some((file) => file.status === 'queued') ?? false
  useEffect(() => {
    if (!isMaking) return
    const timer = setInterval(() => document.hidden || reload(), LOOK_EVERY_MS)
    return () => clearInterval(timer)
  }, [isMaking, reload])

  if (!data) {
    if (!problem) return <Loading what="the model's files" />
    // A job that was stopped before its first epoch has no model.
    return problem.status === 409 ? null : <Failed problem={problem} retry={reload} />
  }
  return (
    <section class="card" aria-label="Export the model">
      <header>
        <h2>Export the model</h2>
        <a class="button" href={cardAddress(job.id)} target="_blank" rel="noreferrer">
          Model card
        </a>
      </header>
      <p class="soft">
        Files are made on request. Each one is loaded in the program it is meant for and tested on the job's own images. You get
        it only if its answers are the same.
      </p>
      <ul class="exports">
        {data.data.map((file) => (
          <Format key={file.format} job={job} known={file} onChange={reload} />
        ))}
        {isOwn(job.spec.network) ? (
          <li>
            <div>
              <strong>Keras configuration</strong>
              <p class="soft">The layers of your network as JSON, with the changes that this job trained it with.</p>
            </div>
            <a class="button small" href={modelAddress(job.id, 'keras_config')} download>
              Download<span class="sr"> the configuration</span>
            </a>
          </li>
        ) : (
          <li>
            <div>
              <strong>Python script</strong>
              <p class="soft">Trains this job again from the same data file, using only NumPy and Keras.</p>
            </div>
            <ScriptButton job={job} />
          </li>
        )}
      </ul>
    </section>
  )
}

function Format({ job, known, onChange }: { job: Job; known: Export; onChange: () => void }) {
  const { format, status, error, report } = known
  const [busy, setBusy] = useState(false)
  const [name, purpose] = formatWord(format)
  const [word, tone] = exportWord(known)
  const isProof = format === 'keras'
  const order = async () => {
    setBusy(true)
    await attempt(() => createExport(job.id, format))
    setBusy(false)
    onChange()
  }
  const canOrder = status === 'absent' || status === 'failed'
  const canLoad = status === 'stored' || (isProof && error?.code !== 'export_differs')
  return (
    <li aria-label={name}>
      <div>
        <strong>{name}</strong> <span class={`badge ${tone}`}>{word}</span>
        <p class="soft">{purpose}</p>
        <div aria-live="polite">
          {report && status === 'stored' && <p>{reportWord(report)}</p>}
          {status === 'failed' && error && <p>{error.detail}</p>}
        </div>
      </div>
      <div class="row">
        {canOrder && (
          <button type="button" class="small" disabled={busy} onClick={order}>
            {status === 'failed' ? 'Try again' : isProof ? 'Check it' : 'Make it'}
            <span class="sr"> {name}</span>
          </button>
        )}
        {canLoad && (
          <a class="button small" href={modelAddress(job.id, format)} download>
            Download<span class="sr"> {name}</span>
            {report && status === 'stored' && <span class="soft">{bytes(report.size_bytes)}</span>}
          </a>
        )}
      </div>
    </li>
  )
}

/** Writing a script can fail, so it is fetched before it is saved. */
function ScriptButton({ job }: { job: Job }) {
  const [busy, setBusy] = useState(false)
  const save = async () => {
    setBusy(true)
    const text = await attempt(() => getScript(job.id))
    setBusy(false)
    if (text === undefined) return
    const link = document.createElement('a')
    link.href = URL.createObjectURL(new Blob([text], { type: 'text/x-python' }))
    link.download = `${job.name}.py`
    link.click()
    URL.revokeObjectURL(link.href)
  }
  return (
    <button type="button" class="small" disabled={busy} onClick={save}>
      Download<span class="sr"> the script</span>
    </button>
  )
}
