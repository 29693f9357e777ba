/** A figure for sizes that grow by factors, with intervals and a forecast. */

export type Grown = { size: number; value: number; interval: [number, number] | null; isForecast?: boolean }

type Props = { points: Grown[]; format: (value: number) => string; size: (value: number) => string; cursor: number | null }

const TICKS = 4

export function Growth({ points, format, size, cursor }: Props) {
  const sizes = points.map((one) => Math.log(one.size))
  const values = points.flatMap((one) => [one.value, ...(one.interval ?? [])])
  const [first, last] = [Math.min(...sizes), Math.max(...sizes)]
  const [low, high] = [Math.max(0, Math.min(...values)), Math.max(...values)]
  const step = niceStep((high - low || 0.01) / TICKS)
  const [bottom, top] = [Math.floor(low / step) * step, Math.ceil(high / step) * step]
  const x = (value: number) => 4 + (92 * (Math.log(value) - first)) / (last - first || 1)
  const y = (value: number) => (100 * (Math.min(top, Math.max(bottom, value)) - bottom)) / (top - bottom || 1)
  const ticks = Array.from({ length: Math.round((top - bottom) / step) + 1 }, (_, place) => bottom + place * step)
  const measured = points.filter((one) => !one.isForecast)
  const line = (part: Grown[]) => part.map((one) => `${x(one.size)},${100 - y(one.value)}`).join(' ')
  return (
    <div class="growth" aria-hidden="true">
      <div class="growth-area">
        {ticks.map((one) => (
          <span key={one} class="tick" style={{ insetBlockEnd: `${y(one)}%` }}>
            <span>{format(one)}</span>
          </span>
        ))}
        <svg aria-hidden="true" viewBox="0 0 100 100" preserveAspectRatio="none">
          <polyline points={line(measured)} />
          <polyline
            class="dashed"
            points={line(points.slice(-2).length === 2 && points.at(-1)?.isForecast ? points.slice(-2) : [])}
          />
        </svg>
        {points.map((one, place) => (
          <div
            key={one.size}
            class={`grown ${one.isForecast ? 'forecast' : ''} ${place === cursor ? 'current' : ''}`}
            style={{ insetInlineStart: `${x(one.size)}%` }}
          >
            {one.interval && (
              <span
                class="reach"
                style={{ insetBlockEnd: `${y(one.interval[0])}%`, blockSize: `${y(one.interval[1]) - y(one.interval[0])}%` }}
              />
            )}
            <span class="dot" style={{ insetBlockEnd: `${y(one.value)}%` }} />
            <span class="size">{size(one.size)}</span>
          </div>
        ))}
      </div>
    </div>
  )
}

/** 1, 2 or 5 times a power of ten. */
function niceStep(wanted: number): number {
  const power = 10 ** Math.floor(Math.log10(wanted))
  return ([1, 2, 5].find((one) => one * power >= wanted) ?? 10) * power
}
