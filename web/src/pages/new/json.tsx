/** The spec as JSON, next to the form. A change to either one changes the other. */

import { useEffect, useState } from 'preact/hooks'

import type { Spec } from '../../api/jobs'

export function JsonPane({ spec, onChange }: { spec: Spec; onChange: (spec: Spec) => void }) {
  const [text, setText] = useState('')
  const [wrong, setWrong] = useState('')
  const [isTyping, setTyping] = useState(false)
  useEffect(() => {
    if (!isTyping) setText(JSON.stringify(spec, null, 2))
  }, [spec, isTyping])

  const type = (next: string) => {
    setText(next)
    try {
      const parsed: unknown = JSON.parse(next)
      if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed)) throw new Error('It must be an object.')
      setWrong('')
      onChange(parsed as Spec)
    } catch (error) {
      setWrong(error instanceof Error ? error.message : String(error))
    }
  }

  return (
    <section class="card" aria-label="Spec as JSON">
      <header>
        <h2>
          <label for="json">As JSON</label>
        </h2>
      </header>
      <textarea
        id="json"
        class="mono"
        rows={18}
        spellcheck={false}
        value={text}
        aria-invalid={wrong ? true : undefined}
        aria-describedby="json-wrong"
        onFocus={() => setTyping(true)}
        onBlur={() => {
          setTyping(false)
          setWrong('')
        }}
        onInput={(event) => type(event.currentTarget.value)}
      />
      <p id="json-wrong" class="hint wrong" role="alert">
        {wrong}
      </p>
    </section>
  )
}
