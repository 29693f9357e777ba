"""A Keras model's layers in order, as `heldout.network_check` reads them, and the loss that it was compiled with."""

import json
import zipfile
from collections.abc import Sequence
from math import prod, sqrt
from pathlib import Path
from typing import Any

import keras

from heldout.client.compiled import describe
from heldout.spec.outline import MAX_STEPS, NetworkStep
from worker.training.uploaded_models.tracing import Trace

MAX_NAME_CHARACTERS = 100
_CONSTANTS = {"Zeros", "Ones", "Constant"}
# Layers and operations that are only an activation.
_ACTIVATIONS = {"ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Relu", "Relu6", "Silu", "Gelu", "Sigmoid", "Tanh"}


def outline_model(steps: Sequence[Any], trace: Trace) -> tuple[NetworkStep, ...]:
    """Describe the steps of a model; nothing if there are too many."""
    if len(steps) > MAX_STEPS:
        return ()
    places = {id(step): place for place, step in enumerate(steps)}
    return tuple(_describe_step(step, places, trace) for step in steps)


def read_compiled_loss(file: Path) -> tuple[str, bool | None]:
    """Return the loss that the model of a `.keras` file was compiled with, and whether it takes logits, if it says.

    The name is empty if there is none.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            loss = (json.loads(archive.read("config.json")).get("compile_config") or {}).get("loss")
    except (zipfile.BadZipFile, KeyError, ValueError, AttributeError):
        return "", None
    if not loss or isinstance(loss, list) or (isinstance(loss, dict) and "class_name" not in loss):
        return "", None
    name, config = describe(loss)
    takes_logits = config.get("from_logits", False)
    return name[:MAX_NAME_CHARACTERS].replace("`", "'"), takes_logits if isinstance(takes_logits, bool) else None


def _describe_step(step: Any, places: dict[int, int], trace: Trace) -> NetworkStep:
    calls, shapes = trace.sources.get(id(step)) or [()], trace.shapes.get(id(step)) or [()]
    kind, is_norm = type(step).__name__, isinstance(step, keras.layers.BatchNormalization)
    kernel = max(
        (weight.shape for weight in getattr(step, "weights", ()) if len(weight.shape) > 1), key=prod, default=()
    )
    initializer = getattr(step, "kernel_initializer", None) or getattr(step, "depthwise_initializer", None)
    penalty, scale = getattr(step, "kernel_regularizer", None), getattr(step, "scale", None)
    # Without entries of the noise shape; those drop whole images, as stochastic depth does.
    rate = getattr(step, "rate", 0.0) if "Dropout" in kind and not getattr(step, "noise_shape", None) else 0.0
    return NetworkStep(
        name=step.name[:MAX_NAME_CHARACTERS].replace("`", "'"),
        type=kind,
        sources=tuple(sorted({places[source] for source in calls[0] if source in places})),
        is_map=len(shapes[-1]) == 3,
        is_shared=len(calls) > 1,
        activation=_name_activation(step),
        kernel=_get_kernel_size(step),
        strides=_get_largest(getattr(step, "strides", None) or getattr(step, "pool_size", None)) or 1,
        weights=tuple(map(int, kernel)),
        initializer="" if initializer is None else type(initializer).__name__,
        deviation=_get_deviation(initializer),
        is_trained=not getattr(step, "weights", ()) or bool(getattr(step, "trainable_weights", ())),
        is_grouped="Depthwise" in kind or (getattr(step, "groups", 1) or 1) > 1,
        rate=float(rate or 0.0),
        momentum=float(step.momentum) if is_norm else None,
        l1=float(getattr(penalty, "l1", 0.0) or 0.0),
        l2=float(getattr(penalty, "l2", 0.0) or 0.0),
        scale=float(scale) if kind == "Rescaling" and isinstance(scale, int | float) else None,
    )


def _name_activation(step: Any) -> str:
    kind = type(step).__name__
    name = kind.lower() if kind in _ACTIVATIONS else getattr(getattr(step, "activation", None), "__name__", "linear")
    return str(name)[:MAX_NAME_CHARACTERS].replace("`", "'")


def _get_kernel_size(step: Any) -> int:
    size = _get_largest(getattr(step, "kernel_size", None) or getattr(step, "pool_size", None))
    return (size - 1) * (_get_largest(getattr(step, "dilation_rate", None)) or 1) + 1 if size else 0


def _get_largest(value: Any) -> int:
    return max(value, default=0) if isinstance(value, list | tuple) else value if isinstance(value, int) else 0


def _get_deviation(initializer: Any) -> float | None:
    """Return the standard deviation of fresh weights, if the initializer's settings alone decide it."""
    name = type(initializer).__name__
    if name in _CONSTANTS:
        return 0.0
    if name in ("RandomNormal", "TruncatedNormal"):
        return float(initializer.stddev)
    if name == "RandomUniform":
        return float(initializer.maxval - initializer.minval) / sqrt(12)
    return None
