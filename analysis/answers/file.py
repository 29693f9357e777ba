"""Reads predictions from a file in any supported format."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import PredictionsRefused
from analysis.answers.received import ExternalAnswers, GivenSplit, receive_answers
from analysis.answers.table import read_table
from analysis.arrays.npy_rows import read_npy_header
from heldout.histories.prediction_names import get_array_column, list_first, split_and_what, split_of
from heldout.stored.evaluation import SPLIT_NAMES, SplitName

_ZIP = b"PK"
_NPY = b"\x93NUMPY"


def read_predictions(file: BinaryIO, max_bytes: int, classes: int | list[str] | None = None) -> ExternalAnswers:
    """Read an `.npz` or a CSV.

    Args:
        max_bytes: of all arrays together, decompressed.
    Raises:
        PredictionsRefused: if the file does not contain predictions, or if they are impossible.
    """
    start = file.read(len(_NPY))
    file.seek(0)
    if start.startswith(_ZIP):
        return read_npz(file, max_bytes, classes)
    if start == _NPY:
        raise PredictionsRefused(
            "received one array (.npy); expected an .npz with the labels, too: "
            "numpy.savez('predictions.npz', test_labels=…, test_probabilities=…)"
        )
    return read_table(file, classes)


_MAX_ARRAYS = 100
_MAX_DIMENSIONS = 2
_COLUMN = "column "  # before the name of a column, among the other contents of a split
# A compressed file can hold a thousand times its size, and each value takes time. At most this many values are read
# from any file, plus this many per byte of it. An uncompressed array has at least one byte per value.
_MIN_VALUES, _VALUES_PER_BYTE = 400_000, 20
# Others could be crafted to take all memory.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_EXPECTED = (
    "expected arrays such as `test_labels` with `test_probabilities` or `test_answers`, for train, validation and test"
)


def read_npz(file: BinaryIO, max_bytes: int, classes: int | list[str] | None = None) -> ExternalAnswers:
    """Read `<split>_labels` with `<split>_probabilities` or `<split>_answers`, and `<split>_hashes` and `classes`.

    `<split>_column_<name>`, such as `test_column_camera`, is a further value of each image. A job's own
    `predictions.npz` is such a file. Other common names are understood (`y_true_test`), and so are arrays for all
    images with one that names the `split` of each. Arrays with other names are not read.

    Args:
        max_bytes: of all arrays together, decompressed.
    Raises:
        PredictionsRefused: if the file does not contain predictions, or if `receive_answers` refuses them.
    """
    arrays, names = _read_arrays(file, max_bytes)
    columns = {meant: arrays.pop(name) for name in [*arrays] if (meant := get_array_column(name)) is not None}
    whats = {name: split_and_what(name) for name in arrays}
    of_all: dict[str, NDArray[Any]] = {
        what: arrays[name] for name, (split, what) in whats.items() if split is None and what is not None
    }
    if "classes" in of_all and classes is None:
        classes = _read_names(of_all["classes"])
    of_all |= {f"{_COLUMN}{name}": array for (split, name), array in columns.items() if split is None}
    parts = _divide_by_split(of_all) if "split" in of_all else _group_by_split(arrays)
    for (split, name), array in columns.items():
        if split in parts:
            parts[split][f"{_COLUMN}{name}"] = array
    if not parts:
        raise PredictionsRefused(f"the arrays are {list_first(names) or 'none'}; {_EXPECTED}")
    splits: dict[SplitName, GivenSplit] = {}
    for split, found in parts.items():
        if "logits" in found and not {"probabilities", "answers"} & found.keys():
            raise PredictionsRefused(
                "received outputs before the softmax; apply a softmax to each row, and save that as "
                f"`{split}_probabilities`",
                (split, "logits"),
            )
        if "labels" not in found:
            raise PredictionsRefused(f"there is no array `{split}_labels`", (split,))
        # A file may hold both: answers follow from probabilities, unless these belong to the answers only.
        probabilities, answers = found.get("probabilities"), found.get("answers")
        if probabilities is not None and answers is not None:
            probabilities, answers = (probabilities, None) if probabilities.ndim > 1 else (None, answers)
        splits[split] = GivenSplit(
            labels=_flatten_column(found["labels"]),
            probabilities=probabilities,
            answers=None if answers is None else _flatten_column(answers),
            hashes=found.get("hashes"),
            columns={
                name.removeprefix(_COLUMN): _flatten_column(array)
                for name, array in found.items()
                if name.startswith(_COLUMN)
            },
        )
    return receive_answers(splits, classes)


def _read_arrays(file: BinaryIO, max_bytes: int) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return the arrays with known names, and the names of all."""
    size = file.seek(0, io.SEEK_END)
    values = _MIN_VALUES + _VALUES_PER_BYTE * size
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > _MAX_ARRAYS:
                raise PredictionsRefused(f"there are {len(members):,} arrays; expected at most {_MAX_ARRAYS}")
            found: dict[str, NDArray[Any]] = {}
            for member in members:
                name = member.filename.removesuffix(".npy")
                if split_and_what(name)[1] is None and get_array_column(name) is None:
                    continue
                found[name] = _read_array(archive, member, max_bytes, values)
                max_bytes -= found[name].nbytes
                values -= found[name].size
            return found, [member.filename.removesuffix(".npy") for member in members]
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, PredictionsRefused):
            raise
        # Encrypted, damaged and multi-part archives.
        raise PredictionsRefused("the file is not a readable .npz; save it with numpy.savez") from None


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, max_bytes: int, max_values: int) -> NDArray[Any]:
    name = member.filename.removesuffix(".npy")
    shown = list_first([name])
    if member.compress_type not in _COMPRESSIONS:
        raise PredictionsRefused(f"the array {shown} is compressed in a way that numpy does not use; use numpy.savez")
    with archive.open(member) as opened:
        try:
            shape, is_fortran, dtype = read_npy_header(opened)
        except ValueError:
            raise PredictionsRefused(f"the array {shown} has a header that cannot be read; use numpy.savez") from None
        if dtype.hasobject:
            raise PredictionsRefused(
                f"the array {shown} contains Python objects, which are never unpickled; save numbers, or texts of a "
                "string type (`np.array(names, str)`)"
            )
        if dtype.kind not in "biufUS" or len(shape) > _MAX_DIMENSIONS or any(side < 0 for side in shape):
            raise PredictionsRefused(
                f"the array {shown} has the type {dtype} and the shape {str(shape)[:80]}; expected numbers or texts "
                f"in at most {_MAX_DIMENSIONS} dimensions"
            )
        size = prod(shape) * dtype.itemsize
        if size > max_bytes:
            raise PredictionsRefused(
                f"the array {shown} has {size:,} bytes, which is too much together with the other arrays; use float32 "
                "and a random part of the images"
            )
        if prod(shape) > max_values:
            raise PredictionsRefused(
                f"the array {shown} has {prod(shape):,} values. Together with the other arrays this is too much for a "
                "file that is compressed so strongly; use numpy.savez instead of numpy.savez_compressed"
            )
        content = opened.read(size + 1)
    if len(content) != size or not dtype.itemsize:
        raise PredictionsRefused(f"the content of the array {shown} does not match its header; use numpy.savez")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def _group_by_split(arrays: Mapping[str, NDArray[Any]]) -> dict[SplitName, dict[str, NDArray[Any]]]:
    """Collect the arrays of each split."""
    found: dict[SplitName, dict[str, NDArray[Any]]] = {}
    seen: dict[tuple[str, str], str] = {}
    for name, array in arrays.items():
        split, what = split_and_what(name)
        if split is None or what is None:
            continue
        if (split, what) in seen:
            raise PredictionsRefused(
                f"{list_first([seen[split, what], name])} could both be the {what} of {split}; keep one of them"
            )
        seen[split, what] = name
        found.setdefault(split, {})[what] = array
    return {split: found[split] for split in SPLIT_NAMES if split in found}


