/** A document of the service, laid out block by block. The service decides on the content, the order and the words. */

import { type ComponentChildren, createContext } from 'preact'
import { useContext, useState } from 'preact/hooks'

import { post, type Schemas } from '../api/client'
import type { Block, Document } from '../api/documents'
import { moment } from '../words/format'
import { type Tone, verdictWord } from '../words/verdicts'
import { Code } from './code'
import { Fact, Facts } from './facts'
import { attempt } from './notices'
import { Prose } from './prose'
import { go, inQuery, path, setQuery } from './router'
import { FigureBlock, TableBlock } from './table'

/** Loads the document again, after something was done. */
const Reload = createContext(() => {})

type Props = { document: Document; label: string; reload?: () => void }

/** A card for each part of the document, without the facts that it begins with. `label`: of the first card. */
export function DocumentCards({ document, label, reload = () => {} }: Props) {
  const { blocks } = document
  const first = blocks[0]?.kind === 'facts' ? 1 : 0
  const starts = blocks.flatMap((block, place) =>
    place <= first || (block.kind === 'heading' && block.level === 2) ? place : [],
  )
  return (
    <Reload.Provider value={reload}>
      {starts.slice(first).map((start, place) => (
        <Part key={place} blocks={blocks.slice(start, starts[first + place + 1])} label={place ? '' : label} />
      ))}
    </Reload.Provider>
  )
}

function Part({ blocks, label }: { blocks: Block[]; label: string }) {
  const [heading, ...rest] = blocks
  if (heading?.kind === 'heading' && heading.is_folded) {
    return (
      <details class="card verdict">
        <summary>
          <h2>{heading.text}</h2>
        </summary>
        <Blocks blocks={rest} />
      </details>
    )
  }
  return (
    <section class="card verdict" aria-label={label || (heading?.kind === 'heading' ? heading.text : undefined)}>
      <Blocks blocks={blocks} />
    </section>
  )
}

/** The facts that a document begins with, for the head of its page, which has the status as a badge. */
export const DocumentFacts = ({ document }: { document: Document | undefined }) =>
  document?.blocks[0]?.kind === 'facts' ? (
    <FactsBlock facts={document.blocks[0].facts.filter(({ name, note }) => name !== 'Status' || note)} />
  ) : null

const Blocks = ({ blocks }: { blocks: Block[] }) => (
  <>
    {blocks.map((block, place) => (
      <BlockPart key={place} block={block} />
    ))}
  </>
)

const TONES = { plain: undefined, sentence: 'sentence', hint: 'soft', caution: 'caveat', picture: 'soft' }
const MARK_TONES: Record<string, Tone> = { critical: 'bad', warning: 'warn', note: 'plain' }

function BlockPart({ block }: { block: Block }) {
  switch (block.kind) {
    case 'heading':
      return <HeadingBlock block={block} />
    case 'paragraph':
      return (
        <p class={TONES[block.tone]}>
          <Prose text={block.text} />
        </p>
      )
    case 'epochs':
      return <p>{block.text}</p>
    case 'facts':
      return <FactsBlock facts={block.facts} label="Key figures" />
    case 'action':
      return (
        <div class="cure">
          <ActionButton action={block} />
          <span class="soft">
            <Prose text={block.note} />
          </span>
        </div>
      )
    case 'items':
      return <ItemsBlock block={block} />
    case 'figure':
      return <FigureBlock figure={block} />
    case 'table':
      return <TableBlock table={block} />
    case 'images':
      return <ImagesBlock block={block} />
    case 'listing':
      return (
        <div class="stack">
          <h3>{block.caption}</h3>
          <Code label={block.caption} text={block.code} />
        </div>
      )
    case 'panels':
      return <PanelsBlock block={block} />
    case 'details':
      return (
        <Folded>
          <Blocks blocks={block.blocks} />
        </Folded>
      )
  }
}

/** Longer texts are explanations. */
const LONGEST_FIGURE = 40

const FactsBlock = ({ facts, label }: { facts: Schemas['Fact'][]; label?: string }) => (
  <Facts label={label}>
    {facts.map(({ name, text, note, page, time }) => {
      const shown = time ? moment(time) : <Prose text={text} />
      return (
        <Fact key={name} name={name}>
          {page ? <a href={page}>{shown}</a> : label && text.length < LONGEST_FIGURE ? <strong>{shown}</strong> : shown}{' '}
          <span class="soft">{note}</span>
        </Fact>
      )
    })}
  </Facts>
)

