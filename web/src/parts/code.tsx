/** Text to copy: commands, requests, a spec. */

import { notify } from './notices'

export function Code({ text, label }: { text: string; label: string }) {
  const copy = async () => {
    await navigator.clipboard.writeText(text)
    notify('Copied.')
  }
  return (
    <div class="code">
      <button type="button" class="small" onClick={copy} aria-label={`Copy: ${label}`}>
        Copy
      </button>
      <pre role="group" tabIndex={0} aria-label={label}>
        {text}
      </pre>
    </div>
  )
}
