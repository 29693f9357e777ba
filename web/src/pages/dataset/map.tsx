/** A picture of the dataset: images that look alike are near each other. A click shows an image and its neighbors. */

import { useEffect, useRef, useState } from 'preact/hooks'

import { type Dataset, type DatasetMap, getMap, getSimilar, SPLITS, type Split } from '../../api/datasets'
import { useLoaded } from '../../parts/load'
import { Segments } from '../../parts/segments'
import { Failed, Loading } from '../../parts/states'
import { SPLIT_NAMES } from '../../words/datasets'
import { percent } from '../../words/format'

type Points = NonNullable<DatasetMap['points']>
type Coloring = 'class' | 'split'
/** The tokens `--series-1` to `--series-8`. */
const COLORS = 8
const RADIUS = 3
const MARGIN = 8
const ASK_AGAIN_MS = 5000

export function MapCard({ dataset }: { dataset: Dataset }) {
  const [isAsked, setAsked] = useState(false)
  return (
    <section id="map" class="card" aria-label="Map of the images">
      <h2>Map of the images</h2>
      {isAsked ? (
        <Asked dataset={dataset} />
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

function Asked({ dataset }: { dataset: Dataset }) {
  const map = useLoaded(dataset.id, (signal) => getMap(dataset.id, signal))
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

type ShownProps = { dataset: Dataset; points: Points; classes: string[]; explanation: string }

function Shown({ dataset, points, classes, explanation }: ShownProps) {
  const [coloring, setColoring] = useState<Coloring>('class')
  const [chosen, setChosen] = useState<number | null>(null)
  const names = coloring === 'class' ? classes : SPLITS.map((split) => SPLIT_NAMES[split])
  return (
    <>
      <div class="row">
        <Segments
          label="Colors"
          choices={[
            ['class', 'class'],
            ['split', 'split'],
          ]}
          chosen={coloring}
          onChoose={setColoring}
        />
        <span class="soft">{explanation} Click on a point to see its image.</span>
      </div>
      <p class="row">
        {names.map((name, number) => (
          <span key={name}>
            <span aria-hidden="true" style={{ color: `var(--series-${(number % COLORS) + 1})` }}>
              ●
            </span>{' '}
            {name}
          </span>
        ))}
      </p>
      <Plot points={points} coloring={coloring} chosen={chosen} onChoose={setChosen} />
      {chosen !== null && <Similar dataset={dataset} points={points} classes={classes} place={chosen} />}
    </>
  )
}

type PlotProps = { points: Points; coloring: Coloring; chosen: number | null; onChoose: (place: number) => void }

function Plot({ points, coloring, chosen, onChoose }: PlotProps) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const numbers = coloring === 'class' ? points.label : points.split.map((split: Split) => SPLITS.indexOf(split))
  useEffect(() => {
    const drawn = canvas.current
    const pen = drawn?.getContext('2d')
    if (!drawn || !pen) return
    const scale = devicePixelRatio
    drawn.width = drawn.clientWidth * scale
    drawn.height = drawn.clientHeight * scale
    const style = getComputedStyle(drawn)
    const colors = Array.from({ length: COLORS }, (_, number) => resolve(drawn, style, number + 1))
    for (const [place, number] of numbers.entries()) {
      const [x, y] = toPixels(points, place, drawn)
      pen.fillStyle = colors[number % COLORS]!
      pen.beginPath()
      pen.arc(x * scale, y * scale, (place === chosen ? 3 : 1) * RADIUS * scale, 0, 2 * Math.PI)
      pen.fill()
    }
  }, [points, coloring, chosen])
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
function resolve(canvas: HTMLCanvasElement, style: CSSStyleDeclaration, number: number): string {
  const before = canvas.style.color
  canvas.style.color = `var(--series-${number})`
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

type SimilarProps = { dataset: Dataset; points: Points; classes: string[]; place: number }

function Similar({ dataset, points, classes, place }: SimilarProps) {
  const index = points.index[place]!
  const similar = useLoaded(`${dataset.id}${index}`, (signal) => getSimilar(dataset.id, index, signal))
  if (similar.problem) return <Failed problem={similar.problem} retry={similar.reload} />
  return (
    <ul class="images sheet" aria-label="The image, and those that look most like it">
      <li>
        <img src={`/v1/datasets/${dataset.id}/preview/${index}`} alt={`Image ${index}`} />
        <span>
          {classes[points.label[place]!]}, {SPLIT_NAMES[points.split[place]!]}
        </span>
      </li>
      {similar.data?.data.map((image) => (
        <li key={image.index}>
          <img src={image.thumbnail} alt={`Image ${image.index}`} loading="lazy" />
          <span title={SPLIT_NAMES[image.split]}>{percent(image.similarity)} alike</span>
        </li>
      ))}
    </ul>
  )
}
