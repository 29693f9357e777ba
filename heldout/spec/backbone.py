"""Networks that start from an uploaded model: its blocks before the spec's own (a backbone), or the model as it is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil, prod
from typing import Any, get_args

from heldout.errors import InvalidSpec
from heldout.lifecycle.resources import ModelFormat
from heldout.spec.model_facts import (
    WITHOUT_WEIGHTS,
    FeatureMapFacts,
    MapLayer,
    ModelFacts,
    NetworkFacts,
    NetworkLayer,
)
from heldout.spec.network import SIZE_STEP, BackboneSpec, OwnNetworkSpec, Pixels

Sizes = tuple[int, int, int]
# The parts of a spec that name an uploaded model.
POINTER, OWN_POINTER = "/network/backbone", "/network"
MIN_SUITABLE_SIZE, MAX_SUITABLE_SIZE = 64, 224
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
    gained: operations of an image that 16 bits save on processors with units for them; 0 if unknown.
    size: the height and width that were chosen for a backbone that takes any; None for others.
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
    gained: int = 0
    size: int | None = None

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


def choose_size(image: Sizes) -> int:
    """Choose the height and width at which a backbone computes, for images of a dataset.

    Images are enlarged twice, because the maps of pretrained networks are 32 times smaller than their input.
    """
    steps = ceil(2 * max(image[:2]) / SIZE_STEP)
    return min(max(steps * SIZE_STEP, MIN_SUITABLE_SIZE), MAX_SUITABLE_SIZE)


def make_backbone(asked: BackboneSpec, facts: ModelFacts, image: Sizes) -> tuple[Backbone, tuple[MapLayer, ...]]:
    """Make the backbone that a spec requests from a model, and list its layers.

    Args:
        image: (height, width, channels) of the dataset's images.
    Raises:
        InvalidSpec: if it gives no feature map, cannot compute at this size, or its pixel values are unknown.
    """
    gives, found = facts.output_shape, facts.feature_map
    pointer = f"{POINTER}/model"
    if facts.format is not ModelFormat.KERAS:
        detail = f"Model {asked.model} is an ONNX file, which cannot be trained. Upload a .keras file."
        raise InvalidSpec.at(pointer, detail)
    if not facts.weights:
        raise InvalidSpec.at(pointer, f"{WITHOUT_WEIGHTS} A backbone needs weights: upload the `.keras` file.")
    if facts.gives != "feature_map":
        given = "a list of any length" if gives[0] is None else f"{gives[0]:,} figures"
        detail = f"Model {asked.model} gives {given} for an image, not a feature map. {_SAVE_WITHOUT_TOP}"
        raise InvalidSpec.at(pointer, detail)
    is_open = None in facts.input_shape or None in gives
    if is_open and (found is None or found.stride is None):
        raise InvalidSpec.at(
            pointer,
            f"Model {asked.model} takes images of any size, and its feature map does not shrink them evenly. Save it "
            "for one size, such as `input_shape=(96, 96, 3)`, and upload it again.",
        )
    if found is None:
        detail = f"Model {asked.model} was read by an earlier release, which recorded less about it. Upload it again."
        raise InvalidSpec.at(pointer, detail)
    pixels = asked.pixels
    if pixels is None and not found.scales_pixels:
        raise InvalidSpec.at(
            f"{POINTER}/pixels",
            f"Model {asked.model} does not scale pixels itself: it has no `Rescaling` or `Normalization` before its "
            "first weights. Say which pixel values it was trained with: "
            f"{', '.join(f'`{kind}`' for kind in get_args(Pixels))}.",
        )
    takes, size = facts.input_shape, None
    if is_open:
        size = asked.size or choose_size(image)
        found, takes = _count_at(found, size), (size, size, takes[2])
        gives = (size // (found.stride or 1),) * 2 + gives[2:]
    elif asked.size is not None and (asked.size, asked.size) != takes[:2]:
        detail = f"Received {asked.size}; model {asked.model} only takes images of {takes[0]}×{takes[1]}. Leave it out."
        raise InvalidSpec.at(f"{POINTER}/size", detail)
    backbone = Backbone(
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
        size=size,
    )
    return backbone, found.layers


def _count_at(facts: FeatureMapFacts, size: int) -> FeatureMapFacts:
    """Return the facts about a model of any size for images of this height and width."""
    assert facts.figures_at is not None
    height, width = facts.figures_at
    area = size * size / (height * width)
    layers = [
        layer.model_copy(
            update={
                "shape": (ceil(layer.shape[0] * size / height), ceil(layer.shape[1] * size / width), *layer.shape[2:])
            }
        )
        if len(layer.shape) == 3
        else layer
        for layer in facts.layers
    ]
    scaled = {name: int(getattr(facts, name) * area) for name in ("flops", "values", "largest")}
    return facts.model_copy(update={"layers": tuple(layers), **scaled})


def require_fit(image: Sizes, backbone: Backbone, pointer: str = POINTER) -> None:
    """Raise InvalidSpec if the image's channels cannot be converted to what the uploaded network takes."""
    has, wanted = image[2], backbone.takes[2]
    if has not in {1, wanted}:
        raise InvalidSpec.at(
            f"{pointer}/model",
            f"Model {backbone.model} takes images with {wanted} channels, but the dataset's images have {has}. A "
            "single channel is repeated; otherwise the numbers must be equal.",
        )
    if backbone.pixels in {"imagenet", "caffe"} and wanted != 3:
        detail = f"`{backbone.pixels}` is for 3 channels; model {backbone.model} takes {wanted}."
        raise InvalidSpec.at(f"{pointer}/pixels", detail)


