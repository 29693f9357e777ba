/** The network of a new job: blocks, or an uploaded Keras model with what can be changed about it. */

import { useEffect, useRef, useState } from 'preact/hooks'

import { Problem } from '../../api/client'
import { getModels, type Model, uploadModel } from '../../api/models'
import { Labelled } from '../../parts/labelled'
import { useLive, useLoaded } from '../../parts/load'
import { Segments } from '../../parts/segments'
import { labelOf } from '../../words/fields'
import { bytes, count, percent } from '../../words/format'
import { givesWord, takesWord } from '../../words/models'
import { AnyField, Fields, type Form, Said } from './fields'
import { isOwn } from './fitting'
import { changed, type Value } from './schema'

const PATH = ['network']
type Kind = 'blocks' | 'own'
const KINDS: [Kind, string][] = [
  ['blocks', 'Blocks'],
  ['own', 'My own Keras network'],
]

type Props = {
  form: Form
  /** Is called when the chosen model has been read, so that the spec is judged again. */
  onRead: () => void
}

export function NetworkField({ form, onRead }: Props) {
  const { network, name } = form.spec as Record<string, Value>
  const chosen: Kind = isOwn(network) ? 'own' : 'blocks'
  // What was set for the other kind comes back with it. An example's name is not that of another network.
  const [other, setOther] = useState<{ network: Value; name?: Value }>({
    network: chosen === 'own' ? { blocks: [{ filters: 32 }] } : { model: '' },
  })
  const choose = (kind: Kind) => {
    if (kind === chosen) return
    form.set(changed(changed(form.spec, PATH, other.network), ['name'], other.name))
    setOther({ network, name })
  }
  return (
    <>
      <Segments label="Kind of network" choices={KINDS} chosen={chosen} onChoose={choose} />
      {chosen === 'own' ? (
        <OwnNetwork form={form} onRead={onRead} />
      ) : (
        <AnyField form={form} path={PATH} schema={form.all.NetworkSpec!} />
      )}
    </>
  )
}

function OwnNetwork({ form, onRead }: Props) {
  const fields = Object.entries(form.all.OwnNetworkSpec!.properties ?? {}).filter(([name]) => name !== 'model')
  return (
    <fieldset class="group">
      <legend>{labelOf(PATH)}</legend>
      <Said form={form} path={PATH} />
      <ModelField form={form} onRead={onRead} />
      <Fields form={form} path={PATH} fields={fields} />
    </fieldset>
  )
}

/** Models that can be a network. Those that are still being checked are shown, too: one was perhaps just uploaded. */
const canTrain = ({ format, status }: Model) => status === 'checking' || (status === 'ready' && format === 'keras')

function ModelField({ form, onRead }: Props) {
  const id = '/network/model'
  const value = String((form.spec as { network: { model?: string } }).network.model ?? '')
  const models = useLoaded('models', (signal) => getModels('?limit=200', signal))
  useLive((event) => event.subject.object === 'model', models.reload)
  const choose = (model: string) => form.set(changed(form.spec, ['network', 'model'], model))
  const found = models.data?.data ?? []
  const chosen = found.find((model) => model.id === value)
  const offered = found.filter((model) => canTrain(model) || model.id === value)
  const checking = useRef('')
  useEffect(() => {
    if (chosen?.status === 'checking') checking.current = chosen.id
    else if (chosen?.id === checking.current) onRead()
  }, [chosen?.id, chosen?.status])
  const newest = offered[0]?.id
  useEffect(() => {
    if (!value && newest) choose(newest)
  }, [value, newest])
  const error = chosen?.error?.detail ?? (value ? form.errors.get(id) : undefined)
  return (
    <div class="fields">
      <Labelled id={id} label={labelOf(['network', 'model'])} hint={chosen ? describe(chosen) : ''} error={error}>
        <select
          id={id}
          value={value}
          aria-invalid={error ? true : undefined}
          aria-describedby={`${id}-hint`}
          onChange={(event) => choose(event.currentTarget.value)}
        >
          <option value="">Choose a model</option>
          {value && !chosen && <option value={value}>{value}</option>}
          {offered.map((model) => (
            <option key={model.id} value={model.id}>
              {model.name}, {model.status === 'ready' ? `${count(model.parameters)} parameters` : model.status}
            </option>
          ))}
        </select>
      </Labelled>
      <UploadField
        onUploaded={(model) => {
          choose(model.id)
          models.reload()
        }}
      />
    </div>
  )
}

const describe = (model: Model) =>
  model.status === 'checking'
    ? 'A worker is reading the file.'
    : `Takes ${takesWord(model)}. Gives ${givesWord(model)}.${model.weights === false ? ' Has no weights.' : ''}`

/** Chooses a file and sends it at once: a form in the form is not possible. */
function UploadField({ onUploaded }: { onUploaded: (model: Model) => void }) {
  const id = 'model-file'
  const [sending, setSending] = useState<{ sent: number; size: number } | null>(null)
  const [error, setError] = useState('')
  const stop = useRef<AbortController | null>(null)
  const send = async (file: File) => {
    setError('')
    stop.current = new AbortController()
    const { size } = file
    try {
      onUploaded(await uploadModel(file.name.slice(0, 128), file, (sent) => setSending({ sent, size }), stop.current.signal))
    } catch (failed) {
      setError(failed instanceof Problem ? failed.detail : String(failed))
    }
    setSending(null)
  }
  return (
    <Labelled id={id} label="Or upload one" hint="A .keras file, or the .json of `model.to_json()`." error={error}>
      {sending ? (
        <div class="progress-line">
          <progress id={id} value={sending.sent} max={sending.size || 1} />
          <span class="number">
            {percent(sending.size ? Math.min(1, sending.sent / sending.size) : 1, 0)} of {bytes(sending.size)}
          </span>
          <button type="button" class="danger" onClick={() => stop.current?.abort()}>
            Stop
          </button>
        </div>
      ) : (
        <input
          id={id}
          type="file"
          accept=".keras,.json"
          aria-describedby={`${id}-hint`}
          onChange={(event) => {
            const file = event.currentTarget.files?.[0]
            if (file) void send(file)
          }}
        />
      )}
    </Labelled>
  )
}
