"""How long a training takes: the work in its steps, and the seconds that a worker measured for such work. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, Literal

from heldout.spec.augmentation import AugmentationSpec
from heldout.spec.backbone import Backbone
from heldout.spec.job import JobSpec
from heldout.spec.layers import UPLOADED, Layer, NetworkPlan, count_normed_values
from heldout.spec.network import Normalization

Work = dict[str, float]
Precision = Literal["float32", "mixed"]

# FLOPs of a tower's part of a batch's forward pass. With fewer, another tower costs more time than it saves.
MIN_FLOPS_A_TOWER = 2_000_000
# Images of a batch that a tower takes. With fewer, the gradients of weights take longer than the images.
MIN_IMAGES_A_TOWER = 4
MAX_TOWERS = 16
# FLOPs of the convolutions of a batch's forward pass, less those below. With fewer, 16 bits gain little on processors
# that have units for them. These numbers were measured, and are fixed in a release because bits depend on them.
MIN_FLOPS_IN_16_BITS = 15_000_000
# The cost of 16 bits, in FLOPs per output: of activations, and of Keras' normalizations. The batch normalization of
# several towers, which is Heldout's own, costs nothing.
FLOPS_LOST_BY_ACTIVATION: Mapping[str, int] = {
    "relu": 0,
    "elu": 50,
    "relu6": 70,
    "silu": 110,
    "tanh": 130,
    "selu": 130,
    "sigmoid": 130,
    "softmax": 130,
    "hard_silu": 130,
    "hard_sigmoid": 130,
    "gelu": 400,
}
FLOPS_LOST_BY_NORM = 200
# An own network must gain this share of all its FLOPs, less those that are lost.
MIN_SHARE_IN_16_BITS = 0.6
# For each value that a depthwise convolution reads, unless it has 3×3 weights and no strides.
FLOPS_LOST_BY_DEPTHWISE = 1000
# How many values of batch normalization take as long as one of another kind, in steps and in inference mode (measured).
TRAINED_NORMS: Mapping[Normalization, float] = {"batch": 1.0, "layer": 1.7, "group": 1.8}
MEASURED_NORMS: Mapping[Normalization, float] = {"batch": 1.0, "layer": 4.0, "group": 6.0}
# Images per batch in inference mode, in which splits are measured.
INFERENCE_BATCH_SIZE = 64

# The only activation whose time is negligible.
_CHEAP_ACTIVATION = "relu"


@dataclass(frozen=True)
class Speed:
    """The seconds that a worker's machine needs for each kind of work in one tower; more towers take a share of that.

    training, measuring: seconds per unit, in gradient steps and in inference mode.
    training_share, measuring_share: of two towers; 1 if the machine has one core.
    cores: of the worker; missing in files of earlier releases.
    mixed_training, mixed_measuring: the same in 16 bits; None if the processor has no units for them.
    """

    training: Mapping[str, float]
    measuring: Mapping[str, float]
    training_share: float = 1.0
    measuring_share: float = 1.0
    cores: int = 2
    mixed_training: Mapping[str, float] | None = None
    mixed_measuring: Mapping[str, float] | None = None

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Speed":
        return cls(**stored)


def takes_parts(spec: JobSpec, uploaded: Backbone | None) -> bool:
    """Return whether towers may compute parts of a batch: all of the network must be trained by itself, in parts."""
    if spec.network.uploaded_model is None:
        return True
    return uploaded is not None and uploaded.divides and not spec.network.has_frozen_part


def choose_auto_towers(spec: JobSpec, plan: NetworkPlan, cores: int) -> int:
    """Return how many towers a job gets with `auto`: one for each core, while more of them make its steps faster."""
    if not takes_parts(spec, plan.backbone):
        return 1
    batch = spec.training.batch_size
    by_work = batch * plan.flops_per_image // MIN_FLOPS_A_TOWER
    return max(1, min(cores, MAX_TOWERS, by_work, batch // MIN_IMAGES_A_TOWER))


def choose_auto_precision(spec: JobSpec, plan: NetworkPlan, towers: int) -> Precision:
    """Return the precision of a job with `auto`, on a processor with units for bfloat16."""
    if spec.network.backbone is not None:  # its layers keep the precision of their training
        return "float32"
    if plan.backbone is not None:
        return _choose_own_precision(spec, plan.backbone, towers)
    gained = 0
    for layer in plan.layers:
        if "_conv" in layer.name:
            gained += layer.flops
        elif "_activation" in layer.name:
            gained -= prod(layer.shape) * FLOPS_LOST_BY_ACTIVATION[layer.find_block(spec.network).activation]
        elif "_norm" in layer.name and (towers == 1 or layer.find_block(spec.network).normalization != "batch"):
            gained -= prod(layer.shape) * FLOPS_LOST_BY_NORM
    return "mixed" if spec.training.batch_size * gained >= MIN_FLOPS_IN_16_BITS else "float32"


def _choose_own_precision(spec: JobSpec, known: Backbone, towers: int) -> Precision:
    """Return the precision of an own network, which Keras' own batch normalization would slow down with one tower."""
    is_slow = spec.network.has_frozen_part or (towers == 1 and known.normalizes)
    gains = known.gained >= MIN_SHARE_IN_16_BITS * known.flops
    enough = spec.training.batch_size * known.gained >= MIN_FLOPS_IN_16_BITS
    return "mixed" if gains and enough and not is_slow else "float32"


