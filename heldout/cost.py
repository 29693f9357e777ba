"""How long a training takes: the work in its steps, and seconds for that work as a worker has measured them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

from heldout.layers import flops_per_image, plan_layers
from heldout.spec import JobSpec

Work = dict[str, float]

# Where a batch's forward pass is less work than this, a second tower costs more than it gains.
TOWERS_PAY_FROM_FLOPS = 4_000_000
# Images that are measured at once in inference mode.
MEASURED_AT_ONCE = 64
# What a job of another kind, or one that cannot be estimated, is taken to last.
UNKNOWN_S = 10.0

_CHEAP = "relu"


@dataclass(frozen=True)
class Speed:
    """What a worker's machine needs for each kind of work, in one tower; with two it takes a share of that.

    training, measuring: seconds a unit, in gradient steps and in inference mode.
    training_share, measuring_share: of two towers; 1 where the machine has one core.
    """

    training: Mapping[str, float]
    measuring: Mapping[str, float]
    training_share: float = 1.0
    measuring_share: float = 1.0

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Speed":
        return cls(**stored)


def automatic_towers(spec: JobSpec, image: tuple[int, int, int], classes: int) -> int:
    """How many towers a job has that may choose: two where they make its steps faster."""
    if any(block.batch_norm for block in spec.network.blocks):
        return 1  # it looks at a batch as a whole
    forward = spec.training.batch_size * flops_per_image(plan_layers(spec.network, image, classes))
    return 2 if forward >= TOWERS_PAY_FROM_FLOPS else 1


def training_work(spec: JobSpec, image: tuple[int, int, int], classes: int) -> Work:
    """The work of one whole gradient step."""
    layers = plan_layers(spec.network, image, classes)
    batch, changes = spec.training.batch_size, spec.augmentation
    work = _work(spec, image, classes, batch)
    # Backward costs twice the forward pass; nobody needs the gradient with respect to the images.
    work["flops"] = 3 * work["flops"] - batch * layers[0].flops
    work["parameters"] = sum(layer.parameters for layer in layers)
    work["dropped"] = batch * sum(prod(layer.shape) for layer in layers if layer.name.endswith("_dropout"))
    work["changed"] = batch * prod(image) if changes is not None else 0
    return work


def measuring_work(spec: JobSpec, image: tuple[int, int, int], classes: int) -> Work:
    """The work of one batch in inference mode."""
    return _work(spec, image, classes, MEASURED_AT_ONCE)


def _work(spec: JobSpec, image: tuple[int, int, int], classes: int, batch: int) -> Work:
    layers = plan_layers(spec.network, image, classes)
    cheap = all(block.activation == _CHEAP for block in spec.network.blocks)
    convolved = [layer for layer in layers if "_conv" in layer.name]
    first, later = convolved[0], convolved[1:]
    activated = batch * sum(prod(layer.shape) for layer in layers if "_activation" in layer.name)
    normed = batch * sum(prod(layer.shape) for layer in layers if "_norm" in layer.name)
    pooled = batch * sum(prod(before.shape) for before, layer in pairwise(layers) if layer.name.endswith("_pool"))
    return {
        "step": 1.0,
        "layers": len(layers),
        "flops": batch * flops_per_image(layers),
        # Few channels go in: bound by what comes out, not by arithmetic.
        "first_maps": batch * prod(first.shape),
        "later_maps": batch * sum(prod(layer.shape) for layer in later),
        "curved": 0 if cheap else activated,
        "pooled": pooled,
        "normed": normed,
    }


def seconds_of(work: Work, seconds_a_unit: Mapping[str, float]) -> float:
    """The time of some work."""
    return sum(amount * seconds_a_unit.get(kind, 0.0) for kind, amount in work.items())


def seconds_per_epoch(
    spec: JobSpec, image: tuple[int, int, int], classes: int, counts: Mapping[str, int], speed: Speed, towers: int
) -> float:
    """The expected time of one epoch: training, and measuring the splits in inference mode.

    Args:
        counts: images in each split; `train_limit` is applied here.
    """
    limit = spec.training.train_limit
    train = counts["train"] if limit is None else min(limit, counts["train"])
    measured = train + counts["validation"] + (counts["test"] if spec.evaluation.test == "every_epoch" else 0)
    step = seconds_of(training_work(spec, image, classes), speed.training)
    batch = seconds_of(measuring_work(spec, image, classes), speed.measuring)
    if towers == 2:
        step, batch = step * speed.training_share, batch * speed.measuring_share
    return train / spec.training.batch_size * step + measured / MEASURED_AT_ONCE * batch


def starts_in(running: Sequence[float], ahead: Sequence[float]) -> float | None:
    """Seconds until a job starts that waits behind `ahead`, on the slots of the jobs that run.

    Args:
        running: seconds that each of the running jobs has left; while a job waits there is one in every slot.
        ahead: seconds that each of the jobs before it takes, in the order in which they are claimed.
    Returns:
        None if nothing runs: nobody knows when a worker comes.
    """
    free = sorted(running)
    for takes in ahead:
        if not free:
            break
        free[0] += takes
        free.sort()
    return free[0] if free else None
