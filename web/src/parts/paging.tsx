/** Links between the parts of a list; the address keeps the place. */

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
          Previous
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