def compute_tower_share(of_two: float, towers: int) -> float:
    """Return the share of one tower's time that several take, each on its own core, if two take `of_two`.

    The part that two towers do not gain counts as serial work (Amdahl's law).
    """
    alone = max(0.0, 2 * of_two - 1)
    return alone + (1 - alone) / towers


def count_training_work(spec: JobSpec, plan: NetworkPlan) -> Work:
    """Return the work of one gradient step, without the forward pass of blocks and backbones that are not trained."""
    batch, (_, trained) = spec.training.batch_size, _divide_layers(spec, plan)
    work = _count_forward_work(spec, plan, trained, batch, TRAINED_NORMS)
    # Backward costs twice the forward pass; the gradient with respect to the first layer's input is not needed.
    first = next(layer for layer in trained if layer.parameters)
    work["flops"] = 3 * work["flops"] - (0 if first.name in UPLOADED else batch * first.flops)
    work["parameters"] = sum(layer.parameters for layer in trained)
    work["dropped"] = batch * sum(prod(layer.shape) for layer in plan.layers if layer.name.endswith("_dropout"))
    work["changed"] = batch * prod(plan.image) * _count_changes(spec.augmentation)
    work["masked"] = batch * prod(plan.image) * _count_masks(spec)
    work["averaged"] = plan.parameters if spec.training.ema_decay is not None else 0
    return work


def count_frozen_work(spec: JobSpec, plan: NetworkPlan) -> Work:
    """Return the work of frozen parts in one gradient step: their forward pass, as in inference mode."""
    frozen, _ = _divide_layers(spec, plan)
    return _count_forward_work(spec, plan, frozen, spec.training.batch_size) | {"step": 0.0}


def _divide_layers(spec: JobSpec, plan: NetworkPlan) -> tuple[Sequence[Layer], Sequence[Layer]]:
    blocks = spec.initial.freeze_blocks if spec.initial else 0
    is_frozen = spec.network.backbone is not None and not spec.network.backbone.trainable
    count = sum(layer.is_in_first(blocks) or (is_frozen and layer.is_before_blocks) for layer in plan.layers)
    return plan.layers[:count], plan.layers[count:]


def _count_changes(augmentation: AugmentationSpec | None) -> int:
    """Return how often each pixel is recomputed, in units of one resampling."""
    if augmentation is None:
        return 0
    return (augmentation.moves or augmentation.shades) + augmentation.colors + augmentation.trivial_augment


def _count_masks(spec: JobSpec) -> int:
    """Return how often each pixel is selected or blended; a mixed image also has to be gathered."""
    erases = spec.augmentation is not None and spec.augmentation.erasing > 0
    mixes = bool(spec.training.mixup or spec.training.cutmix)
    return erases + 2 * mixes


def count_measuring_work(spec: JobSpec, plan: NetworkPlan) -> Work:
    """Return the work of one batch in inference mode: of the head, if it reads features."""
    layers = _divide_layers(spec, plan)[1] if _has_features(spec) else plan.layers
    return _count_forward_work(spec, plan, layers, INFERENCE_BATCH_SIZE)


