"""Converts labels of arrays and tables to positions in a list of class names."""

import sys
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heldout.words.labels import MEASURED_VALUES, OTHER_TASK, SEVERAL_LABELS
from worker.ingest.archives.npy import StoredArray
from worker.ingest.rejection import IngestLimits, clean_name, format_size, make_bad_labels
from worker.ingest.sources.base import check_classes

CLASS_NAME_KEYS = ("class_names", "classes", "label_names")


def number_classes(
    parts: Sequence[NDArray[Any]], names: Sequence[str] | None, member: str, limits: IngestLimits
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return positions in the class names, over all parts in order, and the names. Raises Rejection.

    Args:
        names: of the classes that integers stand for. None if the values are the names.
    """
    if len({part.dtype.kind for part in parts}) > 1:
        raise make_bad_labels("Some labels are numbers and others text. Save all as one type.", member)
    values = np.concatenate(parts)
    if names is None:
        occurring, positions = np.unique(values, return_inverse=True)
        return positions.astype(np.int32), check_classes([str(value) for value in occurring.tolist()], limits)
    classes = check_classes(names, limits)
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= len(classes):
        raise make_bad_labels(
            f"With {len(classes)} class names labels are 0 to {len(classes) - 1}; found are labels such as "
            f"{clean_name(str(values.min()))} and {clean_name(str(values.max()))}. Unlabelled images cannot be used.",
            member,
        )
    if len(set(classes)) < len(classes):
        raise make_bad_labels("Two classes have the same name. Give each its own name.", member)
    return values.astype(np.int32), classes


def flatten_labels(labels: StoredArray, limits: IngestLimits) -> NDArray[Any]:
    """Read labels, (images,) integers or text. Raises Rejection."""
    key, shape = labels.key, labels.shape
    if len(shape) != 1 and prod(shape[1:]) != 1:
        received = f"The labels {clean_name(key)!r} have the shape {clean_name(str(shape), 80)}."
        if len(shape) != 2:
            raise make_bad_labels(f"{received} {OTHER_TASK}", key)
        rows = _convert_to_small(labels, limits)
        is_flags = rows.dtype.kind in "iufb" and bool(np.all((rows == 0) | (rows == 1)))
        if is_flags and np.all(rows.sum(axis=1) == 1):
            positions = "They are one-hot: save the position of the 1 in each row instead"
            detail = f"{received} {positions}, {clean_name(key)}.argmax(axis=1)."
            raise make_bad_labels(detail, key)
        raise make_bad_labels(f"{received} {SEVERAL_LABELS}", key)
    values = _convert_to_small(labels, limits).reshape(-1)
    if values.dtype.kind == "S":
        try:
            return np.char.decode(values, "utf-8")
        except UnicodeDecodeError:
            raise make_bad_labels(f"The labels {clean_name(key)!r} are not UTF-8. Save text (U).", key) from None
    if values.dtype.kind == "f" and np.all(np.mod(values, 1) == 0):
        return values.astype(np.int64)
    if values.dtype.kind == "b":
        return values.astype(np.int64)
    if values.dtype.kind == "f" and np.all(np.isfinite(values)):
        example = clean_name(str(values[np.mod(values, 1) != 0][0]))
        detail = f"The labels {clean_name(key)!r} have values such as {example}. {MEASURED_VALUES}"
        raise make_bad_labels(detail, key)
    if values.dtype.kind not in "iuU":
        raise make_bad_labels(
            f"The labels {clean_name(key)!r} are of type {clean_name(str(values.dtype), 80)}, with values such as "
            f"{clean_name(str(values[0]))}; whole numbers or text are expected.",
            key,
        )
    return _check_text(values, key) if values.dtype.kind == "U" else values.astype(np.int64)


def read_texts(names: StoredArray) -> list[str]:
    """Read class names. Raises Rejection."""
    if len(names.shape) != 1 or names.dtype.kind != "U" or names.dtype.itemsize > 4096 or names.shape[0] > 100_000:
        raise make_bad_labels(
            f"`{clean_name(names.key)}` has the type {clean_name(str(names.dtype), 80)} and the shape "
            f"{clean_name(str(names.shape), 80)}; class names are an array of text, one for each class.",
            names.key,
        )
    return [str(name) for name in _check_text(names.read(), names.key).tolist()]


def _check_text(values: NDArray[Any], key: str) -> NDArray[Any]:
    """Return the text if it is valid Unicode, which NumPy does not check. Raises Rejection."""
    codes = np.ascontiguousarray(values).view(np.dtype(np.uint32).newbyteorder(values.dtype.byteorder))
    if np.any((codes > sys.maxunicode) | ((codes >= 0xD800) & (codes < 0xE000))):
        raise make_bad_labels(f"The text in {clean_name(key)!r} is damaged. Save it again.", key)
    return values


def _convert_to_small(labels: StoredArray, limits: IngestLimits) -> NDArray[Any]:
    size = prod(labels.shape) * labels.dtype.itemsize
    if size > min(limits.member_bytes, limits.memory_bytes // 8):
        raise make_bad_labels(
            f"The labels {clean_name(labels.key)!r} take {format_size(size)}. Save them as int32.", labels.key
        )
    return labels.read()
