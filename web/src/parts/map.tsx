/**
 * A picture of the dataset: images that look alike are near each other. A click shows an image and its neighbors, and
 * the mistakes of a job can be marked.
 */

import { useEffect, useRef, useState } from 'preact/hooks'

import { Problem } from '../api/client'
import { type DatasetMap, getMap, getSimilar, SPLITS, type Split } from '../api/datasets'
import { SPLIT_NAMES } from '../words/datasets'
import { count, percent } from '../words/format'
import { useLoaded } from './load'
import { Segments } from './segments'
import { Failed, Loading } from './states'

type Points = NonNullable<DatasetMap['points']>
type Coloring = 'class' | 'split' | 'mistakes'
/** The tokens `--series-1` to `--series-8`. */
const COLORS = 8
const RADIUS = 3
const MARGIN = 8
const ASK_AGAIN_MS = 5000

/** Ids; without a job the map has no mistakes. */
type Of = { dataset: string; job?: string }

export function MapCard({ dataset, job = '' }: Of) {
  const [isAsked, setAsked] = useState(false)
  return (
    <section id="map" class="card" aria-label="Map of the images">
      <h2>{job ? 'Mistakes on the map of the images' : 'Map of the images'}</h2>
      {isAsked ? (
        <Asked dataset={dataset} job={job} />
      ) : (
        <div class="row">
          <button type="button" onClick={() => setAsked(true)}>
            Show it
          </button>
          <span class="soft">Images that look alike are near each other. It shows labels, which counts as one look.</span>
        </div>
      )}
    </section>
  )
}

/** The map without mistakes if the job used other images, or has not answered them. */
const load = (dataset: string, job: string, signal: AbortSignal) =>
  getMap(dataset, job, signal).catch((error: unknown) => {
    if (job && error instanceof Problem && error.status >= 400 && error.status < 500) return getMap(dataset, '', signal)
    throw error
  })

function Asked({ dataset, job = '' }: Of) {
  const map = useLoaded(dataset + job, (signal) => load(dataset, job, signal))
  const isWaiting = map.data?.status === 'queued' || map.data?.status === 'running'
  useEffect(() => {
    if (!isWaiting) return
    const timer = setInterval(map.reload, ASK_AGAIN_MS)
    return () => clearInterval(timer)
  }, [isWaiting])
  if (!map.data) return map.problem ? <Failed problem={map.problem} retry={map.reload} /> : <Loading what="the map" />
  const { points, explanation } = map.data
  if (!points) return <p role="status">{explanation.replace(' Try again in a while.', ' This page updates by itself.')}</p>
  return <Shown dataset={dataset} points={points} classes={map.data.classes} explanation={explanation} />
}

type ShownProps = { dataset: string; points: Points; classes: string[]; explanation: string }

function Shown({ dataset, points, classes, explanation }: ShownProps) {
  const [coloring, setColoring] = useState<Coloring>(points.answer ? 'mistakes' : 'class')
  const [chosen, setChosen] = useState<number | null>(null)
  const groups = group(points, coloring, classes)
  return (
    <>
      <div class="row">
        <Segments
          label="Colors"
          choices={[...(points.answer ? ([['mistakes', 'mistakes']] as const) : []), ['class', 'class'], ['split', 'split']]}
          chosen={coloring}
          onChoose={setColoring}
        />
        <span class="soft">{explanation} Click on a point to see its image.</span>
      </div>
      <p class="row">
        {groups.map(({ name, color }) => (
          <span key={name}>
            <span aria-hidden="true" style={{ color: `var(--${color})` }}>
              ●
            </span>{' '}
            {name}
          </span>
        ))}
      </p>
      <Plot points={points} groups={groups} chosen={chosen} onChoose={setChosen} />
      {chosen !== null && <Similar dataset={dataset} points={points} classes={classes} place={chosen} />}
    </>
  )
}

/** Points of one color. Later groups are drawn over earlier ones; size: of a point, times the usual one. */
type Group = { name: string; color: string; places: number[]; size: number }

