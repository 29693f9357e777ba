/** A field that passes its text on with Enter or when it is left. Until then, nothing overwrites what is typed. */

import { useState } from 'preact/hooks'

type Props = {
  id: string
  value: string
  onDone: (text: string) => void
  list?: string
  required?: boolean
  placeholder?: string
  inputMode?: 'numeric' | 'decimal'
  'aria-invalid'?: boolean
  'aria-describedby'?: string
}

export function Typed({ value, onDone, ...rest }: Props) {
  // A field that is rendered again gets its value again, even while someone types in it.
  const [draft, setDraft] = useState<string | null>(null)
  return (
    <input
      type="text"
      {...rest}
      value={draft ?? value}
      onInput={(event) => setDraft(event.currentTarget.value)}
      onChange={(event) => {
        onDone(event.currentTarget.value)
        setDraft(null)
      }}
      onBlur={() => setDraft(null)}
    />
  )
}