def make_own_network(
    asked: OwnNetworkSpec, facts: ModelFacts, image: Sizes, classes: int
) -> tuple[Backbone, tuple[NetworkLayer, ...]]:
    """Make the network that a spec requests from an uploaded model, and list its layers.

    Args:
        image: (height, width, channels) of the dataset's images.
        classes: number of the dataset's classes.
    Raises:
        InvalidSpec: the model does not fit the dataset, or the spec asks for what it does not have.
    """
    found = facts.network
    if facts.format is not ModelFormat.KERAS:
        raise InvalidSpec.at(
            "/network/model", f"Model {asked.model} is an ONNX file, which cannot be trained. Upload a .keras file."
        )
    if found is None:
        detail = f"Model {asked.model} was read by an earlier release, which recorded less about it. Upload it again."
        raise InvalidSpec.at("/network/model", detail)
    if asked.weights == "uploaded" and not facts.weights:
        detail = f"Model {asked.model} is an architecture without weights. Use `fresh`, or upload the `.keras` file."
        raise InvalidSpec.at("/network/weights", detail)
    if asked.width != 1:
        if found.half is None:
            detail = f"Model {asked.model} cannot be halved. {found.half_refusal}"
            raise InvalidSpec.at("/network/width", detail)
        found = found.half
    height, width, channels = (given or has for given, has in zip(facts.input_shape, image, strict=True))
    area = height * width / prod(found.figures_at)
    layers = _list_layers(asked, facts, found, classes)
    parameters, fixed = (sum(getattr(layer, name) for layer in layers) for name in ("parameters", "fixed"))
    if parameters == fixed:
        raise InvalidSpec.at(
            "/network/trainable",
            'Nothing would be trained. Use `"head": "replace"`, or freeze fewer layers of the model.',
        )
    made = Backbone(
        model=asked.model,
        takes=(height, width, channels),
        gives=(classes,),
        pixels=asked.pixels or ("bytes" if found.scales_pixels else "unit"),
        parameters=parameters,
        trainable_parameters=parameters - fixed,
        flops=int(found.flops * area),
        values=int(found.values * area),
        largest=int(found.largest * area),
        layers=len(layers),
        normalizes=found.normalizes,
        divides=found.divides,
        gained=int(found.gained * area),
    )
    return made, layers


def _list_layers(
    asked: OwnNetworkSpec, facts: ModelFacts, found: NetworkFacts, classes: int
) -> tuple[NetworkLayer, ...]:
    """Return the layers with the requested head, of which the frozen ones are fixed."""
    layers, head = list(found.layers), list[NetworkLayer]()
    gives_map = len(facts.output_shape) == 3
    if asked.head == "replace":
        inputs = found.head_inputs
        if inputs is None:
            raise InvalidSpec.at(
                "/network/head",
                f"The last layer of model {asked.model} is not dense, so it cannot be replaced. Make the model for the "
                f"dataset's {classes} classes, or upload it without its head.",
            )
        name, has_bias = "heldout_head", True
        if not gives_map:
            old = layers.pop(max(index for index, layer in enumerate(layers) if layer.type == "Dense"))
            name, has_bias = old.name, old.parameters > inputs * old.shape[-1]
        head = [NetworkLayer(name=name, type="Dense", shape=(classes,), parameters=(inputs + has_bias) * classes)]
    else:
        _require_classes(asked, facts, found, classes)
    names = [layer.name for layer in layers]
    if isinstance(asked.freeze, str) and asked.freeze not in names:
        shown = ", ".join(f"`{name}`" for name in names[:5])
        detail = f"Model {asked.model} has no layer `{asked.freeze}`. Its first layers are {shown}."
        raise InvalidSpec.at("/network/freeze", detail)
    frozen = 0 if asked.trainable else len(layers)
    if asked.freeze is not None and asked.trainable:
        frozen = asked.freeze if isinstance(asked.freeze, int) else names.index(asked.freeze) + 1
    first = [layer.model_copy(update={"fixed": layer.parameters}) for layer in layers[:frozen]]
    return (*first, *layers[frozen:], *head)


def _require_classes(asked: OwnNetworkSpec, facts: ModelFacts, found: NetworkFacts, classes: int) -> None:
    replace = 'With `"head": "replace"`, its last layer is replaced by one for them.'
    if len(facts.output_shape) != 1:
        detail = f'Model {asked.model} gives a feature map. With `"head": "replace"`, it gets an output for each class.'
        raise InvalidSpec.at("/network/head", detail)
    if found.output == "sigmoid":
        detail = (
            f"Model {asked.model} ends in a sigmoid, so its figures are not shares of one answer. Heldout trains one "
            f"label per image: use one figure per class, with softmax or none. {replace}"
        )
        raise InvalidSpec.at("/network/head", detail)
    if facts.output_shape[0] != classes:
        detail = f"Model {asked.model} has {facts.output_shape[0]} classes, but the dataset has {classes}. {replace}"
        raise InvalidSpec.at("/network/head", detail)
