"""What is known about an uploaded model after reading its file, without Keras."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from heldout.lifecycle.resources import ModelFormat
from heldout.spec.outline import NetworkStep
from heldout.spec.part import SpecPart

# Limit for each list of layers as JSON. A thousand layers take half of it.
MAX_LAYERS_BYTES = 128 * 1024
MAX_NAME_CHARACTERS = 200
WITHOUT_WEIGHTS = (
    'The model is an architecture without weights, so it can only be trained from scratch: `"network": {"model": …}`.'
)

# JSON has lists but no tuples.
Shape = Annotated[tuple[int, ...], Field(strict=False)]
OpenShape = Annotated[tuple[int | None, ...], Field(strict=False)]


class ModelLayer(SpecPart):
    """One layer with weights, and the shapes of these weights in Keras' order."""

    name: str
    type: str
    weights: tuple[Shape, ...] = Field((), strict=False)


class MapLayer(SpecPart):
    """One layer of a model that gives a feature map: its output shape for one image, and its parameters."""

    name: str
    shape: Shape
    parameters: int


class FeatureMapFacts(SpecPart):
    """The cost of a model that gives a feature map.

    trainable_parameters: if all layers are trained. flops: FLOPs of one image's forward pass. values: number of values
    that all layers output. largest: the most that a single layer outputs.
    """

    scales_pixels: bool = Field(description="Whether it changes pixel values before its first weights.")
    trainable_parameters: int
    flops: int
    values: int
    largest: int
    layers: tuple[MapLayer, ...] = Field(strict=False)
    figures_at: Shape | None = Field(
        None, description="Height and width for which costs and shapes were counted, for a model of any size."
    )
    stride: int | None = Field(
        None, description="For a model of any size: the pixels of a side for each position of its feature map."
    )


class NetworkLayer(MapLayer):
    """One layer of a network. fixed: how many of its parameters gradients never change."""

    type: str = ""
    fixed: int = 0


class NetworkFacts(SpecPart):
    """The cost of a Keras model as a job's whole network, as the file has it.

    output: what it gives: `logits`, or the activation that follows them. head_inputs: inputs of its last layer if that
    is dense, or the channels of its feature map. figures_at: height and width for which `flops`, `values` and `largest`
    were counted; see FeatureMapFacts.
    """

    scales_pixels: bool
    output: Literal["logits", "softmax", "sigmoid"] = "logits"
    head_inputs: int | None = None
    normalizes: bool = Field(False, description="Whether it has batch normalization.")
    divides: bool = Field(False, description="Whether parts of a batch can be computed apart, as towers do.")
    figures_at: Shape
    flops: int
    gained: int = Field(0, description="Operations of an image that 16 bits save on processors with units for them.")
    values: int
    largest: int
    layers: tuple[NetworkLayer, ...] = Field((), strict=False)
    outline: tuple[NetworkStep, ...] = Field((), strict=False, description="Every step with its settings, for a check.")
    compiled_loss: str = Field(
        "", max_length=100, pattern="^[^`]*$", description="The loss that it was compiled with, if any."
    )
    takes_logits: bool | None = Field(None, description="Whether that loss takes logits.")
    drops_out: bool = Field(False, description="Whether it has dropout of its own.")
    penalizes: bool = Field(False, description="Whether it has penalties of its own.")
    half: "NetworkFacts | None" = Field(None, description="The same at half the width, if its layers then still fit.")
    half_refusal: str = Field("", max_length=200, description="Why its width cannot be halved.")


