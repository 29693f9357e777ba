/** Requests to the API. A cookie that scripts cannot read says who is logged in. */

import { signal } from '@preact/signals'

import { parseAnswer } from '../words/advice'
import type { components } from './schema'

export type Schemas = components['schemas']
export type Job = Schemas['JobView']
export type Page<Item> = { data: Item[]; has_more: boolean; next?: string | null }

/** A failed request, in the API's own words, or a service that does not respond. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly errors: { pointer: string; detail: string }[] = [],
    /** What a person can choose to do after the refusal. */
    readonly choices: Schemas['ChoiceView'][] = [],
    /** What to send to repair what was refused. */
    readonly request: { body: Record<string, unknown> } | null = null,
  ) {
    super(detail)
  }
}

/** Whether the last request reached the service. */
export const reachable = signal(true)
/** Whether anyone is logged in; null until that is known. */
export const loggedIn = signal<boolean | null>(null)

const UNREACHABLE = 'The service does not respond. It may be restarting, or your connection is down.'

type Options = { method?: string; body?: unknown; headers?: Record<string, string>; signal?: AbortSignal }

/** The response's JSON, or undefined if it has no body. Throws a Problem. */
export async function request<Answer>(path: string, options: Options = {}): Promise<Answer> {
  const answer = await send(path, { ...options, headers: { Accept: 'application/json', ...options.headers } })
  return answer.status === 204 ? (undefined as Answer) : parseAnswer(await answer.text())
}

/** A response as text. Throws a Problem. */
export const getText = async (path: string) => (await send(path, {})).text()

/** Returns once the service has made what is at a path, which should ask it to wait. Throws a Problem. */
export async function waitUntilMade(path: string, signal?: AbortSignal): Promise<true> {
  while ((await send(path, { signal })).status === 202);
  return true
}

/** A successful response. Throws a Problem. */
async function send(path: string, options: Options): Promise<Response> {
  const headers: Record<string, string> = { ...options.headers }
  const { body } = options
  const isForm = body instanceof FormData // whose content type names its boundary, which the browser chooses
  if (body !== undefined && !isForm) headers['Content-Type'] = 'application/json'
  let answer: Response
  try {
    answer = await fetch(path, {
      method: options.method ?? 'GET',
      headers,
      body: isForm ? body : body === undefined ? undefined : JSON.stringify(body),
      signal: options.signal,
    })
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    reachable.value = false
    throw new Problem(0, 'unreachable', UNREACHABLE)
  }
  reachable.value = true
  if (answer.ok) return answer
  const problem = await answer
    .text()
    .then(parseAnswer)
    .catch(() => ({}))
  if (answer.status === 401 && path !== '/v1/session') loggedIn.value = false
  throw new Problem(
    answer.status,
    problem.code ?? 'unknown',
    problem.detail ?? `The service responded with status ${answer.status}.`,
    problem.errors ?? [],
    problem.choices ?? [],
    problem.request ?? null,
  )
}

export const get = <Answer>(path: string, options: Options = {}) => request<Answer>(path, options)
export const post = <Answer>(path: string, body?: unknown) => request<Answer>(path, { method: 'POST', body })

/** A query string without empty values; lists become repeated parameters. */
export function query(values: Record<string, string | number | null | undefined | string[]>): string {
  const parts = new URLSearchParams()
  for (const [name, value] of Object.entries(values)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (item !== null && item !== undefined && item !== '') parts.append(name, String(item))
    }
  }
  const text = parts.toString()
  return text ? `?${text}` : ''
}
