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

export const TERMS: Record<string, string> = {
  "late_epochs": "Trained too long",
  "generalisation": "Gap to new images",
  "copies_in_validation": "Copies in validation",
  "split_difference": "Different test set",
  "label_order": "Labels in another order",
  "pixel_values": "Other pixel values",
  "copies_in_test": "Copies in test"
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
  "dropout": "Randomly switching units off during training stops them from relying on each other.",
  "l2": "A penalty on large weights stops the network from fitting single training images too closely.",
  "weight_decay": "Weights that shrink in each step only stay large where many images need them.",
  "smaller_network": "Half the filters leave less room for memorizing the training images.",
  "larger_network": "Twice the filters let the network learn more patterns.",
  "batch_norm": "Normalized activations speed up training and add a little helpful noise.",
  "less_regularisation": "Dropout, penalties, augmentation and mixed images make training harder, and this network has not learned enough yet.",
  "label_smoothing": "Label smoothing rewards answers that are a little less than certain, which keeps the network modest.",
  "class_weights": "Class weights make rare classes count as much as frequent ones.",
  "early_stopping": "Epochs after the best one only memorize, so the weights of the best epoch are kept.",
  "more_patience": "Validation may improve again after a pause.",
  "more_epochs": "The network may not have finished learning.",
  "longer_cosine": "Small steps at the end of a longer training let the weights settle.",
  "lower_learning_rate": "The training steps were too large: use a tenth of the learning rate.",
  "one_cycle": "Large steps in the middle find a good place, and small steps at the end settle there.",
  "step_decay": "Smaller steps in the last part of a training let the weights settle.",
  "nesterov": "Momentum that looks ahead overshoots less, so training is steadier.",
  "clip_norm": "A limit for gradients keeps a few unusual images from throwing the training off.",
  "focal_loss": "Images that are hard to tell count more, and the network becomes less certain.",
  "retune": "Searches for a good learning rate and weight decay: a badly tuned network makes every remedy look good.",
  "ema": "An average over many steps is steadier than the weights of the last one.",
  "transfer": "Layers that learned from other images do not have to be learned again from only a few images."
}

export const EFFECTS: Record<string, string> = {
  "better": "clearly better",
  "worse": "clearly worse",
  "mixed": "better and worse",
  "may_be_chance": "may be chance"
}

export const HOW_TO_READ: string = "Ranges are 95% confidence intervals of the difference from the base. They are adjusted for all comparisons of the study: in 95 of 100 studies, all of them are right at once. If a range lies entirely on the better side of 0, the remedy is clearly better; if it includes 0, the difference may be chance."

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
