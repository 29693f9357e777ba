/** The piece of a line by which a group is known in the chart. */

import type { Group } from './groups'

export const Key = ({ group, isDashed = false }: { group: Group; isDashed?: boolean }) => (
  <span class={isDashed || group.dash ? 'key dashed' : 'key'} style={{ color: `var(${group.colour})` }} />
)
