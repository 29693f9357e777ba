/** One image of a dataset, with its split and its file's name. */

import type { Example } from '../api/datasets'
import { SPLIT_NAMES } from '../words/datasets'

export const Picture = ({ example }: { example: Example }) => (
  <figure class="example">
    <img src={example.thumbnail} alt={`Image ${example.index}`} loading="lazy" />
    <figcaption>
      {SPLIT_NAMES[example.split]}
      <span class="soft file" title={example.member}>
        {example.member || `image ${example.index}`}
      </span>
    </figcaption>
  </figure>
)
