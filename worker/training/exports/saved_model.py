"""A SavedModel for TensorFlow Serving, as one .zip: unpacked, it is a model with one version."""

import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from heldout.stored.results import CARD_FILE, ModelAbout
from worker.training.exports.proof import ProofImages

SIGNATURE = "serving_default"
INPUT, OUTPUT = "pixels", "probabilities"
# TensorFlow's name for the folder of files that it ignores.
_EXTRA = "assets.extra"


def save(model: keras.Model, folder: Path) -> None:
    """Write the SavedModel itself: its serving signature takes `pixels` and returns `probabilities`."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serve",
        lambda pixels: {OUTPUT: model(pixels, training=False)},
        input_signature=[tf.TensorSpec([None, *model.input_shape[1:]], tf.float32, name=INPUT)],
    )
    archive.write_out(str(folder), verbose=False)


def write(model: keras.Model, about: ModelAbout, card: str, file: Path, scratch: Path) -> None:
    folder = scratch / "saved_model"
    save(model, folder)
    (folder / _EXTRA).mkdir()
    (folder / _EXTRA / about.file_name).write_bytes(about.to_bytes())
    (folder / _EXTRA / CARD_FILE).write_text(card, encoding="utf-8")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for file_ in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(file_, f"{about.job_id}/1/{file_.relative_to(folder)}")


def compute_answers(file: Path, images: ProofImages, scratch: Path) -> NDArray[np.float32]:
    """Return (images, classes) probabilities, from the serving signature of the unpacked file."""
    with zipfile.ZipFile(file) as archive:
        archive.extractall(scratch / "unpacked")
    (version,) = (scratch / "unpacked").glob("*/1")
    serve = tf.saved_model.load(str(version)).signatures[SIGNATURE]
    return np.concatenate([serve(**{INPUT: tf.constant(batch)})[OUTPUT].numpy() for batch in images.batches()])


def describe_runtime() -> str:
    return f"tensorflow {tf.__version__}, signature {SIGNATURE}"
