"""What a Keras model costs, layer by layer: as a backbone, and as a job's whole network."""

from math import prod
from typing import Any

import keras
import tensorflow as tf
from keras.src.utils.naming import to_snake_case

from analysis.scheduling.cost import FLOPS_LOST_BY_ACTIVATION, FLOPS_LOST_BY_DEPTHWISE, FLOPS_LOST_BY_NORM
from heldout.spec.model_facts import FeatureMapFacts, MapLayer, NetworkFacts, NetworkLayer
from heldout.spec.network import SIZE_STEP
from worker.ingest.rejection import clean_name
from worker.training.engine.towers import can_divide
from worker.training.model_files.keras_file import build_model, find_failed_layer, name_failed_layers
from worker.training.networks.backbone import set_trainable
from worker.training.networks.own_changes import Config, drops_out, halve_width, penalizes, replace_head
from worker.training.networks.own_network import find_output, list_steps
from worker.training.uploaded_models.outline import outline_model
from worker.training.uploaded_models.tracing import Shape, trace_model

# Layers that bfloat16 makes faster, and some that it may slow down.
_PRODUCTS = {"Conv1D", "Conv2D", "Conv2DTranspose", "Dense", "EinsumDense", "MultiHeadAttention"}
_DEPTHWISE = {"DepthwiseConv2D", "SeparableConv2D"}
# Divisors of the step between the sizes that a spec may ask for.
_STRIDES = {divisor for divisor in range(1, SIZE_STEP + 1) if SIZE_STEP % divisor == 0}
_NORMS = {"LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization"}
# Layers and operations that change pixel values if they come before the first weights.
_SCALING = {"Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add"}


# Two sizes at which a model for any size must shrink images by the same factor.
_SIZES = (224, 96)


def describe_feature_map(model: keras.Model) -> FeatureMapFacts | None:
    """Compute the cost of a model that gives a feature map, if all its layers are trainable.

    Changes the model: all its layers are trainable afterwards.

    Returns:
        None for other models, and for one that takes any size of which only one side is open.
    """
    takes, gives = model.inputs[0].shape[1:], model.outputs[0].shape[1:]
    if len(gives) != 3 or None in {takes[2], gives[2]}:
        return None
    is_open = None in (*takes, *gives)
    if is_open and takes[:2] != (None, None):
        return None
    figures_at = (_SIZES[0], _SIZES[0]) if is_open else None
    steps, shapes = list_steps(model), trace_model(model, (*(figures_at or takes[:2]), takes[2])).shapes
    values = [_count_values(shapes[id(step)]) for step in steps]
    set_trainable(model, True)
    return FeatureMapFacts(
        scales_pixels=_scales_pixels(steps),
        trainable_parameters=sum(prod(weight.shape) for weight in model.trainable_weights),
        flops=sum(_count_flops(step, shapes[id(step)]) for step in steps),
        values=sum(values),
        largest=max(values, default=0),
        layers=tuple(
            MapLayer(name=step.name, shape=_get_last(shapes[id(step)]), parameters=_count_parameters(step))
            for step in steps
        ),
        figures_at=figures_at,
        stride=_find_stride(model) if is_open else None,
    )


def _find_stride(model: keras.Model) -> int | None:
    """Find by how much a model for any size shrinks images; None if not by one factor that divides all sizes."""
    found = set[float]()
    for size in _SIZES:
        try:
            shape = model.compute_output_shape((1, size, size, model.inputs[0].shape[3]))
        except Exception:  # noqa: BLE001 - anything that mismatched layers raise
            return None
        found |= {size / side if side else 0.0 for side in shape[1:3]}
    [stride, *others] = found
    return int(stride) if not others and stride in _STRIDES else None


def describe_network(model: keras.Model, size: tuple[int, int]) -> NetworkFacts:
    """Compute the cost of a model as a job's whole network. Changes the model: it gives logits afterwards.

    Args:
        size: height and width of its images, if it takes any.
    """
    steps = list_steps(model)
    takes = tuple(given or chosen for given, chosen in zip(model.inputs[0].shape[1:3], size, strict=True))
    trace = trace_model(model, (*takes, model.inputs[0].shape[3]))
    shapes = trace.shapes
    values = [_count_values(shapes[id(step)]) for step in steps]
    layers = tuple(
        NetworkLayer(
            name=step.name,
            type=type(step).__name__,
            shape=_get_last(shapes[id(step)]),
            parameters=_count_parameters(step),
            fixed=_count_parameters(step) - _count_trained(step),
        )
        for step in steps
    )
    outline = outline_model(steps, trace)  # before its last activation is cut off
    gives, output = model.outputs[0].shape, find_output(model)
    head_inputs = gives[-1] if len(gives) == 4 else None
    if output.head is not None:
        head_inputs = int(output.head.kernel.shape[0])
    return NetworkFacts(
        scales_pixels=_scales_pixels(steps),
        output=output.gives,
        head_inputs=head_inputs,
        normalizes=any(isinstance(step, keras.layers.BatchNormalization) for step in steps),
        divides=can_divide(steps),
        figures_at=takes,
        flops=sum(_count_flops(step, shapes[id(step)]) for step in steps),
        gained=sum(_count_gained(step, shapes[id(step)]) for step in steps),
        values=sum(values),
        largest=max(values, default=0),
        layers=layers,
        outline=outline,
    )


