"""All remedies by name. `docs/reference/remedies.md` lists them with their values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from heldout.remedies import images, network, training
from heldout.remedies.change import Outcome, RemedyBase


@dataclass(frozen=True)
class Remedy:
    """change: what it does to a spec. reason: why it may help, for someone who has never trained a network."""

    change: Callable[[RemedyBase], Outcome]
    reason: str


REMEDIES: Mapping[str, Remedy] = {
    "augmentation": Remedy(
        images.add_augmentation,
        "Slightly turned, shifted and zoomed copies give the network more varied images. Use them only if they still "
        "show the same thing.",
    ),
    "rotation": Remedy(images.add_rotation, "Slightly turned copies give the network more varied images."),
    "shift": Remedy(images.add_shift, "Slightly shifted copies teach the network that the place does not matter."),
    "zoom": Remedy(images.add_zoom, "Slightly zoomed copies teach the network that the size does not matter."),
    "horizontal_flip": Remedy(
        images.add_horizontal_flip,
        "Mirrored copies double the variety, where a mirrored image still shows the same thing: garments do, digits "
        "do not.",
    ),
    "reference_augmentation": Remedy(
        images.use_reference_augmentation,
        "Strongly turned and shifted and mirrored copies: much variety, and too much for a short training.",
    ),
    "erasing": Remedy(images.add_erasing, "Hidden parts stop the network from relying on one detail of an image."),
    "mixup": Remedy(images.add_mixup, "Blended images and labels make the network change its answers gradually."),
    "cutmix": Remedy(images.add_cutmix, "Images with a part of another one make the network look at all parts."),
    "dropout": Remedy(
        network.add_dropout,
        "Randomly switching units off during training stops them from relying on each other.",
    ),
    "l2": Remedy(
        network.add_l2, "A penalty on large weights stops the network from fitting single training images too closely."
    ),
    "weight_decay": Remedy(
        training.use_weight_decay, "Weights that shrink in each step stay only where many images ask for them."
    ),
    "smaller_network": Remedy(
        network.shrink_network, "Half the filters leave less room for memorizing the training images."
    ),
    "larger_network": Remedy(network.enlarge_network, "Twice the filters let the network learn more patterns."),
    "batch_norm": Remedy(
        network.add_batch_norm, "Normalised activations let training go faster, and add a little helpful noise."
    ),
    "less_regularisation": Remedy(
        network.reduce_regularization,
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
        training.add_early_stopping, "Later epochs than the best one only memorize; the best one's weights are kept."
    ),
    "more_patience": Remedy(training.double_patience, "Validation may get better again after a pause."),
    "more_epochs": Remedy(training.double_epochs, "The network may not have finished learning."),
    "longer_cosine": Remedy(
        training.lengthen_cosine, "Small steps at the end of a longer training let the weights settle."
    ),
    "lower_learning_rate": Remedy(
        training.lower_learning_rate, "The training steps were too large: use a tenth of the learning rate."
    ),
    "retune": Remedy(
        training.retune,
        "A learning rate and weight decay that were searched for: a badly tuned network makes every remedy look good.",
    ),
    "ema": Remedy(training.add_ema, "An average over many steps is steadier than the weights of the last one."),
    "transfer": Remedy(
        training.transfer, "Layers that have learned from other images need not be learned anew from few."
    ),
}

# What corrects probabilities after a training, and is no arm of a study: answers, and so accuracy, stay the same.
AFTER_TRAINING: Mapping[str, str] = {
    "temperature": "Temperature scaling divides the network's outputs by one number after training: loss and "
    "calibration get better, accuracy never changes, and nothing has to be trained. The diagnosis of a job "
    "names the number.",
}
