/** Shown in place of data: loading, nothing there, or what went wrong and what to do. */

import type { ComponentChildren } from 'preact'

import type { Problem } from '../api/client'
import PAGES from '../pages.json'
import { placeOf } from '../words/fields'
import { plain } from '../words/format'
import { path } from './router'

/** Shown only after a moment, so that fast responses do not flicker. */
export const Loading = ({ what }: { what: string }) => (
  <p class="state loading" role="status">
    Loading {what}…
  </p>
)

export const Empty = ({ title, children }: { title: string; children?: ComponentChildren }) => (
  <div class="state">
    <h2>{title}</h2>
    {children}
  </div>
)

export function Failed({ problem, retry }: { problem: Problem; retry?: () => void }) {
  return (
    <div class="state failed" role="alert">
      <h2>{problem.status === 404 ? 'Not found' : 'Something went wrong'}</h2>
      <p>{problem.detail}</p>
      {problem.errors.length > 0 && (
        <ul>
          {problem.errors.map((error) => (
            <li key={error.pointer}>
              {error.pointer && <strong>{placeOf(error.pointer)}:</strong>} {error.detail}
            </li>
          ))}
        </ul>
      )}
      {problem.status === 404 ? (
        <ToList />
      ) : (
        retry && (
          <button type="button" onClick={retry}>
            Try again
          </button>
        )
      )}
    </div>
  )
}

/** Why a job or study failed. */
export const ErrorState = ({ error }: { error: { code: string; detail: string } }) => (
  <div class="state failed" role="alert">
    <h2>{plain(error.code)}</h2>
    <p>{error.detail}</p>
  </div>
)

/** Trying again does not help if something does not exist. The list it would be in does. */
function ToList() {
  const list = PAGES.find((page) => page.path === `/${path.value.split('/')[1]}`)
  return list && list.path !== path.value ? (
    <a class="button" href={list.path}>
      Back to the list
    </a>
  ) : null
}
