/** Requests about jobs. */

import { get, getText, type Page, post, query, request, type Schemas, waitUntilMade } from './client'
import { getDocument } from './documents'

export type Job = Schemas['JobView']
export type ListedJob = Schemas['ListedJobView']
export type Metrics = Schemas['MetricsView']
export type Epoch = Schemas['EpochView']
export type Diagnosis = Schemas['DiagnosisView']
export type Confusion = Schemas['ConfusionView']
export type Cell = Schemas['CellView']
export type Export = Schemas['ListedExportView']
export type Queue = Schemas['QueueView']
export type Estimate = Schemas['EstimateView']
export type Prediction = Schemas['PredictionView']
export type Spec = Record<string, unknown>

/** How long one request waits for something that a worker computes. */
const WAIT_S = 30
/** How many classes of an image are named, the most probable first. */
const NAMED_CLASSES = 3
/** Points of a curve in a row of the list. */
export const SPARK_POINTS = 24
/** Points of a curve that a chart shows at most; the service keeps all peaks. */
export const CHART_POINTS = 600

const of = (id: string, part = '') => `/v1/jobs/${encodeURIComponent(id)}${part && `/${part}`}`

export const getJobs = (wanted: string, signal?: AbortSignal) => get<Page<ListedJob>>(`/v1/jobs${wanted}`, { signal })
export const cancelJobs = (ids: string[]) => post<Schemas['CancellationView']>('/v1/jobs/cancel', { ids })
export const getJob = (id: string, signal?: AbortSignal) => get<Job>(of(id), { signal })
export const getMetrics = (id: string, signal?: AbortSignal) =>
  get<Metrics>(of(id, `metrics${query({ points: CHART_POINTS })}`), { signal })
export const getLaidOutDiagnosis = (id: string, signal?: AbortSignal) => getDocument(of(id, 'diagnosis'), signal)
export const getDiagnosis = (id: string, signal?: AbortSignal) => get<Diagnosis>(of(id, 'diagnosis'), { signal })
export const getConfusion = (id: string, signal?: AbortSignal) => get<Confusion>(of(id, 'confusion'), { signal })
export const getCell = (id: string, wanted: string, signal?: AbortSignal) =>
  get<Cell>(of(id, `confusion/images${wanted}`), { signal })
export const heatmapAddress = (id: string, index: number, shown: 'answer' | 'label', wait?: number) =>
  of(id, `images/${index}/heatmap${query({ of: shown, wait })}`)
export const makeHeatmap = (id: string, index: number, signal?: AbortSignal) =>
  waitUntilMade(heatmapAddress(id, index, 'answer', WAIT_S), signal)
export const getMemorized = (id: string, asked: { class: string; after: number; limit: number }, signal?: AbortSignal) =>
  get<Schemas['MemorizedPage']>(of(id, `memorized${query(asked)}`), { signal })
export const getExports = (id: string, signal?: AbortSignal) => get<Schemas['ExportList']>(of(id, 'exports'), { signal })
export const getQueue = (id: string, signal?: AbortSignal) => get<Queue>(of(id, 'queue'), { signal })
export const getEvents = (id: string, after: number, signal?: AbortSignal) =>
  get<Schemas['EventPage']>(of(id, `events${query({ after, limit: 200 })}`), { signal })

export const act = (id: string, action: 'cancel' | 'pause' | 'resume') => post<Job>(of(id, action))
export const retry = (id: string, change: Record<string, unknown> = {}) => post<Job>(of(id, 'retry'), change)
export const createExport = (id: string, format: string) => post<unknown>(of(id, `model${query({ format })}`))
export const modelAddress = (id: string, format: string) => of(id, `model${query({ format })}`)
export const getScript = (id: string) => getText(of(id, `model${query({ format: 'python' })}`))
export const cardAddress = (id: string) => of(id, 'card')
export const remove = (id: string) => request<void>(of(id), { method: 'DELETE' })
export const rename = (id: string, name: string) => request<Job>(of(id), { method: 'PATCH', body: { name } })
export const createJob = (spec: Spec) => post<Job>('/v1/jobs', spec)
export const estimate = (spec: Spec, signal?: AbortSignal) =>
  request<Estimate>('/v1/jobs?dry_run=true', { method: 'POST', body: spec, signal })

/** What the job's network says of images; the first request waits until the network is ready for it. */
export function predict(id: string, images: File[], signal?: AbortSignal) {
  const body = new FormData()
  for (const image of images) body.append('images', image, image.name)
  return request<Schemas['PredictionsView']>(of(id, `predict${query({ top_k: NAMED_CLASSES })}`), {
    method: 'POST',
    body,
    signal,
  })
}