function HeadingBlock({ block }: { block: Schemas['Heading'] }) {
  const marks = block.marks.map((mark, place) => (
    <span key={mark} class={`badge ${MARK_TONES[mark] ?? (place ? 'plain' : verdictWord(block.code)[1])}`}>
      {mark}
    </span>
  ))
  return (
    <header>
      {block.level === 2 ? <h2 class="headline">{block.text}</h2> : <h3>{block.text}</h3>}
      <div class="row">{marks}</div>
    </header>
  )
}

function ImagesBlock({ block }: { block: Schemas['Images'] }) {
  const [isAll, setAll] = useState(false)
  const { groups } = block
  const shown = isAll ? groups : groups.slice(0, block.shown)
  const isPairs = groups.some(({ images }) => images.length > 1)
  return (
    <>
      <ul class={isPairs ? 'pairs asked' : 'images'}>
        {shown.map(({ images, action }, place) => (
          <li key={place}>
            {images.map((image) => (
              <figure key={image.place} class="example">
                <img src={image.source} alt={image.place} loading="lazy" />
                <figcaption>
                  {image.place} <span class="soft">{image.note}</span>
                </figcaption>
              </figure>
            ))}
            {action && <ActionButton action={action} isSmall />}
          </li>
        ))}
      </ul>
      {groups.length > shown.length && (
        <button type="button" class="small all" onClick={() => setAll(true)}>
          All {groups.length.toLocaleString('en')} {isPairs ? 'pairs' : 'images'}
        </button>
      )}
    </>
  )
}

const PanelsBlock = ({ block }: { block: Schemas['Panels'] }) => (
  <>
    <p class="soft">{block.hint}</p>
    <div class="panels">
      {block.panels.map(({ title, charts }) => (
        <figure key={title}>
          <figcaption>{title}</figcaption>
          {charts.map((chart) => (
            <img key={chart} src={`data:image/svg+xml,${encodeURIComponent(chart)}`} alt={title} />
          ))}
        </figure>
      ))}
    </div>
  </>
)

function ItemsBlock({ block }: { block: Schemas['Items'] }) {
  const List = block.is_ordered ? 'ol' : 'ul'
  return (
    <div class="causes">
      {block.title && <h3>{block.title}</h3>}
      <List class="remedies">
        {block.items.map((item, place) => (
          <li key={place}>
            <div>
              <strong>{item.name}</strong>
              {item.size && <span class="soft"> · {item.size}</span>}
              {item.text && (
                <p class="soft">
                  <Prose text={item.text} />
                </p>
              )}
            </div>
            {item.action && <ActionButton action={item.action} isSmall />}
          </li>
        ))}
      </List>
    </div>
  )
}

/** A link to where it is done, or a button that does it and then goes there. */
function ActionButton({ action, isSmall = false }: { action: Schemas['Action']; isSmall?: boolean }) {
  const reload = useContext(Reload)
  const [busy, setBusy] = useState(false)
  const style = `${isSmall ? 'small' : ''} ${action.is_main ? 'primary' : ''}`
  const send = async () => {
    setBusy(true)
    const made = await attempt(() => post<{ id: string }>(action.post, action.body))
    setBusy(false)
    if (made) action.page ? go(action.page.replace('{id}', made.id)) : reload()
  }
  if (action.post) {
    return (
      <button type="button" class={style} disabled={busy || !action.is_ready} title={action.note} onClick={send}>
        {action.label}
      </button>
    )
  }
  const [page, parameters] = action.page.split('?')
  // A link to this page keeps the rest of its address, such as the job that led here.
  const stay = (event: Event) => {
    if (page !== path.value) return
    event.preventDefault()
    setQuery(Object.fromEntries(new URLSearchParams(parameters)))
  }
  return (
    <a class={`button ${style}`} href={action.page} onClick={stay}>
      {action.label}
    </a>
  )
}

function Folded({ children }: { children: ComponentChildren }) {
  const isOpen = inQuery('why') !== ''
  return (
    <details
      class="details"
      open={isOpen}
      onToggle={(event) =>
        event.currentTarget.open !== isOpen && setQuery({ why: isOpen ? '' : 'open', ...(isOpen && { gap: '' }) })
      }
    >
      <summary>Details</summary>
      <div>{children}</div>
    </details>
  )
}
