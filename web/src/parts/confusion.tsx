/** How a model answers class by class: a matrix whose cells open their images, if these are known, and the worst mistakes. */

import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'

import { query, type Schemas } from '../api/client'
import type { Cell as CellImages, Confusion } from '../api/jobs'
import { SPLIT_NAMES } from '../words/datasets'
import { count, percent, points } from '../words/format'
import { Dialog } from './dialog'
import { useLoaded } from './load'
import { PlainTable } from './plain_table'
import { inQuery, setQuery } from './router'
import { Scroll } from './scroll'
import { Segments } from './segments'
import { Failed, Loading } from './states'

type Split = 'train' | 'validation' | 'test'
export type Mistake = Schemas['Mistake']
type Scores = NonNullable<Confusion['splits'][Split]>
type Cell = { label: string; answer: string; count: number }

/** A matrix holds at most this many classes. With more, the most frequent confusions are listed. */
const MAX_CLASSES = 20
const PAIRS = 12
const MISTAKES = 12

/** What is shown under an image. */
type Under = (image: Mistake) => ComponentChildren
type LoadCell = (id: string, wanted: string, signal: AbortSignal) => Promise<CellImages>

type Props = {
  /** The id of the job or evaluation. */
  of: string
  load: (id: string, signal: AbortSignal) => Promise<Confusion>
  /** Loads all images of a cell, if that is possible. */
  loadCell?: LoadCell
  under?: Under
}

export function ConfusionCard({ of, load, loadCell, under }: Props) {
  const loaded = useLoaded(of, (signal) => load(of, signal))
  const wanted = inQuery('answers') as Split
  const [cell, setCell] = useState<Cell | null>(null)
  if (!loaded.data) {
    if (!loaded.problem) return <Loading what="the confusion matrix" />
    return loaded.problem.status === 409 ? null : <Failed problem={loaded.problem} retry={loaded.reload} />
  }
  const { classes, splits } = loaded.data
  const there = (['test', 'validation', 'train'] as const).filter((name) => splits[name])
  const split = there.find((candidate) => candidate === wanted) ?? there[0]
  if (!split) return null
  const scores = splits[split]!
  const onOpen = loadCell && setCell
  return (
    <section class="card" aria-label="Answers">
      <header>
        <h2>Which classes are mistaken for which</h2>
        <Segments
          label="Split"
          choices={there.map((choice) => [choice, SPLIT_NAMES[choice]])}
          chosen={split}
          onChoose={(choice) => setQuery({ answers: choice === there[0] ? '' : choice })}
        />
      </header>
      <div class="columns even">
        {classes.length <= MAX_CLASSES ? (
          <Matrix classes={classes} scores={scores} onOpen={onOpen} />
        ) : (
          <Pairs classes={classes} scores={scores} onOpen={onOpen} />
        )}
        <PerClass scores={scores} hasGap={split !== 'train'} />
      </div>
      {scores.mistakes.length > 0 && (
        <>
          <h3>The most confident mistakes</h3>
          <Images images={scores.mistakes.slice(0, MISTAKES)} under={under} />
        </>
      )}
      {cell && loadCell && (
        <CellDialog of={of} load={loadCell} split={split} cell={cell} under={under} onClose={() => setCell(null)} />
      )}
    </section>
  )
}

type OpenProps = { classes: string[]; scores: Scores; onOpen: ((cell: Cell) => void) | undefined }

