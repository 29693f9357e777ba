/** The top of a page about one thing. On a phone, what matters comes before what one can do with it and its facts. */

import { signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'

import { Title } from './layout'

/** The same limit as in `parts.css`, where tables become cards. */
const narrow = matchMedia('(max-width: 720px)')
const isNarrow = signal(narrow.matches)
narrow.addEventListener('change', () => {
  isNarrow.value = narrow.matches
})

type Props = {
  title: string
  badge: ComponentChildren
  actions: ComponentChildren
  facts: ComponentChildren
  /** What a reader wants to know first: how far it is, the verdict. */
  children: ComponentChildren
}

export const Head = ({ title, badge, actions, facts, children }: Props) => (
  <>
    <div class="heading">
      <div class="row">
        <Title text={title} />
        {badge}
      </div>
      {!isNarrow.value && actions}
    </div>
    {!isNarrow.value && facts}
    {children}
    {isNarrow.value && actions}
    {isNarrow.value && facts}
  </>
)
