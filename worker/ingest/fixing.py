"""The changes of a derived version, on arrays: which labels, which pixels, which images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heldout.fixes.changes import LinearChange, PixelChange, parse_index
from heldout.lifecycle.resources import RejectionCode
from worker.ingest.rejection import MAX_LISTED_FILES, Rejection, clean_name


def find_rows(images: Sequence[int | str], names: Sequence[str]) -> list[int]:
    """The positions of images, each named by its position or its file name.

    Raises:
        Rejection: `unknown_image`, with all that are not there.
    """
    by_name = (
        {name: row for row, name in enumerate(names)} if any(parse_index(image) is None for image in images) else {}
    )
    rows, unknown = [], []
    for image in images:
        index = parse_index(image)
        row = by_name.get(str(image)) if index is None else index
        if row is None or row >= len(names):
            unknown.append(str(image))
        else:
            rows.append(row)
    if unknown:
        listed = ", ".join(repr(clean_name(name)) for name in unknown[:MAX_LISTED_FILES])
        more = f" and {len(unknown) - MAX_LISTED_FILES:,} more" if len(unknown) > MAX_LISTED_FILES else ""
        known = repr(clean_name(names[0]))
        raise Rejection(
            RejectionCode.UNKNOWN_IMAGE,
            f"The version that is changed has no image called {listed}{more}. Images are called as in the upload, such "
            f"as {known}, or by their position.",
            unknown[0],
        )
    return rows


def map_rows_to_labels(relabel: Mapping[str, str], names: Sequence[str]) -> dict[int, str]:
    """The new class of images by position.

    Raises:
        Rejection: `unknown_image`; `bad_labels` if an image is given two classes.
    """
    found: dict[int, str] = {}
    for row, label in zip(find_rows(list(relabel), names), relabel.values(), strict=True):
        if found.setdefault(row, label) != label:
            raise Rejection(
                RejectionCode.BAD_LABELS,
                f"Image {row} ({clean_name(names[row])!r}) is given two classes, {found[row]!r} and {label!r}. Name it "
                "once.",
                names[row],
            )
    return found


def rename_classes(classes: Sequence[str], renamed: Mapping[str, str]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """The classes under their new names, each once, in the order of their first; and of each old class its position."""
    left = tuple(dict.fromkeys(renamed.get(name, name) for name in classes))
    return left, np.array([left.index(renamed.get(name, name)) for name in classes], np.int32)


def change_pixels(images: NDArray[Any], change: PixelChange, value_range: tuple[float, float]) -> NDArray[Any]:
    """(images, height, width, channels) under a change, of the same type; values stay within the range."""
    low, high = value_range
    match change:
        case "invert":
            return _keep_within(low + high - images.astype(np.float32), images.dtype, value_range)
        case "swap_channels":
            return images[..., ::-1]
        case "transpose":
            return images.transpose(0, 2, 1, 3)
        case "turn_left":
            return np.rot90(images, 1, (1, 2))
        case "turn_right":
            return np.rot90(images, 3, (1, 2))
        case "upside_down":
            return images[:, ::-1, ::-1]
        case "flip_vertical":
            return images[:, ::-1]
        case "flip_horizontal":
            return images[:, :, ::-1]
        case LinearChange():
            values = images.astype(np.float64)
            changed = change.factor * values + change.offset
            if change.bottom is not None:
                changed = np.where(values <= low, change.bottom, changed)
            if change.top is not None:
                changed = np.where(values >= high, change.top, changed)
            return _keep_within(changed, images.dtype, value_range)


def _keep_within(values: NDArray[Any], dtype: np.dtype[Any], value_range: tuple[float, float]) -> NDArray[Any]:
    cut = values.clip(*value_range)
    return (np.rint(cut) if dtype.kind in "iu" else cut).astype(dtype)


def keep_pairs(pairs: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """(pairs, 2) of images that stay, as positions in `rows`, which are ascending."""
    places = np.searchsorted(rows, pairs).clip(max=len(rows) - 1)
    left: NDArray[np.int64] = places[(rows[places] == pairs).all(axis=1)]
    return left
