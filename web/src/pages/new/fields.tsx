/** Fields of a form, one for each kind that the spec's schema knows. */

import { useEffect, useState } from 'preact/hooks'

import { Labelled } from '../../parts/labelled'
import { Typed } from '../../parts/typed'
import { ITEMS, labelOf, withFieldWords } from '../../words/fields'
import { plain } from '../../words/format'
import { parted } from './labels'
import { at, changed, type Field, fieldOf, type Path, pointerOf, type Schema, type Schemas, tagOf, type Value } from './schema'

export type Form = {
  all: Schemas
  spec: Value
  set: (spec: Value) => void
  /** What is wrong, by JSON pointer. */
  errors: ReadonlyMap<string, string>
  /** Fields whose value is shown elsewhere or means nothing. They do not open "More settings". */
  quiet: ReadonlySet<string>
}
type Props = { form: Form; path: Path; schema: Schema }

/** Parts that are off where they are absent; other parts have their defaults then. */
const OFF_WHEN_ABSENT = new Set([
  'augmentation',
  'backbone',
  'initial',
  'validation',
  'early_stopping',
  'random_crop',
  'unfreeze_at',
])

/** What a field means, and its bounds. */
const hintOf = (description: string, bounds = '') => [withFieldWords(description), bounds].filter(Boolean).join(' · ')

export function AnyField({ form, path, schema }: Props) {
  const field = fieldOf(schema, form.all)
  if (field.kind === 'group') return <Group form={form} path={path} field={field} />
  if (field.kind === 'list') return <List form={form} path={path} field={field} />
  if (field.kind === 'variants') return <Variants form={form} path={path} field={field} />
  return <Plain form={form} path={path} field={field} />
}

function Group({ form, path, field }: { form: Form; path: Path; field: Field & { kind: 'group' } }) {
  const name = String(path[path.length - 1])
  const value = at(form.spec, path)
  const canBeOff = OFF_WHEN_ABSENT.has(name)
  const isOn = !canBeOff || (value !== undefined && value !== null)
  return (
    <fieldset class="group">
      <legend>
        {canBeOff ? (
          <label class="row">
            <input type="checkbox" checked={isOn} onChange={() => form.set(changed(form.spec, path, isOn ? undefined : {}))} />
            {labelOf(path)}
          </label>
        ) : (
          labelOf(path)
        )}
      </legend>
      <Said form={form} path={path} />
      {isOn && <Fields form={form} path={path} fields={field.fields} />}
    </fieldset>
  )
}

/** The fields of a group that most people need, and the others behind "More settings", open where one is not as usual. */
export function Fields({ form, path, fields }: { form: Form; path: Path; fields: [string, Schema][] }) {
  const [shown, folded] = parted(path, fields)
  const isOther = folded.some(
    ([name, schema]) => !form.quiet.has(name) && isChanged(at(form.spec, [...path, name]), fieldOf(schema, form.all), form.all),
  )
  const isWrong = folded.some(([name]) =>
    [...form.errors.keys()].some((pointer) => pointer.startsWith(pointerOf([...path, name]))),
  )
  const [isOpen, setOpen] = useState(isOther)
  useEffect(() => {
    if (isOther || isWrong) setOpen(true)
  }, [isOther, isWrong])
  const each = ([name, schema]: [string, Schema]) => <AnyField key={name} form={form} path={[...path, name]} schema={schema} />
  return (
    <>
      <div class="fields">{shown.map(each)}</div>
      {folded.length > 0 && (
        <details class="more" open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
          <summary>
            More settings<span class="sr"> of {labelOf(path)}</span>
          </summary>
          {isOpen && <div class="fields">{folded.map(each)}</div>}
        </details>
      )}
    </>
  )
}

/** Whether a value is there and not what its absence means. */
function isChanged(value: Value, field: Field, all: Schemas): boolean {
  if (value === undefined || value === null) return false
  if (field.kind === 'group') {
    return field.fields.some(([name, schema]) => isChanged((value as Record<string, Value>)[name], fieldOf(schema, all), all))
  }
  if (field.kind === 'list') return Array.isArray(value) && value.length > 0
  return JSON.stringify(value) !== JSON.stringify(field.default)
}

function List({ form, path, field }: { form: Form; path: Path; field: Field & { kind: 'list' } }) {
  const items = (at(form.spec, path) as Value[] | undefined) ?? []
  const name = String(path[path.length - 1])
  // Behind a backbone there may be no block, and a spec has to say so.
  const set = (next: Value[]) => form.set(changed(form.spec, path, next.length || name === 'blocks' ? next : undefined))
  const item = ITEMS[name] ?? labelOf(path)
  const inside = fieldOf(field.item, form.all)
  return (
    <fieldset class="group">
      <legend>{labelOf(path)}</legend>
      <Said form={form} path={path} />
      <div class="items">
        {items.map((_, place) => (
          <fieldset key={place} class="item">
            <legend>
              {item} {place + 1}
              <button type="button" class="small quiet" onClick={() => set(items.filter((_, other) => other !== place))}>
                Remove
                <span class="sr">
                  {' '}
                  {item} {place + 1}
                </span>
              </button>
            </legend>
            <Said form={form} path={[...path, place]} />
            {inside.kind === 'group' && <Fields form={form} path={[...path, place]} fields={inside.fields} />}
          </fieldset>
        ))}
      </div>
      <button
        type="button"
        class="small"
        disabled={items.length >= field.most}
        onClick={() => set([...items, structuredClone(items[items.length - 1] ?? firstItem(field.item, form.all))])}
      >
        Add a {item.toLowerCase()}
      </button>
    </fieldset>
  )
}

