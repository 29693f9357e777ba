/** The list of jobs: a table, or a list of cards on a narrow screen. */

import type { ListedJob } from '../../api/jobs'
import { Sparkline } from '../../charts/sparkline'
import { GapBar, Progress, Status, Verdict } from '../../parts/marks'
import { Scroll } from '../../parts/scroll'
import { ago, count, duration, figure, moment, percent, plain } from '../../words/format'
import { ENDED } from '../../words/verdicts'

type Props = { jobs: ListedJob[]; selected: ReadonlySet<string>; onSelect: (ids: ReadonlySet<string>) => void }

export function JobTable({ jobs, selected, onSelect }: Props) {
  const toggle = (id: string) => {
    const next = new Set(selected)
    if (!next.delete(id)) next.add(id)
    onSelect(next)
  }
  const areAll = jobs.every((job) => selected.has(job.id))
  return (
    <Scroll label="List of jobs" framed>
      <table class="list cards jobs">
        <thead>
          <tr>
            <th class="tight">
              <input
                type="checkbox"
                aria-label="Select all jobs of this page"
                checked={areAll}
                onChange={() => onSelect(new Set(areAll ? [] : jobs.map((job) => job.id)))}
              />
            </th>
            <th>Name</th>
            <th>Status</th>
            <th>Dataset</th>
            <th title="Training and validation loss of each epoch; the dot is the lowest validation loss">Curves</th>
            <th title="Accuracy of the finished model on test images">Test</th>
            <th title="Highest validation accuracy of any epoch">Highest validation</th>
            <th title="Training accuracy minus test accuracy, in percentage points">Gap</th>
            <th>Verdict</th>
            <th>Created</th>
          </tr>
        </thead>
        <tbody>
          {jobs.map((job) => (
            <Row key={job.id} job={job} isSelected={selected.has(job.id)} onToggle={() => toggle(job.id)} />
          ))}
        </tbody>
      </table>
    </Scroll>
  )
}

function Row({ job, isSelected, onToggle }: { job: ListedJob; isSelected: boolean; onToggle: () => void }) {
  const lowestLoss = job.summary?.best
  const mostAccurate = job.summary?.most_accurate ?? lowestLoss
  const test = job.summary?.test_accuracy ?? null
  return (
    <tr class={isSelected ? 'selected' : undefined}>
      <td class="tight">
        <input type="checkbox" aria-label={`Select ${job.name}`} checked={isSelected} onChange={onToggle} />
      </td>
      <td class="name">
        <a href={`/jobs/${job.id}`}>{job.name}</a>
      </td>
      <td>
        <Status status={job.status} />
        {!ENDED.has(job.status) && job.progress.epoch > 0 && <Progress epoch={job.progress.epoch} epochs={job.progress.epochs} />}
        {job.queue_position && <span class="soft queue-place">number {count(job.queue_position)}</span>}
      </td>
      <td data-label="Dataset">
        <a href={`/datasets/${job.dataset.id}`} class="plain">
          {job.dataset.name}
        </a>
        <span class="soft">@{job.dataset.version}</span>
      </td>
      <td data-label="Curves">
        {job.curve ? (
          <Sparkline curve={job.curve} lowest={lowestLoss?.epoch} said={curveWord(job.curve)} />
        ) : (
          <span class="none">–</span>
        )}
      </td>
      <td data-label="Test">
        <span class={test === null ? 'none' : 'number'}>{percent(test)}</span>
      </td>
      <td data-label="Highest validation">
        {mostAccurate ? (
          <>
            <span class="number">{percent(mostAccurate.validation_accuracy)}</span>
            <span class="soft"> epoch {mostAccurate.epoch}</span>
          </>
        ) : (
          <span class="none">–</span>
        )}
      </td>
      <td data-label="Gap">
        <GapBar gap={job.summary?.gap ?? null} />
      </td>
      <td data-label="Verdict" class="judged">
        {job.error ? (
          <span class="badge bad">{plain(job.error.code)}</span>
        ) : (
          <Verdict code={job.summary?.verdict} headline={job.summary?.headline} />
        )}
      </td>
      <td data-label="Created">
        <time dateTime={job.created_at} title={moment(job.created_at)}>
          {ago(job.created_at)}
        </time>
        <Took job={job} />
      </td>
    </tr>
  )
}

function curveWord({ epochs, train_loss, validation_loss }: NonNullable<ListedJob['curve']>): string {
  const from = (losses: (number | null)[]) => `${figure(losses[0], 3)} to ${figure(losses.at(-1), 3)}`
  return `Epochs ${epochs[0]} to ${epochs.at(-1)}: training loss ${from(train_loss)}, validation loss ${from(validation_loss)}`
}

function Took({ job }: { job: ListedJob }) {
  const time = timeWord(job)
  return time ? <span class="soft took">{time}</span> : null
}

function timeWord({ status, started_at, finished_at, queued_at, progress }: ListedJob): string {
  if (started_at && finished_at) return `took ${duration((Date.parse(finished_at) - Date.parse(started_at)) / 1000)}`
  if (status === 'running' && progress.eta_s !== null) return `${duration(progress.eta_s)} left`
  return status === 'queued' ? `waiting for ${duration((Date.now() - Date.parse(queued_at)) / 1000)}` : ''
}
