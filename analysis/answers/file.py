"""Predictions in a file, whichever of its formats it has."""

from typing import BinaryIO

from analysis.answers.npz import read_npz
from analysis.answers.received import ForeignAnswers
from analysis.answers.refusal import PredictionsRefused
from analysis.answers.table import read_table

_ZIP = b"PK"
_NPY = b"\x93NUMPY"


def read_predictions(file: BinaryIO, max_bytes: int, classes: int | list[str] | None = None) -> ForeignAnswers:
    """Read an `.npz` or a CSV.

    Args:
        max_bytes: of all arrays together, decompressed.
    Raises:
        PredictionsRefused: if it is none, or says something impossible.
    """
    start = file.read(len(_NPY))
    file.seek(0)
    if start.startswith(_ZIP):
        return read_npz(file, max_bytes, classes)
    if start == _NPY:
        raise PredictionsRefused(
            "received one array (.npy); expected an .npz with the labels beside it: "
            "numpy.savez('predictions.npz', test_labels=…, test_probabilities=…)"
        )
    return read_table(file, classes)
