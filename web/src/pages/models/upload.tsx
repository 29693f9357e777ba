/** Drop a model's file, name it, and see how far it is on its way. */

import { useRef, useState } from 'preact/hooks'

import { Problem } from '../../api/client'
import { uploadModel } from '../../api/models'
import { DropPlace, Sending } from '../../parts/drop'
import { Labelled } from '../../parts/labelled'
import { go } from '../../parts/router'
import { bytes } from '../../words/format'

const LONGEST_NAME = 128

export const Upload = () => (
  <DropPlace label="File with a model" hint="A .keras file of Keras' own layers, or an ONNX file that holds its weights.">
    {(file, cancel) => <UploadForm key={file.name} file={file} onCancel={cancel} />}
  </DropPlace>
)

function UploadForm({ file, onCancel }: { file: File; onCancel: () => void }) {
  const [name, setName] = useState(file.name.slice(0, LONGEST_NAME))
  const [sent, setSent] = useState<number | null>(null)
  const [problem, setProblem] = useState<Problem | null>(null)
  const stop = useRef<AbortController | null>(null)
  const send = async () => {
    setProblem(null)
    setSent(0)
    stop.current = new AbortController()
    try {
      const model = await uploadModel(name.trim(), file, setSent, stop.current.signal)
      go(`/models/${model.id}`)
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, 'unknown', String(error)))
      setSent(null)
    }
  }
  return (
    <form
      class="upload"
      onSubmit={(event) => {
        event.preventDefault()
        void send()
      }}
    >
      <p>
        <strong>{file.name}</strong> <span class="soft">{bytes(file.size)}</span>
      </p>
      <div class="fields">
        <Labelled id="name" label="Name">
          <input
            id="name"
            required
            maxLength={LONGEST_NAME}
            value={name}
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </Labelled>
      </div>
      {problem && (
        <p class="said" role="alert">
          {problem.detail}
        </p>
      )}
      {sent === null ? (
        <div class="row">
          <button type="submit" class="primary" disabled={!name.trim()}>
            {problem ? 'Send again' : 'Upload'}
          </button>
          <button type="button" onClick={onCancel}>
            Another file
          </button>
        </div>
      ) : (
        <Sending sent={sent} size={file.size} onStop={() => stop.current?.abort()} />
      )}
    </form>
  )
}
