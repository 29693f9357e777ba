"""What is known of an uploaded model once its file has been read, without Keras."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field

from heldout.lifecycle.model import ModelFormat
from heldout.spec.part import SpecPart

# Of the layers with weights, and of those of a feature map, each list as JSON. A thousand layers take half of it.
MAX_LAYERS_BYTES = 128 * 1024
MAX_NAME_CHARACTERS = 200

# JSON has lists alone.
Shape = Annotated[tuple[int, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]
OpenShape = Annotated[
    tuple[int | None, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
]


class ModelLayer(SpecPart):
    """One layer with weights: their shapes, in Keras' order."""

    name: str
    type: str
    weights: tuple[Shape, ...] = Field((), strict=False)


class MapLayer(SpecPart):
    """One layer of a model that gives a feature map: what it gives for one image, and its parameters."""

    name: str
    shape: Shape
    parameters: int


class FeatureMapFacts(SpecPart):
    """What a model costs that gives a feature map of one size.

    trainable_parameters: where all layers are trained. flops: of one image forward. values: of all layers together;
    largest: of the layer that gives most.
    """

    scales_pixels: bool = Field(description="Whether it changes the values of pixels before its first weights.")
    trainable_parameters: int
    flops: int
    values: int
    largest: int
    layers: tuple[MapLayer, ...] = Field(strict=False)


class ModelFacts(SpecPart):
    """A model as its file says. Sizes of images are null where the model takes any."""

    format: ModelFormat = Field(strict=False)
    channels_first: bool = False
    input_shape: OpenShape = Field(description="Height, width and channels, however the model itself orders them.")
    output_shape: OpenShape = Field(description="Without the batch: (classes,), or (height, width, channels).")
    parameters: int
    trainable_parameters: int | None = Field(None, description="Null for ONNX, which does not say.")
    layers: tuple[ModelLayer, ...] = Field((), strict=False, description="Those that have weights, in order.")
    feature_map: FeatureMapFacts | None = Field(
        None, description="Of a Keras model that gives a feature map, for images of one size."
    )
    made_by: str = Field("", max_length=200, description="The program that has written the file, with its version.")

    def limit_layers(self) -> "ModelFacts":
        """The same with no more layers than are kept; the parameters of a feature map's others stay in its last one."""
        layers, found = _keep_first_layers(self.layers), self.feature_map
        if found is not None and len(shown := _keep_first_layers(found.layers)) < len(found.layers):
            rest = found.layers[len(shown) :]
            last = MapLayer(
                name=f"{len(rest):,} more layers",
                shape=rest[-1].shape,
                parameters=sum(layer.parameters for layer in rest),
            )
            found = found.model_copy(update={"layers": (*shown, last)})
        return self.model_copy(update={"layers": layers, "feature_map": found})

    def to_columns(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """As a model's row keeps it: what lists of models show, and the lists of layers."""
        facts = self.model_dump(mode="json")
        found = facts["feature_map"] or {}
        return facts, {"layers": facts.pop("layers"), "feature_map": found.pop("layers", [])}

    @classmethod
    def from_columns(cls, facts: Mapping[str, Any], layers: Mapping[str, Any] | None) -> "ModelFacts":
        """What `to_columns` gave. Without the second part it has no layers."""
        kept = layers or {"layers": [], "feature_map": []}
        found = facts.get("feature_map") and {**facts["feature_map"], "layers": kept["feature_map"]}
        return cls.model_validate({**facts, "layers": kept["layers"], "feature_map": found})

    @property
    def gives(self) -> Literal["answers", "feature_map"]:
        return "answers" if len(self.output_shape) == 1 else "feature_map"

    @property
    def classes(self) -> int | None:
        """How many it tells apart; a single figure tells two apart. None for a feature map."""
        if self.gives == "feature_map" or self.output_shape[0] is None:
            return None
        return max(2, self.output_shape[0])

    def explain_misfit(self, image: tuple[int, int, int], classes: int) -> str | None:
        """Why it cannot answer images of this shape (height, width, channels) and so many classes; None if it can."""
        if self.classes is None:
            return "The model gives a feature map, not one figure for each class."
        if any(wanted not in {None, has} for wanted, has in zip(self.input_shape, image, strict=True)):
            wanted = "×".join("any" if size is None else str(size) for size in self.input_shape)
            return f"The model takes images of {wanted}; those of the dataset are {'×'.join(map(str, image))}."
        if self.classes != classes:
            return f"The model tells {self.classes} classes apart; the dataset has {classes}."
        return None


AnyLayer = TypeVar("AnyLayer", ModelLayer, MapLayer)


def _keep_first_layers(layers: Sequence[AnyLayer]) -> tuple[AnyLayer, ...]:
    """Those that are kept, with names that are not too long."""
    kept, size = [], 0
    for layer in layers:
        named = layer.model_copy(update={"name": layer.name[:MAX_NAME_CHARACTERS]})
        size += len(named.model_dump_json().encode())
        if size > MAX_LAYERS_BYTES:
            break
        kept.append(named)
    return tuple(kept)
