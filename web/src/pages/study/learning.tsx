/** A learning curve: the errors of networks trained on more and more images, and a forecast for twice as many. */

import { useState } from 'preact/hooks'

import type { Study } from '../../api/studies'
import { type Grown, Growth } from '../../charts/growth'
import { Readable } from '../../charts/readable'
import { PlainTable } from '../../parts/plain_table'
import { Prose } from '../../parts/prose'
import { count, percent } from '../../words/format'

export function LearningCard({ study }: { study: Study }) {
  const [cursor, setCursor] = useState<number | null>(null)
  const sizes = study.sizes ?? []
  const points: Grown[] = sizes.map((size) => ({ size: size.images, value: size.error, interval: pair(size.interval) }))
  const { forecast } = study
  if (forecast) {
    points.push({ size: forecast.images, value: forecast.error, interval: pair(forecast.interval), isForecast: true })
  }
  const shown = cursor === null ? undefined : points[cursor]
  return (
    <section class="card" aria-label="Learning curve">
      <h2>Errors on validation images, by the number of training images</h2>
      {points.length ? (
        <>
          <Readable
            label="Share of wrong answers"
            x={points.map((point) => point.size)}
            xLabel="Number of training images"
            columns={[
              { label: 'Wrong', values: points.map((point) => point.value), format: percent },
              { label: 'from', values: points.map((point) => point.interval?.[0] ?? null), format: percent },
              { label: 'to', values: points.map((point) => point.interval?.[1] ?? null), format: percent },
            ]}
            cursor={cursor}
            onCursor={setCursor}
          >
            <Growth
              points={points}
              format={(share) => percent(share, Number.isInteger(Math.round(1e6 * share) / 1e4) ? 0 : 1)}
              size={count}
              cursor={cursor}
            />
          </Readable>
          <p class="readout">
            {shown && (
              <>
                <strong>
                  {count(shown.size)} images{shown.isForecast && ', forecast'}
                </strong>
                <span class="number">
                  {percent(shown.value)} wrong
                  {shown.interval && `, ${percent(shown.interval[0])} to ${percent(shown.interval[1])}`}
                </span>
              </>
            )}
          </p>
          <PlainTable label="Errors by size" columns={['Training images', 'Wrong', 'very likely between', 'Trainings']}>
            {sizes.map((size) => (
              <tr key={size.images}>
                <th scope="row">{count(size.images)}</th>
                <td>{percent(size.error)}</td>
                <td class="soft">{interval(size.interval)}</td>
                <td>
                  {size.jobs.map((job, place) => (
                    <a key={job} href={`/jobs/${job}`} class="numbered">
                      {place + 1}
                    </a>
                  ))}
                </td>
              </tr>
            ))}
            {forecast && (
              <tr>
                <th scope="row">{count(forecast.images)}</th>
                <td>{percent(forecast.error)}</td>
                <td class="soft">{interval(forecast.interval)}</td>
                <td>forecast</td>
              </tr>
            )}
          </PlainTable>
        </>
      ) : (
        <p class="soft">
          {study.status === 'running'
            ? 'The curve starts once all trainings of the first size are done.'
            : 'No size was measured.'}
        </p>
      )}
      {forecast?.explanation && (
        <p>
          <Prose text={forecast.explanation} />
        </p>
      )}
      {study.no_forecast && (
        <p>
          <Prose text={study.no_forecast} />
        </p>
      )}
      {study.status === 'running' && sizes.length > 0 && <p class="soft">Larger sizes follow when their trainings are done.</p>}
      <p class="soft">Lines are 95% intervals{forecast && '; the forecast is right in 90 of 100 cases'}.</p>
    </section>
  )
}

type Bounds = readonly number[] | null | undefined

const pair = (bounds: Bounds): [number, number] | null => (bounds ? [bounds[0]!, bounds[1]!] : null)

const interval = (bounds: Bounds) => (bounds ? `${percent(bounds[0])} to ${percent(bounds[1])}` : '–')
