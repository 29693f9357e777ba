/** `make reference` writes this file from `heldout/words`. */

export const VERDICTS: Record<string, string> = {
  "healthy": "healthy",
  "cannot_tell": "cannot tell",
  "preprocessing_mismatch": "model expects other pixels",
  "leakage": "copied images",
  "label_order_mismatch": "labels in another order",
  "scale_mismatch": "other pixel values",
  "split_shift": "splits differ",
  "label_conflicts": "one picture, two labels",
  "label_noise": "wrong labels",
  "memorised_noise": "labels that do not fit",
  "class_imbalance": "class imbalance",
  "collapsed_class": "unrecognized class",
  "diverged": "diverged",
  "overfitting": "overfitting",
  "underfitting": "underfitting",
  "not_converged": "ended too early",
  "too_little_data": "too little data",
  "overconfidence": "overconfidence",
  "test_too_small": "test set too small",
  "metric_artefact": "misleading fit accuracy"
}

export const REMEDIES: Record<string, string> = {
  "l2": "L2 penalty",
  "ema": "averaged weights",
  "batch_norm": "batch normalization",
  "less_regularisation": "less regularization",
  "longer_cosine": "longer training with cosine decay",
  "one_cycle": "one-cycle learning rate",
  "step_decay": "learning rate in steps",
  "nesterov": "Nesterov momentum",
  "clip_norm": "clipped gradients",
  "trivial_augment": "TrivialAugment",
  "retune": "tuned learning rate"
}

export const WHAT_IT_DOES: Record<string, string> = {
  "augmentation": "Slightly rotated, shifted and zoomed copies give the network more varied images. Use them only if they still show the same thing.",
  "rotation": "Slightly rotated copies give the network more varied images.",
  "shift": "Slightly shifted copies teach the network that the position does not matter.",
  "zoom": "Slightly zoomed copies teach the network that the size does not matter.",
  "horizontal_flip": "Mirrored copies double the variety if a mirrored image still shows the same thing: garments do, digits do not.",
  "reference_augmentation": "Strongly rotated, shifted and mirrored copies give a lot of variety, but too much for a short training.",
  "erasing": "Hidden parts stop the network from relying on one detail of an image.",
  "random_crop": "Parts of an image at changing places teach that the position does not matter.",
  "saturation": "Paler and brighter colors teach the network not to rely on how strong a color is.",
  "hue": "Other colors teach the network to look at shapes. Use them only if colors do not tell classes.",
  "trivial_augment": "One strong random change of each image gives a lot of variety without anything to tune.",
  "mixup": "Blended images and labels make the network change its answers gradually.",
  "cutmix": "Images with a part of another image make the network look at all parts.",
  "smaller_network": "Half the filters leave less room for memorizing the training images.",
  "larger_network": "Twice the filters let the network learn more patterns.",
  "dropout": "Randomly switching units off during training stops them from relying on each other.",
  "l2": "A penalty on large weights stops the network from fitting single training images too closely.",
  "batch_norm": "Normalized activations speed up training and add a little helpful noise.",
  "less_regularisation": "Dropout, penalties, augmentation and mixed images make training harder, and this network has not learned enough yet.",
  "label_smoothing": "Label smoothing rewards answers that are a little less than certain, which keeps the network modest.",
  "class_weights": "Class weights make rare classes count as much as frequent ones.",
  "weight_decay": "Weights that shrink in each step only stay large where many images need them.",
  "lower_learning_rate": "The training steps were too large: use a tenth of the learning rate.",
  "retune": "Searches for a good learning rate and weight decay: a badly tuned network makes every remedy look good.",
  "early_stopping": "Epochs after the best one only memorize, so the weights of the best epoch are kept.",
  "more_patience": "Validation may improve again after a pause.",
  "more_epochs": "The network may not have finished learning.",
  "longer_cosine": "Small steps at the end of a longer training let the weights settle.",
  "one_cycle": "Large steps in the middle find a good place, and small steps at the end settle there.",
  "step_decay": "Smaller steps in the last part of a training let the weights settle.",
  "focal_loss": "Images that are hard to tell count more, and the network becomes less certain.",
  "nesterov": "Momentum that looks ahead overshoots less, so training is steadier.",
  "clip_norm": "A limit for gradients keeps a few unusual images from throwing the training off.",
  "ema": "An average over many steps is steadier than the weights of the last one.",
  "transfer": "Layers that learned from other images do not have to be learned again from only a few images."
}

