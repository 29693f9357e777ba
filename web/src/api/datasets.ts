/** What pages ask of datasets. */

import { type Page, Problem, type Schemas, get, loggedIn, post, query, reachable, request } from './client'

export type Dataset = Schemas['DatasetView']
export type Audit = Schemas['AuditView']
export type AuditFinding = Schemas['AuditFindingView']
export type Example = Schemas['ExampleView']
export type Ledger = Schemas['LedgerView']
export type Suspects = Schemas['SuspectsView']
export type Suspect = Schemas['SuspectView']
export type DatasetImage = Schemas['DatasetImageView']
export type Split = DatasetImage['split']
export type Changes = Record<string, unknown>

export const SPLITS: Split[] = ['train', 'validation', 'test']

const of = (id: string, part = '') => `/v1/datasets/${encodeURIComponent(id)}${part && `/${part}`}`

export const getDatasets = (wanted: string, signal?: AbortSignal) => get<Page<Dataset>>(`/v1/datasets${wanted}`, { signal })
export const getDataset = (id: string, signal?: AbortSignal) => get<Dataset>(of(id), { signal })
export const getAudit = (id: string, signal?: AbortSignal) => get<Audit>(of(id, 'audit'), { signal })
export const getLedger = (id: string, signal?: AbortSignal) => get<Ledger>(of(id, 'ledger'), { signal })
export const getSuspects = (id: string, asked: { after?: number; again?: string }, signal?: AbortSignal) =>
  get<Suspects>(of(id, `suspects${query({ limit: 24, ...asked })}`), { signal })
export const getImages = (
  id: string,
  asked: { split: Split; class: string; after: number; limit: number },
  signal?: AbortSignal,
) => get<Schemas['DatasetImagePage']>(of(id, `images${query(asked)}`), { signal })

export const createDataset = (spec: Record<string, unknown>) => post<Dataset>('/v1/datasets', spec)
export const removeDataset = (id: string) => request<void>(of(id), { method: 'DELETE' })
export const mend = (id: string, changes: Changes) =>
  post<Dataset>(of(id, 'versions'), changes)

/** Send a file and tell how much of it is there. Only XMLHttpRequest knows how far an upload is. Throws a Problem. */
export function upload(id: string, file: File, tell: (bytes: number) => void, signal: AbortSignal): Promise<Dataset> {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest()
    sending.open('PUT', of(id, 'content'))
    sending.setRequestHeader('Content-Type', 'application/octet-stream')
    sending.setRequestHeader('Accept', 'application/json')
    sending.upload.onprogress = (event) => tell(event.loaded)
    sending.onload = () => {
      const body = readJson(sending.responseText)
      if (sending.status < 300) return resolve(body as Dataset)
      if (sending.status === 401) loggedIn.value = false
      reject(new Problem(sending.status, body.code ?? 'unknown', body.detail ?? `The service answered ${sending.status}.`))
    }
    sending.onerror = () => {
      reachable.value = false
      reject(new Problem(0, 'unreachable', 'The connection broke. Send the file again: it begins anew.'))
    }
    sending.onabort = () => reject(new Problem(0, 'stopped', 'You have stopped the upload.'))
    signal.addEventListener('abort', () => sending.abort())
    sending.send(file)
  })
}

function readJson(text: string): { code?: string; detail?: string } {
  try {
    return JSON.parse(text)
  } catch {
    return {}
  }
}