class ModelFacts(SpecPart):
    """A model according to its file. Image sizes are null if the model takes any."""

    format: ModelFormat = Field(strict=False)
    channels_first: bool = False
    input_shape: OpenShape = Field(description="Height, width and channels, whatever order the model itself uses.")
    output_shape: OpenShape = Field(description="Without the batch axis: (classes,), or (height, width, channels).")
    parameters: int
    trainable_parameters: int | None = Field(None, description="Null for ONNX, which does not say.")
    weights: bool = Field(True, description="False for an architecture alone, which can only be trained from scratch.")
    layers: tuple[ModelLayer, ...] = Field((), strict=False, description="Layers with weights, in order.")
    feature_map: FeatureMapFacts | None = Field(
        None, description="For a Keras model that gives a feature map, of images of one size or of any."
    )
    network: NetworkFacts | None = Field(None, description="For a Keras model: its cost as a job's whole network.")
    made_by: str = Field("", max_length=200, description="The program that wrote the file, with its version.")

    def limit_layers(self) -> "ModelFacts":
        """Keep only the first layers; the last entry of a network sums up the parameters of the others.

        Without all its steps, an outline cannot be checked, so one that is too long is left out.
        """
        feature_map, network = self.feature_map, self.network
        if network is not None and network.half is not None:
            network = network.model_copy(update={"half": _limit_layers(network.half)})
        if network is not None and len(json.dumps(_dump_outline(network))) > MAX_LAYERS_BYTES:
            network = network.model_copy(update={"outline": ()})
        limited = {
            "layers": _keep_first_layers(self.layers),
            "feature_map": None if feature_map is None else _limit_layers(feature_map),
            "network": None if network is None else _limit_layers(network),
        }
        return self.model_copy(update=limited)

    def to_columns(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Convert to the two columns of a model's row: what lists of models show, and the lists of layers."""
        facts = self.model_dump(mode="json")
        network = facts["network"] or {}
        parts = {"feature_map": facts["feature_map"], "network": network, "half": network.get("half")}
        lists = {name: (part or {}).pop("layers", []) for name, part in parts.items()}
        network.pop("outline", None)
        outline = [] if self.network is None else _dump_outline(self.network)
        return facts, {"layers": facts.pop("layers"), **lists, "outline": outline}

    @classmethod
    def from_columns(cls, facts: Mapping[str, Any], layers: Mapping[str, Any] | None) -> "ModelFacts":
        """Restore from the columns of `to_columns`. Without the second one, there are no layers."""
        kept = layers or {}
        lists = {name: {"layers": kept.get(name, [])} for name in ("feature_map", "network")}
        found = {name: facts.get(name) and facts[name] | of_layers for name, of_layers in lists.items()}
        if network := found["network"]:
            network |= {"outline": kept.get("outline", [])}
            if half := network.get("half"):
                network |= {"half": half | {"layers": kept.get("half", [])}}
            found["network"] = network
        return cls.model_validate({**facts, "layers": kept.get("layers", []), **found})

    @property
    def gives(self) -> Literal["answers", "feature_map"]:
        return "answers" if len(self.output_shape) == 1 else "feature_map"

    @property
    def classes(self) -> int | None:
        """Number of classes; a single output figure is the probability of the second of two. None for a feature map."""
        if self.gives == "feature_map" or self.output_shape[0] is None:
            return None
        return max(2, self.output_shape[0])

    def explain_misfit(self, image: tuple[int, int, int], classes: int) -> str | None:
        """Say why it does not fit this image shape (height, width, channels) and number of classes; None if it does."""
        if not self.weights:
            return f"{WITHOUT_WEIGHTS} To evaluate it, train it, or upload the `.keras` file of the trained model."
        if self.classes is None:
            return "The model gives a feature map, not one figure per class."
        if any(wanted not in {None, has} for wanted, has in zip(self.input_shape, image, strict=True)):
            wanted = "×".join("any" if size is None else str(size) for size in self.input_shape)
            return f"The model takes images of {wanted}, but the dataset's images are {'×'.join(map(str, image))}."
        if self.classes != classes:
            return f"The model has {self.classes} classes, but the dataset has {classes}."
        return None


AnyLayer = TypeVar("AnyLayer", ModelLayer, MapLayer, NetworkLayer)
AnyNetwork = TypeVar("AnyNetwork", FeatureMapFacts, NetworkFacts)


def _limit_layers(found: AnyNetwork) -> AnyNetwork:
    kept: tuple[MapLayer, ...] = _keep_first_layers(found.layers)
    if len(kept) == len(found.layers):
        return found
    rest = found.layers[len(kept) :]
    sums = {name: sum(getattr(layer, name, 0) for layer in rest) for name in ("parameters", "fixed")}
    last = rest[-1].model_copy(update={"name": f"{len(rest):,} more layers", **sums})
    return found.model_copy(update={"layers": (*kept, last)})


def _dump_outline(network: NetworkFacts) -> list[dict[str, Any]]:
    return [step.model_dump(mode="json", exclude_defaults=True) for step in network.outline]


def _keep_first_layers(layers: Sequence[AnyLayer]) -> tuple[AnyLayer, ...]:
    """Keep the first layers within the limit, and shorten long names."""
    kept, size = [], 0
    for layer in layers:
        named = layer.model_copy(update={"name": layer.name[:MAX_NAME_CHARACTERS]})
        size += len(named.model_dump_json().encode())
        if size > MAX_LAYERS_BYTES:
            break
        kept.append(named)
    return tuple(kept)
