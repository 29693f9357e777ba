/** Navigation. The address decides which page is shown, and keeps filters and layout. */

import { computed, signal } from '@preact/signals'

const here = () => ({ path: location.pathname, query: new URLSearchParams(location.search) })

export const address = signal(here())
export const path = computed(() => address.value.path)

export function go(to: string, { replace = false } = {}) {
  history[replace ? 'replaceState' : 'pushState'](null, '', to)
  address.value = here()
  if (!replace) window.scrollTo(0, 0)
}

/** A value of the address's query; the first one if it is repeated. */
export const inQuery = (name: string) => address.value.query.get(name) ?? ''
export const allInQuery = (name: string) => address.value.query.getAll(name)

/** Changes the query and stays on the page. Empty values are left out, so that a plain page has a plain address. */
export function setQuery(changes: Record<string, string | string[]>) {
  const next = new URLSearchParams(location.search)
  for (const [name, value] of Object.entries(changes)) {
    next.delete(name)
    for (const item of Array.isArray(value) ? value : [value]) if (item) next.append(name, item)
  }
  const text = next.toString()
  go(location.pathname + (text ? `?${text}` : ''), { replace: true })
}

/** Follows links within the dashboard without loading it again; the browser handles all other clicks. */
function follow(event: MouseEvent) {
  const link = (event.target as Element).closest?.('a')
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey
  if (!link || !plain || event.defaultPrevented || link.target || link.hasAttribute('download')) return
  const to = new URL(link.href, location.href)
  if (to.origin !== location.origin || /^\/(v1|docs|manual|openapi)/.test(to.pathname)) return
  if (to.pathname === location.pathname && to.hash) return
  event.preventDefault()
  go(to.pathname + to.search + to.hash)
}

export function start() {
  addEventListener('popstate', () => (address.value = here()))
  document.addEventListener('click', follow)
}
