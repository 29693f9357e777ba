/** A few named facts in a row. */

import type { ComponentChildren } from 'preact'

type Props = { tight?: boolean; label?: string; children: ComponentChildren }

export const Facts = ({ tight = false, label, children }: Props) => (
  <dl class={tight ? 'facts tight' : 'facts'} aria-label={label}>
    {children}
  </dl>
)

export const Fact = ({ name, children }: { name: string; children: ComponentChildren }) => (
  <div>
    <dt>{name}</dt>
    <dd>{children}</dd>
  </div>
)
