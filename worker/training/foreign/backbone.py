"""An uploaded model that gives a feature map, taken apart: its layers as JSON, and its weights as arrays."""

import json
from pathlib import Path

import keras
import numpy as np

from worker.training.backbone import CONFIG, WEIGHTS
from worker.training.foreign import keras_file, keras_model


def save_backbone(file: Path, target: Path) -> int:
    """Write the layers and the weights of a model into the folder `target`; gives how many weights there are.

    Raises:
        ModelRefused.
    """
    keras_file.examine(file)
    model = keras_model.load(file)
    config = keras.saving.serialize_keras_object(model)
    (target / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    weights = model.get_weights()
    np.savez(target / WEIGHTS, **{str(place): weight for place, weight in enumerate(weights)})
    return len(weights)
