"""What a check reads: the layers of a network, and as much as is known about how it will be trained."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod
from typing import Any

from heldout.spec.model_facts import NetworkFacts
from heldout.spec.outline import NetworkStep, Outline

Image = tuple[int, int, int]

NORMALIZATIONS = frozenset(
    {"BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization"}
)
# Types that only move, drop, scale or average values: two layers with weights around them compute no more than one.
LINEAR = frozenset(
    {
        "Identity", "Flatten", "Reshape", "Permute", "Dropout", "SpatialDropout2D", "BatchNormalization",
        "AveragePooling2D", "GlobalAveragePooling2D", "ZeroPadding2D", "Cropping2D", "Rescaling",
    }
)  # fmt: skip
WEIGHTED = frozenset({"Conv2D", "Dense", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose"})


@dataclass(frozen=True)
class Note:
    """Something that looks wrong. It is a note until a training proves it.

    check: the name of the check. layer: its name; empty if the note is about the whole network. text: what was seen.
    line: Keras code, or a setting, that changes it; may be empty.
    """

    layer: str
    text: str
    line: str = ""
    check: str = ""


@dataclass(frozen=True)
class Checked:
    """A network, and how it will be trained; what is unknown is None.

    steps: in order. image: (height, width, channels) of what its first step takes. spec: of the job, complete, as
    JSON, with the pixel values that the network gets.
    """

    steps: Outline
    facts: NetworkFacts | None = None
    image: Image | None = None
    classes: int | None = None
    train_images: int | None = None
    spec: Mapping[str, Any] | None = None

    @cached_property
    def consumers(self) -> Mapping[int, list[int]]:
        """The places of the steps that take each step's output."""
        found: dict[int, list[int]] = {place: [] for place in range(len(self.steps))}
        for place, step in enumerate(self.steps):
            for source in step.sources:
                found[source].append(place)
        return found

    @property
    def training(self) -> Mapping[str, Any]:
        return {} if self.spec is None else self.spec["training"]

    @property
    def network(self) -> Mapping[str, Any]:
        return {} if self.spec is None else self.spec["network"]

    @property
    def is_fresh(self) -> bool | None:
        """Whether all its weights are fresh; None without a spec."""
        return None if self.spec is None else self.network.get("weights", "fresh") == "fresh"

    @property
    def gradient_steps(self) -> int | None:
        """How many gradient steps the training takes."""
        if self.spec is None or self.train_images is None:
            return None
        images = min(self.train_images, int(self.training.get("train_limit") or self.train_images))
        return int(self.training["epochs"]) * ceil(images / int(self.training["batch_size"]))

    @cached_property
    def weighted(self) -> Sequence[int]:
        """Places of convolutions and dense layers."""
        return [place for place, step in enumerate(self.steps) if step.type in WEIGHTED]

    def is_normed(self, place: int) -> bool:
        """Whether only normalization takes a step's output, so that the size of its weights makes no difference."""
        following = self.consumers[place]
        return bool(following) and all(self.steps[after].type in NORMALIZATIONS for after in following)

    def iterate_after(self, place: int) -> Iterator[NetworkStep]:
        """Return the steps after one, as long as exactly one takes its output."""
        while len(following := self.consumers[place]) == 1 and following[0] > place:
            place = following[0]
            yield self.steps[place]

    def find_before(self, place: int, passing: frozenset[str]) -> int | None:
        """Find the first step before one that is not of the passing types, as long as each has one source."""
        while len(sources := self.steps[place].sources) == 1 and sources[0] < place:
            place = sources[0]
            if self.steps[place].type not in passing:
                return place
        return None


@dataclass(frozen=True)
class Check:
    """One thing that a network is checked for. about: what is right, in one sentence."""

    title: str
    about: str
    find: Callable[[Checked], Iterator[Note]]


def get_fans(weights: tuple[int, ...]) -> tuple[int, int]:
    """Inputs and outputs of a unit, as Keras' initializers count them."""
    field = prod(weights[:-2])
    return weights[-2] * field, weights[-1] * field
