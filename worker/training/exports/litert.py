"""A LiteRT file (`.tflite`), answered by LiteRT's own interpreter."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from heldout.stored.results import CARD_FILE, ModelAbout
from worker.training.exports import saved_model
from worker.training.exports.proof import ProofImages

_FILE_IDENTIFIER = b"TFL3"


def write(model: keras.Model, about: ModelAbout, card: str, file: Path, scratch: Path) -> None:
    folder = scratch / "for_litert"
    saved_model.save(model, folder)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[saved_model.SIGNATURE])
    entries = {about.file_name: about.to_bytes(), CARD_FILE: card.encode()}
    file.write_bytes(_add_metadata(converter.convert(), entries))


def compute_answers(file: Path, images: ProofImages, scratch: Path) -> NDArray[np.float32]:
    """Compute (images, classes) probabilities, by the signature of the file."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=1)
    serve = interpreter.get_signature_runner(saved_model.SIGNATURE)
    answers = [serve(**{saved_model.INPUT: batch})[saved_model.OUTPUT] for batch in images.batches()]
    return np.concatenate(answers)


def describe_runtime() -> str:
    return f"ai-edge-litert {version('ai-edge-litert')}"


def _add_metadata(content: bytes, entries: Mapping[str, bytes]) -> bytes:
    """Add metadata entries by name to the file; interpreters ignore them."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for name, text in entries.items():
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(text, np.uint8)
        entry.name, entry.buffer = name, len(model.buffers)
        model.buffers.append(buffer)
        model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=_FILE_IDENTIFIER)
    return bytes(builder.Output())
