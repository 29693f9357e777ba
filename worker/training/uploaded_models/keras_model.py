"""A `.keras` file that was trained elsewhere: its facts, its weights and layers for a job, and its answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from heldout.lifecycle.resources import ModelFormat, ModelRejectionCode
from heldout.spec.model_facts import ModelFacts, ModelLayer
from worker.training.model_files.keras_file import MAX_GROWTH, load_model, read_file, require_known_state, require_size
from worker.training.model_files.keras_graph import count_calls
from worker.training.model_files.refusal import ModelRefused, make_failure_on, make_one_number_refusal
from worker.training.networks.backbone import CONFIG, GIVES, GIVES_MAP, WEIGHTS
from worker.training.networks.own_network import find_output
from worker.training.uploaded_models.description import add_what_changes_need, describe_feature_map, describe_network
from worker.training.uploaded_models.outline import read_compiled_loss

# The process has one processor.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

# Heights and widths with which a model for any size is tried, in turn.
TRIED_SIZES = (64, 224)


def read_keras_facts(file: Path, max_parameters: int | None, note_calls: Callable[[int], None]) -> ModelFacts:
    """Read the file for the first time, and try the model on a black image.

    Args:
        max_parameters: the most that an architecture alone may have, because it can only be trained; None for any
            number. A model with weights can be evaluated, whatever its size.
        note_calls: called with the number of calls that Keras needs, before it builds the model.
    Raises:
        ModelRefused.
    """
    read = read_file(file)
    note_calls(count_calls(read.config))
    if read.has_weights:
        require_size(read.config, MAX_GROWTH * file.stat().st_size, "as many as a file of this size can hold")
    else:
        require_known_state(read.config)
        require_size(read.config, max_parameters, "the limit of this service (`HELDOUT_MAX_PARAMETERS`)")
    model = load_model(file)
    takes, gives = _get_shapes(model)
    size = _try(model, takes)
    layers = [
        ModelLayer(
            name=layer.name,
            type=type(layer).__name__,
            weights=tuple(tuple(map(int, weight.shape)) for weight in layer.weights),
        )
        for layer in list_leaves(model)
        if layer.weights
    ]
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    tried = (size, size)
    network = describe_network(model, tried)
    network = add_what_changes_need(network, read.config, tried, gives_map=len(gives) == 3)
    loss, takes_logits = read_compiled_loss(file)
    network = network.model_copy(update={"compiled_loss": loss, "takes_logits": takes_logits})
    if gives == (1,) and network.output == "logits":
        raise make_one_number_refusal()
    return ModelFacts(
        format=ModelFormat.KERAS,
        input_shape=takes,
        output_shape=gives,
        parameters=int(model.count_params()),
        trainable_parameters=trainable,
        layers=tuple(layers),
        feature_map=describe_feature_map(model),
        network=network,
        weights=read.has_weights,
        made_by=read.made_by,
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
    if len(inputs) != 1:
        raise ModelRefused(
            ModelRejectionCode.NOT_FOR_IMAGES,
            f"The model has {len(inputs)} inputs: {_describe_shapes(inputs)}. It gets only images: build it from one "
            "`keras.Input((height, width, channels))`.",
        )
    if len(inputs[0].shape) != 4 or inputs[0].shape[-1] is None:
        raise ModelRefused(
            ModelRejectionCode.NOT_FOR_IMAGES,
            f"The model takes {_describe_shapes(inputs)}; expected images, (batch, height, width, channels). Begin it "
            "with `keras.Input((height, width, channels))`.",
        )
    if len(outputs) != 1:
        raise ModelRefused(
            ModelRejectionCode.UNFIT_OUTPUT,
            f"The model has {len(outputs)} outputs: {_describe_shapes(outputs)}. Keep the one that names the class: "
            "`keras.Model(model.input, model.outputs[0])`.",
        )
    if len(outputs[0].shape) not in {2, 4} or outputs[0].shape[-1] is None:
        raise ModelRefused(
            ModelRejectionCode.UNFIT_OUTPUT,
            f"The model gives {_describe_shapes(outputs)}; expected one figure per class, (batch, classes), or a "
            "feature map, (batch, height, width, channels). End a sequence with `GlobalAveragePooling1D` and a `Dense` "
            "layer.",
        )
    return tuple(inputs[0].shape[1:]), tuple(outputs[0].shape[1:])


def _describe_shapes(tensors: list[Any]) -> str:
    return ", ".join(str(tuple(tensor.shape)) for tensor in tensors)[:200]


def _make_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _try(model: keras.Model, takes: tuple[int | None, ...]) -> int:
    """Answer a black image. Returns its height and width, if the model takes any."""
    sizes = TRIED_SIZES if None in takes else TRIED_SIZES[-1:]
    for size in sizes:
        image = np.zeros((1, *(given or size for given in takes)), np.float32)
        try:
            answer = np.asarray(model(image, training=False))
            break
        except (MemoryError, tf.errors.ResourceExhaustedError):
            raise
        except Exception as error:  # anything that mismatched layers raise
            if size == sizes[-1]:
                raise make_failure_on(image.shape) from error
    if not np.isfinite(answer).all():
        code = ModelRejectionCode.CANNOT_ANSWER
        raise ModelRefused(code, "The model gives figures that are not finite on a black image.")
    return size


class KerasAnswers:
    """Answers images with a Keras model, in logits if the model computes them."""

    def __init__(self, file: Path) -> None:
        output = find_output(load_model(file))
        # A probability can round to zero, and the cross-entropy is then unknown.
        model, self.gives_logits = output.logits, output.gives != "logits"
        dtype = tf.as_dtype(model.inputs[0].dtype)
        self._call = tf.function(
            lambda images: tf.cast(model(tf.cast(images, dtype), training=False), tf.float32),
            input_signature=[tf.TensorSpec([None, *model.inputs[0].shape[1:]], tf.float32)],
            autograph=False,
        )

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (batch, figures) for (batch, height, width, channels)."""
        return self._call(tf.constant(images)).numpy()


