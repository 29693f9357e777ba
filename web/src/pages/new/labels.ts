/** What the fields of a spec are called in plain words, and which of them most people need. */

import { plain } from '../../words/format'
import type { Path } from './schema'

/** Labels of a spec's fields by path; list indexes are left out. */
const LABELS: Record<string, string> = {
  name: 'Name of the job',
  network: 'Network',
  'network.backbone': 'Start with an uploaded network (backbone)',
  'network.backbone.model': 'Uploaded model (its id)',
  'network.backbone.trainable': 'Train the backbone too',
  'network.backbone.pixels': 'Pixel values it was trained with',
  'network.backbone.unfreeze_at': 'Train the backbone from a later epoch on',
  'network.backbone.unfreeze_at.epoch': 'First epoch in which it is trained',
  'network.backbone.unfreeze_at.learning_rate': 'Its learning rate then',
  'network.blocks': 'Blocks, from the image to the answer',
  'network.blocks.filters': 'Filters (patterns it looks for)',
  'network.blocks.kernel_size': 'Size of a filter (pixels)',
  'network.blocks.padding': 'Padding at the image edge',
  'network.blocks.strides': 'Stride of the first convolution (pixels)',
  'network.blocks.batch_norm': 'Batch normalization',
  'network.blocks.norm': 'Normalization',
  'network.blocks.residual': 'Shortcut around the block (residual)',
  'network.blocks.repeat': 'Convolutions in a row',
  'network.blocks.pool': 'Shrink the image by',
  'network.blocks.pool_type': 'Value kept when shrinking',
  'network.blocks.dropout': 'Dropout (share switched off)',
  'network.blocks.l2': 'L2 penalty of this block',
  'network.l2': 'L2 penalty on large weights',
  'network.head': 'How features become an answer',
  'network.dense': 'Dense layers before the answer',
  'network.dense.units': 'Units',
  'network.dense.dropout': 'Dropout (share switched off)',
  'network.dense.l2': 'L2 penalty of this layer',
  'network.model': 'Uploaded Keras network',
  'network.weights': 'Start from which weights',
  'network.pixels': 'Pixel values it expects',
  'network.trainable': 'Train all layers',
  'network.freeze': 'Keep fixed up to this layer (name or number)',
  'network.unfreeze_at': 'Train frozen layers from a later epoch on',
  'network.unfreeze_at.epoch': 'First epoch in which they are trained',
  'network.unfreeze_at.learning_rate': 'Their learning rate then',
  'network.dropout': 'Dropout to add (share switched off)',
  'network.width': 'Width (1, or 0.5 for half)',
  training: 'Training',
  'training.epochs': 'Epochs (times it sees all images)',
  'training.batch_size': 'Batch size (images at once)',
  'training.optimizer': 'Optimizer',
  'training.optimizer.name': 'Method',
  'training.optimizer.learning_rate': 'Learning rate (size of a step)',
  'training.optimizer.momentum': 'Momentum',
  'training.optimizer.nesterov': 'Nesterov momentum',
  'training.optimizer.weight_decay': 'Weight decay',
  'training.optimizer.clip_norm': 'Longest gradient (clipping)',
  'training.loss': 'What it minimizes (loss)',
  'training.loss.name': 'Loss',
  'training.loss.gamma': 'Focus on hard images (gamma)',
  'training.loss.alpha': 'Factor of the loss (alpha)',
  'training.schedule.warmup_epochs': 'Epochs of warm-up',
  'training.schedule.pct_start': 'Share of steps in which it rises',
  'training.schedule.div_factor': 'First rate: divide by',
  'training.schedule.final_div_factor': 'Last rate: divide the first by',
  'training.schedule.milestones': 'Epochs after which it falls',
  'training.schedule': 'How the learning rate changes',
  'training.early_stopping': 'Stop early when validation stops improving',
  'training.early_stopping.monitor': 'Judged by',
  'training.early_stopping.patience': 'Epochs to wait (patience)',
  'training.early_stopping.min_delta': 'Smallest improvement that counts',
  'training.early_stopping.restore_best': 'Keep the best epoch',
  'training.class_weights': 'Class weights',
  'training.mixup': 'Mixup (blend two images)',
  'training.cutmix': 'Cutmix (paste a part of another image)',
  'training.ema_decay': 'Averaged weights (decay)',
  'training.train_limit': 'Maximum training images',
  'training.on_overfit': 'When it overfits',
  'training.seed': 'Random seed',
  augmentation: 'Change training images at random (augmentation)',
  'augmentation.rotation_degrees': 'Rotate by up to (degrees)',
  'augmentation.width_shift': 'Shift sideways by up to (share)',
  'augmentation.height_shift': 'Shift up and down by up to (share)',
  'augmentation.zoom': 'Zoom by up to (share)',
  'augmentation.horizontal_flip': 'Mirror left and right',
  'augmentation.vertical_flip': 'Mirror top and bottom',
  'augmentation.random_crop': 'Crop at random',
  'augmentation.random_crop.name': 'What is cropped',
  'augmentation.random_crop.padding': 'Padding (share of the side)',
  'augmentation.random_crop.area': 'Size of the crop (shares)',
  'augmentation.saturation': 'Saturation by up to (share)',
  'augmentation.hue': 'Hue by up to (share of the circle)',
  'augmentation.trivial_augment': 'One random operation (TrivialAugment)',
  'augmentation.brightness': 'Brightness by up to (share)',
  'augmentation.contrast': 'Contrast by up to (share)',
  'augmentation.fill_mode': 'Fill uncovered pixels with',
  'augmentation.erasing': 'Erase a rectangle (probability)',
  'augmentation.erasing_area': 'Size of the rectangle (shares)',
  'augmentation.views': 'Fixed changed copies of each image',
  initial: 'Start from the weights of another job',
  validation: 'Split off validation images again',
  evaluation: 'What to measure, and when',
  limits: 'Time limits',
  'limits.max_runtime_s': 'Maximum training time (seconds)',
  'limits.max_pending_s': 'Maximum waiting time (seconds)',
  'limits.keep_s': 'Delete this long after the end (seconds)',
  resources: 'Machine',
  priority: 'Priority among your jobs',
  metadata: 'Your own notes',
}

