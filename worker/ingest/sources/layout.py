"""How files lie in an archive: `class/file` or `split/class/file`, with one folder around it all or without."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heldout.dataset_lifecycle import RejectionCode
from models.arrays import SPLITS
from worker.ingest.limits import Limits
from worker.ingest.rejection import Rejection, printable
from worker.ingest.splits import NO_SPLIT

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
READ_EXTENSIONS = frozenset({"png", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "dib"})
# Passing these over would lose images silently.
REFUSED_EXTENSIONS = frozenset(
    {"gif", "tif", "tiff", "heic", "heif", "avif", "svg", "jp2", "psd", "raw", "dcm", "ppm", "pgm"}
)
MAX_CLASS_CHARACTERS = 128


@dataclass(frozen=True)
class Layout:
    """Which members are images, and what their paths say.

    rows: (images,) positions among the archive's members, in the order of split, class and name, so that the same
    folder gives the same dataset however it was packed. labels: (images,) positions in `classes`. given_splits:
    (images,) positions in SPLITS, or NO_SPLIT throughout. ignored: names that are no images.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int32]
    given_splits: NDArray[np.int8]
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
        if extension in READ_EXTENSIONS:
            images.append(row)
        elif extension in REFUSED_EXTENSIONS:
            raise Rejection(
                RejectionCode.UNSUPPORTED_IMAGE,
                f"{printable(name)!r} has a format that is not read. Convert it to PNG, JPEG, WebP or BMP.",
                name,
            )
        else:
            ignored.append(name)
    if not images:
        raise Rejection(
            RejectionCode.NO_IMAGES,
            "The archive has no PNG, JPEG, WebP or BMP file. Pack folders named after the classes, with images in them."
            + (f" It has, for example, {printable(ignored[0])!r}." if ignored else ""),
        )
    paths = [names[row] for row in images]
    depth = min(path.count("/") for path in paths)  # of folders around a file
    top = Counter(path.partition("/")[0] for path in paths)
    # One folder around everything is left out, unless it is the only class.
    if len(top) == 1 and depth > 1:
        paths = [path.partition("/")[2] for path in paths]
        top = Counter(path.partition("/")[0] for path in paths)
        depth -= 1
    flat = next((names[row] for row, path in zip(images, paths, strict=True) if path.count("/") == depth), "")
    if depth < 1:
        raise _unexpected(f"{printable(flat)!r} is in no class folder", flat)
    splits = {name: SPLITS.index(SPLIT_NAMES[name.lower()]) for name in top if name.lower() in SPLIT_NAMES}
    if splits and depth > 1 and len(splits) < len(top):
        stray = min(name for name in top if name not in splits)
        raise _unexpected(
            f"the folder {printable(stray)!r} lies beside folders that are splits (understood are "
            f"{', '.join(sorted(SPLIT_NAMES))})",
            stray,
        )
    if depth == 1 and len(top) > 1 and len(splits) == len(top):
        raise _unexpected(f"{printable(flat)!r} is in a split, and in no class folder in it", flat)
    given_splits = [NO_SPLIT] * len(paths)
    if splits and depth > 1:
        given_splits = [splits[path.partition("/")[0]] for path in paths]
        paths = [path.partition("/")[2] for path in paths]
    of_class = [path.partition("/")[0] for path in paths]
    classes = checked_classes(sorted(set(of_class)), limits)
    label_of = {name: label for label, name in enumerate(classes)}
    # Zeros in the place of slashes sort folder by folder.
    keys = [(split, path.replace("/", "\0")) for split, path in zip(given_splits, paths, strict=True)]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return Layout(
        rows=np.array(images, np.int64)[order],
        labels=np.array([label_of[name] for name in of_class], np.int32)[order],
        given_splits=np.array(given_splits, np.int8)[order],
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
        raise Rejection(
            RejectionCode.TOO_FEW_CLASSES, f"There are {len(classes)} classes{only}; at least two are needed."
        )
    if len(classes) > limits.classes:
        raise Rejection(
            RejectionCode.TOO_MANY_CLASSES,
            f"There are {len(classes):,} classes, at most {limits.classes:,} are allowed. Are the labels classes, "
            "rather than numbers or file names?",
        )
    for name in classes:
        if len(name) > MAX_CLASS_CHARACTERS or any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
            raise Rejection(
                RejectionCode.BAD_LABELS,
                f"The class {printable(name)!r} has a name of {len(name)} characters; at most {MAX_CLASS_CHARACTERS} "
                "are allowed, without control characters. Rename it.",
                name,
            )
    return tuple(classes)


def _unexpected(why: str, member: str) -> Rejection:
    return Rejection(
        RejectionCode.UNEXPECTED_LAYOUT,
        f"Files must lie as `class/file` or `split/class/file`, but {why}. Move it, or remove it.",
        member,
    )
