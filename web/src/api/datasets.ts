/** Requests about datasets. */

import { get, type Page, post, query, request, type Schemas } from './client'
import { getDocument } from './documents'
import { sendFile } from './upload'

export type Dataset = Schemas['DatasetView']
export type Example = Schemas['ExampleView']
export type Ledger = Schemas['LedgerView']
export type Suspects = Schemas['SuspectsView']
export type Suspect = Schemas['SuspectView']
export type DatasetImage = Schemas['DatasetImageView']
export type DatasetMap = Schemas['MapView']
export type Split = DatasetImage['split']
export type Effect = Schemas['EffectView']
export type Changes = Record<string, unknown>

export const SPLITS: Split[] = ['train', 'validation', 'test']

const of = (id: string, part = '') => `/v1/datasets/${encodeURIComponent(id)}${part && `/${part}`}`

export const getDatasets = (wanted: string, signal?: AbortSignal) => get<Page<Dataset>>(`/v1/datasets${wanted}`, { signal })
export const getDataset = (id: string, signal?: AbortSignal) => get<Dataset>(of(id), { signal })
export const getAbout = (id: string, signal?: AbortSignal) => getDocument(of(id), signal)
export const getAudit = (id: string, signal?: AbortSignal) => getDocument(of(id, 'audit'), signal)
/** What a first job should start from; undefined for datasets without an audit. Throws a Problem. */
export const getStart = (id: string, signal?: AbortSignal) =>
  get<Schemas['AuditView']>(of(id, 'audit'), { signal }).then(({ start }) => start ?? undefined)
export const getLedger = (id: string, signal?: AbortSignal) => get<Ledger>(of(id, 'ledger'), { signal })
export const getSuspects = (id: string, asked: { after?: number; again?: string }, signal?: AbortSignal) =>
  get<Suspects>(of(id, `suspects${query({ limit: 24, ...asked })}`), { signal })
export const getImages = (
  id: string,
  asked: { split: Split; class: string; after: number; limit: number },
  signal?: AbortSignal,
) => get<Schemas['DatasetImagePage']>(of(id, `images${query(asked)}`), { signal })

/** job: whose answers the points get, if it used these images. */
export const getMap = (id: string, job: string, signal?: AbortSignal) =>
  get<DatasetMap>(of(id, `map${query({ job })}`), { signal })
export const getSimilar = (id: string, index: number, signal?: AbortSignal) =>
  get<Schemas['SimilarView']>(of(id, `images/${index}/similar`), { signal })

export const createDataset = (spec: Record<string, unknown>) => post<Dataset>('/v1/datasets', spec)
export const removeDataset = (id: string) => request<void>(of(id), { method: 'DELETE' })
export const getEffect = (id: string, changes: Changes, signal?: AbortSignal) =>
  request<Effect>(of(id, 'versions/effect'), { method: 'POST', body: changes, signal })
export const fix = (id: string, changes: Changes) => post<Dataset>(of(id, 'versions'), changes)
/** Have an upload that was refused for the sizes of its images read again. */
export const resizeUpload = (id: string, side: number, rule: string) =>
  post<Dataset>(of(id, 'resize'), { height: side, width: side, rule })

/** Send a dataset's content and tell how much of it is there. Throws a Problem. */
export const upload = (id: string, content: Blob, tell: (bytes: number) => void, signal: AbortSignal) =>
  sendFile<Dataset>('PUT', of(id, 'content'), content, tell, signal)
