"""Recognizes an uploaded model's format, and reads it for the first time."""

from pathlib import Path

from heldout.lifecycle.resources import ModelRejectionCode
from heldout.spec.model_facts import ModelFacts
from worker.training.foreign import onnx_model
from worker.training.keras_json import is_architecture
from worker.training.refusal import ModelRefused

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"


def read_facts(file: Path, max_parameters: int | None = None) -> ModelFacts:
    """Check the file, and return what it holds.

    Args:
        max_parameters: the most that an architecture alone may have. None for any number.
    Raises:
        ModelRefused.
    """
    with file.open("rb") as opened:
        start = opened.read(8)
    if not start:
        raise ModelRefused(ModelRejectionCode.NOT_A_MODEL, "The file is empty. Upload it again.")
    if start.startswith(_ZIP) or is_architecture(file):
        # Imported here because TensorFlow takes seconds.
        from worker.training.foreign import keras_model

        return keras_model.read_keras_facts(file, max_parameters).limit_layers()
    if start.startswith(_HDF5):
        raise ModelRefused(
            ModelRejectionCode.OLD_FORMAT,
            "The file is HDF5, which Keras wrote before its `.keras` files. Load it with "
            "`keras.models.load_model(…, compile=False)`, and save the model with `model.save('model.keras')`.",
        )
    return onnx_model.read_onnx_facts(file).limit_layers()
