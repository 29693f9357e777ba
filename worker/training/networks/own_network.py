"""An uploaded Keras model as a job's whole network: rebuilt from its layers, with logits as its output."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import keras

from heldout.lifecycle.resources import ModelRejectionCode
from heldout.spec.network import OwnNetworkSpec, Pixels
from worker.training.model_files.keras_file import build_model
from worker.training.model_files.keras_parts import iterate_parts
from worker.training.model_files.refusal import ModelRefused
from worker.training.networks.backbone import UploadedBackbone, prepare_config, prepare_images
from worker.training.networks.own_changes import add_dropout, add_l2, halve_width, replace_head

Output = Literal["logits", "softmax", "sigmoid"]


@dataclass(frozen=True)
class NetworkOutput:
    """The end of a model.

    logits: the model without its final softmax or sigmoid. gives: what the whole model gives.
    head: its last layer, if that is dense.
    """

    logits: keras.Model
    gives: Output
    head: keras.layers.Dense | None


def build_own_network(
    network: OwnNetworkSpec,
    uploaded: UploadedBackbone,
    image: tuple[int, int, int],
    classes: int,
    seeds: Iterator[int],
    policy: str = "float32",
    *,
    penalties: bool = True,
) -> keras.Model:
    """Build the network from images scaled to [0, 1] to logits.

    Args:
        image: (height, width, channels) of one image.
        seeds: decide every fresh weight and every random layer.
        policy: Keras' name for the precision of its layers. Its output is float32 under every policy.
        penalties: whether its layers keep their regularizers.
    Returns:
        A functional model from (batch, height, width, channels) float32 to (batch, classes) float32. If images need no
        conversion, it has the uploaded model's own layers.
    """
    # Some layers, such as `StochasticDepth`, take their seed from here.
    random.seed(next(seeds))
    config = change_config(network, uploaded, classes)
    model = build_model(prepare_config(config, seeds, policy, penalties=penalties))
    if network.weights == "uploaded":
        # A new head after a feature map has the last weights.
        model.set_weights([*uploaded.weights, *model.get_weights()[len(uploaded.weights) :]])
    output = find_output(model)
    given = {part["config"].get("name") for part in iterate_parts(uploaded.config)}
    steps = [step for step in list_steps(output.logits) if step.name in given]
    if not network.trainable:
        _freeze(steps)
    elif network.freeze is not None:
        _freeze(_find_first(steps, network.freeze))
    if uploaded.gives_map:
        network = network.model_copy(update={"head": "keep"})
    return _connect(_end_in_float32(output, network, classes, seeds, policy), image, uploaded.pixels)


def list_steps(model: keras.Model) -> list[Any]:
    """Return the layers and operations that compute, in order, including those of inner models."""
    found = []
    for step in getattr(model, "operations", model.layers):
        if isinstance(step, keras.Model):
            found += list_steps(step)
        elif not isinstance(step, keras.layers.InputLayer):
            found.append(step)
    return found


def find_output(model: keras.Model) -> NetworkOutput:
    """Find out what a model gives. Changes it: its last layer has no softmax or sigmoid afterwards."""
    end, gives = model.outputs[0], None
    # The model is cut once, after all layers that are only activations: building it takes as long as it has layers.
    while True:
        step, before = _find_last(end)
        found = None if isinstance(step, keras.Model) else _get_activation(step)
        if found is not None and gives in (None, "logits"):
            gives = found
        if found is None or before is None or isinstance(step, keras.layers.Dense):
            break
        end = before
    if isinstance(step, keras.Model):
        inner = find_output(step)
        end = end if inner.logits is step else inner.logits(before)
        gives = inner.gives if gives in (None, "logits") else gives
        head = inner.head
    else:
        head = step if isinstance(step, keras.layers.Dense) else None
        if head is not None and found != "logits":
            head.activation = keras.activations.linear
    logits = model if end is model.outputs[0] else keras.Model(model.inputs[0], end)
    return NetworkOutput(logits, gives or "logits", head)


def _get_activation(step: Any) -> Output | None:
    """Return what a dense layer, or one that is only an activation, gives; None for all other layers."""
    kind = type(step).__name__.lower()
    if isinstance(step, keras.layers.Dense | keras.layers.Activation):
        kind = getattr(step.activation, "__name__", "")
    elif kind not in ("identity", "sigmoid", "softmax") or getattr(step, "axis", -1) not in (-1, 1):
        return None
    if kind == "softmax":
        return "softmax"
    if kind == "sigmoid":
        return "sigmoid"
    is_plain = isinstance(step, keras.layers.Dense) or kind in ("linear", "identity")
    return "logits" if is_plain else None


def _find_last(end: keras.KerasTensor) -> tuple[Any, keras.KerasTensor | None]:
    """Return the layer or operation that computes an output, and its input, if it has exactly one."""
    history = end._keras_history
    given = history.operation._inbound_nodes[history.node_index].input_tensors
    return history.operation, given[0] if len(given) == 1 else None


def change_config(network: OwnNetworkSpec, uploaded: UploadedBackbone, classes: int) -> dict[str, Any]:
    """Apply the changes that a spec asks for, except a new dense layer in place of an old one."""
    config = uploaded.config
    if network.head == "replace" and uploaded.gives_map:
        config = replace_head(config, classes, gives_map=True)
    if network.width != 1:
        config = halve_width(config)
    if network.dropout:
        config = add_dropout(config, network.dropout)
    return add_l2(config, network.l2) if network.l2 else config


def describe_own_network(network: OwnNetworkSpec, uploaded: UploadedBackbone, classes: int) -> str:
    """Write the uploaded model's layers with the changes that a spec asks for, for `keras.models.model_from_json`."""
    config = change_config(network, uploaded, classes)
    if network.head == "replace" and not uploaded.gives_map:
        config = replace_head(config, classes, gives_map=False)
    if network.width != 1:
        config = keras.saving.serialize_keras_object(build_model(config))  # has the shapes of half the width
    return json.dumps(config)


