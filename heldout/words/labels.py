"""The names that people read for remedies, verdicts, terms of the gap and states."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from heldout.metrics import METRICS, Measure
from heldout.verdicts import FINDING_KINDS
from heldout.words import join_with_and

# Remedies whose code, with spaces for underscores, is not clear enough.
REMEDY_NAMES: Mapping[str, str] = {
    "l2": "L2 penalty",
    "ema": "averaged weights",
    "batch_norm": "batch normalization",
    "batch_norm_momentum": "faster batch normalization",
    "recount_batch_norm": "recomputed batch normalization",
    "less_regularisation": "less regularization",
    "pretrained": "pretrained features",
    "fine_tuning": "fine-tuned pretrained network",
    "longer_cosine": "longer training with cosine decay",
    "one_cycle": "one-cycle learning rate",
    "step_decay": "learning rate in steps",
    "nesterov": "Nesterov momentum",
    "clip_norm": "clipped gradients",
    "trivial_augment": "TrivialAugment",
    "retune": "tuned learning rate",
}
VERDICT_NAMES: Mapping[str, str] = {
    "healthy": "healthy",
    "cannot_tell": "cannot tell",
    **{code: kind.name for code, kind in FINDING_KINDS.items()},
}


class TermLabel(NamedTuple):
    """The name of a term of the gap, its phrase within a sentence, and its meaning."""

    name: str
    phrase: str
    meaning: str


TERMS: Mapping[str, TermLabel] = {
    "late_epochs": TermLabel(
        "Trained too long",
        "training too long",
        "What the epochs after the best one cost on validation images.",
    ),
    "generalisation": TermLabel(
        "Gap to new images",
        "the gap to new images",
        "Validation images, which the network was not trained on, compared with training images.",
    ),
    "copies_in_validation": TermLabel(
        "Copies in validation",
        "copies in validation",
        "Validation images that are copies of training images make validation look too good.",
    ),
    "image_quality": TermLabel(
        "Worse test images",
        "worse test images",
        "What validation images lose if they are made as blurred, noisy, compressed or small as test images.",
    ),
    "split_difference": TermLabel(
        "Different test set",
        "a different test set",
        "Test images compared with validation images; the network was trained on neither.",
    ),
    "label_order": TermLabel(
        "Labels in another order",
        "labels in another order",
        "The test labels number the classes differently from the training labels.",
    ),
    "pixel_values": TermLabel(
        "Other pixel values",
        "other pixel values",
        "Test images have a different scale, brightness, channel order or orientation.",
    ),
    "copies_in_test": TermLabel(
        "Copies in test",
        "copies in test",
        "Test images that are copies of training images make test look too good.",
    ),
}


STOP_REASONS: Mapping[str, str] = {
    "completed": "All epochs are done.",
    "early_stopped": "Early stopping ended it: validation stopped improving.",
    "overfit_guard": "The overfitting guard stopped it.",
    "deadline": "It reached its time limit.",
    "cancelled": "It was cancelled.",
}
STUDY_KINDS: Mapping[str, str] = {
    "remedies": "Which remedy helps?",
    "learning_curve": "Would more images help?",
    "external": "Which of my own trainings is better?",
    "recorded": "Which of the recorded trainings is better?",
    "judge": "Is a candidate surely better than the best so far?",
}
EFFECTS: Mapping[str, str] = {
    "better": "clearly better",
    "worse": "clearly worse",
    "mixed": "better and worse",
    "may_be_chance": "may be chance",
}
SEVERITIES: Mapping[str, str] = {"critical": "critical", "warning": "warning", "info": "note"}
AUDIT_FINDINGS: Mapping[str, str] = {
    "leakage": "The same images in several splits",
    "label_conflicts": "One picture with two labels",
    "foreign_images": "Held-out images unlike the training images",
    "names_suggest_groups": "Images that seem to belong together",
    "look_alikes": "Images with different labels that look alike",
    "duplicates": "Copies within a split",
    "narrow_range": "Little contrast",
    "group_across_splits": "Groups spread over several splits",
    "class_missing": "A class is missing from a split",
    "class_shift": "Different class shares in a split",
    "label_order_mismatch": "Labels in another order",
    "inverted_values": "Light and dark are swapped in a split",
    "channel_order_mismatch": "Colors are swapped in a split",
}

# Labels of a spec's fields by path; list indexes are left out.
SPEC_FIELDS: Mapping[str, str] = {
    "name": "Name of the job",
    "network": "Network",
    "network.backbone": "Start from another network (backbone)",
    "network.backbone.model": "Model (its id, or the name of a shared one)",
    "network.backbone.size": "Size of its images (pixels)",
    "network.backbone.trainable": "Train the backbone too",
    "network.backbone.pixels": "Pixel values it was trained with",
    "network.backbone.unfreeze_at": "Train the backbone from a later epoch on",
    "network.backbone.unfreeze_at.epoch": "First epoch in which it is trained",
    "network.backbone.unfreeze_at.learning_rate": "Its learning rate then",
    "network.backbone.unfreeze_at.layers": "How many of its last layers",
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
    "network.unfreeze_at.layers": "How many of the last layers",
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
    "training.sampling": "Which images an epoch takes",
    "training.mixup": "Mixup (blend two images)",
    "training.cutmix": "Cutmix (paste a part of another image)",
    "training.ema_decay": "Averaged weights (decay)",
    "training.batch_norm": "Batch normalization in training",
    "training.batch_norm.momentum": "Momentum of batch normalization",
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
    "objective": "What counts (metric)",
    "costs": "Costs of answers (rows are labels)",
    "initial": "Start from the weights of another job",
    "validation": "Split off validation images again",
    "evaluation": "What to measure, and when",
    "evaluation.recount_batch_norm": "Recompute batch normalization",
    "limits": "Time limits",
    "limits.max_runtime_s": "Maximum training time (seconds)",
    "limits.max_pending_s": "Maximum waiting time (seconds)",
    "limits.keep_s": "Delete this long after the end (seconds)",
    "resources": "Machine",
    "priority": "Priority among your jobs",
    "metadata": "Your own notes",
}
# How to read the differences that a study measured.
# Next to a difference of fewer seeds than `MIN_SEEDS_OF_RANGE` in heldout/views/study.py.
TOO_FEW_SEEDS = "too few seeds for a range"
HOW_TO_READ = (
    "Ranges are 95% confidence intervals of the difference from the base. They are adjusted for all comparisons of the "
    "study: in 95 of 100 studies, all of them are right at once. A range entirely on the better side of 0 is a clear "
    "improvement; if it includes 0, the difference may be chance."
)


def get_verdict_name(verdict: str) -> str:
    """Return the name of a verdict; for a code unknown to this release, the code with spaces."""
    return VERDICT_NAMES.get(verdict, verdict.replace("_", " "))


def name_audit_finding(code: str) -> str:
    """Name an audit finding. Without a name of its own, it has the name of the verdict with its code."""
    return AUDIT_FINDINGS.get(code) or get_verdict_name(code).capitalize()


def describe_remedy(name: str) -> str:
    """Name a remedy, a combination, or a client's own patch: `l2+dropout` is `L2 penalty + dropout`."""
    return " + ".join(REMEDY_NAMES.get(part, part.replace("_", " ")) for part in name.split("+"))


