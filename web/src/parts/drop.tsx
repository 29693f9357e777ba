/** A place where a file is dropped or chosen, and the bar that says how much of it is sent. */

import type { ComponentChildren } from 'preact'
import { useRef, useState } from 'preact/hooks'

import { bytes, percent } from '../words/format'

type Props = {
  /** What the hidden field for the file is called. */
  label: string
  /** Which files are taken, in words. */
  hint: string
  /** The form of a file that was chosen; `cancel` takes it back. */
  children: (file: File, cancel: () => void) => ComponentChildren
}

export function DropPlace({ label, hint, children }: Props) {
  const [file, setFile] = useState<File | null>(null)
  const [isOver, setOver] = useState(false)
  const input = useRef<HTMLInputElement>(null)
  return (
    <section
      class={isOver ? 'drop over' : 'drop'}
      aria-label="Upload"
      onDragOver={(event) => {
        event.preventDefault()
        setOver(true)
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault()
        setOver(false)
        setFile(event.dataTransfer?.files[0] ?? null)
      }}
    >
      {file ? (
        children(file, () => setFile(null))
      ) : (
        <>
          <p>
            <strong>Drop a file here</strong> <span class="soft">or</span>{' '}
            <button type="button" onClick={() => input.current?.click()}>
              Choose a file
            </button>
          </p>
          <p class="soft">{hint}</p>
          <input
            ref={input}
            type="file"
            hidden
            aria-label={label}
            onChange={(event) => setFile(event.currentTarget.files?.[0] ?? null)}
          />
        </>
      )}
    </section>
  )
}

/** sent, size: in bytes. */
export const Sending = ({ sent, size, onStop }: { sent: number; size: number; onStop: () => void }) => (
  <div class="progress-line">
    <progress value={sent} max={size || 1} aria-label="Sent" />
    <span class="number">
      {percent(size ? Math.min(1, sent / size) : 1, 0)} <span class="soft">of {bytes(size)}</span>
    </span>
    <button type="button" class="danger" onClick={onStop}>
      Stop
    </button>
  </div>
)
