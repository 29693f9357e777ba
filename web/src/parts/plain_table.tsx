/** A small table with one row of headings. It scrolls sideways if it is wider than the screen. */

import type { ComponentChildren } from 'preact'

import { Scroll } from './scroll'

type Props = {
  /** Its description for screen readers. */
  label: string
  caption?: ComponentChildren
  columns: string[]
  /** Rows: each a `tr`. */
  children: ComponentChildren
}

export const PlainTable = ({ label, caption, columns, children }: Props) => (
  <Scroll label={label}>
    <table class="plain-table">
      {caption && <caption class="soft">{caption}</caption>}
      <thead>
        <tr>
          {columns.map((name) => (
            <th key={name} scope="col">
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  </Scroll>
)
