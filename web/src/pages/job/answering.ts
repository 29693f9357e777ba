/** Asks for predictions in batches, and continues past images that are refused. */

import { Problem, type Schemas } from '../../api/client'

/** The network's answer to an image, or why there is none. */
export type Answered = Schemas['PredictionView'] | { refused: string }

export const MOST_IMAGES = 96
/** A request answers all of its images or none. */
const AT_ONCE = 16
const TOO_LARGE = 413

/**
 * Gets an answer for every file; `tell` is called once for each.
 *
 * Throws a Problem that is not about one image.
 */
export async function answerAll(
  files: File[],
  ask: (files: File[]) => Promise<Schemas['PredictionsView']>,
  tell: (file: File, answered: Answered) => void,
): Promise<void> {
  let left = files
  let most = AT_ONCE
  while (left.length) {
    const part = left.slice(0, most)
    try {
      const { predictions } = await ask(part)
      for (const [place, file] of part.entries()) {
        const prediction = predictions[place]
        if (prediction) tell(file, prediction)
      }
      left = left.slice(part.length)
    } catch (error) {
      if (error instanceof Problem && error.status === TOO_LARGE && part.length > 1) {
        most = Math.ceil(part.length / 2)
        continue
      }
      const refused = findRefused(error)
      const file = part[refused.place]
      if (!file) throw error
      tell(file, { refused: refused.why })
      left = left.filter((other) => other !== file)
    }
  }
}

/** The place of the image that a problem is about; -1 if it is about the whole request. */
function findRefused(error: unknown): { place: number; why: string } {
  if (error instanceof Problem && error.status === TOO_LARGE) return { place: 0, why: error.detail }
  for (const { pointer, detail } of error instanceof Problem ? error.errors : []) {
    const place = /^\/images\/(\d+)$/.exec(pointer)?.[1]
    if (place !== undefined) return { place: Number(place), why: detail }
  }
  return { place: -1, why: '' }
}
