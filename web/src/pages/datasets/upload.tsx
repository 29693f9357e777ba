/** Drop a file, name it, and see how far it is on its way. */

import { useRef, useState } from 'preact/hooks'

import type { Problem } from '../../api/client'
import { createDataset, upload } from '../../api/datasets'
import { DropPlace, SendForm } from '../../parts/drop'
import { Labelled } from '../../parts/labelled'

/** A name that the service takes, made of a file's. */
const nameOf = (file: File) =>
  file.name
    .toLowerCase()
    .replace(/(\.(zip|tar|tgz|gz|npz|parquet))+$/, '')
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[^a-z0-9]+/, '')
    .slice(0, 64) || 'images'

/** `bundled`: names of datasets that come with the service, which one's own can hide. */
export const Upload = ({ bundled }: { bundled: string[] }) => (
  <DropPlace
    label="File with images"
    hint="A zip or tar of class/image or split/class/image, an .npz of arrays, or a Parquet file."
  >
    {(file, cancel) => <UploadForm key={file.name} file={file} bundled={bundled} onCancel={cancel} />}
  </DropPlace>
)

type Choice = {
  name: string
  description: string
  test: string
  validation: string
  seed: string
  side: string
  rule: string
  colour: string
  group: string
  isMerged: boolean
  skips: boolean
}

/** As the service has them where nothing else is said. */
const USUAL = { test: '20', validation: '10', seed: '0' }

/** As the API takes it; what is left as it is is left out. */
const specOf = (choice: Choice) => ({
  name: choice.name,
  ...(choice.description && { description: choice.description }),
  ...(choice.side && { resize: { height: Number(choice.side), width: Number(choice.side), rule: choice.rule } }),
  ...(choice.group && { group_by: choice.group }),
  ...(choice.colour && { colour: choice.colour }),
  ...splitsOf(choice),
  ...(choice.skips && { skip_broken: true }),
})

/** Shares of the form are per cent, those of the API fractions. */
function splitsOf({ test, validation, seed, isMerged }: Choice) {
  const splits = {
    ...(isMerged && { existing: 'merge' }),
    ...(test !== USUAL.test && test && { test: Number(test) / 100 }),
    ...(validation !== USUAL.validation && validation && { validation: Number(validation) / 100 }),
    ...(seed !== USUAL.seed && seed && { seed: Number(seed) }),
  }
  return Object.keys(splits).length > 0 && { splits }
}

type FormProps = { file: File; bundled: string[]; onCancel: () => void }

function UploadForm({ file, bundled, onCancel }: FormProps) {
  const [choice, setChoice] = useState<Choice>({
    ...{ name: nameOf(file), description: '', side: '', rule: 'pad', colour: '', group: '', ...USUAL },
    ...{ isMerged: false, skips: false },
  })
  const announced = useRef<{ id: string; spec: string } | null>(null)
  const change = (part: Partial<Choice>) => setChoice({ ...choice, ...part })

  const send = async (onSent: (bytes: number) => void, signal: AbortSignal) => {
    const spec = specOf(choice)
    // After a failure the same version gets its content, unless something else was said of it meanwhile.
    if (announced.current?.spec !== JSON.stringify(spec)) {
      announced.current = { id: (await createDataset(spec)).id, spec: JSON.stringify(spec) }
    }
    return `/datasets/${(await upload(announced.current.id, file, onSent, signal)).id}`
  }
  const hint = bundled.includes(choice.name)
    ? 'A dataset that comes with Heldout has this name, too. Better choose another.'
    : 'Small letters, digits, dots and dashes.'

  return (
    <SendForm file={file} send={send} onCancel={onCancel}>
      {(problem) => <Fields choice={choice} hint={hint} problem={problem} onChange={change} />}
    </SendForm>
  )
}

type FieldsProps = { choice: Choice; hint: string; problem: Problem | null; onChange: (part: Partial<Choice>) => void }

