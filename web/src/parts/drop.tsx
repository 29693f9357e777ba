/** A place where a file is dropped or chosen, and the form that sends it. */

import type { ComponentChildren } from 'preact'
import { useRef, useState } from 'preact/hooks'

import { Problem } from '../api/client'
import { bytes, percent } from '../words/format'
import { go } from './router'

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

type SendProps = {
  file: File
  /** Sends the file, and gives the address of what it has become. `onSent` takes how many bytes are on their way. */
  send: (onSent: (bytes: number) => void, signal: AbortSignal) => Promise<string>
  /** Takes the choice of the file back. */
  onCancel: () => void
  isReady?: boolean
  /** The fields, under what was wrong when it was sent last. */
  children: (problem: Problem | null) => ComponentChildren
}

/** The form of a file that was chosen: it says what is sent and how far that is, and goes to what has come of it. */
export function SendForm({ file, send, onCancel, isReady = true, children }: SendProps) {
  const [sent, setSent] = useState<number | null>(null)
  const [problem, setProblem] = useState<Problem | null>(null)
  const stop = useRef<AbortController | null>(null)
  const submit = async () => {
    setProblem(null)
    setSent(0)
    stop.current = new AbortController()
    try {
      go(await send(setSent, stop.current.signal))
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, 'unknown', String(error)))
      setSent(null)
    }
  }
  return (
    <form
      class="upload"
      onSubmit={(event) => {
        event.preventDefault()
        void submit()
      }}
    >
      <p>
        <strong>{file.name}</strong> <span class="soft">{bytes(file.size)}</span>
      </p>
      {children(problem)}
      {problem && (
        <p class="said" role="alert">
          {problem.detail}
        </p>
      )}
      {sent === null ? (
        <div class="row">
          <button type="submit" class="primary" disabled={!isReady}>
            {problem ? 'Send again' : 'Upload'}
          </button>
          <button type="button" onClick={onCancel}>
            Another file
          </button>
        </div>
      ) : (
        <Sending sent={sent} size={file.size} onStop={() => stop.current?.abort()} />
      )}
    </form>
  )
}

/** sent, size: in bytes. */
const Sending = ({ sent, size, onStop }: { sent: number; size: number; onStop: () => void }) => (
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
