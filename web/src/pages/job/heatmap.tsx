/** Where the network looks at an image, on request: what speaks for its answer, and for its label. */

import { useState } from 'preact/hooks'

import { heatmapAddress, makeHeatmap } from '../../api/jobs'
import type { Mistake } from '../../parts/confusion'
import { useLoaded } from '../../parts/load'
import { Loading } from '../../parts/states'

export function WhereItLooks({ job, image }: { job: string; image: Mistake }) {
  const { index, label, answer } = image
  const [isOpen, setOpen] = useState(false)
  const made = useLoaded(isOpen ? `${job}/${index}` : null, (signal) => makeHeatmap(job, index, signal))
  const shown = answer === label ? (['answer'] as const) : (['answer', 'label'] as const)
  return (
    <>
      <button type="button" class="small" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        Where it looks<span class="sr"> at image {index}</span>
      </button>
      {isOpen && made.problem && <p class="soft">{made.problem.detail}</p>}
      {isOpen && !made.data && !made.problem && <Loading what="the heatmap" />}
      {isOpen &&
        made.data &&
        shown.map((of) => (
          <figure key={of} class="heatmap">
            <img src={heatmapAddress(job, index, of)} alt={`What in image ${index} speaks for ${image[of]}`} />
            <figcaption class="soft">speaks for {image[of]}</figcaption>
          </figure>
        ))}
    </>
  )
}
