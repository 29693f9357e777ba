/** A place where files and folders are dropped or chosen, and the form that sends them. */

import type { ComponentChildren } from 'preact'
import { useRef, useState } from 'preact/hooks'

import { Problem } from '../api/client'
import { bytes, percent } from '../words/format'
import { added, type Dropped, readChoice, readDrop } from './dropping'
import { attempt } from './notices'
import { go } from './router'

type PlaceProps = {
  /** What the hidden field for files is called. */
  label: string
  /** What can be dropped, in words. */
  hint: string
  /** Whether several files and folders make one upload; otherwise each choice replaces the one before. */
  takesMany?: boolean
  /** The form, from the first choice on; `again` takes the files back and keeps the form. */
  children: (dropped: Dropped[], again: () => void) => ComponentChildren
}

export function DropPlace({ label, hint, takesMany = false, children }: PlaceProps) {
  const [dropped, setDropped] = useState<Dropped[]>([])
  const [hasBegun, setBegun] = useState(false)
  const [isOver, setOver] = useState(false)
  const take = (more: Dropped[]) => {
    if (!more.length) return
    setBegun(true)
    setDropped((before) => (takesMany ? added(before, more) : more))
  }
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
        const { dataTransfer } = event
        if (dataTransfer) void attempt(() => readDrop(dataTransfer)).then((found) => take(found ?? []))
      }}
    >
      <div class="row">
        <strong>{takesMany ? 'Drop files or folders here' : 'Drop a file here'}</strong> <span class="soft">or</span>
        <Chooser label={label} text={takesMany ? 'Choose files' : 'Choose a file'} isMany={takesMany} onChoose={take} />
        {takesMany && <Chooser label={`${label}, a folder`} text="Choose a folder" isFolder onChoose={take} />}
      </div>
      <p class="soft">{hint}</p>
      {hasBegun && children(dropped, () => setDropped([]))}
    </section>
  )
}

type ChooserProps = {
  label: string
  text: string
  isMany?: boolean
  isFolder?: boolean
  onChoose: (dropped: Dropped[]) => void
}

function Chooser({ label, text, isMany = false, isFolder = false, onChoose }: ChooserProps) {
  const input = useRef<HTMLInputElement>(null)
  return (
    <>
      <button type="button" onClick={() => input.current?.click()}>
        {text}
      </button>
      <input
        ref={input}
        type="file"
        hidden
        multiple={isMany}
        {...(isFolder && { webkitdirectory: true })}
        aria-label={label}
        onChange={(event) => {
          onChoose(readChoice(event.currentTarget.files))
          event.currentTarget.value = '' // so that the same file can be chosen again
        }}
      />
    </>
  )
}

type ItemProps = { name: string; what: string; size: number; why: string }

/** One thing that was dropped: what it is, or why it is not sent. */
export const DroppedItem = ({ name, what, size, why }: ItemProps) => (
  <li class={why ? 'refused' : undefined}>
    <span aria-hidden="true">{why ? '×' : '✓'}</span>{' '}
    <span>
      <strong>{name}</strong> <span class="soft">{[what, size > 0 && bytes(size)].filter(Boolean).join(', ')}</span>
      {why && <> Not sent: {why}</>}
    </span>
  </li>
)

type SendProps = {
  /** How much is sent, in bytes. */
  size: number
  /** Sends the content, and gives the address of what it has become. `onSent` takes how many bytes are on their way. */
  send: (onSent: (bytes: number) => void, signal: AbortSignal) => Promise<string>
  /** Takes the choice of files back. */
  onAgain: () => void
  isReady?: boolean
  /** What is sent, and the fields, under what was wrong when it was sent last. */
  children: (problem: Problem | null) => ComponentChildren
}

/** The form of what was chosen: it says how far the upload is, and goes to what has come of it. */
export function SendForm({ size, send, onAgain, isReady = true, children }: SendProps) {
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
          <button type="button" onClick={onAgain}>
            Choose again
          </button>
        </div>
      ) : (
        <Sending sent={sent} size={size} onStop={() => stop.current?.abort()} />
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