def _find_first(steps: list[Any], freeze: str | int) -> list[Any]:
    """Return the steps up to the one that `freeze` names or counts."""
    if isinstance(freeze, int):
        return steps[:freeze]
    names = [step.name for step in steps]
    if freeze not in names:
        raise _make_refusal(f"The model has no layer `{freeze}`.")
    return steps[: names.index(freeze) + 1]


def _freeze(steps: list[Any]) -> None:
    for step in steps:
        if isinstance(step, keras.layers.Layer):
            step.trainable = False


def _end_in_float32(
    output: NetworkOutput, network: OwnNetworkSpec, classes: int, seeds: Iterator[int], policy: str
) -> keras.Model:
    """Return the model with float32 logits for each of the classes."""
    model, tensor = output.logits, output.logits.outputs[0]
    if network.head == "replace" and len(tensor.shape) == 4:
        drawn = keras.initializers.GlorotUniform(next(seeds))
        features = keras.layers.GlobalAveragePooling2D(name="heldout_pool", dtype=policy)(tensor)
        logits = keras.layers.Dense(classes, kernel_initializer=drawn, name="heldout_head", dtype="float32")(features)
        return keras.Model(model.inputs[0], logits)
    if network.head == "replace":
        if output.head is None:
            raise _make_refusal("Its last layer is not dense, so it cannot be replaced.")
        return _replace_last(model, _copy_head(output.head, classes, seeds))
    if tensor.shape[-1] != classes or len(tensor.shape) != 2:
        raise _make_refusal(f"The model gives {tensor.shape[1:]}, but the dataset has {classes} classes.")
    if policy == "float32":
        return model
    if output.head is None:
        exact = keras.layers.Activation("linear", dtype="float32", name="heldout_logits")(tensor)
        return keras.Model(model.inputs[0], exact)
    head = _copy_head(output.head, classes, seeds)
    model = _replace_last(model, head)
    head.set_weights(output.head.get_weights())
    return model


def _copy_head(layer: keras.layers.Dense, classes: int, seeds: Iterator[int]) -> keras.layers.Dense:
    config = layer.get_config() | {"units": classes, "dtype": "float32", "trainable": True}
    for part in iterate_parts(config):
        if "seed" in part["config"]:
            part["config"]["seed"] = next(seeds)
    return keras.layers.Dense.from_config(config)


def _replace_last(model: keras.Model, layer: keras.layers.Layer) -> keras.Model:
    step, before = _find_last(model.outputs[0])
    last = _replace_last(step, layer) if isinstance(step, keras.Model) else layer
    return keras.Model(model.inputs[0], last(before))


def _connect(model: keras.Model, image: tuple[int, int, int], pixels: Pixels) -> keras.Model:
    """Put what converts images before the model, if it is needed."""
    height, width, channels = (size or given for size, given in zip(model.input_shape[1:], image, strict=True))
    images = keras.Input(image, dtype="float32", name="images")
    prepared = prepare_images(images, (height, width, channels), pixels)
    if prepared is images and model.input_shape[1:] == image:
        return model
    return keras.Model(images, model(prepared), name="network")


def _make_refusal(detail: str) -> ModelRefused:
    return ModelRefused(ModelRejectionCode.UNFIT_OUTPUT, detail)
