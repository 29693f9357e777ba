"""How files lie in an archive: `class/file` or `split/class/file`, with one folder around it all or without."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import SPLITS
from worker.ingest.limits import Limits
from worker.ingest.rejection import Rejection, printable

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
READ = frozenset({"png", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "dib"})
# Leaving these out would lose images without a word.
NOT_READ = frozenset({"gif", "tif", "tiff", "heic", "heif", "avif", "svg", "jp2", "psd", "raw", "dcm", "ppm", "pgm"})
LONGEST_CLASS = 128
NO_SPLIT = -1


@dataclass(frozen=True)
class Layout:
    """Which members are images, and what their paths say.

    rows: (images,) positions among the archive's members, in the order of split, class and name, so that the same
    folder gives the same dataset however it was packed. labels: (images,) positions in `classes`. own: (images,)
    positions in SPLITS, or NO_SPLIT throughout. ignored: names that are no images.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int32]
    own: NDArray[np.int8]
    classes: tuple[str, ...]
    ignored: list[str]


def folder_layout(names: Sequence[str], limits: Limits) -> Layout:
    """Read classes and splits from the members' names.

    Raises:
        Rejection: with a member that does not fit.
    """
    images, ignored = [], []
    for row, name in enumerate(names):
        extension = name.rpartition(".")[2].lower()
        if extension in READ:
            images.append(row)
        elif extension in NOT_READ:
            raise Rejection(
                "unsupported_image",
                f"{printable(name)!r} is of a format that is not read; PNG, JPEG, WebP and BMP are. Convert it.",
                name,
            )
        else:
            ignored.append(name)
    if not images:
        raise Rejection(
            "no_images",
            "The archive has no PNG, JPEG, WebP or BMP file. Pack folders named after the classes, with images in them."
            + (f" It has, for example, {printable(ignored[0])!r}." if ignored else ""),
        )
    paths = {row: names[row].split("/") for row in images}
    top = Counter(path[0] for path in paths.values())
    depth = min(len(path) for path in paths.values())
    # One folder around it all says nothing, unless it is the one class that there is.
    if len(top) == 1 and depth > 2:
        paths = {row: path[1:] for row, path in paths.items()}
        top = Counter(path[0] for path in paths.values())
        depth -= 1
    if depth < 2:
        flat = next(names[row] for row, path in paths.items() if len(path) == depth)
        raise _unexpected(f"{printable(flat)!r} is in no class folder", flat)
    has_splits = depth > 2 and any(name.lower() in SPLIT_NAMES for name in top)
    if has_splits:
        stray = next((name for name in sorted(top) if name.lower() not in SPLIT_NAMES), None)
        if stray is not None:
            raise _unexpected(
                f"the folder {printable(stray)!r} lies beside folders that are splits (understood are "
                f"{', '.join(sorted(SPLIT_NAMES))})",
                stray,
            )
    elif depth == 2 and len(top) > 1 and all(name.lower() in SPLIT_NAMES for name in top):
        flat = next(names[row] for row, path in paths.items() if len(path) == 2)
        raise _unexpected(f"{printable(flat)!r} is in a split, and in no class folder in it", flat)
    skip = int(has_splits)
    classes = checked_classes(sorted({path[skip] for path in paths.values()}), limits)
    label_of = {name: label for label, name in enumerate(classes)}
    split_of = {name: SPLITS.index(SPLIT_NAMES[name.lower()]) if has_splits else NO_SPLIT for name in top}
    order = sorted(images, key=lambda row: (split_of[paths[row][0]], paths[row][skip], paths[row][skip:], names[row]))
    return Layout(
        rows=np.array(order, np.int64),
        labels=np.array([label_of[paths[row][skip]] for row in order], np.int32),
        own=np.array([split_of[paths[row][0]] for row in order], np.int8),
        classes=classes,
        ignored=ignored,
    )


def checked_classes(classes: Sequence[str], limits: Limits) -> tuple[str, ...]:
    """The names of the classes, if there are enough and not too many.

    Raises:
        Rejection: `too_few_classes`, `too_many_classes`, `bad_labels`.
    """
    if len(classes) < 2:
        only = f" ({printable(classes[0])!r})" if classes else ""
        raise Rejection("too_few_classes", f"There are {len(classes)} classes{only}; at least two are needed.")
    if len(classes) > limits.classes:
        raise Rejection(
            "too_many_classes",
            f"There are {len(classes):,} classes, at most {limits.classes:,} are taken. Are the labels classes, rather "
            "than numbers or file names?",
        )
    for name in classes:
        if len(name) > LONGEST_CLASS or any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
            raise Rejection(
                "bad_labels",
                f"The class {printable(name)!r} has a name of {len(name)} characters; at most {LONGEST_CLASS} are "
                "taken, without control characters. Rename it.",
                name,
            )
    return tuple(classes)


def _unexpected(why: str, member: str) -> Rejection:
    return Rejection(
        "unexpected_layout",
        f"Files lie as `class/file` or `split/class/file`, but {why}. Move it, or remove it.",
        member,
    )
