"""An uploaded network that comes before the blocks: what is known of it without Keras. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from heldout.errors import FieldError, InvalidSpec
from heldout.lifecycle.model import ModelFormat
from heldout.spec.job import BackboneSpec, NetworkSpec, Pixels
from heldout.spec.model_facts import ModelFacts

Sizes = tuple[int, int, int]
POINTER = "/network/backbone"
_SAVE_WITHOUT_TOP = (
    "Upload it without its head: `keras.applications.…(include_top=False)`, or "
    "`keras.Model(model.input, model.get_layer('…').output)` up to the last convolution."
)


@dataclass(frozen=True)
class Backbone:
    """An uploaded network as plans, costs and workers need it.

    takes, gives: (height, width, channels) of an image and of a feature map.
    pixels: the values of the pixels that it takes.
    trainable_parameters: those that gradients change where all of it is trained along.
    flops: of one image's forward pass; a multiply-add counts as two.
    values: that its layers give for one image, together. largest: that one of them gives at most.
    layers: how many it has.
    """

    model: str
    takes: Sizes
    gives: Sizes
    pixels: Pixels
    parameters: int
    trainable_parameters: int
    flops: int
    values: int
    largest: int
    layers: int

    def to_json(self) -> dict[str, Any]:
        """As the row of a job keeps it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Backbone":
        """What `to_json` gave."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
        }
        return cls(**values)


def make_backbone(asked: BackboneSpec, facts: ModelFacts) -> Backbone:
    """The uploaded model as the backbone that a spec asks for.

    Raises:
        InvalidSpec: it gives no feature map, takes images of any size, or nobody knows what pixels it takes.
    """
    takes, gives, found = facts.input_shape, facts.output_shape, facts.feature_map
    if facts.format is not ModelFormat.KERAS:
        raise _make_refusal(
            "model", f"Model {asked.model} is an ONNX file, which cannot be trained. Upload a .keras one."
        )
    if facts.gives != "feature_map":
        size = "a list of any length" if gives[0] is None else f"{gives[0]:,} figures"
        detail = f"Model {asked.model} gives {size} for an image, not a feature map. {_SAVE_WITHOUT_TOP}"
        raise _make_refusal("model", detail)
    if None in (*takes, *gives):
        raise _make_refusal(
            "model",
            f"Model {asked.model} takes images of any size, so that nobody knows what it costs. Save it for one size, "
            "such as `input_shape=(96, 96, 3)`, and upload it again.",
        )
    if found is None:
        detail = f"Model {asked.model} was read by an earlier release, which looked at less. Upload it again."
        raise _make_refusal("model", detail)
    pixels = asked.pixels
    if pixels is None and not found.scales_pixels:
        raise _make_refusal(
            "pixels",
            f"Model {asked.model} does not scale its pixels by itself: before its first weights there is no "
            "`Rescaling` and no `Normalization`. Say what pixels it was trained with: "
            f"{', '.join(f'`{kind}`' for kind in get_args(Pixels))}.",
        )
    return Backbone(
        model=asked.model,
        takes=(takes[0] or 0, takes[1] or 0, takes[2] or 0),
        gives=(gives[0] or 0, gives[1] or 0, gives[2] or 0),
        pixels=pixels or "bytes",
        parameters=sum(layer.parameters for layer in found.layers),
        trainable_parameters=found.trainable_parameters,
        flops=found.flops,
        values=found.values,
        largest=found.largest,
        layers=len(found.layers),
    )


def require_fit(network: NetworkSpec, image: Sizes, backbone: Backbone) -> None:
    """Refuse images whose channels cannot become those that the backbone takes. Raises InvalidSpec."""
    has, wanted = image[2], backbone.takes[2]
    if has not in {1, wanted}:
        raise _make_refusal(
            "model",
            f"Model {backbone.model} takes images of {wanted} channels; those of the dataset have {has}. Images of one "
            "channel are repeated; others must have as many as it takes.",
        )
    if backbone.pixels in {"imagenet", "caffe"} and wanted != 3:
        raise _make_refusal("pixels", f"`{backbone.pixels}` is for 3 channels; model {backbone.model} takes {wanted}.")


def _make_refusal(field: str, detail: str) -> InvalidSpec:
    pointer = f"{POINTER}/{field}"
    return InvalidSpec(f"{pointer}: {detail}", errors=[FieldError(pointer, detail)])
