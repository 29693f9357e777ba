/** Drop a model's file, name it, and see how far it is on its way. */

import { useState } from 'preact/hooks'

import { uploadModel } from '../../api/models'
import { DropPlace, SendForm } from '../../parts/drop'
import { Labelled } from '../../parts/labelled'

const LONGEST_NAME = 128

export const Upload = () => (
  <DropPlace label="File with a model" hint="A .keras file of Keras' own layers, or an ONNX file that holds its weights.">
    {(file, cancel) => <UploadForm key={file.name} file={file} onCancel={cancel} />}
  </DropPlace>
)

function UploadForm({ file, onCancel }: { file: File; onCancel: () => void }) {
  const [name, setName] = useState(file.name.slice(0, LONGEST_NAME))
  return (
    <SendForm
      file={file}
      send={async (onSent, signal) => `/models/${(await uploadModel(name.trim(), file, onSent, signal)).id}`}
      onCancel={onCancel}
      isReady={Boolean(name.trim())}
    >
      {() => (
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
      )}
    </SendForm>
  )
}