/** A first item of a list has what an item must have. */
function firstItem(schema: Schema, all: Schemas): Value {
  const item = fieldOf(schema, all)
  const names = item.kind === 'group' ? item.fields.map(([name]) => name) : []
  return names.includes('filters') ? { filters: 32 } : names.includes('units') ? { units: 64 } : {}
}

function Variants({ form, path, field }: { form: Form; path: Path; field: Field & { kind: 'variants' } }) {
  const value = at(form.spec, path) as Record<string, Value> | null | undefined
  const tags = field.variants.map((variant) => tagOf(variant, form.all))
  const place = tags.findIndex((tag, index) =>
    value == null
      ? false
      : tag
        ? value[tag[0]] === tag[1]
        : !tags.some((other, i) => i !== index && other && value[other[0]] === other[1]),
  )
  const choose = (to: number) => {
    const tag = tags[to]
    const required = field.variants[to]?.required ?? []
    const first = tag ? { [tag[0]]: tag[1] } : Object.fromEntries(required.map((name) => [name, 5]))
    form.set(changed(form.spec, path, to < 0 ? undefined : first))
  }
  const names = field.variants.map((variant, index) => tags[index]?.[1] ?? (variant.required?.[0] || 'other'))
  const id = pointerOf(path)
  const fields = Object.entries(field.variants[place]?.properties ?? {}).filter(([name]) => name !== tags[place]?.[0])
  return (
    <fieldset class="group">
      <legend>{labelOf(path)}</legend>
      <Said form={form} path={path} />
      <div class="fields">
        <Labelled id={id} label="Kind" hint={field.variants[place]?.description ?? field.description}>
          <select id={id} value={place} onChange={(event) => choose(Number(event.currentTarget.value))}>
            <option value={-1}>default</option>
            {names.map((name, index) => (
              <option key={name} value={index}>
                {plain(name)}
              </option>
            ))}
          </select>
        </Labelled>
        {fields.map(([name, schema]) => (
          <AnyField key={name} form={form} path={[...path, name]} schema={schema} />
        ))}
      </div>
    </fieldset>
  )
}

type PlainField = Exclude<Field, { kind: 'group' | 'list' | 'variants' }>

function Plain({ form, path, field }: { form: Form; path: Path; field: PlainField }) {
  const id = pointerOf(path)
  const value = at(form.spec, path)
  const error = form.errors.get(id)
  const set = (to: Value) => form.set(changed(form.spec, path, to))
  const common = { id, 'aria-invalid': error ? true : undefined, 'aria-describedby': `${id}-hint` }
  const usual = field.default === null ? '' : String(field.default)
  if (field.kind === 'switch') {
    return (
      <Labelled id={id} label={labelOf(path)} hint={hintOf(field.description)} error={error} inline>
        <input
          {...common}
          type="checkbox"
          checked={(value ?? field.default) === true}
          onChange={(event) => set(event.currentTarget.checked)}
        />
      </Labelled>
    )
  }
  if (field.kind === 'choice') {
    return (
      <Labelled id={id} label={labelOf(path)} hint={hintOf(field.description)} error={error}>
        <select {...common} value={String(value ?? usual)} onChange={(event) => set(event.currentTarget.value || undefined)}>
          {field.mayBeNull && <option value="">default</option>}
          {field.choices.map((choice) => (
            <option key={choice} value={choice}>
              {plain(choice)}
            </option>
          ))}
        </select>
      </Labelled>
    )
  }
  const bounds =
    field.kind === 'number' && field.least !== undefined ? `${field.least} to ${field.most?.toLocaleString('en')}` : ''
  return (
    <Labelled id={id} label={labelOf(path)} hint={hintOf(field.description, bounds)} error={error}>
      <Typed
        {...common}
        inputMode={field.kind === 'number' ? (field.whole ? 'numeric' : 'decimal') : undefined}
        placeholder={usual}
        value={value === undefined || value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value)}
        onDone={(text) => set(parsed(text, field))}
      />
    </Labelled>
  )
}

/** What was typed, as its kind of value; the service says what is wrong with anything else. */
function parsed(text: string, field: PlainField): Value {
  if (!text.trim()) return undefined
  if (field.kind === 'number') return Number.isFinite(Number(text)) ? Number(text) : text
  if (field.kind === 'json') {
    try {
      return JSON.parse(text)
    } catch {
      return text
    }
  }
  return text
}

/** What is wrong with a part as a whole. */
export const Said = ({ form, path }: { form: Form; path: Path }) => {
  const error = form.errors.get(pointerOf(path))
  return error ? (
    <p class="hint wrong" role="alert">
      {error}
    </p>
  ) : null
}