def _count_forward_work(
    spec: JobSpec,
    plan: NetworkPlan,
    layers: Sequence[Layer],
    batch: int,
    norms: Mapping[Normalization, float] = MEASURED_NORMS,
) -> Work:
    is_cheap = all(block.activation == _CHEAP_ACTIVATION for block in spec.network.blocks)
    convolved = [layer for layer in layers if "_conv" in layer.name]
    is_first = layers[:1] == plan.layers[:1] and plan.backbone is None
    first, later = (convolved[:1], convolved[1:]) if is_first else ([], convolved)
    inside = next((plan.backbone for layer in layers if layer.name in UPLOADED), None)
    activated = batch * sum(prod(layer.shape) for layer in layers if "_activation" in layer.name)
    normed = batch * count_normed_values(spec.network, layers, norms)
    pooled = batch * sum(prod(before.shape) for before, layer in pairwise(layers) if layer.name.endswith("_pool"))
    return {
        "step": 1.0,
        "layers": len(layers) + (inside.layers if inside else 0),
        "flops": batch * sum(layer.flops for layer in layers),
        # With few input channels, the time depends on the output size, not on arithmetic.
        "first_maps": batch * sum(prod(layer.shape) for layer in first),
        "later_maps": batch * (sum(prod(layer.shape) for layer in later) + (inside.values if inside else 0)),
        "curved": 0 if is_cheap else activated,
        "pooled": pooled,
        "normed": normed,
    }


def compute_seconds(work: Work, seconds_a_unit: Mapping[str, float]) -> float:
    """Return the time of some work."""
    return sum(amount * seconds_a_unit.get(kind, 0.0) for kind, amount in work.items())


def estimate_epoch_seconds(
    spec: JobSpec, plan: NetworkPlan, counts: Mapping[str, int], speed: Speed, towers: int
) -> float | None:
    """Return the expected mean time of one epoch: training, and measuring the splits in inference mode.

    It contains the epoch's share of computing the features of a frozen backbone. Later jobs find them in the cache.

    Args:
        counts: images in each split; `train_limit` is applied here.
    Returns:
        None if the machine was not measured in the job's precision.
    """
    training: Mapping[str, float] | None = speed.training
    measuring: Mapping[str, float] | None = speed.measuring
    precision = spec.training.precision
    if precision == "auto" and speed.mixed_training is not None:
        precision = choose_auto_precision(spec, plan, towers)
    if precision == "mixed":
        # An own network is measured in float32 (`make_evaluator`).
        is_own = spec.network.uploaded_model is not None
        training, measuring = speed.mixed_training, speed.measuring if is_own else speed.mixed_measuring
    if training is None or measuring is None:
        return None
    limit = spec.training.train_limit
    train = counts["train"] if limit is None else min(limit, counts["train"])
    measured = counts["validation"]
    measured += train if spec.evaluation.train == "every_epoch" else 0
    measured += counts["test"] if spec.evaluation.test == "every_epoch" else 0
    measured += train if spec.evaluation.recount_batch_norm else 0

    def estimate(spec: JobSpec) -> float:
        """Return the time of an epoch of one phase."""
        views, frozen = _count_views(spec), count_frozen_work(spec, plan)
        step = compute_seconds(count_training_work(spec, plan), training)
        step += 0.0 if views is not None else compute_seconds(frozen, measuring)
        batch = compute_seconds(count_measuring_work(spec, plan), measuring)
        if towers > 1:
            step *= compute_tower_share(speed.training_share, towers)
            batch *= compute_tower_share(speed.measuring_share, towers)
        return train / spec.training.batch_size * step + measured / INFERENCE_BATCH_SIZE * batch

    unfreezing, backbone = spec.network.unfreezing, spec.network.backbone
    seconds = estimate(spec)
    if unfreezing is not None and backbone is not None:
        trained = backbone.model_copy(update={"trainable": True, "unfreeze_at": None})
        whole = spec.model_copy(update={"network": spec.network.model_copy(update={"backbone": trained})})
        first = min(1.0, (unfreezing.epoch - 1) / spec.training.epochs)
        seconds = first * seconds + (1 - first) * estimate(whole)
    if not _has_features(spec):
        return seconds
    images = sum(counts.values()) + train * (_count_views(spec) or 0)
    a_step = compute_seconds(count_frozen_work(spec, plan), measuring)
    return seconds + images / spec.training.batch_size * a_step / spec.training.epochs


def _has_features(spec: JobSpec) -> bool:
    """Return whether measurements read features of a frozen backbone. Own networks do not say how much is frozen."""
    return spec.network.backbone is not None and spec.network.has_frozen_part


def _count_views(spec: JobSpec) -> int | None:
    """Return of how many changed copies of each training image steps read features; None if they compute them."""
    if not _has_features(spec) or spec.training.mixup or spec.training.cutmix:
        return None
    return 0 if spec.augmentation is None else spec.augmentation.views
