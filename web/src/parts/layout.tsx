/** The frame of every page: navigation, the state of the connection, and who is logged in. */

import { computed, effect, signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'

import { loggedIn, reachable, request } from '../api/client'
import { stream } from '../api/live'
import PAGES from '../pages.json'
import { attempt, Notices } from './notices'
import { path } from './router'

const isAt = (place: string) => {
  const first = `/${path.value.split('/')[1]}`
  return (PAGES.find((page) => page.path === first)?.under ?? first) === place
}

/** The address of the manual, which the served page names if there is one. */
const manual = document.querySelector('link[rel=help]')?.getAttribute('href')

type Theme = '' | 'light' | 'dark'
const NEXT: Record<Theme, Theme> = { '': 'dark', dark: 'light', light: '' }
const THEME_NAMES: Record<Theme, string> = { '': 'same as your system', dark: 'dark', light: 'light' }

const stored = () => {
  try {
    return (localStorage.getItem('theme') ?? '') as Theme
  } catch {
    return ''
  }
}
const theme = signal<Theme>(stored())
const system = matchMedia('(prefers-color-scheme: dark)')
const systemIsDark = signal(system.matches)
system.addEventListener('change', () => (systemIsDark.value = system.matches))

/** Whether the dark theme is shown. Charts read their colors again when it changes. */
export const isDark = computed(() => (theme.value ? theme.value === 'dark' : systemIsDark.value))

effect(() => {
  document.documentElement.dataset.theme = theme.value
  try {
    localStorage.setItem('theme', theme.value)
  } catch {
    // A browser without storage falls back to the system's theme.
  }
})

export const owner = signal('')

async function logOut() {
  await attempt(() => request('/v1/session', { method: 'DELETE' }))
  loggedIn.value = false
}

export const Layout = ({ children }: { children: ComponentChildren }) => (
  <>
    <a class="skip" href="#main">
      Skip to content
    </a>
    <header class="top">
      <a href="/jobs" class="brand" aria-label="Heldout">
        <img src="/icon.svg" alt="" width="22" height="22" /> <span class="wide-only">Heldout</span>
      </a>
      <nav aria-label="Pages">
        {PAGES.filter((page) => page.name).map(({ path: to, name }) => (
          <a key={to} href={to} class={to === '/new' ? 'wide-only' : undefined} aria-current={isAt(to) ? 'page' : undefined}>
            {name}
          </a>
        ))}
      </nav>
      <div class="row end">
        <span class="row wide-only">
          <Help />
        </span>
        <button type="button" class="quiet" onClick={() => (theme.value = NEXT[theme.value])}>
          <span aria-hidden="true">◐</span>
          <span class="sr">Colors: {THEME_NAMES[theme.value]}. Change them.</span>
        </button>
        <button type="button" class="quiet" onClick={logOut} title={`Logged in as ${owner.value}`}>
          Log out
        </button>
      </div>
    </header>
    <Connection />
    <main id="main" tabIndex={-1}>
      {children}
    </main>
    <footer class="row narrow-only">
      <Help />
    </footer>
    <Notices />
  </>
)

const Help = () => (
  <>
    {manual && (
      <a href={manual} target="_blank" rel="noreferrer">
        Manual
      </a>
    )}
    <a href="/docs" target="_blank" rel="noreferrer">
      API
    </a>
  </>
)

const Connection = () => {
  const lost = !reachable.value || (stream.value === 'lost' && !document.hidden)
  return (
    <div role="status">
      {lost && (
        <p class="banner">
          The connection to the service is lost. This page may be out of date. It updates by itself when the service is back.
        </p>
      )}
    </div>
  )
}

/** A page's heading. It sets the title of the tab, and takes the focus after a link was followed. */
export function Title({ children, text }: { children?: ComponentChildren; text: string }) {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    document.title = `${text} – Heldout`
  }, [text])
  useEffect(() => {
    if (document.activeElement === document.body) heading.current?.focus({ preventScroll: true })
  }, [])
  return (
    <h1 ref={heading} tabIndex={-1}>
      {children ?? text}
    </h1>
  )
}
