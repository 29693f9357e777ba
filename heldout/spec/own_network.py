"""An uploaded model as a job's whole network: what is known about it without Keras. Pure."""

from math import prod

from heldout.errors import FieldError, InvalidSpec
from heldout.lifecycle.model import ModelFormat
from heldout.spec.backbone import Backbone, Sizes
from heldout.spec.job import OwnNetworkSpec
from heldout.spec.model_facts import ModelFacts, NetworkFacts, NetworkLayer

POINTER = "/network"


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
        raise _make_refusal(
            "model", f"Model {asked.model} is an ONNX file, which cannot be trained. Upload a .keras file."
        )
    if found is None:
        detail = f"Model {asked.model} was read by an earlier release, which recorded less about it. Upload it again."
        raise _make_refusal("model", detail)
    if asked.weights == "uploaded" and not facts.weights:
        detail = f"Model {asked.model} is an architecture without weights. Use `fresh`, or upload the `.keras` file."
        raise _make_refusal("weights", detail)
    if asked.width != 1:
        if found.half is None:
            detail = f"Model {asked.model} cannot be halved. {found.half_refusal}"
            raise _make_refusal("width", detail)
        found = found.half
    height, width, channels = (given or has for given, has in zip(facts.input_shape, image, strict=True))
    area = height * width / prod(found.figures_at)
    layers = _list_layers(asked, facts, found, classes)
    parameters, fixed = (sum(getattr(layer, name) for layer in layers) for name in ("parameters", "fixed"))
    if parameters == fixed:
        raise _make_refusal(
            "trainable", 'Nothing would be trained. Use `"head": "replace"`, or freeze fewer layers of the model.'
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
            raise _make_refusal(
                "head",
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
        raise _make_refusal("freeze", detail)
    frozen = 0 if asked.trainable else len(layers)
    if asked.freeze is not None and asked.trainable:
        frozen = asked.freeze if isinstance(asked.freeze, int) else names.index(asked.freeze) + 1
    first = [layer.model_copy(update={"fixed": layer.parameters}) for layer in layers[:frozen]]
    return (*first, *layers[frozen:], *head)


def _require_classes(asked: OwnNetworkSpec, facts: ModelFacts, found: NetworkFacts, classes: int) -> None:
    replace = 'With `"head": "replace"`, its last layer is replaced by one for them.'
    if len(facts.output_shape) != 1:
        detail = f'Model {asked.model} gives a feature map. With `"head": "replace"`, it gets an output for each class.'
        raise _make_refusal("head", detail)
    if found.output == "sigmoid":
        detail = (
            f"Model {asked.model} ends in a sigmoid, so its figures are not shares of one answer. Heldout trains one "
            f"label per image: use one figure per class, with softmax or none. {replace}"
        )
        raise _make_refusal("head", detail)
    if facts.output_shape[0] != classes:
        detail = f"Model {asked.model} has {facts.output_shape[0]} classes, but the dataset has {classes}. {replace}"
        raise _make_refusal("head", detail)


def _make_refusal(field: str, detail: str) -> InvalidSpec:
    pointer = f"{POINTER}/{field}"
    return InvalidSpec(f"{pointer}: {detail}", errors=[FieldError(pointer, detail)])
