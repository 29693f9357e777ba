/** Try the network on your own images: drop them and see its answers. They are not stored. */

import { useEffect, useRef, useState } from 'preact/hooks'

import { Problem } from '../../api/client'
import { type Job, type Prediction, predict } from '../../api/jobs'
import { DropPlace } from '../../parts/drop'
import type { Dropped } from '../../parts/dropping'
import { percent } from '../../words/format'
import { type Answered, answerAll, MOST_IMAGES } from './answering'

export const TryCard = ({ job }: { job: Job }) => (
  <section class="card try" aria-label="Try it">
    <h2>Try it</h2>
    <DropPlace label="Images" hint="PNG, JPEG, WebP or BMP. The network answers at once; your images are not kept." takesMany>
      {(dropped, again) => dropped.length > 0 && <Answers job={job.id} dropped={dropped} again={again} />}
    </DropPlace>
  </section>
)

type AnswersProps = { job: string; dropped: Dropped[]; again: () => void }

function Answers({ job, dropped, again }: AnswersProps) {
  const [answered, setAnswered] = useState<ReadonlyMap<File, Answered>>(new Map())
  const [problem, setProblem] = useState<Problem | null>(null)
  const files = dropped.flatMap(({ file }) => file ?? [])
  const emptyFolders = dropped.filter(({ file }) => !file).map(({ path }) => path)
  const shown = files.slice(0, MOST_IMAGES)
  const waiting = shown.filter((file) => !answered.has(file))
  const ask = (signal: AbortSignal) => {
    setProblem(null)
    answerAll(
      waiting,
      (images) => predict(job, images, signal),
      (file, answer) => setAnswered((before) => new Map(before).set(file, answer)),
    ).catch((error) => {
      if (!signal.aborted) setProblem(error instanceof Problem ? error : new Problem(0, 'unknown', String(error)))
    })
  }
  useEffect(() => {
    const control = new AbortController()
    if (waiting.length) ask(control.signal)
    return () => control.abort()
  }, [dropped])

  return (
    <>
      {problem ? (
        <p class="said" role="alert">
          {problem.detail}{' '}
          <button type="button" class="small" onClick={() => ask(new AbortController().signal)}>
            Ask again
          </button>
        </p>
      ) : (
        waiting.length > 0 && (
          <p class="soft" role="status">
            Waiting for the network's answers. The first ones take some seconds, while the network is made ready.
          </p>
        )
      )}
      {emptyFolders.length > 0 && <p class="caveat">There is nothing in {emptyFolders.join(', ')}.</p>}
      {files.length > shown.length && (
        <p class="caveat">
          Only the first {MOST_IMAGES} of {files.length} images are tried here. Clear them to try others.
        </p>
      )}
      <ul class="images answers" aria-label="Answers">
        {shown.map((file) => (
          <Image key={`${file.name} ${file.size} ${file.lastModified}`} file={file} answered={answered.get(file)} />
        ))}
      </ul>
      <div class="row">
        <button type="button" onClick={again}>
          Clear
        </button>
      </div>
    </>
  )
}

const Image = ({ file, answered }: { file: File; answered: Answered | undefined }) => (
  <li>
    <Picture file={file} />
    <span class="file" title={file.name}>
      {file.name}
    </span>
    {answered && ('refused' in answered ? <p class="refused">{answered.refused}</p> : <Answer prediction={answered} />)}
  </li>
)

const Answer = ({ prediction }: { prediction: Prediction }) => (
  <>
    <strong>{prediction.answer}</strong>
    <ol class="chances">
      {prediction.top.map(({ label, probability }) => (
        <li key={label}>
          <span class="label">{label}</span>
          <span class="number">{percent(probability)}</span>
          <span class="track">
            <span class="fill" style={{ inlineSize: percent(probability) }} />
          </span>
        </li>
      ))}
    </ol>
  </>
)

/** Drawn by the browser. A file that it cannot read stays blank, and the service says what is wrong with it. */
function Picture({ file }: { file: File }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  useEffect(() => {
    let isGone = false
    createImageBitmap(file).then(
      (bitmap) => {
        if (isGone || !canvas.current) return
        canvas.current.width = bitmap.width
        canvas.current.height = bitmap.height
        canvas.current.getContext('2d')?.drawImage(bitmap, 0, 0)
      },
      () => {},
    )
    return () => {
      isGone = true
    }
  }, [file])
  return <canvas ref={canvas} role="img" aria-label={file.name} />
}
