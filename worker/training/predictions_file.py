"""`predictions.npz`: what the kept weights say of each image, with the names of classes and files."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from analysis.answers.answers import Predictions
from analysis.arrays.file_names import FileNames
from heldout.stored.model_about import ModelAbout
from worker.training.data import TrainingData
from worker.training.position import LossSums

# Every entry of an array of texts takes as much room as the longest one.
MAX_NAME_CHARACTERS = 200
_BLOCK = 4096


def save_predictions(
    path: Path,
    data: TrainingData,
    predictions: Mapping[str, Predictions],
    names: FileNames | None = None,
    about: ModelAbout | None = None,
    losses: LossSums | None = None,
) -> None:
    """Write the predictions of each split.

    `<split>_indices` (in the dataset), `<split>_labels` and `<split>_probabilities`; `classes`; with `about` one text,
    `about`, of JSON; with `losses` `train_loss_sums`, the loss of each training image summed over `train_loss_epochs`
    epochs; and with `names` `<split>_files`, the end of a name that is longer than 200 characters.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, split in predictions.items():
        arrays[f"{name}_indices"] = data.source[name]
        arrays[f"{name}_labels"] = data.labels[data.rows[name]]
        arrays[f"{name}_probabilities"] = split.probabilities
    arrays["classes"] = np.array(data.classes)
    if about is not None:
        arrays["about"] = np.array(about.to_bytes().decode())
    if losses is not None:
        arrays["train_loss_sums"] = losses.sums
        arrays["train_loss_epochs"] = np.array(losses.epochs)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    if names is not None:
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            for name in predictions:
                _add_names(archive, f"{name}_files.npy", names, data.source[name])


def _add_names(archive: zipfile.ZipFile, member: str, names: FileNames, rows: NDArray[np.int64]) -> None:
    """Add an array of the names of images, of which only some are in memory at once."""
    width = max((len(_shortened(names[row])) for row in rows.tolist()), default=1)
    dtype = np.dtype(f"<U{max(1, width)}")
    with archive.open(member, "w", force_zip64=True) as file:
        npy.write_array_header_1_0(
            file, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (len(rows),)}
        )
        for first in range(0, len(rows), _BLOCK):
            block = [_shortened(names[row]) for row in rows[first : first + _BLOCK].tolist()]
            file.write(np.array(block, dtype).tobytes())


def _shortened(name: str) -> str:
    return name if len(name) <= MAX_NAME_CHARACTERS else f"…{name[1 - MAX_NAME_CHARACTERS :]}"
