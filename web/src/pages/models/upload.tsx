/** Drop a model's file, name it, and see how far it is on its way. */

import { useEffect, useState } from 'preact/hooks'

import { uploadModel } from '../../api/models'
import { DropPlace, DroppedItem, SendForm } from '../../parts/drop'
import type { Dropped } from '../../parts/dropping'
import { Labelled } from '../../parts/labelled'

const LONGEST_NAME = 128

export const Upload = () => (
  <DropPlace
    label="File with a model"
    hint="A .keras file of Keras layers, the JSON of model.to_json(), or ONNX with its weights."
  >
    {(dropped, again) => <UploadForm dropped={dropped} onAgain={again} />}
  </DropPlace>
)

function UploadForm({ dropped, onAgain }: { dropped: Dropped[]; onAgain: () => void }) {
  const file = dropped.find(({ path }) => !path.includes('/'))?.file
  const [name, setName] = useState('')
  useEffect(() => {
    if (file) setName(file.name.slice(0, LONGEST_NAME))
  }, [file])
  return (
    <SendForm
      size={file?.size ?? 0}
      send={async (onSent, signal) => `/models/${(await uploadModel(name.trim(), file!, onSent, signal)).id}`}
      onAgain={onAgain}
      isReady={Boolean(file && name.trim())}
    >
      {() => (
        <>
          <ul class="dropped">
            {dropped.map((item) => (
              <DroppedItem
                key={item.path}
                name={item.path}
                what=""
                size={item.file?.size ?? 0}
                why={item.file === file ? '' : 'A model is one file. Upload each on its own.'}
              />
            ))}
          </ul>
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
        </>
      )}
    </SendForm>
  )
}
