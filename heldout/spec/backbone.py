"""An uploaded network, and when it can be a backbone: what is known about it without Keras. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from heldout.errors import FieldError, InvalidSpec
from heldout.lifecycle.model import ModelFormat
from heldout.spec.job import BackboneSpec, Pixels
from heldout.spec.model_facts import WITHOUT_WEIGHTS, ModelFacts

Sizes = tuple[int, int, int]
POINTER = "/network/backbone"
_SAVE_WITHOUT_TOP = (
    "Upload it without its head: `keras.applications.…(include_top=False)`, or "
    "`keras.Model(model.input, model.get_layer('…').output)` up to the last convolution."
)


@dataclass(frozen=True)
class Backbone:
    """What plans, cost estimates and workers need to know about an uploaded network: a backbone, or the whole network.

    takes: (height, width, channels) of its input image. gives: the same of its feature map, or (classes,).
    pixels: the pixel values that it expects.
    trainable_parameters: the parameters that gradients change if all of it is trained.
    flops: FLOPs of one image's forward pass; a multiply-add counts as two.
    values: number of values that all layers output for one image. largest: the most that a single layer outputs.
    layers: number of layers. normalizes: whether it has batch normalization.
    divides: whether parts of a batch can be computed apart, as towers do.
    """

    model: str
    takes: Sizes
    gives: tuple[int, ...]
    pixels: Pixels
    parameters: int
    trainable_parameters: int
    flops: int
    values: int
    largest: int
    layers: int
    normalizes: bool = True
    divides: bool = False

    def to_json(self) -> dict[str, Any]:
        """Convert to the JSON that a job's row stores."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Backbone":
        """Restore from the JSON of `to_json`."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
        }
        return cls(**values)


def make_backbone(asked: BackboneSpec, facts: ModelFacts) -> Backbone:
    """Make the backbone that a spec requests from an uploaded model.

    Raises:
        InvalidSpec: if it gives no feature map, takes images of any size, or its pixel values are unknown.
    """
    takes, gives, found = facts.input_shape, facts.output_shape, facts.feature_map
    if facts.format is not ModelFormat.KERAS:
        raise _make_refusal(
            "model", f"Model {asked.model} is an ONNX file, which cannot be trained. Upload a .keras file."
        )
    if not facts.weights:
        raise _make_refusal("model", f"{WITHOUT_WEIGHTS} A backbone needs weights: upload the `.keras` file.")
    if facts.gives != "feature_map":
        size = "a list of any length" if gives[0] is None else f"{gives[0]:,} figures"
        detail = f"Model {asked.model} gives {size} for an image, not a feature map. {_SAVE_WITHOUT_TOP}"
        raise _make_refusal("model", detail)
    if None in (*takes, *gives):
        raise _make_refusal(
            "model",
            f"Model {asked.model} takes images of any size, so its cost is unknown. Save it for one size, such as "
            "`input_shape=(96, 96, 3)`, and upload it again.",
        )
    if found is None:
        detail = f"Model {asked.model} was read by an earlier release, which recorded less about it. Upload it again."
        raise _make_refusal("model", detail)
    pixels = asked.pixels
    if pixels is None and not found.scales_pixels:
        raise _make_refusal(
            "pixels",
            f"Model {asked.model} does not scale pixels itself: it has no `Rescaling` or `Normalization` before its "
            "first weights. Say which pixel values it was trained with: "
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


def require_fit(image: Sizes, backbone: Backbone, pointer: str = POINTER) -> None:
    """Raise InvalidSpec if the image's channels cannot be converted to what the uploaded network takes."""
    has, wanted = image[2], backbone.takes[2]
    if has not in {1, wanted}:
        raise _make_refusal(
            "model",
            f"Model {backbone.model} takes images with {wanted} channels, but the dataset's images have {has}. A "
            "single channel is repeated; otherwise the numbers must be equal.",
            pointer,
        )
    if backbone.pixels in {"imagenet", "caffe"} and wanted != 3:
        detail = f"`{backbone.pixels}` is for 3 channels; model {backbone.model} takes {wanted}."
        raise _make_refusal("pixels", detail, pointer)


def _make_refusal(field: str, detail: str, pointer: str = POINTER) -> InvalidSpec:
    pointer = f"{pointer}/{field}"
    return InvalidSpec(f"{pointer}: {detail}", errors=[FieldError(pointer, detail)])
