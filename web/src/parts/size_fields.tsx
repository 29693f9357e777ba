/** One size for all images of an upload, and what happens to other proportions. */

import { Labelled } from './labelled'

type Props = {
  side: string
  rule: string
  error?: string | undefined
  onChange: (part: { side?: string; rule?: string }) => void
}

export const SizeFields = ({ side, rule, error, onChange }: Props) => (
  <>
    <Labelled id="side" label="Resize to (pixels)" hint="Needed if images differ in size." {...(error && { error })}>
      <input
        id="side"
        aria-describedby="side-hint"
        type="number"
        min="8"
        max="512"
        value={side}
        onInput={(event) => onChange({ side: event.currentTarget.value })}
      />
    </Labelled>
    <Labelled id="rule" label="Images of other proportions">
      <select id="rule" value={rule} onChange={(event) => onChange({ rule: event.currentTarget.value })}>
        <option value="pad">add black bars</option>
        <option value="crop">cut off the edges</option>
        <option value="stretch">stretch</option>
      </select>
    </Labelled>
  </>
)
