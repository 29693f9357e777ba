/** Requests about uploaded models and their evaluations. */

import { get, type Page, post, query, request, type Schemas } from './client'
import { getDocument } from './documents'
import { sendFile } from './upload'

export type Model = Schemas['ModelView']
export type Evaluation = Schemas['EvaluationView']

const ofModel = (id: string) => `/v1/models/${encodeURIComponent(id)}`
const of = (id: string, part = '') => `/v1/evaluations/${encodeURIComponent(id)}${part && `/${part}`}`

export const getModels = (wanted: string, signal?: AbortSignal) => get<Page<Model>>(`/v1/models${wanted}`, { signal })
export const getModel = (id: string, signal?: AbortSignal) => get<Model>(ofModel(id), { signal })
export const getAboutModel = (id: string, signal?: AbortSignal) => getDocument(ofModel(id), signal)
export const removeModel = (id: string) => request<void>(ofModel(id), { method: 'DELETE' })
export const uploadModel = (name: string, file: File, tell: (bytes: number) => void, signal: AbortSignal) =>
  sendFile<Model>('POST', `/v1/models${query({ name })}`, file, tell, signal)

export const getEvaluations = (wanted: string, signal?: AbortSignal) =>
  get<Page<Evaluation>>(`/v1/evaluations${wanted}`, { signal })
export const getEvaluation = (id: string, signal?: AbortSignal) => get<Evaluation>(of(id), { signal })
export const getEvaluationConfusion = (id: string, signal?: AbortSignal) =>
  get<Schemas['ConfusionView']>(of(id, 'confusion'), { signal })
export const getEvaluationDiagnosis = (id: string, signal?: AbortSignal) => getDocument(of(id, 'diagnosis'), signal)
export const getKeptDiagnosis = (id: string, signal?: AbortSignal) =>
  getDocument(`/v1/diagnoses/${encodeURIComponent(id)}`, signal)

export const createEvaluation = (model: string, dataset: string) => post<Evaluation>('/v1/evaluations', { model, dataset })
export const cancelEvaluation = (id: string) => post<Evaluation>(of(id, 'cancel'))
export const removeEvaluation = (id: string) => request<void>(of(id), { method: 'DELETE' })
