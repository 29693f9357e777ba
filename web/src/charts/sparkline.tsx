/** Two loss curves as high as a line of text: enough to see where validation departs from training. */

type Curve = { epochs: number[]; train_loss: (number | null)[]; validation_loss: (number | null)[] }

const [WIDTH, HEIGHT, EDGE] = [84, 22, 2]

/** lowest: the epoch whose validation loss has a dot. said: the description for screen readers. */
export function Sparkline({ curve, lowest, said }: { curve: Curve; lowest: number | null | undefined; said: string }) {
  const all = [...curve.train_loss, ...curve.validation_loss].filter((loss) => loss !== null)
  if (curve.epochs.length < 2 || !all.length) return <span class="none">–</span>
  const [first, last] = [curve.epochs[0]!, curve.epochs.at(-1)!]
  const [low, high] = [Math.min(...all), Math.max(...all)]
  const x = (epoch: number) => EDGE + ((WIDTH - 2 * EDGE) * (epoch - first)) / (last - first)
  const y = (loss: number) => HEIGHT - EDGE - ((HEIGHT - 2 * EDGE) * (loss - low)) / (high - low || 1)
  const line = (losses: (number | null)[]) =>
    curve.epochs
      .flatMap((epoch, place) => (losses[place] === null ? [] : [`${x(epoch).toFixed(1)},${y(losses[place]!).toFixed(1)}`]))
      .join(' ')
  const lowestLoss = lowest ? lossAt(curve, lowest) : null
  return (
    <svg class="sparkline" role="img" aria-label={said} width={WIDTH} height={HEIGHT} viewBox={`0 0 ${WIDTH} ${HEIGHT}`}>
      <polyline class="train" points={line(curve.train_loss)} />
      <polyline class="validation" points={line(curve.validation_loss)} />
      {lowestLoss !== null && <circle cx={x(lowest!)} cy={y(lowestLoss)} r="2.2" />}
    </svg>
  )
}

/** The validation loss at an epoch, interpolated between the neighboring points. */
function lossAt({ epochs, validation_loss }: Curve, epoch: number): number | null {
  const after = epochs.findIndex((measured) => measured >= epoch)
  const [previous, next] = [validation_loss[Math.max(0, after - 1)], validation_loss[after]]
  if (after < 0 || previous === null || previous === undefined || next === null || next === undefined) return null
  const [from, to] = [epochs[Math.max(0, after - 1)]!, epochs[after]!]
  return to === from ? next : previous + ((next - previous) * (epoch - from)) / (to - from)
}
