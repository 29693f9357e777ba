/** A document of the service, laid out block by block. The service decides on the content, the order and the words. */

import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'

import { post, type Schemas } from '../api/client'
import type { Block, Document } from '../api/documents'
import { FigureBlock } from '../charts/figure'
import { type Tone, verdictWord } from '../words/verdicts'
import { Fact, Facts } from './facts'
import { attempt } from './notices'
import { Prose } from './prose'
import { go, inQuery, setQuery } from './router'

export const DocumentCard = ({ document, label }: { document: Document; label: string }) => (
  <section class="card verdict" aria-label={label}>
    <Blocks blocks={document.blocks} />
  </section>
)

const Blocks = ({ blocks }: { blocks: Block[] }) => (
  <>
    {blocks.map((block, place) => (
      <BlockPart key={place} block={block} />
    ))}
  </>
)

const TONES = { plain: undefined, sentence: 'sentence', hint: 'soft', caution: 'caveat' }
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
      return (
        <Facts label="Key figures">
          {block.facts.map((fact) => (
            <Fact key={fact.name} name={fact.name}>
              <strong>{fact.text}</strong> <span class="soft">{fact.note}</span>
            </Fact>
          ))}
        </Facts>
      )
    case 'action':
      return (
        <div class="cure">
          <ActionButton action={block} />
          <span class="soft">{block.note}</span>
        </div>
      )
    case 'items':
      return <ItemsBlock block={block} />
    case 'figure':
      return <FigureBlock figure={block} />
    case 'details':
      return (
        <Folded>
          <Blocks blocks={block.blocks} />
        </Folded>
      )
  }
}

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
  const [busy, setBusy] = useState(false)
  const style = `${isSmall ? 'small' : ''} ${action.is_main ? 'primary' : ''}`
  const send = async () => {
    setBusy(true)
    const made = await attempt(() => post<{ id: string }>(action.post, action.body))
    setBusy(false)
    if (made) go(action.page.replace('{id}', made.id))
  }
  if (action.post) {
    return (
      <button type="button" class={style} disabled={busy || !action.is_ready} title={action.note} onClick={send}>
        {action.label}
      </button>
    )
  }
  return (
    <a class={`button ${style}`} href={action.page}>
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
