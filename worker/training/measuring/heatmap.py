"""The process that computes where a model looks at one image: from its assignment to its last message."""

from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from analysis.arrays.dataset import load
from analysis.arrays.heatmaps import HEATMAP_FILE, save_maps
from heldout.lifecycle.job import FailureCode
from worker.messages import Failed, FromTraining, HeatmapAssignment, ResultWritten
from worker.training.model_files.keras_file import load_model
from worker.training.networks.own_network import list_steps
from worker.training.networks.watching import replace_calls
from worker.training.supervisor_pipe import answer_once

# A map with fewer cells on a side shows little more than a quarter of the image.
MIN_SIDE = 7
NO_MAP = (
    "No layer of the network has a map with rows and columns that its answer depends on, so nothing shows where the "
    "network looks. Networks with convolutions have such maps."
)


class NoSpatialMap(Exception):
    """No layer with weights gives a map with rows and columns."""


def run(assignment: HeatmapAssignment, pipe: Connection) -> None:
    """Compute the maps of an image."""
    answer_once(lambda: make_maps(assignment), pipe, too_large="The model does")


def make_maps(assignment: HeatmapAssignment) -> FromTraining:
    """Compute the maps of an image, and write them to a file."""
    image = np.asarray(load(assignment.dataset.folder).images[assignment.index], np.float32)
    try:
        maps = compute_heatmaps(load_model(assignment.model), image, assignment.classes)
    except NoSpatialMap:
        return Failed(FailureCode.NO_MAP, NO_MAP)
    file = assignment.scratch / HEATMAP_FILE
    save_maps(maps, file)
    return ResultWritten(file)


def compute_heatmaps(model: keras.Model, image: NDArray[np.float32], classes: Sequence[int]) -> NDArray[np.float32]:
    """Compute for some classes what in an image speaks for each: LayerCAM at the last layer with a map of some size.

    Each cell is the sum over channels of the map's value times the positive part of the gradient of the class's logit
    there; negative sums become 0. The layer is the last one whose map has at least `MIN_SIDE` rows and columns. If all
    maps are smaller, it is the last one with the most.

    Args:
        model: a job's `.keras` model, whose last layer is the softmax `probabilities`.
        image: (height, width, channels), as the model takes it.
        classes: positions of classes.
    Returns:
        (classes, rows, columns), not negative.
    Raises:
        NoSpatialMap.
    Source:
        Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", 2021.
    """
    logits = keras.Model(model.inputs[0], model.get_layer("probabilities").input)
    maps: list[tf.Tensor] = []
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        with replace_calls(_watch_maps(logits, tape, maps)):
            given = logits(image[np.newaxis], training=False)
        scores = [given[0, position] for position in classes]
    chosen = _choose(maps)
    gradients = [tape.gradient(score, chosen) for score in scores]
    if any(gradient is None for gradient in gradients):
        raise NoSpatialMap
    cams = [tf.nn.relu(tf.reduce_sum(tf.nn.relu(gradient) * chosen, axis=-1))[0] for gradient in gradients]
    return np.stack(cams).astype(np.float32)


def _watch_maps(model: keras.Model, tape: tf.GradientTape, maps: list[tf.Tensor]) -> dict[Any, Callable[..., Any]]:
    """Make calls that watch and note all maps behind the first weights of convolutions, in the order of computation.

    Maps before them are the image itself: of another size, or with other pixel values.
    """
    has_weights = False

    def watch(step: Any) -> Callable[..., Any]:
        compute = step.call

        def call(*inputs: Any, **options: Any) -> Any:
            nonlocal has_weights
            output = compute(*inputs, **options)
            has_weights = has_weights or any(len(weight.shape) > 1 for weight in getattr(step, "weights", ()))
            if has_weights and tf.is_tensor(output) and len(output.shape) == 4 and min(output.shape[1:3]) > 1:
                tape.watch(output)
                maps.append(output)
            return output

        return call

    return {step: watch(step) for step in dict.fromkeys(list_steps(model))}


def _choose(maps: Sequence[tf.Tensor]) -> tf.Tensor:
    if not maps:
        raise NoSpatialMap
    enough = min(MIN_SIDE, max(min(each.shape[1:3]) for each in maps))
    return next(each for each in reversed(maps) if min(each.shape[1:3]) >= enough)
