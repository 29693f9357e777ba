/** Log in with a key, or with the link that `heldout up` prints. */

import { useEffect, useState } from 'preact/hooks'

import { loggedIn, Problem, post } from '../api/client'
import { Code } from '../parts/code'
import { owner } from '../parts/layout'
import { go, path } from '../parts/router'

type Session = { owner: string }

export function LogIn() {
  const link = path.value === '/login' ? location.hash.slice(1) : ''
  const [key, setKey] = useState('')
  const [busy, setBusy] = useState(link !== '')
  const [said, setSaid] = useState('')

  const logIn = async (body: { key: string } | { link: string }) => {
    setBusy(true)
    try {
      const session = await post<Session>('/v1/session', body)
      owner.value = session.owner
      loggedIn.value = true
      if (path.value === '/login') go('/jobs', { replace: true })
    } catch (error) {
      setSaid(error instanceof Problem ? error.detail : String(error))
    }
    setBusy(false)
  }

  useEffect(() => {
    document.title = 'Log in – Heldout'
    if (!link) return
    history.replaceState(null, '', '/login') // the link must not stay in the browser's history
    void logIn({ link })
  }, [])

  return (
    <main class="login">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault()
          void logIn({ key: key.trim() })
        }}
      >
        <h1>
          <img src="/icon.svg" alt="" width="28" height="28" /> Heldout
        </h1>
        <p class="soft">Why are test results poor, and what closes the gap?</p>
        <label for="key">API key</label>
        <input
          id="key"
          type="password"
          autocomplete="current-password"
          placeholder="ho_…"
          required
          value={key}
          onInput={(event) => setKey(event.currentTarget.value)}
          aria-describedby="key-help login-said"
        />
        <p id="login-said" class="said" role="alert">
          {said}
        </p>
        <button type="submit" class="primary" disabled={busy}>
          {busy ? 'Logging in…' : 'Log in'}
        </button>
        <p id="key-help" class="soft">
          The person who runs this service gives you a key.
        </p>
        <details>
          <summary>Do you run it yourself?</summary>
          <p>If you started it on your own computer, the link that it printed logs you in. Your key is in a file, too:</p>
          <Code text="cat ~/.heldout/api-key" label="Command that shows your key" />
          <p>On a server, this command creates a key for the person that you name:</p>
          <Code text="heldout keys create --owner NAME" label="Command that creates a key" />
        </details>
      </form>
    </main>
  )
}