def save_backbone(file: Path, target: Path, size: int | None = None) -> int:
    """Write the layers and the weights of a model into the folder `target`, and return the number of weights.

    Args:
        size: height and width of its images, for a model that takes any; None leaves them open.
    Raises:
        ModelRefused.
    """
    model = _replace_normalization(load_model(file))
    if size is not None:
        model = _fix_size(model, size)
    shape = model.output_shape
    config = keras.saving.serialize_keras_object(model) | {GIVES_MAP: len(shape) == 4, GIVES: shape[1:]}
    (target / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    weights = model.get_weights()
    np.savez(target / WEIGHTS, **{str(place): weight for place, weight in enumerate(weights)})
    return len(weights)


def _fix_size(model: keras.Model, size: int) -> keras.Model:
    """Return the model for images of one height and width."""
    images = keras.Input((size, size, model.inputs[0].shape[3]), dtype=model.inputs[0].dtype)
    fixed = keras.models.clone_model(model, input_tensors=images)
    fixed.set_weights(model.get_weights())
    return fixed


def _replace_normalization(model: keras.Model) -> keras.Model:
    """Replace `Normalization` by `Rescaling`, because the means of the former cannot be exported to other runtimes."""
    leaves = list_leaves(model)
    if not any(isinstance(layer, keras.layers.Normalization) for layer in leaves):
        return model

    def replace_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not isinstance(layer, keras.layers.Normalization):
            return layer.__class__.from_config(layer.get_config())
        mean, variance = (np.asarray(value, np.float64)[0] for value in (layer.mean, layer.variance))
        spread = np.maximum(np.sqrt(variance), keras.config.epsilon())
        scale, offset = (spread, mean) if layer.invert else (1 / spread, -mean / spread)
        return keras.layers.Rescaling(scale.tolist(), offset.tolist(), name=layer.name)

    other = keras.models.clone_model(model, clone_function=replace_layer, recursive=True)
    kept = [layer for layer in leaves if not isinstance(layer, keras.layers.Normalization)]
    other.set_weights([weight for layer in kept for weight in layer.get_weights()])
    return other