export const EFFECTS: Record<string, string> = {
  "better": "clearly better",
  "worse": "clearly worse",
  "mixed": "better and worse",
  "may_be_chance": "may be chance"
}

export const HOW_TO_READ: string = "Ranges are 95% confidence intervals of the difference from the base. They are adjusted for all comparisons of the study: in 95 of 100 studies, all of them are right at once. A range entirely on the better side of 0 is a clear improvement; if it includes 0, the difference may be chance."

export const TOO_FEW_SEEDS: string = "too few seeds for a range"

export const STUDY_KINDS: Record<string, string> = {
  "remedies": "Which remedy helps?",
  "learning_curve": "Would more images help?",
  "external": "Which of my own trainings is better?",
  "recorded": "Which of the recorded trainings is better?"
}

export const STUDY_STATUSES: ('running' | 'succeeded' | 'failed' | 'cancelled')[] = [
  "running",
  "succeeded",
  "failed",
  "cancelled"
]

export const STATUSES: string[] = [
  "queued",
  "running",
  "paused",
  "succeeded",
  "failed",
  "cancelled"
]

export const ENDED: ReadonlySet<string> = new Set(["cancelled", "failed", "succeeded"])

export const STOP_REASONS: Record<string, string> = {
  "completed": "All epochs are done.",
  "early_stopped": "Early stopping ended it: validation stopped improving.",
  "overfit_guard": "The overfitting guard stopped it.",
  "deadline": "It reached its time limit.",
  "cancelled": "It was cancelled."
}

export const AUDIT_FINDINGS: Record<string, string> = {
  "leakage": "The same images in several splits",
  "label_conflicts": "One picture with two labels",
  "look_alikes": "Images with different labels that look alike",
  "duplicates": "Copies within a split",
  "narrow_range": "Little contrast",
  "group_across_splits": "Groups spread over several splits",
  "class_missing": "A class is missing from a split",
  "class_shift": "Different class shares in a split",
  "label_order_mismatch": "Labels in another order",
  "inverted_values": "Light and dark are swapped in a split",
  "channel_order_mismatch": "Colors are swapped in a split"
}