function Matrix({ classes, scores, onOpen }: OpenProps) {
  return (
    <Scroll label="Confusion matrix">
      <table class="matrix">
        <caption class="soft">Rows are labels, columns are answers.{onOpen && ' Choose a cell to see its images.'}</caption>
        <thead>
          <tr>
            <td />
            {classes.map((name) => (
              <th key={name} scope="col" title={name}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {scores.confusion.map((row, label) => {
            const all = row.reduce((sum, cell) => sum + cell, 0)
            return (
              <tr key={classes[label]}>
                <th scope="row" title={classes[label]}>
                  {classes[label]}
                </th>
                {row.map((cell, answer) => (
                  <MatrixCell
                    key={classes[answer]}
                    cell={{ label: classes[label]!, answer: classes[answer]!, count: cell }}
                    share={all ? cell / all : 0}
                    isRight={label === answer}
                    onOpen={onOpen}
                  />
                ))}
              </tr>
            )
          })}
        </tbody>
      </table>
    </Scroll>
  )
}

type CellProps = { cell: Cell; share: number; isRight: boolean; onOpen: OpenProps['onOpen'] }

function MatrixCell({ cell, share, isRight, onOpen }: CellProps) {
  if (!cell.count) return <td class="none">·</td>
  // Even a small share of mistakes stands out; right answers are paler.
  const strength = isRight ? 8 + 30 * share : 18 + 62 * Math.sqrt(share)
  return (
    <td class={isRight ? 'right' : 'wrong'} style={{ '--strength': `${strength}%` }}>
      {onOpen ? (
        <button
          type="button"
          onClick={() => onOpen(cell)}
          aria-label={`${cell.count} images of ${cell.label} were taken for ${cell.answer}`}
        >
          {cell.count}
        </button>
      ) : (
        <span>{cell.count}</span>
      )}
    </td>
  )
}

function Pairs({ classes, scores, onOpen }: OpenProps) {
  const pairs = scores.confusion
    .flatMap((row, label) =>
      row.map((images, answer) => ({ label: classes[label]!, answer: classes[answer]!, count: label === answer ? 0 : images })),
    )
    .filter((pair) => pair.count)
    .sort((a, b) => b.count - a.count)
    .slice(0, PAIRS)
  return (
    <table class="plain-table">
      <caption class="soft">The most frequent confusions</caption>
      <tbody>
        {pairs.map((pair) => (
          <tr key={`${pair.label}/${pair.answer}`}>
            <td>{pair.label}</td>
            <td>taken for {pair.answer}</td>
            <td>
              {onOpen ? (
                <button type="button" class="small" onClick={() => onOpen(pair)}>
                  {count(pair.count)} images
                </button>
              ) : (
                `${count(pair.count)} images`
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function PerClass({ scores, hasGap }: { scores: Scores; hasGap: boolean }) {
  return (
    <PlainTable
      label="Figures of each class"
      caption={
        <>
          Recall: how many of a class are found. Precision: how many of its answers are right.
          {hasGap && ' Gap: recall in training minus recall here, in points.'}
        </>
      }
      columns={['Class', 'Images', 'Recall', 'Precision', ...(hasGap ? ['Gap'] : [])]}
    >
      {scores.per_class.map((score) => (
        <tr key={score.label}>
          <th scope="row">{score.label}</th>
          <td>{count(score.count)}</td>
          <td>{percent(score.recall)}</td>
          <td>{percent(score.precision)}</td>
          {hasGap && <td>{points(score.gap)}</td>}
        </tr>
      ))}
    </PlainTable>
  )
}

const Images = ({ images, under }: { images: Mistake[]; under?: Under }) => (
  <ul class="images">
    {images.map((image) => (
      <li key={image.index}>
        <img src={image.thumbnail} alt={`Image ${image.index}`} loading="lazy" />
        <span class="file" title={image.member ?? undefined}>
          {image.member ?? `image ${image.index}`}
        </span>
        <span>
          <strong>{image.label}</strong>
          {image.label !== image.answer && <> → {image.answer}</>} <span class="soft">{percent(image.probability, 0)}</span>
        </span>
        {under?.(image)}
      </li>
    ))}
  </ul>
)

type DialogProps = { of: string; load: LoadCell; split: Split; cell: Cell; under?: Under; onClose: () => void }

function CellDialog({ of, load, split, cell, under, onClose }: DialogProps) {
  const wanted = query({ split, label: cell.label, answer: cell.answer })
  const loaded = useLoaded(wanted, (signal) => load(of, wanted, signal))
  const said = cell.label === cell.answer ? 'answered correctly' : `taken for ${cell.answer}`
  return (
    <Dialog
      title={`${count(cell.count)} ${cell.count === 1 ? 'image' : 'images'} of ${cell.label}, ${said}`}
      onClose={onClose}
      wide
    >
      {loaded.problem && <Failed problem={loaded.problem} retry={loaded.reload} />}
      {!loaded.data && !loaded.problem && <Loading what="the images" />}
      {loaded.data && <Images images={loaded.data.images} under={under} />}
      {loaded.data && loaded.data.count > loaded.data.images.length && (
        <p class="soft">
          The {count(loaded.data.images.length)} surest answers of {count(loaded.data.count)}.
        </p>
      )}
    </Dialog>
  )
}
