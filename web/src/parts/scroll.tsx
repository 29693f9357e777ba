/** What may be wider than the screen: it scrolls by itself, with the keyboard too. */

import type { ComponentChildren } from 'preact'

type Props = { label: string; framed?: boolean; children: ComponentChildren }

export const Scroll = ({ label, framed = false, children }: Props) => (
  <div class={framed ? 'scrolls framed' : 'scrolls'} role="region" aria-label={label} tabIndex={0}>
    {children}
  </div>
)