export const SPEC_FIELDS: Record<string, string> = {
  "name": "Name of the job",
  "network": "Network",
  "network.backbone": "Start with an uploaded network (backbone)",
  "network.backbone.model": "Uploaded model (its id)",
  "network.backbone.trainable": "Train the backbone too",
  "network.backbone.pixels": "Pixel values it was trained with",
  "network.backbone.unfreeze_at": "Train the backbone from a later epoch on",
  "network.backbone.unfreeze_at.epoch": "First epoch in which it is trained",
  "network.backbone.unfreeze_at.learning_rate": "Its learning rate then",
  "network.blocks": "Blocks, from the image to the answer",
  "network.blocks.filters": "Filters (patterns it looks for)",
  "network.blocks.kernel_size": "Size of a filter (pixels)",
  "network.blocks.padding": "Padding at the image edge",
  "network.blocks.strides": "Stride of the first convolution (pixels)",
  "network.blocks.batch_norm": "Batch normalization",
  "network.blocks.norm": "Normalization",
  "network.blocks.residual": "Shortcut around the block (residual)",
  "network.blocks.repeat": "Convolutions in a row",
  "network.blocks.pool": "Shrink the image by",
  "network.blocks.pool_type": "Value kept when shrinking",
  "network.blocks.dropout": "Dropout (share switched off)",
  "network.blocks.l2": "L2 penalty of this block",
  "network.l2": "L2 penalty on large weights",
  "network.head": "How features become an answer",
  "network.dense": "Dense layers before the answer",
  "network.dense.units": "Units",
  "network.dense.dropout": "Dropout (share switched off)",
  "network.dense.l2": "L2 penalty of this layer",
  "network.model": "Uploaded Keras network",
  "network.weights": "Start from which weights",
  "network.pixels": "Pixel values it expects",
  "network.trainable": "Train all layers",
  "network.freeze": "Keep fixed up to this layer (name or number)",
  "network.unfreeze_at": "Train frozen layers from a later epoch on",
  "network.unfreeze_at.epoch": "First epoch in which they are trained",
  "network.unfreeze_at.learning_rate": "Their learning rate then",
  "network.dropout": "Dropout to add (share switched off)",
  "network.width": "Width (1, or 0.5 for half)",
  "training": "Training",
  "training.epochs": "Epochs (times it sees all images)",
  "training.batch_size": "Batch size (images at once)",
  "training.optimizer": "Optimizer",
  "training.optimizer.name": "Method",
  "training.optimizer.learning_rate": "Learning rate (size of a step)",
  "training.optimizer.momentum": "Momentum",
  "training.optimizer.nesterov": "Nesterov momentum",
  "training.optimizer.weight_decay": "Weight decay",
  "training.optimizer.clip_norm": "Longest gradient (clipping)",
  "training.loss": "What it minimizes (loss)",
  "training.loss.name": "Loss",
  "training.loss.gamma": "Focus on hard images (gamma)",
  "training.loss.alpha": "Factor of the loss (alpha)",
  "training.schedule.warmup_epochs": "Epochs of warm-up",
  "training.schedule.pct_start": "Share of steps in which it rises",
  "training.schedule.div_factor": "First rate: divide by",
  "training.schedule.final_div_factor": "Last rate: divide the first by",
  "training.schedule.milestones": "Epochs after which it falls",
  "training.schedule": "How the learning rate changes",
  "training.early_stopping": "Stop early when validation stops improving",
  "training.early_stopping.monitor": "Judged by",
  "training.early_stopping.patience": "Epochs to wait (patience)",
  "training.early_stopping.min_delta": "Smallest improvement that counts",
  "training.early_stopping.restore_best": "Keep the best epoch",
  "training.class_weights": "Class weights",
  "training.mixup": "Mixup (blend two images)",
  "training.cutmix": "Cutmix (paste a part of another image)",
  "training.ema_decay": "Averaged weights (decay)",
  "training.train_limit": "Maximum training images",
  "training.on_overfit": "When it overfits",
  "training.seed": "Random seed",
  "augmentation": "Change training images at random (augmentation)",
  "augmentation.rotation_degrees": "Rotate by up to (degrees)",
  "augmentation.width_shift": "Shift sideways by up to (share)",
  "augmentation.height_shift": "Shift up and down by up to (share)",
  "augmentation.zoom": "Zoom by up to (share)",
  "augmentation.horizontal_flip": "Mirror left and right",
  "augmentation.vertical_flip": "Mirror top and bottom",
  "augmentation.random_crop": "Crop at random",
  "augmentation.random_crop.name": "What is cropped",
  "augmentation.random_crop.padding": "Padding (share of the side)",
  "augmentation.random_crop.area": "Size of the crop (shares)",
  "augmentation.saturation": "Saturation by up to (share)",
  "augmentation.hue": "Hue by up to (share of the circle)",
  "augmentation.trivial_augment": "One random operation (TrivialAugment)",
  "augmentation.brightness": "Brightness by up to (share)",
  "augmentation.contrast": "Contrast by up to (share)",
  "augmentation.fill_mode": "Fill uncovered pixels with",
  "augmentation.erasing": "Erase a rectangle (probability)",
  "augmentation.erasing_area": "Size of the rectangle (shares)",
  "augmentation.views": "Fixed changed copies of each image",
  "initial": "Start from the weights of another job",
  "validation": "Split off validation images again",
  "evaluation": "What to measure, and when",
  "limits": "Time limits",
  "limits.max_runtime_s": "Maximum training time (seconds)",
  "limits.max_pending_s": "Maximum waiting time (seconds)",
  "limits.keep_s": "Delete this long after the end (seconds)",
  "resources": "Machine",
  "priority": "Priority among your jobs",
  "metadata": "Your own notes"
}
