"""All remedies by name. `docs/reference/remedies.md` lists them with their values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from heldout.remedies import images, training
from heldout.remedies.change import Outcome, RemedyBase
from heldout.remedies.network import (
    add_batch_norm,
    add_dropout,
    add_l2,
    enlarge_network,
    reduce_regularization,
    shrink_network,
)


@dataclass(frozen=True)
class Remedy:
    """change: what it does to a spec. reason: why it may help, for someone who has never trained a network."""

    change: Callable[[RemedyBase], Outcome]
    reason: str


REMEDIES: Mapping[str, Remedy] = {
    "augmentation": Remedy(
        images.add_augmentation,
        "Slightly rotated, shifted and zoomed copies give the network more varied images. Use them only if they still "
        "show the same thing.",
    ),
    "rotation": Remedy(images.add_rotation, "Slightly rotated copies give the network more varied images."),
    "shift": Remedy(images.add_shift, "Slightly shifted copies teach the network that the position does not matter."),
    "zoom": Remedy(images.add_zoom, "Slightly zoomed copies teach the network that the size does not matter."),
    "horizontal_flip": Remedy(
        images.add_horizontal_flip,
        "Mirrored copies double the variety if a mirrored image still shows the same thing: garments do, digits do "
        "not.",
    ),
    "reference_augmentation": Remedy(
        images.use_reference_augmentation,
        "Strongly rotated, shifted and mirrored copies give a lot of variety, but too much for a short training.",
    ),
    "erasing": Remedy(images.add_erasing, "Hidden parts stop the network from relying on one detail of an image."),
    "random_crop": Remedy(
        images.add_random_crop,
        "Parts of an image at changing places teach that the position does not matter.",
    ),
    "saturation": Remedy(
        images.add_saturation, "Paler and brighter colors teach the network not to rely on how strong a color is."
    ),
    "hue": Remedy(
        images.add_hue, "Other colors teach the network to look at shapes. Use them only if colors do not tell classes."
    ),
    "trivial_augment": Remedy(
        images.add_trivial_augment,
        "One strong random change of each image gives a lot of variety without anything to tune.",
    ),
    "mixup": Remedy(images.add_mixup, "Blended images and labels make the network change its answers gradually."),
    "cutmix": Remedy(images.add_cutmix, "Images with a part of another image make the network look at all parts."),
    "dropout": Remedy(
        add_dropout,
        "Randomly switching units off during training stops them from relying on each other.",
    ),
    "l2": Remedy(
        add_l2, "A penalty on large weights stops the network from fitting single training images too closely."
    ),
    "weight_decay": Remedy(
        training.use_weight_decay, "Weights that shrink in each step only stay large where many images need them."
    ),
    "smaller_network": Remedy(shrink_network, "Half the filters leave less room for memorizing the training images."),
    "larger_network": Remedy(enlarge_network, "Twice the filters let the network learn more patterns."),
    "batch_norm": Remedy(add_batch_norm, "Normalized activations speed up training and add a little helpful noise."),
    "less_regularisation": Remedy(
        reduce_regularization,
        "Dropout, penalties, augmentation and mixed images make training harder, and this network has not learned "
        "enough yet.",
    ),
    "label_smoothing": Remedy(
        training.add_label_smoothing,
        "Label smoothing rewards answers that are a little less than certain, which keeps the network modest.",
    ),
    "class_weights": Remedy(
        training.add_class_weights, "Class weights make rare classes count as much as frequent ones."
    ),
    "early_stopping": Remedy(
        training.add_early_stopping,
        "Epochs after the best one only memorize, so the weights of the best epoch are kept.",
    ),
    "more_patience": Remedy(training.double_patience, "Validation may improve again after a pause."),
    "more_epochs": Remedy(training.double_epochs, "The network may not have finished learning."),
    "longer_cosine": Remedy(
        training.lengthen_cosine, "Small steps at the end of a longer training let the weights settle."
    ),
    "lower_learning_rate": Remedy(
        training.lower_learning_rate, "The training steps were too large: use a tenth of the learning rate."
    ),
    "one_cycle": Remedy(
        training.use_one_cycle,
        "Large steps in the middle find a good place, and small steps at the end settle there.",
    ),
    "step_decay": Remedy(training.use_steps, "Smaller steps in the last part of a training let the weights settle."),
    "nesterov": Remedy(training.use_nesterov, "Momentum that looks ahead overshoots less, so training is steadier."),
    "clip_norm": Remedy(
        training.clip_gradients, "A limit for gradients keeps a few unusual images from throwing the training off."
    ),
    "focal_loss": Remedy(
        training.use_focal_loss, "Images that are hard to tell count more, and the network becomes less certain."
    ),
    "retune": Remedy(
        training.retune,
        "Searches for a good learning rate and weight decay: a badly tuned network makes every remedy look good.",
    ),
    "ema": Remedy(training.add_ema, "An average over many steps is steadier than the weights of the last one."),
    "transfer": Remedy(
        training.transfer,
        "Layers that learned from other images do not have to be learned again from only a few images.",
    ),
}

# Corrections of probabilities after a training. They are not study arms, because answers and accuracy stay the same.
AFTER_TRAINING: Mapping[str, str] = {
    "temperature": "Temperature scaling divides the network's outputs by one number after training: loss and "
    "calibration improve, accuracy never changes, and nothing has to be trained. The diagnosis of a job "
    "gives the number.",
}
