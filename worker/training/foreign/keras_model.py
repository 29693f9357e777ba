"""A `.keras` file that was trained elsewhere: a classifier, or the cost of a network that returns a feature map."""

from math import prod
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from heldout.lifecycle.model import ModelFormat, ModelRejectionCode
from heldout.spec.model_facts import FeatureMapFacts, MapLayer, ModelFacts, ModelLayer
from worker.training.backbone import set_trainable
from worker.training.keras_file import load_model, read_file
from worker.training.refusal import ModelRefused, make_failure_on, make_one_number_refusal

# The process has one processor.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

# Heights and widths with which a model for any size is tried.
TRIED_SIZE = 64


def read_keras_facts(file: Path) -> ModelFacts:
    """Read the file for the first time, and try the model on a black image.

    Raises:
        ModelRefused.
    """
    made_by = read_file(file).made_by
    model = load_model(file)
    takes, gives = _get_shapes(model)
    _try(model, takes)
    if gives == (1,) and not _cut_at_logits(model)[1]:
        raise make_one_number_refusal()
    layers = [
        ModelLayer(
            name=layer.name,
            type=type(layer).__name__,
            weights=tuple(tuple(map(int, weight.shape)) for weight in layer.weights),
        )
        for layer in list_leaves(model)
        if layer.weights
    ]
    return ModelFacts(
        format=ModelFormat.KERAS,
        input_shape=takes,
        output_shape=gives,
        parameters=int(model.count_params()),
        trainable_parameters=sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        layers=tuple(layers),
        feature_map=describe_feature_map(model),
        made_by=made_by,
    )


def save_weights(file: Path, target: Path) -> int:
    """Write the weights of layers as `<layer>/<weight>`, counted from 0; returns the number of layers with weights.

    Raises:
        ModelRefused.
    """
    layers = [layer for layer in list_leaves(load_model(file)) if layer.weights]
    arrays = {
        f"{number}/{place}": weight
        for number, layer in enumerate(layers)
        for place, weight in enumerate(layer.get_weights())
    }
    np.savez(target, **arrays)
    return len(layers)


def list_leaves(model: keras.Model) -> list[keras.layers.Layer]:
    """Return all layers without inner layers, in order."""
    found: list[keras.layers.Layer] = []
    for layer in model.layers:
        found += list_leaves(layer) if isinstance(layer, keras.Model) else [layer]
    return found


def _get_shapes(model: keras.Model) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """Return the shapes of one image and one answer."""
    inputs, outputs = (_make_list(getattr(model, name, None)) for name in ("inputs", "outputs"))
    if not inputs:
        raise ModelRefused(
            ModelRejectionCode.NOT_FOR_IMAGES,
            "The model does not declare its input. Begin it with `keras.Input((height, width, channels))`.",
        )
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] is None:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs)[:200]
        raise ModelRefused(
            ModelRejectionCode.NOT_FOR_IMAGES,
            f"The model takes {shapes}; expected one input of (batch, height, width, channels).",
        )
    if len(outputs) != 1 or len(outputs[0].shape) not in {2, 4} or outputs[0].shape[-1] is None:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in outputs)[:200]
        raise ModelRefused(
            ModelRejectionCode.UNFIT_OUTPUT,
            f"The model gives {shapes}; expected one output of (batch, classes), or a feature map of (batch, height, "
            "width, channels).",
        )
    return tuple(inputs[0].shape[1:]), tuple(outputs[0].shape[1:])


def _make_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _try(model: keras.Model, takes: tuple[int | None, ...]) -> None:
    image = np.zeros((1, *(TRIED_SIZE if size is None else size for size in takes)), np.float32)
    try:
        answer = np.asarray(model(image, training=False))
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:  # anything that mismatched layers raise
        raise make_failure_on(image.shape) from error
    if not np.isfinite(answer).all():
        code = ModelRejectionCode.CANNOT_ANSWER
        raise ModelRefused(code, "The model gives figures that are not finite on a black image.")


class KerasAnswers:
    """Answers images with a Keras model, in logits if the model computes them."""

    def __init__(self, file: Path) -> None:
        model, self.gives_logits = _cut_at_logits(load_model(file))
        dtype = tf.as_dtype(model.inputs[0].dtype)
        self._call = tf.function(
            lambda images: tf.cast(model(tf.cast(images, dtype), training=False), tf.float32),
            input_signature=[tf.TensorSpec([None, *model.inputs[0].shape[1:]], tf.float32)],
            autograph=False,
        )

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (batch, figures) for (batch, height, width, channels)."""
        answers: NDArray[np.float32] = self._call(tf.constant(images)).numpy()
        return answers


def _cut_at_logits(model: keras.Model) -> tuple[keras.Model, bool]:
    """Return the model without its final softmax or sigmoid, and whether it had one.

    A probability can round to zero, and the cross-entropy is then unknown.
    """
    if not isinstance(model, keras.Sequential) and type(model).__name__ != "Functional":
        return model, False
    last = model.layers[-1]
    if isinstance(model, keras.Sequential):
        is_last = True
    else:
        is_last = getattr(model.outputs[0], "_keras_history", (None,))[0] is last
    if not is_last:
        return model, False
    activation = getattr(last, "activation", None)
    if activation in (keras.activations.softmax, keras.activations.sigmoid) and isinstance(
        last, keras.layers.Dense | keras.layers.Activation
    ):
        last.activation = keras.activations.linear
        return model, True
    if isinstance(last, keras.layers.Softmax) and last.axis in (-1, 1):
        return keras.Model(model.inputs, last.input), True
    return model, False


# Layers and operations that change pixel values if they come before the first weights.
_SCALING = {"Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add"}


def describe_feature_map(model: keras.Model) -> FeatureMapFacts | None:
    """Compute the cost of the model if all its layers are trainable.

    None if its maps have no fixed size, or it is not a graph of layers.
    """
    shapes = [model.inputs[0].shape[1:], model.outputs[0].shape[1:]]
    if len(shapes[1]) != 3 or any(None in shape for shape in shapes):
        return None
    steps = _list_steps(model)
    if any(len(step.output.shape) < 2 or None in step.output.shape[1:] for step in steps):
        return None
    values = [prod(step.output.shape[1:]) for step in steps]
    set_trainable(model, True)
    return FeatureMapFacts(
        scales_pixels=_scales_pixels(steps),
        trainable_parameters=sum(prod(weight.shape) for weight in model.trainable_weights),
        flops=sum(_count_flops(step) for step in steps),
        values=sum(values),
        largest=max(values),
        layers=tuple(
            MapLayer(
                name=step.name,
                shape=tuple(map(int, step.output.shape[1:])),
                parameters=_count_parameters(step),
            )
            for step in steps
        ),
    )


def _list_steps(model: keras.Model) -> list[Any]:
    """Return the layers and operations that compute, in order, including those of inner models."""
    found = []
    for step in getattr(model, "operations", model.layers):
        if isinstance(step, keras.Model):
            found += _list_steps(step)
        elif not isinstance(step, keras.layers.InputLayer):
            found.append(step)
    return found


def _count_parameters(step: Any) -> int:
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


def _count_flops(step: Any) -> int:
    """Count operations per image: a multiply-add counts as two, everything else as one per output value."""
    shape = step.output.shape[1:]
    places = prod(shape[:-1])  # a kernel is used once at each position
    kernels = [weight for weight in getattr(step, "weights", ()) if len(weight.shape) > 1]
    return 2 * places * sum(prod(kernel.shape) for kernel in kernels) + prod(shape)
