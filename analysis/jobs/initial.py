"""Decides which layers of a network can start from the weights of another. Pure: decided before anything is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from heldout.errors import InvalidSpec
from heldout.spec.job import JobSpec
from heldout.spec.layers import NetworkPlan, Shape
from heldout.spec.model_facts import ModelFacts
from heldout.spec.network import MAX_BLOCKS
from heldout.words import pluralize

OUTPUT = "output"
# Limits of a spec's network: layers with weights (in each block four convolutions and a shortcut, each normalized; four
# dense layers, the output), weights per layer, and their dimensions.
MAX_LAYERS, MAX_WEIGHTS, MAX_DIMENSIONS = 2 * (4 + 1) * MAX_BLOCKS + 5, 4, 4
# More layers than these are not listed in a sentence.
MAX_LISTED_LAYERS = 24


@dataclass(frozen=True)
class Weights:
    """The kept weights of a job or model: the shapes of each layer's weights by its name, and the classes.

    An uploaded model has any layer names and no class names, so its layers are identified by position only.
    """

    source: str  # the id of the job or the model
    layers: Mapping[str, Sequence[Shape]]
    classes: Sequence[str]

    @property
    def is_of_model(self) -> bool:
        return self.source.startswith("mod_")

    @property
    def kind(self) -> str:
        """Return what `source` identifies: `job` or `model`."""
        return "model" if self.is_of_model else "job"

    @classmethod
    def of(cls, job: str, plan: NetworkPlan, classes: Sequence[str]) -> "Weights":
        return cls(job, {layer.name: layer.weights for layer in plan.layers if layer.weights}, tuple(classes))

    @classmethod
    def of_model(cls, model: str, facts: ModelFacts) -> "Weights":
        """Drop weights that no spec's network could take: each job that starts from the model keeps these shapes."""
        could_fit = [layer.weights if _could_fit(layer.weights) else () for layer in facts.layers[:MAX_LAYERS]]
        return cls(model, {describe_place(number): shapes for number, shapes in enumerate(could_fit)}, ())

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Weights":
        layers = {name: tuple(map(tuple, shapes)) for name, shapes in stored["layers"].items()}
        return cls(stored.get("job") or stored["model"], layers, tuple(stored["classes"]))


@dataclass(frozen=True)
class Initial:
    """Where a job's first weights come from. taken, new: names of the layers with weights, in order."""

    weights: Weights
    taken: tuple[str, ...]
    new: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        weights = asdict(self.weights)
        return {self.weights.kind: weights.pop("source"), **weights, "taken": list(self.taken), "new": list(self.new)}

    @property
    def event_data(self) -> dict[str, Any]:
        """Return the data of events about it."""
        return {self.weights.kind: self.weights.source, "taken": list(self.taken), "new": list(self.new)}

    @property
    def in_words(self) -> str:
        new = f" New: {_list_layers(self.new)}." if self.new else ""
        return f"Starts from {self.weights.source}: {_list_layers(self.taken)}.{new}"

    @property
    def is_little(self) -> bool:
        """Return whether most of the layers before the output are new."""
        inner = [name for name in (*self.taken, *self.new) if name != OUTPUT]
        return 2 * len([name for name in self.taken if name != OUTPUT]) < len(inner)


def _list_layers(names: Sequence[str]) -> str:
    if len(names) <= MAX_LISTED_LAYERS:
        return ", ".join(names)
    return f"{len(names)} layers, from {names[0]} to {names[-1]}"


def _could_fit(shapes: Sequence[Shape]) -> bool:
    return len(shapes) <= MAX_WEIGHTS and all(len(shape) <= MAX_DIMENSIONS for shape in shapes)


def describe_place(number: int) -> str:
    """Return the name of the layer with weights of that number, from 0, if its own name means nothing."""
    return f"{number:04}"


def match(spec: JobSpec, plan: NetworkPlan, classes: Sequence[str], weights: Weights) -> Initial:
    """Return which layers start from `weights`: those with the same position in the network and the same shapes.

    The output layer starts from scratch if the classes or their order differ. An uploaded model only states their
    number.

    Raises:
        InvalidSpec: nothing fits, or a block to be frozen has a layer that would be new.
    """
    assert spec.initial is not None
    own = [layer for layer in plan.layers if layer.weights]
    fits = {
        layer.name
        for number, layer in enumerate(own)
        if tuple(weights.layers.get(describe_place(number) if weights.is_of_model else layer.name, ())) == layer.weights
        and (layer.name != OUTPUT or weights.is_of_model or tuple(classes) == tuple(weights.classes))
    }
    taken = tuple(layer.name for layer in own if layer.name in fits)
    new = tuple(layer.name for layer in own if layer.name not in fits)
    if not taken:
        raise InvalidSpec.at(
            "/initial",
            f"No layer fits: no layer of this network has weights of the same shapes as the layer of {weights.source} "
            "at the same place. Use the same `filters` and `kernel_size`, starting with the first block, and images "
            "with the same number of channels.",
        )
    frozen = spec.initial.freeze_blocks
    if frozen > len(spec.network.blocks):
        has = pluralize(len(spec.network.blocks), "block")
        raise InvalidSpec.at("/initial/freeze_blocks", f"The network has {has}; {frozen} cannot be frozen.")
    unfit = [layer.name for layer in own if layer.is_in_first(frozen) and layer.name not in fits]
    if unfit:
        raise InvalidSpec.at(
            "/initial/freeze_blocks",
            f"{unfit[0]} would be frozen untrained, because {weights.source} has no weights of its shapes at that "
            "place. Freeze fewer blocks, or define the block as in the network of these weights.",
        )
    return Initial(weights, taken, new)
