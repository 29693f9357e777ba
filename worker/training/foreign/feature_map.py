"""What a model costs that gives a feature map: its layers, their sizes, and the arithmetic in them."""

from math import prod
from typing import Any

import keras

from heldout.spec.model_facts import FeatureMapFacts, MapLayer
from worker.training.backbone import set_trainable

# What changes the values of pixels where it comes before the first weights: layers, and Keras' operations on arrays.
_SCALING = {"Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add"}


def feature_map_of(model: keras.Model) -> FeatureMapFacts | None:
    """What the model costs, whose layers are all trainable then.

    None where it takes or gives maps of any size, or is no graph of layers.
    """
    shapes = [model.inputs[0].shape[1:], model.outputs[0].shape[1:]]
    if len(shapes[1]) != 3 or any(None in shape for shape in shapes):
        return None
    steps = _steps_of(model)
    if any(len(step.output.shape) < 2 or None in step.output.shape[1:] for step in steps):
        return None
    values = [prod(step.output.shape[1:]) for step in steps]
    set_trainable(model, True)
    return FeatureMapFacts(
        scales_pixels=_scales_pixels(steps),
        trainable_parameters=sum(prod(weight.shape) for weight in model.trainable_weights),
        flops=sum(_flops(step) for step in steps),
        values=sum(values),
        largest=max(values),
        layers=tuple(
            MapLayer(
                name=step.name,
                shape=tuple(map(int, step.output.shape[1:])),
                parameters=_parameters(step),
            )
            for step in steps
        ),
    )


def _steps_of(model: keras.Model) -> list[Any]:
    """Layers and operations that compute, in order; those of models inside it, too."""
    found = []
    for step in getattr(model, "operations", model.layers):
        if isinstance(step, keras.Model):
            found += _steps_of(step)
        elif not isinstance(step, keras.layers.InputLayer):
            found.append(step)
    return found


def _parameters(step: Any) -> int:
    # As a backbone it is a `Rescaling`, which has no weights.
    weights = () if isinstance(step, keras.layers.Normalization) else getattr(step, "weights", ())
    return sum(prod(weight.shape) for weight in weights)


def _scales_pixels(steps: list[Any]) -> bool:
    for step in steps:
        if type(step).__name__ in _SCALING:
            return True
        if getattr(step, "weights", ()):
            return False
    return False


def _flops(step: Any) -> int:
    """Of one image; a multiply-add counts as two, everything else as one for each value that comes out."""
    shape = step.output.shape[1:]
    places = prod(shape[:-1])  # a kernel is used once at each
    kernels = [weight for weight in getattr(step, "weights", ()) if len(weight.shape) > 1]
    return 2 * places * sum(prod(kernel.shape) for kernel in kernels) + prod(shape)
