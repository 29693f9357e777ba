"""Which layers of a network can start from the weights of another one. Pure: decided before anything is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from heldout.diagnosis.words import counted
from heldout.errors import FieldError, InvalidSpec
from heldout.layers import NetworkPlan, Shape
from heldout.spec import JobSpec

OUTPUT = "output"


@dataclass(frozen=True)
class Weights:
    """What is known of a job's kept weights: the shapes of each layer's weights by its name, and the classes."""

    job: str
    layers: Mapping[str, Sequence[Shape]]
    classes: Sequence[str]

    @classmethod
    def of(cls, job: str, plan: NetworkPlan, classes: Sequence[str]) -> "Weights":
        return cls(job, {layer.name: layer.weights for layer in plan.layers if layer.weights}, tuple(classes))

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Weights":
        layers = {name: tuple(map(tuple, shapes)) for name, shapes in stored["layers"].items()}
        return cls(stored["job"], layers, tuple(stored["classes"]))


@dataclass(frozen=True)
class Initial:
    """Where a job's first weights come from. taken, new: names of the layers with weights, in order."""

    weights: Weights
    taken: tuple[str, ...]
    new: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self.weights), "taken": list(self.taken), "new": list(self.new)}

    @property
    def told(self) -> dict[str, Any]:
        """As events tell it."""
        return {"job": self.weights.job, "taken": list(self.taken), "new": list(self.new)}

    @property
    def in_words(self) -> str:
        taken = ", ".join(self.taken)
        return f"Starts from {self.weights.job}: {taken}." + (f" New: {', '.join(self.new)}." if self.new else "")

    @property
    def is_little(self) -> bool:
        """Whether most of the layers before the output are new."""
        inner = [name for name in (*self.taken, *self.new) if name != OUTPUT]
        return 2 * len([name for name in self.taken if name != OUTPUT]) < len(inner)


def match(spec: JobSpec, plan: NetworkPlan, classes: Sequence[str], weights: Weights) -> Initial:
    """Which layers start from `weights`: those that have the same place in the network and weights of the same shapes.

    The output layer starts anew where the classes are others, or come in another order.

    Raises:
        InvalidSpec: nothing fits, or a block that is to be frozen has a layer that would be new.
    """
    assert spec.initial is not None
    own = [layer for layer in plan.layers if layer.weights]
    fits = {
        layer.name
        for layer in own
        if tuple(weights.layers.get(layer.name, ())) == layer.weights
        and (layer.name != OUTPUT or tuple(classes) == tuple(weights.classes))
    }
    taken = tuple(layer.name for layer in own if layer.name in fits)
    new = tuple(layer.name for layer in own if layer.name not in fits)
    if not taken:
        raise _refused(
            "/initial",
            f"No layer fits: at no place does this network have weights of the same shapes as that of {weights.job}. "
            "Use the same `filters` and `kernel_size`, from the first block on, and images with as many channels.",
        )
    frozen = spec.initial.freeze_blocks
    if frozen > len(spec.network.blocks):
        has = counted(len(spec.network.blocks), "block")
        raise _refused("/initial/freeze_blocks", f"The network has {has}; {frozen} cannot be frozen.")
    unfit = [layer.name for layer in own if layer.is_in_first(frozen) and layer.name not in fits]
    if unfit:
        raise _refused(
            "/initial/freeze_blocks",
            f"{unfit[0]} would be frozen untrained: {weights.job} has no weights of its shapes at that place. Freeze "
            "fewer blocks, or make the block as it is there.",
        )
    return Initial(weights, taken, new)


def _refused(pointer: str, detail: str) -> InvalidSpec:
    return InvalidSpec(f"{pointer}: {detail}", errors=[FieldError(pointer, detail)])
