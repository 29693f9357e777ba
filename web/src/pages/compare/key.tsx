/** A sample of a group's line in the chart. */

import type { Group } from './groups'

export const Key = ({ group, isDashed = false }: { group: Group; isDashed?: boolean }) => (
  <span class={isDashed || group.dash ? 'key dashed' : 'key'} style={{ color: `var(${group.colour})` }} />
)