def _divide_by_split(arrays: Mapping[str, NDArray[Any]]) -> dict[SplitName, dict[str, NDArray[Any]]]:
    """Divide arrays of all images by the split of each."""
    named = arrays["split"]
    if named.ndim != 1:
        raise PredictionsRefused(f"the array `split` has the shape {named.shape}; expected a name for each image")
    distinct, places = np.unique(named, return_inverse=True)
    splits: list[SplitName] = []
    for value in distinct.tolist():
        split = split_of(value.decode(errors="replace") if isinstance(value, bytes) else value)
        if split is None:
            raise PredictionsRefused(f"the array `split` contains {value!r:.60}; expected train, validation or test")
        splits.append(split)
    rows = {
        split: np.isin(places, [place for place, meant in enumerate(splits) if meant == split]) for split in set(splits)
    }
    columns = {name: array for name, array in arrays.items() if name not in ("split", "classes")}
    for name, array in columns.items():
        if array.shape[:1] != named.shape:
            raise PredictionsRefused(
                f"`{name}` has {len(array):,} rows, but `split` has {len(named):,}; expected the same number"
            )
    return {
        split: {name: array[rows[split]] for name, array in columns.items()} for split in SPLIT_NAMES if split in rows
    }


def _flatten_column(array: NDArray[Any]) -> NDArray[Any]:
    """Flatten (images, 1) to (images,)."""
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _read_names(array: NDArray[Any]) -> list[str]:
    if array.ndim != 1:
        raise PredictionsRefused(f"the array `classes` has the shape {array.shape}; expected a name for each class")
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in array.tolist()]
