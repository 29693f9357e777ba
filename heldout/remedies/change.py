"""What remedies have in common: each takes a spec, and returns a change of it or the reason for none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeVar

from heldout.spec.model_facts import NetworkFacts

# The largest values that a spec may have.
MAX_EPOCHS = 1000
MAX_PATIENCE_EPOCHS = 100

Spec = Mapping[str, Any]


@dataclass(frozen=True)
class RemedyBase:
    """The spec to change.

    spec: complete, as JSON. train_images: how many images the job trains on; None if unknown.
    facts: about the uploaded model that is its network; None for other networks, and if nothing is known about it.
    has_photographs: whether its images are like photographs, and the service has a network that has learned from some.
    """

    spec: Spec
    train_images: int | None = None
    facts: NetworkFacts | None = None
    has_photographs: bool = False

    @property
    def own(self) -> Mapping[str, Any] | None:
        """The network if it is an uploaded model, which has no blocks."""
        network: Mapping[str, Any] = self.spec["network"]
        return network if "model" in network else None

    @property
    def blocks(self) -> Sequence[Mapping[str, Any]]:
        return self.spec["network"].get("blocks") or ()

    @property
    def normalizes(self) -> bool:
        """Whether layers that are trained may have batch normalization."""
        if self.own is not None:
            return self.facts is None or self.facts.normalizes
        backbone = self.spec["network"].get("backbone") or {}
        return bool(backbone.get("trainable")) or any(block.get("batch_norm") for block in self.blocks)

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
C = TypeVar("C", bound=Callable[..., Outcome])


@dataclass(frozen=True)
class Remedy:
    """One entry of the catalogue.

    change: what it does to a spec. reason: why it may help, for someone who has never trained a network.
    suits: whether it is proposed. A remedy that is named is taken in any case.
    """

    change: Callable[[RemedyBase], Outcome]
    reason: str
    suits: Callable[[RemedyBase], bool] = lambda base: True


class Remedies(dict[str, Remedy]):
    """Remedies by name."""

    def add(self, name: str, reason: str, suits: Callable[[RemedyBase], bool] = lambda base: True) -> Callable[[C], C]:
        """Return the decorator of the function that changes the spec."""

        def decorate(change: C) -> C:
            self[name] = Remedy(change, reason, suits)
            return change

        return decorate
