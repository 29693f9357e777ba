/** A line chart with uPlot. New data replace the old in place, so that a zoom survives each new epoch. */

import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'

export type Line = {
  label: string
  /** A custom property such as `--train`. */
  colour: string
  /** null is a gap; undefined means that this line has no point there, and it is drawn through. */
  values: (number | null | undefined)[]
  /** 0 draws nothing: the edge of a band. */
  width?: number
  dash?: number[]
  faint?: boolean
}

/** A vertical line with a name. */
export type Mark = { at: number; label: string; colour: string }

export type PlotProps = {
  x: number[]
  lines: Line[]
  /** Pairs of positions in `lines` between which the area is filled. */
  bands?: { between: [number, number]; colour: string; opacity?: number }[]
  marks?: Mark[]
  log?: boolean
  format: (value: number) => string
  height?: number
  /** Position in `x` of the cursor; null for none. */
  cursor: number | null
  onCursor: (place: number | null) => void
  /** Colors are read again when it changes. */
  isDark: boolean
  /** A new value shows the whole chart again. */
  resets: number
  label: string
}

const coloured = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** The value of a custom property as a canvas understands it: an element resolves `light-dark()`. */
function resolved(probe: HTMLElement, name: string): string {
  probe.style.color = `var(${name})`
  return getComputedStyle(probe).color || coloured(name)
}

const translucent = (colour: string, opacity = 1) =>
  opacity === 1 ? colour : `color-mix(in srgb, ${colour} ${100 * opacity}%, transparent)`

export function Plot(props: PlotProps) {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const latest = useRef(props)
  latest.current = props
  // Only these need a new chart; data, marks and the cursor do not.
  const shape = JSON.stringify([
    props.lines.map((line) => [line.label, line.colour, line.dash, line.faint, line.width]),
    props.bands,
    props.log,
    props.isDark,
  ])

  useEffect(() => {
    const element = box.current!
    const made = new uPlot(options(element, latest), dataOf(props), element)
    plot.current = made
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: props.height ?? 320 }))
    observer.observe(element)
    return () => {
      observer.disconnect()
      made.destroy()
      plot.current = null
    }
  }, [shape])

  useEffect(() => {
    const made = plot.current
    if (!made) return
    const { min, max } = made.scales.x!
    const before = made.data[0]
    const [first, last] = [before[0], before[before.length - 1]]
    const zoomed =
      typeof min === 'number' && typeof max === 'number' && first !== undefined && last !== undefined
        ? min > first || max < last
        : false
    made.setData(dataOf(props), !zoomed)
    if (zoomed) made.setScale('x', { min: min!, max: max! })
  }, [props.x, props.lines])

  useEffect(() => plot.current?.redraw(false), [props.marks])

  useEffect(() => {
    const x = plot.current?.data[0]
    if (props.resets && x?.length) plot.current?.setScale('x', { min: x[0]!, max: x[x.length - 1]! })
  }, [props.resets])

  useEffect(() => {
    const made = plot.current
    const at = props.cursor === null ? undefined : props.x[props.cursor]
    if (!made || made.cursor.idx === props.cursor) return
    made.setCursor({ left: at === undefined ? -10 : made.valToPos(at, 'x'), top: made.cursor.top ?? 10 }, false)
  }, [props.cursor])

  return <div ref={box} class="plot" aria-hidden="true" data-label={props.label} />
}

const dataOf = ({ x, lines }: PlotProps): uPlot.AlignedData => [x, ...lines.map((line) => line.values)]

function options(element: HTMLElement, latest: { current: PlotProps }): uPlot.Options {
  const { lines, bands = [], log = false, format, height = 320 } = latest.current
  const probe = document.createElement('span')
  element.append(probe)
  const ink = resolved(probe, '--ink-soft')
  const grid = { stroke: resolved(probe, '--line'), width: 1 }
  const colours = lines.map((line) => resolved(probe, line.colour))
  const fills = bands.map((band) => translucent(resolved(probe, band.colour), band.opacity))
  probe.remove()
  const font = '12px system-ui, sans-serif'
  return {
    width: element.clientWidth || 600,
    height,
    legend: { show: false },
    cursor: { y: false, drag: { x: true, y: false }, points: { size: 7 } },
    scales: { x: { time: false }, y: { distr: log ? 3 : 1 } },
    axes: [
      {
        stroke: ink,
        grid: { show: false },
        ticks: grid,
        font,
        incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
        values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? String(tick) : '')),
      },
      {
        stroke: ink,
        grid,
        ticks: { show: false },
        font,
        size: 62,
        values: (_, ticks) => ticks.map((tick) => (tick === null ? '' : format(tick))),
      },
    ],
    series: [
      { label: 'Epoch' },
      ...lines.map((line, place) => ({
        label: line.label,
        stroke: colours[place],
        width: line.width ?? 2,
        dash: line.dash,
        alpha: line.faint ? 0.3 : 1,
        spanGaps: false,
        points: { show: line.faint || line.width === 0 ? false : undefined },
      })),
    ],
    // uPlot fills only where the first line is above the second, so both orders are needed.
    bands: bands.flatMap(({ between: [lower, upper] }, place) => [
      { series: [lower + 1, upper + 1] as [number, number], fill: fills[place] },
      { series: [upper + 1, lower + 1] as [number, number], fill: fills[place] },
    ]),
    hooks: {
      draw: [(made) => drawMarks(made, latest.current.marks ?? [], element)],
      // The part that is shown, for tests and for readers who cannot see a canvas.
      setScale: [
        (made, scale) => {
          const { min, max } = made.scales.x!
          if (scale === 'x') element.dataset.shown = `${min} to ${max}`
        },
      ],
      setCursor: [(made) => latest.current.onCursor(made.cursor.idx ?? null)],
    },
  }
}

function drawMarks(made: uPlot, marks: Mark[], element: HTMLElement) {
  const { ctx, bbox } = made
  const scale = devicePixelRatio || 1
  const probe = document.createElement('span')
  element.append(probe)
  marks.forEach((mark, place) => {
    const x = Math.round(made.valToPos(mark.at, 'x', true))
    if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) return
    const colour = resolved(probe, mark.colour)
    ctx.save()
    ctx.strokeStyle = colour
    ctx.fillStyle = colour
    ctx.lineWidth = 1.5 * scale
    ctx.setLineDash([4 * scale, 3 * scale])
    ctx.beginPath()
    ctx.moveTo(x, bbox.top)
    ctx.lineTo(x, bbox.top + bbox.height)
    ctx.stroke()
    ctx.font = `600 ${12 * scale}px system-ui, sans-serif`
    ctx.textAlign = 'left'
    ctx.textBaseline = 'top'
    const width = ctx.measureText(mark.label).width
    const fits = x + 6 * scale + width < bbox.left + bbox.width
    ctx.fillText(mark.label, fits ? x + 6 * scale : x - 6 * scale - width, bbox.top + (4 + 16 * place) * scale)
    ctx.restore()
  })
  probe.remove()
}