function group(points: Points, coloring: Coloring, classes: string[]): Group[] {
  const places = points.index.map((_, place) => place)
  if (coloring !== 'mistakes') {
    const numbers = coloring === 'class' ? points.label : points.split.map((split: Split) => SPLITS.indexOf(split))
    const names = coloring === 'class' ? classes : SPLITS.map((split) => SPLIT_NAMES[split])
    return names.map((name, number) => ({
      name,
      color: `series-${(number % COLORS) + 1}`,
      places: places.filter((place) => numbers[place] === number),
      size: 1,
    }))
  }
  const answers = points.answer ?? []
  const isWrong = (place: number) => answers[place] != null && answers[place] !== points.label[place]
  const right = places.filter((place) => answers[place] === points.label[place])
  const unanswered = places.filter((place) => answers[place] == null)
  return [
    ...(unanswered.length
      ? [{ name: `not answered (${count(unanswered.length)})`, color: 'line', places: unanswered, size: 1 }]
      : []),
    { name: `right (${count(right.length)})`, color: 'line-strong', places: right, size: 0.7 },
    ...SPLITS.map((split) => {
      const wrong = places.filter((place) => points.split[place] === split && isWrong(place))
      return {
        name: `wrong in ${SPLIT_NAMES[split].toLowerCase()} (${count(wrong.length)})`,
        color: split,
        places: wrong,
        size: 1.4,
      }
    }),
  ]
}

type PlotProps = { points: Points; groups: Group[]; chosen: number | null; onChoose: (place: number) => void }

function Plot({ points, groups, chosen, onChoose }: PlotProps) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const [width, setWidth] = useState(0)
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(entry!.contentRect.width))
    observer.observe(canvas.current!)
    return () => observer.disconnect()
  }, [])
  useEffect(() => {
    const drawn = canvas.current
    const pen = drawn?.getContext('2d')
    if (!drawn || !pen) return
    const scale = devicePixelRatio
    drawn.width = drawn.clientWidth * scale
    drawn.height = drawn.clientHeight * scale
    const style = getComputedStyle(drawn)
    for (const { color, places, size } of groups) {
      pen.fillStyle = resolve(drawn, style, color)
      for (const place of places) {
        const [x, y] = toPixels(points, place, drawn)
        pen.beginPath()
        pen.arc(x * scale, y * scale, (place === chosen ? 3 : size) * RADIUS * scale, 0, 2 * Math.PI)
        pen.fill()
      }
    }
  }, [points, groups, chosen, width])
  return (
    <canvas
      ref={canvas}
      class="map"
      role="img"
      aria-label={`Map of ${points.index.length} images`}
      style={{ width: '100%', height: '28rem', cursor: 'pointer' }}
      onClick={(event) => onChoose(findNearest(points, event.offsetX, event.offsetY, event.currentTarget))}
    />
  )
}

/** A canvas knows no `light-dark()`, so the color is read from an element. */
function resolve(canvas: HTMLCanvasElement, style: CSSStyleDeclaration, token: string): string {
  const before = canvas.style.color
  canvas.style.color = `var(--${token})`
  const color = style.color
  canvas.style.color = before
  return color
}

function toPixels(points: Points, place: number, canvas: HTMLElement): [number, number] {
  const [width, height] = [canvas.clientWidth - 2 * MARGIN, canvas.clientHeight - 2 * MARGIN]
  return [MARGIN + points.x[place]! * width, MARGIN + points.y[place]! * height]
}

function findNearest(points: Points, x: number, y: number, canvas: HTMLElement): number {
  const distances = points.index.map((_, place) => {
    const [pointX, pointY] = toPixels(points, place, canvas)
    return (pointX - x) ** 2 + (pointY - y) ** 2
  })
  return distances.indexOf(Math.min(...distances))
}

type SimilarProps = { dataset: string; points: Points; classes: string[]; place: number }

function Similar({ dataset, points, classes, place }: SimilarProps) {
  const index = points.index[place]!
  const answer = points.answer?.[place]
  const similar = useLoaded(`${dataset}${index}`, (signal) => getSimilar(dataset, index, signal))
  if (similar.problem) return <Failed problem={similar.problem} retry={similar.reload} />
  return (
    <>
      <p>
        {classes[points.label[place]!]}, {SPLIT_NAMES[points.split[place]!].toLowerCase()} image {index}
        {answer != null && answer !== points.label[place] && `, answered as ${classes[answer]}`}. The images after it look most
        like it.
      </p>
      <ul class="images sheet" aria-label="The image, and those that look most like it">
        <li>
          <img src={`/v1/datasets/${dataset}/preview/${index}`} alt={`Image ${index}`} />
          <span>this image</span>
        </li>
        {similar.data?.data.map((image) => (
          <li key={image.index}>
            <img src={image.thumbnail} alt={`Image ${image.index}`} loading="lazy" />
            <span title={SPLIT_NAMES[image.split]}>{percent(image.similarity)} alike</span>
          </li>
        ))}
      </ul>
    </>
  )
}
