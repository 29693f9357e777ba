/** A figure for sizes that grow by factors, with intervals and a forecast. */

export type Grown = { size: number; value: number; interval: [number, number] | null; isForecast?: boolean }

type Props = { points: Grown[]; format: (value: number) => string; size: (value: number) => string; cursor: number | null }

const TICKS = 4

export function Growth({ points, format, size, cursor }: Props) {
  const sizes = points.map((point) => Math.log(point.size))
  const values = points.flatMap((point) => [point.value, ...(point.interval ?? [])])
  const [first, last] = [Math.min(...sizes), Math.max(...sizes)]
  const [low, high] = [Math.max(0, Math.min(...values)), Math.max(...values)]
  const step = niceStep((high - low || 0.01) / TICKS)
  const [bottom, top] = [Math.floor(low / step) * step, Math.ceil(high / step) * step]
  const x = (value: number) => 4 + (92 * (Math.log(value) - first)) / (last - first || 1)
  const y = (value: number) => (100 * (Math.min(top, Math.max(bottom, value)) - bottom)) / (top - bottom || 1)
  const ticks = Array.from({ length: Math.round((top - bottom) / step) + 1 }, (_, place) => bottom + place * step)
  const measured = points.filter((point) => !point.isForecast)
  const line = (part: Grown[]) => part.map((point) => `${x(point.size)},${100 - y(point.value)}`).join(' ')
  return (
    <div class="growth" aria-hidden="true">
      <div class="growth-area">
        {ticks.map((tick) => (
          <span key={tick} class="tick" style={{ insetBlockEnd: `${y(tick)}%` }}>
            <span>{format(tick)}</span>
          </span>
        ))}
        <svg aria-hidden="true" viewBox="0 0 100 100" preserveAspectRatio="none">
          <polyline points={line(measured)} />
          <polyline
            class="dashed"
            points={line(points.slice(-2).length === 2 && points.at(-1)?.isForecast ? points.slice(-2) : [])}
          />
        </svg>
        {points.map((point, place) => (
          <div
            key={point.size}
            class={`grown ${point.isForecast ? 'forecast' : ''} ${place === cursor ? 'current' : ''}`}
            style={{ insetInlineStart: `${x(point.size)}%` }}
          >
            {point.interval && (
              <span
                class="reach"
                style={{
                  insetBlockEnd: `${y(point.interval[0])}%`,
                  blockSize: `${y(point.interval[1]) - y(point.interval[0])}%`,
                }}
              />
            )}
            <span class="dot" style={{ insetBlockEnd: `${y(point.value)}%` }} />
            <span class="size">{size(point.size)}</span>
          </div>
        ))}
      </div>
    </div>
  )
}

/** 1, 2 or 5 times a power of ten. */
function niceStep(wanted: number): number {
  const power = 10 ** Math.floor(Math.log10(wanted))
  return ([1, 2, 5].find((factor) => factor * power >= wanted) ?? 10) * power
}
