/** A few named facts in a row. */

import type { ComponentChildren } from 'preact'

export const Facts = ({ tight = false, children }: { tight?: boolean; children: ComponentChildren }) => (
  <dl class={tight ? 'facts tight' : 'facts'}>{children}</dl>
)

export const Fact = ({ name, children }: { name: string; children: ComponentChildren }) => (
  <div>
    <dt>{name}</dt>
    <dd>{children}</dd>
  </div>
)