def quote_remedy(name: str) -> str:
    """`"label smoothing"`: a remedy's words within a sentence."""
    return f'"{describe_remedy(name)}"'


def name_measure(measure: Measure) -> str:
    """`balanced accuracy`: the words for a measure within a sentence."""
    return METRICS[measure].name


def say_helps(objective: Measure | None, *, is_plural: bool = False, negated: bool = False) -> str:
    """`helps`, or with one measure that decides, `improves accuracy`."""
    verb = "help" if objective is None else "improve"
    if negated:
        verb = f"{'do' if is_plural else 'does'} not {verb}"
    elif not is_plural:
        verb += "s"
    return verb if objective is None else f"{verb} {name_measure(objective)}"


def join_remedies(names: Sequence[str]) -> str:
    """`"dropout"`, `"dropout" and "mixup"`, `"dropout", "mixup" and "L2 penalty"`."""
    return join_with_and([quote_remedy(name) for name in names])


ONE_LABEL = "Heldout trains and measures classifiers that give each image one label."
SEVERAL_LABELS = (
    f"{ONE_LABEL} Several labels per image are not supported. Make a dataset for each label, with two classes such as "
    "cat and no cat, or keep only the images with one label."
)
MEASURED_VALUES = (
    f"{ONE_LABEL} Labels that are measured values (regression) are not supported. Save ranges of the values as "
    "classes, such as low, medium and high."
)
OTHER_TASK = (
    f"{ONE_LABEL} Detection, segmentation and text are not supported. To use such images, cut out each object and save "
    "it under its class."
)
OTHER_LAYERS = (
    "Blocks have no such layers. Build the network in Keras, upload it, and name it in `network.model`; it is trained "
    "unchanged."
)

# Fields that a spec does not have, and that people look for.
BEYOND_SPECS: Mapping[str, str] = {
    **dict.fromkeys(("depthwise", "separable", "dilation", "dilation_rate"), OTHER_LAYERS),
    **dict.fromkeys(("skip_connections", "shortcut"), "A block with `residual: true` has a shortcut."),
    **dict.fromkeys(("multi_label", "multilabel", "labels_per_image"), SEVERAL_LABELS),
    **dict.fromkeys(("regression", "targets"), MEASURED_VALUES),
    **dict.fromkeys(("task", "boxes", "bboxes", "bounding_boxes", "masks", "segmentation", "detection"), OTHER_TASK),
}
