/** Requests about studies. */

import { get, type Page, post, query, request, type Schemas } from './client'
import { getDocument } from './documents'

export type Study = Schemas['StudyView']
export type StudyEstimate = Schemas['StudyEstimateView']
export type StudyOrder = Record<string, unknown>

const of = (id: string, part = '') => `/v1/studies/${encodeURIComponent(id)}${part && `/${part}`}`

/** The address of the report as a page. */
export const reportPage = (id: string) => of(id, 'report')

export const getStudies = (wanted: string, signal?: AbortSignal) => get<Page<Study>>(`/v1/studies${wanted}`, { signal })
export const getStudy = (id: string, signal?: AbortSignal) => get<Study>(of(id), { signal })
export const getReport = (id: string, signal?: AbortSignal) => getDocument(of(id, 'report'), signal)
export const getStudyEvents = (id: string, after: number, signal?: AbortSignal) =>
  get<Schemas['EventPage']>(of(id, `events${query({ after, limit: 200 })}`), { signal })

export const cancelStudy = (id: string) => post<Study>(of(id, 'cancel'))
export const removeStudy = (id: string) => request<void>(of(id), { method: 'DELETE' })
export const createStudy = (order: StudyOrder) => post<Study>('/v1/studies', order)
export const estimateStudy = (order: StudyOrder, signal?: AbortSignal) =>
  request<StudyEstimate>('/v1/studies?dry_run=true', { method: 'POST', body: order, signal })
