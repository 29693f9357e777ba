/** What the fields of a spec are called in plain words, and which of them most people need. */

import { plain } from '../../words/format'
import type { Path } from './schema'

/** By the path without the places in lists. */
const WORDS: Record<string, string> = {
  name: 'Name of the job',
  network: 'Network',
  'network.backbone': 'Begin with an uploaded network (backbone)',
  'network.backbone.model': 'Uploaded model (its id)',
  'network.backbone.trainable': 'Train it along',
  'network.backbone.pixels': 'Pixels that it was trained with',
  'network.blocks': 'Blocks, from the image to the answer',
  'network.blocks.filters': 'Filters (patterns it looks for)',
  'network.blocks.kernel_size': 'Size of a filter (pixels)',
  'network.blocks.padding': 'Edge of the image',
  'network.blocks.batch_norm': 'Batch normalisation',
  'network.blocks.repeat': 'Convolutions in a row',
  'network.blocks.pool': 'Shrink the image by',
  'network.blocks.dropout': 'Dropout (share switched off)',
  'network.blocks.l2': 'L2 penalty of this block',
  'network.l2': 'L2 penalty on large weights',
  'network.head': 'How blocks become an answer',
  'network.dense': 'Dense layers before the answer',
  'network.dense.units': 'Units',
  'network.dense.dropout': 'Dropout (share switched off)',
  'network.dense.l2': 'L2 penalty of this layer',
  training: 'Training',
  'training.epochs': 'Epochs (times it sees all images)',
  'training.batch_size': 'Images at once',
  'training.optimizer': 'Optimizer',
  'training.optimizer.name': 'Method',
  'training.optimizer.learning_rate': 'Learning rate (size of a step)',
  'training.schedule': 'How the learning rate changes',
  'training.early_stopping': 'Stop early when validation gets no better',
  'training.early_stopping.monitor': 'Judged by',
  'training.early_stopping.patience': 'Epochs to wait',
  'training.early_stopping.min_delta': 'What counts as better',
  'training.early_stopping.restore_best': 'Keep the best epoch',
  'training.class_weights': 'Weights of classes',
  'training.mixup': 'Mixup (blend two images)',
  'training.cutmix': 'Cutmix (paste a part of another image)',
  'training.ema_decay': 'Averaged weights (decay)',
  'training.train_limit': 'Training images at most',
  'training.on_overfit': 'When it overfits',
  'training.seed': 'Seed of chance',
  augmentation: 'Change training images at random (augmentation)',
  'augmentation.rotation_degrees': 'Turn by up to (degrees)',
  'augmentation.width_shift': 'Shift sideways by up to (share)',
  'augmentation.height_shift': 'Shift up and down by up to (share)',
  'augmentation.zoom': 'Zoom by up to (share)',
  'augmentation.horizontal_flip': 'Mirror left and right',
  'augmentation.vertical_flip': 'Mirror top and bottom',
  'augmentation.brightness': 'Brightness by up to (share)',
  'augmentation.contrast': 'Contrast by up to (share)',
  'augmentation.fill_mode': 'Fill what comes into view with',
  'augmentation.erasing': 'Erase a rectangle (probability)',
  'augmentation.erasing_area': 'Size of that rectangle (shares)',
  initial: 'Begin with the weights of another job',
  validation: 'Cut validation images anew',
  evaluation: 'What is measured, and when',
  limits: 'Limits of time',
  'limits.max_runtime_s': 'Seconds of training at most',
  'limits.max_pending_s': 'Seconds of waiting at most',
  'limits.keep_s': 'Seconds it is kept after its end at most',
  resources: 'Machine',
  priority: 'Priority among your jobs',
  metadata: 'Notes of your own',
}

/** Those of a group that are shown at once; of a group that is not named here, all are. */
const FIRST: Record<string, string[]> = {
  network: ['blocks', 'l2'],
  'network.blocks': ['filters', 'dropout'],
  training: ['epochs', 'batch_size', 'optimizer', 'early_stopping'],
  'training.optimizer': ['name', 'learning_rate'],
  'training.early_stopping': ['monitor', 'patience'],
  augmentation: ['rotation_degrees', 'width_shift', 'height_shift', 'zoom', 'horizontal_flip'],
}

const keyOf = (path: Path) => path.filter((part) => typeof part === 'string').join('.')

export function labelOf(path: Path): string {
  const name = plain(String(path[path.length - 1]))
  return WORDS[keyOf(path)] ?? name.charAt(0).toUpperCase() + name.slice(1)
}

/** The field's own name, by which JSON, the command line and the reference call it. */
export const fieldName = (path: Path) => String(path[path.length - 1])

/** Fields of a group, parted into those that are shown at once and those behind "More settings". */
export function parted<T>(path: Path, fields: [string, T][]): [shown: [string, T][], folded: [string, T][]] {
  const first = FIRST[keyOf(path)]
  if (!first) return [fields, []]
  return [fields.filter(([name]) => first.includes(name)), fields.filter(([name]) => !first.includes(name))]
}
