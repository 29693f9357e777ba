/** What studies, their arms and their answers are called. */

import type { Study } from '../api/studies'
import { percent } from './format'
import { type Tone, remedyWord } from './verdicts'

export const KINDS: Record<Study['kind'], string> = {
  remedies: 'Which remedy helps?',
  learning_curve: 'Would more images help?',
}

export const armWord = (name: string) => (name === 'base' ? 'Unchanged' : remedyWord(name))

/** By the adjusted intervals, as the report says it. */
export const EFFECTS: Record<string, [string, Tone]> = {
  better: ['surely better', 'good'],
  worse: ['surely worse', 'bad'],
  mixed: ['better and worse', 'warn'],
  may_be_chance: ['may be chance', 'plain'],
}

/** The answer of a study in two or three words; null while there is none. */
export function answerWord(study: Study): [string, Tone] | null {
  if (study.kind === 'learning_curve') {
    if (study.forecast) return [`forecast: ${percent(study.forecast.error)} wrong`, 'accent']
    return study.no_forecast ? ['no forecast', 'plain'] : null
  }
  const { conclusion } = study
  if (!conclusion) return null
  if (conclusion.kind === 'cure') return [`${armWord(conclusion.remedy ?? '')} helps`, 'good']
  return conclusion.kind === 'nothing_helped' ? ['nothing helped', 'warn'] : ['cannot tell', 'plain']
}

export const STUDY_STATUSES: Study['status'][] = ['running', 'succeeded', 'failed', 'cancelled']
