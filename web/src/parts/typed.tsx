/** A field whose text is handed on when it is done, by Enter or by leaving it; until then nothing takes away what is typed. */

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
  // A field that is drawn anew gets its value again, also while somebody types in it.
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
