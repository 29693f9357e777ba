/** The steps from one level to another, one row each: a table that screen readers can read, with bars drawn in it. */

export type Level = { name: string; value: number; count: number }
/** interval: of the change, on the same scale. */
export type Step = { name: string; change: number; interval: [number, number] | null; explanation: string }

type Props = {
  start: Level
  end: Level
  steps: Step[]
  level: (value: number) => string
  change: (value: number) => string
  /** The lowest and highest possible level. */
  bounds?: [number, number]
}

export function Waterfall({ start, end, steps, level, change, bounds }: Props) {
  const rows = rowsOf(start.value, steps)
  const [low, high] = rangeOf(start, end, rows, bounds)
  const at = (value: number) => (100 * (Math.min(high, Math.max(low, value)) - low)) / (high - low || 1)
  const bar = (from: number, to: number) => ({
    insetInlineStart: `${Math.min(at(from), at(to))}%`,
    inlineSize: `max(2px, ${Math.abs(at(to) - at(from))}%)`,
  })
  return (
    <table class="waterfall">
      <thead class="sr">
        <tr>
          <th scope="col">Step</th>
          <th scope="col">Bar</th>
          <th scope="col">Figure</th>
          <th scope="col">95% interval</th>
        </tr>
      </thead>
      <tbody>
        <Whole name={start.name} colour="train" of={start} bar={bar(bounds ? low : 0, start.value)} level={level} />
        {rows.map(({ step, before, after }) => (
          <tr key={step.name}>
            <th scope="row">
              {step.name}
              <p class="soft">{step.explanation}</p>
            </th>
            <td class="area" aria-hidden="true">
              <span class={isBetter(step, start, end) ? 'bar better' : 'bar step'} style={bar(before, after)} />
              {step.interval && <span class="whisker" style={bar(before + step.interval[0], before + step.interval[1])} />}
            </td>
            <td class="number">{change(step.change)}</td>
            <td class="number soft">
              {step.interval ? `${change(step.interval[0])} to ${change(step.interval[1])}` : 'no interval'}
            </td>
          </tr>
        ))}
        <Whole name={end.name} colour="test" of={end} bar={bar(bounds ? low : 0, end.value)} level={level} />
      </tbody>
    </table>
  )
}

type WholeProps = { name: string; colour: string; of: Level; bar: Record<string, string>; level: (value: number) => string }

const Whole = ({ name, colour, of, bar, level }: WholeProps) => (
  <tr class="whole">
    <th scope="row">
      {name} <span class="soft">{of.count.toLocaleString('en')} images</span>
    </th>
    <td class="area" aria-hidden="true">
      <span class={`bar ${colour}`} style={bar} />
    </td>
    <td class="number">
      <strong>{level(of.value)}</strong>
    </td>
    <td />
  </tr>
)

function rowsOf(start: number, steps: Step[]) {
  let before = start
  return steps.map((step) => {
    const row = { step, before, after: before + step.change }
    before = row.after
    return row
  })
}

/** Whether a step narrows the gap, since it goes the other way. */
const isBetter = (step: Step, start: Level, end: Level) => step.change * (end.value - start.value) < 0

function rangeOf(start: Level, end: Level, rows: ReturnType<typeof rowsOf>, bounds?: [number, number]): [number, number] {
  const all = [start.value, end.value]
  for (const { step, before, after } of rows) {
    all.push(after)
    if (step.interval) all.push(before + step.interval[0], before + step.interval[1])
  }
  const [least, most] = [Math.min(...all), Math.max(...all)]
  const room = 0.15 * (most - least) || 0.05
  if (!bounds) return [0, most + room]
  return [Math.max(bounds[0], least - room), Math.min(bounds[1], most + room)]
}
