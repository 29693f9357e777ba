/** What formats, uploaded models and their evaluations are called. */

import type { Export } from '../api/jobs'
import type { Model } from '../api/models'
import { count, plain } from './format'
import type { Tone } from './verdicts'

export const MODEL_TONES: Record<string, Tone> = { ready: 'good', rejected: 'bad', checking: 'accent' }

/** Name, and what it is for. */
const FORMATS: Record<string, [string, string]> = {
  keras: ['Keras', 'For Python with Keras: the file that the training saved.'],
  saved_model: ['SavedModel', 'For TensorFlow Serving, as a .zip.'],
  onnx: ['ONNX', 'For onnxruntime, Triton and browsers.'],
  litert: ['LiteRT', 'For phones and small boards: a .tflite file.'],
} satisfies Record<Export['format'], [string, string]>

export const formatWord = (format: string) => FORMATS[format] ?? [plain(format), '']

/** How far an export is. */
export function exportWord({ format, status, error }: Export): [string, Tone] {
  const isProof = format === 'keras'
  if (status === 'stored') return [isProof ? 'ready and checked' : 'ready', 'good']
  if (status === 'queued') return [isProof ? 'being checked' : 'being made', 'accent']
  if (status === 'absent') return isProof ? ['ready, not checked', 'plain'] : ['not made', 'plain']
  if (error?.code === 'export_differs') return ['answers differ', 'bad']
  if (error?.code === 'not_supported') return ['not possible here', 'warn']
  return ['failed', 'bad']
}

/** The report of an export in a sentence. */
export function reportWord(report: NonNullable<Export['report']>): string {
  const split = { train: 'training', validation: 'validation', test: 'test' }[report.split]
  const before = report.compared_with === 'predictions' ? 'as after training' : 'as in Keras'
  const images = `${count(report.images)} ${split} images`
  const answers = report.differing_answers
    ? `${count(report.differing_answers)} of ${images} got a different answer`
    : `all ${images} got the same answer ${before}`
  return `Loaded in ${report.runtime}: ${answers}. ${differenceWord(report.max_difference)}`
}

function differenceWord(difference: number): string {
  if (!difference) return 'Probabilities match to the last digit.'
  const shown = difference.toLocaleString('en', { maximumSignificantDigits: 2 })
  return `The largest difference between probabilities is ${shown}, where 1 means certain.`
}

/** The size of the images that a model takes. */
export const takesWord = ({ input_shape }: Model) => (input_shape ? input_shape.map((size) => size ?? 'any').join(' × ') : null)

export const givesWord = ({ gives, classes, output_shape }: Model) => {
  if (gives === 'answers') return `${count(classes)} classes`
  return gives ? `features, ${(output_shape ?? []).map((size) => size ?? 'any').join(' × ')}` : null
}
