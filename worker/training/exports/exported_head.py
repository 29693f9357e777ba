"""The exported model of a training whose backbone stays fixed: its head, and a file of everything before it.

To build and store a large backbone takes longer than to train a head of it. So a job builds the head alone. Its model
file is put together with that of the backbone, which is written once for all jobs that read the same features.
"""

import json
import shutil
import zipfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Predictions
from worker.training.data.training_data import BatchSource
from worker.training.engine.training_policy import Weights
from worker.training.measuring.pixel_changes import PixelChange
from worker.training.measuring.predictor import FeatureRows, Predictor
from worker.training.model_files.keras_file import CONFIG, METADATA, WEIGHTS
from worker.training.networks.frozen import FrozenSplit, take_pool_out


class HeadPredictor(Predictor):
    """Asks the head of an exported model about features of images; the whole model is only built to change pixels.

    Args:
        head: from features to probabilities.
        make_whole: returns the predictor of the whole model, with any weights of the head.
        fixed: the weights before the head. image: (height, width, channels).
        open_base: returns the file of the model from raw pixels to features. It may be written into the given folder.
    """

    def __init__(
        self,
        head: keras.Model,
        source: BatchSource,
        features: FeatureRows,
        *,
        make_whole: Callable[[], Predictor],
        fixed: Weights,
        image: tuple[int, int, int],
        open_base: Callable[[Path], Path],
    ) -> None:
        super().__init__(head, source, (0.0, 1.0), features)
        self._make_whole = make_whole
        self._fixed = fixed
        self._image = image
        self._open_base = open_base

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        return None, *self._image

    @cached_property
    def _whole(self) -> Predictor:
        return self._make_whole()

    def use(self, weights: Weights) -> None:
        self.model.set_weights(weights)

    def predict(self, rows: NDArray[np.int32], change: PixelChange | None = None) -> Predictions:
        if change is None:
            return super().predict(rows)
        self._whole.use(self.model.get_weights())
        return self._whole.predict(rows, change)

    def get_weights(self) -> Weights:
        return [*self._fixed, *self.model.get_weights()]

    def write(self, file: Path) -> None:
        join_files(self._open_base(file.parent), self.model, file)

    def _divide(self) -> tuple[keras.Model, Weights]:
        return take_pool_out(FrozenSplit(self._logits, lambda: self._logits)).head, []


def join_files(base: Path, head: keras.Model, file: Path) -> None:
    """Write the file that `save` of a whole model would write.

    Args:
        base: the `.keras` file of the model up to the features.
        head: from features to probabilities, compiled as the whole model is.
    """
    of_base, of_head = file.with_suffix(".base.h5"), file.with_suffix(".head.keras")
    try:
        head.save(of_head)
        with zipfile.ZipFile(base) as first, zipfile.ZipFile(of_head) as last, zipfile.ZipFile(file, "w") as whole:
            whole.writestr(METADATA, last.read(METADATA))
            configs = (json.loads(archive.read(CONFIG)) for archive in (first, last))
            whole.writestr(CONFIG, json.dumps(_join_configs(*configs)))
            with first.open(WEIGHTS) as source, of_base.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            with last.open(WEIGHTS) as weights:
                _add_weights(of_base, weights)
            whole.write(of_base, WEIGHTS)
    finally:
        of_base.unlink(missing_ok=True)
        of_head.unlink(missing_ok=True)


def _join_configs(base: dict[str, Any], head: dict[str, Any]) -> dict[str, Any]:
    """Return the config of the model that gives the output of `base` to the layers of `head`."""
    first, last = base["config"], head["config"]
    # Keras counts the calls of an inner model from 1 as outputs, and from 0 as inputs of layers.
    features = [first["output_layers"][0], 0, 0]
    layers = [_connect(layer, last["input_layers"], features) for layer in last["layers"][1:]]
    joined = first | {"layers": [*first["layers"], *layers], "output_layers": last["output_layers"]}
    return base | {"config": joined, "compile_config": head["compile_config"]}


def _connect(part: Any, old: list[Any], new: list[Any]) -> Any:
    """Return a part of a config that takes a tensor from elsewhere, and shares no objects, whose numbers may repeat."""
    if part == old:
        return new
    if isinstance(part, list):
        return [_connect(item, old, new) for item in part]
    if not isinstance(part, dict):
        return part
    return {name: _connect(value, old, new) for name, value in part.items() if name != "shared_object_id"}


def _add_weights(file: Path, head: Any) -> None:
    """Add a head's arrays to the file of the others. Keras names them by the classes of layers, counted."""
    with h5py.File(file, "r+") as whole, h5py.File(head, "r") as added:
        for name in added:
            if name not in whole:
                added.copy(name, whole)
        for name in added["layers"]:
            if name not in whole["layers"]:
                added.copy(f"layers/{name}", whole["layers"])
