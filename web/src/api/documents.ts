/** Documents: what the service says of a thing, laid out in blocks. */

import { get, type Schemas } from './client'

export type Document = Schemas['Document']
export type Block = Document['blocks'][number]

/** The document at the same address as the answer in fields. */
export const getDocument = (path: string, signal?: AbortSignal) =>
  get<Document>(path, { signal, headers: { Accept: 'application/vnd.heldout.document+json' } })