function Fields({ choice, hint, problem, onChange: change }: FieldsProps) {
  const wrong = (pointer: string) => problem?.errors.find((one) => one.pointer.startsWith(pointer))?.detail
  return (
    <>
      <div class="fields">
        <Labelled id="name" label="Name" hint={hint} error={wrong('/name')}>
          <input
            id="name"
            required
            value={choice.name}
            aria-invalid={wrong('/name') ? true : undefined}
            aria-describedby="name-hint"
            onInput={(event) => change({ name: event.currentTarget.value })}
          />
        </Labelled>
        <Labelled id="description" label="Description">
          <input
            id="description"
            value={choice.description}
            onInput={(event) => change({ description: event.currentTarget.value })}
          />
        </Labelled>
      </div>
      <div class="fields">
        <Share
          id="test"
          label="Test share (%)"
          value={choice.test}
          onChange={(test) => change({ test })}
          wrong={wrong('/splits/test')}
        >
          Images that are met once at the end. More of them make the test figure surer.
        </Share>
        <Share
          id="validation"
          label="Validation share (%)"
          value={choice.validation}
          onChange={(validation) => change({ validation })}
          wrong={wrong('/splits/validation')}
        >
          Of the rest: images that a training is judged by.
        </Share>
      </div>
      <p class="soft">Only splits that the file does not have are cut, from each class alike.</p>
      <details>
        <summary>Sizes, colours, groups, splits</summary>
        <div class="fields">
          <Labelled id="side" label="Resize to (pixels)" hint="Needed where images differ in size." error={wrong('/resize')}>
            <input
              id="side"
              aria-describedby="side-hint"
              type="number"
              min="8"
              max="512"
              value={choice.side}
              onInput={(event) => change({ side: event.currentTarget.value })}
            />
          </Labelled>
          <Labelled id="rule" label="Other proportions">
            <select id="rule" value={choice.rule} onChange={(event) => change({ rule: event.currentTarget.value })}>
              <option value="pad">black bars</option>
              <option value="crop">cut off what hangs over</option>
              <option value="stretch">stretch</option>
            </select>
          </Labelled>
          <Labelled id="colour" label="Colours">
            <select id="colour" value={choice.colour} onChange={(event) => change({ colour: event.currentTarget.value })}>
              <option value="">grey where all images are</option>
              <option value="grey">grey</option>
              <option value="rgb">red, green, blue</option>
            </select>
          </Labelled>
          <Labelled id="seed" label="Seed of the splits" hint="Another number cuts other images." error={wrong('/splits/seed')}>
            <input
              id="seed"
              aria-describedby="seed-hint"
              type="number"
              min="0"
              value={choice.seed}
              onInput={(event) => change({ seed: event.currentTarget.value })}
            />
          </Labelled>
          <Labelled
            id="group"
            label="Groups, by file name"
            hint="A regular expression such as patient(\d+): a group stays in one split."
            error={wrong('/group_by')}
          >
            <input
              id="group"
              aria-describedby="group-hint"
              value={choice.group}
              onInput={(event) => change({ group: event.currentTarget.value })}
            />
          </Labelled>
          <label class="row">
            <input type="checkbox" checked={choice.isMerged} onChange={() => change({ isMerged: !choice.isMerged })} />
            Split all images anew, also where the file has splits
          </label>
          <label class="row">
            <input type="checkbox" checked={choice.skips} onChange={() => change({ skips: !choice.skips })} />
            Pass over files that cannot be read
          </label>
        </div>
      </details>
    </>
  )
}

type ShareProps = {
  id: string
  label: string
  value: string
  onChange: (value: string) => void
  wrong: string | undefined
  children: string
}

const Share = ({ id, label, value, onChange, wrong, children }: ShareProps) => (
  <Labelled id={id} label={label} hint={children} error={wrong}>
    <input
      id={id}
      type="number"
      min="1"
      max="50"
      value={value}
      aria-invalid={wrong ? true : undefined}
      aria-describedby={`${id}-hint`}
      onInput={(event) => onChange(event.currentTarget.value)}
    />
  </Labelled>
)
