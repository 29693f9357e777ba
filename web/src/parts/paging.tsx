/** The way from one part of a list to the next; the address keeps it. */

import { inQuery } from './router'

export function Paging({ here, next }: { here: string; next: string | null | undefined }) {
  const after = inQuery('after')
  if (!after && !next) return null
  const following = new URLSearchParams(location.search)
  following.set('after', next ?? '')
  return (
    <nav class="row" aria-label="Parts of the list">
      {after && (
        <button type="button" onClick={() => history.back()}>
          Before
        </button>
      )}
      {next && (
        <a class="button" href={`${here}?${following}`}>
          Next
        </a>
      )}
    </nav>
  )
}
