/** What a verdict, a term of the gap or a status is called, and how serious it looks. */

import { plain } from './format'

export type Tone = 'good' | 'bad' | 'warn' | 'plain' | 'accent'

/** As `heldout/diagnosis/verdict_words.py` has them; a test holds both together. */
const VERDICTS: Record<string, [string, Tone]> = {
  healthy: ['healthy', 'good'],
  cannot_tell: ['cannot tell', 'plain'],
  leakage: ['copied images', 'bad'],
  label_order_mismatch: ['labels in another order', 'bad'],
  scale_mismatch: ['other pixel values', 'bad'],
  preprocessing_mismatch: ['model expects other pixels', 'bad'],
  split_shift: ['splits differ', 'warn'],
  label_conflicts: ['one picture, two labels', 'warn'],
  label_noise: ['wrong labels', 'warn'],
  memorised_noise: ['labels that do not fit', 'bad'],
  class_imbalance: ['class imbalance', 'warn'],
  collapsed_class: ['unrecognized class', 'warn'],
  diverged: ['diverged', 'bad'],
  overfitting: ['overfitting', 'warn'],
  underfitting: ['underfitting', 'warn'],
  not_converged: ['ended too early', 'warn'],
  too_little_data: ['too little data', 'warn'],
  overconfidence: ['overconfidence', 'warn'],
  test_too_small: ['test set too small', 'warn'],
  metric_artefact: ['misleading fit accuracy', 'warn'],
}

/** A verdict's word: unknown ones, of a later release, as their code says. */
export function verdictWord(code: string): [string, Tone] {
  return VERDICTS[code] ?? [plain(code), 'warn']
}

/** As `heldout/diagnosis/gap/term_words.py` has them; a test holds both together. */
const TERMS: Record<string, string> = {
  late_epochs: 'Trained too long',
  generalisation: 'Gap to new images',
  copies_in_validation: 'Copies in validation',
  split_difference: 'Different test set',
  label_order: 'Labels in another order',
  pixel_values: 'Other pixel values',
  copies_in_test: 'Copies in test',
}

export const termWord = (code: string) => TERMS[code] ?? plain(code)

/** As `heldout/remedy_words.py` has them. */
const REMEDIES: Record<string, string> = {
  l2: 'L2 penalty',
  ema: 'averaged weights',
  batch_norm: 'batch normalisation',
  longer_cosine: 'longer training with a cosine',
  retune: 'tuned learning rate',
}

export const remedyWord = (name: string) => name.split('+').map((part) => REMEDIES[part] ?? plain(part)).join(' + ')

export const STATUS_TONES: Record<string, Tone> = {
  running: 'accent',
  cancelling: 'warn',
  pausing: 'warn',
  succeeded: 'good',
  failed: 'bad',
}

export const STATUSES = ['queued', 'running', 'cancelling', 'pausing', 'paused', 'succeeded', 'failed', 'cancelled']
export const ENDED = new Set(['succeeded', 'failed', 'cancelled'])

const REASONS: Record<string, string> = {
  completed: 'All epochs are done.',
  early_stopped: 'Early stopping ended it: validation did not get better.',
  overfit_guard: 'The overfitting guard stopped it.',
  deadline: 'It reached its time limit.',
  cancelled: 'It was cancelled.',
}

export const reasonWord = (reason: string | null | undefined) => (reason ? (REASONS[reason] ?? plain(reason)) : '')