/** The fields of a group that are shown first. Groups that are not named here show all of theirs. */
const FIRST: Record<string, string[]> = {
  // Of blocks, and of a network of one's own.
  network: ['blocks', 'l2', 'weights', 'head', 'dropout'],
  'network.blocks': ['filters', 'dropout'],
  training: ['epochs', 'batch_size', 'optimizer', 'early_stopping'],
  'training.optimizer': ['name', 'learning_rate'],
  'training.early_stopping': ['monitor', 'patience'],
  augmentation: ['rotation_degrees', 'width_shift', 'height_shift', 'zoom', 'horizontal_flip'],
}

export const ITEMS: Record<string, string> = { blocks: 'Block', dense: 'Dense layer' }

const keyOf = (path: Path) => path.filter((part) => typeof part === 'string').join('.')

export function labelOf(path: Path): string {
  const name = plain(String(path[path.length - 1]))
  return LABELS[keyOf(path)] ?? name.charAt(0).toUpperCase() + name.slice(1)
}

/** The field's own name, by which JSON, the command line and the reference call it. */
export const fieldName = (path: Path) => String(path[path.length - 1])

/** Fields of a group, parted into those that are shown at once and those behind "More settings". */
export function parted<T>(path: Path, fields: [string, T][]): [shown: [string, T][], folded: [string, T][]] {
  const first = FIRST[keyOf(path)]
  if (!first) return [fields, []]
  return [fields.filter(([name]) => first.includes(name)), fields.filter(([name]) => !first.includes(name))]
}

/** The place that a JSON pointer names, as the form calls it: `/network/blocks/0/filters` is "Block 1: Filters …". */
export function placeOf(pointer: string): string {
  const path = pointer.split('/').slice(1)
  const number = path.findIndex((part) => /^\d+$/.test(part))
  const item = number > 0 ? `${ITEMS[path[number - 1]!] ?? labelOf(path.slice(0, number))} ${Number(path[number]) + 1}` : ''
  const last = path.filter((part) => !/^\d+$/.test(part))
  return [item, number === path.length - 1 ? '' : labelOf(last)].filter(Boolean).join(': ') || 'The job'
}
