/** The spec's JSON Schema, as a form needs it: kinds of fields in place of references and alternatives. */

export type Schema = {
  $ref?: string
  type?: string
  title?: string
  description?: string
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  prefixItems?: Schema[]
  enum?: string[]
  const?: string
  anyOf?: Schema[]
  oneOf?: Schema[]
  default?: unknown
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  exclusiveMaximum?: number
  maxItems?: number
}
export type Schemas = Record<string, Schema>

export type Field = { description: string; default: unknown; mayBeNull: boolean } & (
  | { kind: 'group'; fields: [string, Schema][] }
  | { kind: 'list'; item: Schema; most: number }
  | { kind: 'variants'; variants: Schema[] }
  | { kind: 'choice'; choices: string[] }
  | { kind: 'switch' }
  | { kind: 'number'; whole: boolean; least?: number; most?: number }
  | { kind: 'text' }
  | { kind: 'json' }
)

function resolved(schema: Schema, all: Schemas): Schema {
  if (!schema.$ref) return schema
  return { ...all[schema.$ref.split('/').pop()!], ...schema, $ref: undefined }
}

/** What a value can be, without null: alternatives of alternatives in one list. */
function alternatives(schema: Schema, all: Schemas): Schema[] {
  const own = resolved(schema, all)
  const below = own.anyOf ?? own.oneOf
  return below ? below.flatMap((each) => alternatives(each, all)) : [own]
}

export function fieldOf(schema: Schema, all: Schemas): Field {
  const every = alternatives(schema, all)
  const some = every.filter((variant) => variant.type !== 'null')
  const first = some[0] ?? {}
  const about = {
    description: schema.description ?? (some.length === 1 ? first.description : '') ?? '',
    default: schema.default ?? null,
    mayBeNull: some.length < every.length,
  }
  if (some.length > 1) {
    return some.every((variant) => variant.properties)
      ? { ...about, kind: 'variants', variants: some }
      : { ...about, kind: 'json' }
  }
  if (first.properties) return { ...about, kind: 'group', fields: Object.entries(first.properties) }
  if (first.type === 'array' && first.items && resolved(first.items, all).properties)
    return { ...about, kind: 'list', item: first.items, most: first.maxItems ?? 99 }
  if (first.enum) return { ...about, kind: 'choice', choices: first.enum }
  if (first.type === 'boolean') return { ...about, kind: 'switch' }
  if (first.type === 'integer' || first.type === 'number') {
    const [least, most] = [first.minimum ?? first.exclusiveMinimum, first.maximum ?? first.exclusiveMaximum]
    return { ...about, kind: 'number', whole: first.type === 'integer', least, most }
  }
  return first.type === 'string' && !first.const ? { ...about, kind: 'text' } : { ...about, kind: 'json' }
}

/** The field that distinguishes the variants of an object, and its value for this one. */
export function tagOf(variant: Schema, all: Schemas): [string, string] | null {
  for (const [name, schema] of Object.entries(variant.properties ?? {})) {
    const tag = alternatives(schema, all).find((alternative) => alternative.const)?.const
    if (tag) return [name, tag]
  }
  return null
}

export type Value = unknown
export type Path = (string | number)[]

/** A copy of the value with `to` at the path. Undefined removes the field. */
export function changed(value: Value, path: Path, to: Value): Value {
  const [first, ...rest] = path
  if (first === undefined) return to
  if (typeof first === 'number') {
    const list = Array.isArray(value) ? [...value] : []
    list[first] = changed(list[first], rest, to)
    return list
  }
  const object = { ...((value ?? {}) as Record<string, Value>) }
  const next = changed(object[first], rest, to)
  if (next === undefined) delete object[first]
  else object[first] = next
  return object
}

export function at(value: Value, path: Path): Value {
  return path.reduce<Value>((inner, part) => (inner as Record<string | number, Value> | undefined)?.[part], value)
}

export const pointerOf = (path: Path) => path.map((part) => `/${part}`).join('')