def _get_last(shapes: list[Shape]) -> Shape:
    return shapes[-1] if shapes else ()


def _count_values(shapes: list[Shape]) -> int:
    return sum(prod(shape) for shape in shapes)


def _count_parameters(step: Any) -> int:
    # It becomes a `Rescaling`, which has no weights.
    weights = () if isinstance(step, keras.layers.Normalization) else getattr(step, "weights", ())
    return sum(prod(weight.shape) for weight in weights)


def _count_trained(step: Any) -> int:
    return sum(prod(weight.shape) for weight in getattr(step, "trainable_weights", ()))


def _scales_pixels(steps: list[Any]) -> bool:
    for step in steps:
        if type(step).__name__ in _SCALING:
            return True
        if getattr(step, "weights", ()):
            return False
    return False


def _count_flops(step: Any, shapes: list[Shape]) -> int:
    """Count operations per image: a multiply-add counts as two, everything else as one per output value."""
    kernels = sum(prod(weight.shape) for weight in getattr(step, "weights", ()) if len(weight.shape) > 1)
    # A kernel is used once at each position.
    return sum(2 * prod(shape[:-1]) * kernels + prod(shape) for shape in shapes)


def _count_gained(step: Any, shapes: list[Shape]) -> int:
    """Count the operations per image that are faster in 16 bits, less those that its slower ones cost."""
    kind, values = type(step).__name__, _count_values(shapes)
    if kind in _DEPTHWISE:
        is_fast = set(step.kernel_size) == {3} and set(step.strides) == {1}
        return 0 if is_fast else -values * prod(step.strides) * FLOPS_LOST_BY_DEPTHWISE
    if kind in _NORMS:
        return -values * FLOPS_LOST_BY_NORM
    activation = getattr(step, "activation", None)
    name = to_snake_case(kind) if activation is None else getattr(activation, "__name__", "")
    name = "relu6" if getattr(step, "max_value", None) == 6 else name
    lost = values * FLOPS_LOST_BY_ACTIVATION.get(name, 0)
    gains = kind in _PRODUCTS and all(len(shape) > 1 for shape in shapes)  # a dense layer of a map or of tokens
    return (_count_flops(step, shapes) if gains else 0) - lost


ADDED_LAYERS = 2  # by `replace_head`, after a feature map


def add_what_changes_need(
    facts: NetworkFacts, config: Config, size: tuple[int, int], *, gives_map: bool
) -> NetworkFacts:
    """Add what changes of a network depend on: its own dropout and penalties, and its cost at half the width.

    Args:
        config: as read by `keras_config.read_network`.
        size: height and width of its images, if it takes any.
        gives_map: whether it gives a feature map, whose channels are halved too.
    """
    half, refusal = _describe_half(facts, config, size, gives_map=gives_map)
    found = {"drops_out": drops_out(config), "penalizes": penalizes(config), "half": half, "half_refusal": refusal}
    return facts.model_copy(update=found)


def _describe_half(
    whole: NetworkFacts, config: Config, size: tuple[int, int], *, gives_map: bool
) -> tuple[NetworkFacts | None, str]:
    """Return the cost of the network at half its width, or None and the reason."""
    if gives_map:
        config = replace_head(config, 1, gives_map=True)
    try:
        with name_failed_layers():
            model = build_model(halve_width(config))
            half = describe_network(model, size)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:  # noqa: BLE001 - anything that mismatched layers raise
        failed = find_failed_layer(error)
        return None, "Its layers would not fit together." if failed is None else _describe_misfit(failed)
    layers = half.layers[:-ADDED_LAYERS] if gives_map else half.layers
    for step in list_steps(model):
        if any(0 in weight.shape for weight in getattr(step, "weights", ())):  # a slice of half the width is empty
            return None, _describe_misfit(step)
    if [layer.parameters for layer in layers] == [layer.parameters for layer in whole.layers]:
        return None, "Only its last layer has filters or units."
    return half.model_copy(update={"layers": layers, "outline": ()}), ""


def _describe_misfit(step: keras.Operation) -> str:
    return f"Layer `{clean_name(step.name, 60)}` ({type(step).__name__}) does not fit layers of half the width."
