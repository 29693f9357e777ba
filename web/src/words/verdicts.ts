/** What a verdict, a term of the gap, a remedy or a status is called, and how serious it looks. */

import { plain } from './format'
import { REMEDIES, VERDICTS } from './labels'

export { ENDED, STATUSES } from './labels'
export type Tone = 'good' | 'bad' | 'warn' | 'plain' | 'accent'

/** The tones of verdicts other than warnings. */
const TONES: Record<string, Tone> = {
  healthy: 'good',
  cannot_tell: 'plain',
  leakage: 'bad',
  label_order_mismatch: 'bad',
  scale_mismatch: 'bad',
  preprocessing_mismatch: 'bad',
  memorised_noise: 'bad',
  diverged: 'bad',
}

/** A verdict's word: unknown ones, of a later release, as their code says. */
export const verdictWord = (code: string): [string, Tone] => [VERDICTS[code] ?? plain(code), TONES[code] ?? 'warn']

export const remedyWord = (name: string) =>
  name
    .split('+')
    .map((part) => REMEDIES[part] ?? plain(part))
    .join(' + ')

export const STATUS_TONES: Record<string, Tone> = {
  running: 'accent',
  cancelling: 'warn',
  pausing: 'warn',
  succeeded: 'good',
  failed: 'bad',
}
