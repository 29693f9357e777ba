"""What a remedy takes and gives: a spec, and a change of it or the reason for none; and every number that it sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from heldout.spec.model_facts import NetworkFacts

# Also in dense layers: 0.5 there cost 1 to 5 more points of accuracy under four of five conditions with few images.
DROPOUT = 0.25
L2 = 0.001
LABEL_SMOOTHING = 0.1
PATIENCE_EPOCHS = 5

ROTATION_DEGREES = 10
# Share of an image's side.
SHIFT = 0.1
ZOOM = 0.1
# The reference spec `augmented.json` has these amounts.
REFERENCE_ROTATION_DEGREES = 20
REFERENCE_SHIFT = 0.2
# Share of the training images of which a rectangle is erased. (Zhong et al. 2020)
ERASING = 0.5
# Of the published recipes: He et al. 2015 (4 pixels of 32), the usual color jitter.
CROP_PADDING = 0.125
SATURATION = 0.4
HUE = 0.1
# Alphas of the Beta distributions. (Zhang et al. 2018; Yun et al. 2019)
MIXUP = 0.2
CUTMIX = 1.0

# For adamw: with a learning rate of 0.001, it removes 1% of a weight in 1,000 steps, and a third in 40,000. Amounts
# that removed more than half in trainings of 200 to 300 steps cost 1.5 to 5 points of accuracy there.
WEIGHT_DECAY = 0.01
# The moving average of the weights looks back over this share of a training's steps.
EMA_SHARE = 0.1
LEAST_EMA_DECAY = 0.9
MOST_EMA_DECAY = 0.9999
USUAL_EMA_DECAY = 0.99

MOMENTUM = 0.9
CLIP_NORM = 1.0
FOCAL_GAMMA = 2.0  # (Lin et al. 2017)

# The learning rate of a diverged training is divided by this.
LEARNING_RATE_DIVISOR = 10
# `retune` multiplies the learning rate by these; the base's own rate is tried with another weight decay.
TUNED_LEARNING_RATES = (0.3, 3.0)
# For optimizers without weight decay.
TUNED_LEARNING_RATES_ALONE = (0.1, 0.3, 3.0, 10.0)

# Filters of the widest block. Narrower networks are not advised to shrink.
MIN_FILTERS_TO_HALVE = 9
MIN_UNITS_TO_HALVE = 16
# The largest values that a spec may have.
MAX_EPOCHS = 1000
MAX_PATIENCE_EPOCHS = 100
MAX_FILTERS = 1024
MAX_UNITS = 4096


Spec = Mapping[str, Any]


@dataclass(frozen=True)
class RemedyBase:
    """The spec to change.

    spec: complete, as JSON. train_images: how many images the job trains on; None if unknown.
    facts: about the uploaded model that is its network; None for other networks, and if nothing is known about it.
    """

    spec: Spec
    train_images: int | None = None
    facts: NetworkFacts | None = None

    @property
    def own(self) -> Mapping[str, Any] | None:
        """The network if it is an uploaded model, which has no blocks."""
        network: Mapping[str, Any] = self.spec["network"]
        return network if "model" in network else None

    @property
    def blocks(self) -> Sequence[Mapping[str, Any]]:
        return self.spec["network"].get("blocks") or ()

    @property
    def dense(self) -> Sequence[Mapping[str, Any]]:
        return self.spec["network"].get("dense") or ()

    @property
    def layers(self) -> list[Mapping[str, Any]]:
        """Blocks and dense layers."""
        return [*self.blocks, *self.dense]

    @property
    def training(self) -> Mapping[str, Any]:
        training: Mapping[str, Any] = self.spec["training"]
        return training

    @property
    def augmentation(self) -> Mapping[str, Any]:
        """The augmentation, or an empty mapping."""
        return self.spec.get("augmentation") or {}

    @property
    def steps(self) -> int | None:
        """Steps of the whole training if nothing stops it early."""
        if self.train_images is None:
            return None
        limit = self.training.get("train_limit")
        images = self.train_images if limit is None else min(limit, self.train_images)
        steps: int = self.training["epochs"] * max(1, ceil(images / self.training["batch_size"]))
        return steps


@dataclass(frozen=True)
class Change:
    """What a remedy does to one spec.

    patch: a merge patch (RFC 7396) of the spec; empty until one of `candidates` is chosen.
    did: what it does, in one sentence.
    candidates: patches from which a search chooses one.
    """

    patch: dict[str, Any]
    did: str
    candidates: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class NoChange:
    """Why a remedy has nothing to change in a spec, in one sentence."""

    why: str


Outcome = Change | NoChange


def round_to_two_digits(value: float) -> float:
    """Round to two significant digits to keep specs readable."""
    return float(f"{value:.2g}")
