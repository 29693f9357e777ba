"""The interface of all formats: opening reads names, labels and splits; storing writes pixels."""

import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.columns import Columns
from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import MAX_SIDE, MIN_SIDE, DatasetSpec
from heldout.spec.job import MAX_CLASS_CHARACTERS, MAX_CLASS_NAMES_BYTES
from worker.ingest.images.batches import BATCH_BYTES, DecodeBatch, Decoded, Target, decode_batch
from worker.ingest.images.decode import ColourFound, DepthFound, OpenedImage, TargetShape, is_grey
from worker.ingest.images.deep import WHITE, choose_range
from worker.ingest.images.pixels import Pixels
from worker.ingest.pool import ProcessPool
from worker.ingest.rejection import (
    BROKEN_FILES,
    IngestLimits,
    Rejection,
    clean_name,
    format_size,
    make_bad_labels,
    make_broken_files,
)

MAX_SHOWN_SIZES = 10
NAME_A_SIZE = (
    'Name one size for all, such as `--resize 64x64` or `"resize": {"height": 64, "width": 64, "rule": "pad"}`; the '
    "rule may also be `crop` or `stretch`."
)


@dataclass(frozen=True)
class StoredImages:
    """Pixels on disk. `encodings` counts the formats of the files, e.g. {"PNG L": 60000}.

    skipped: ascending rows of the source that are missing in `pixels`: broken files, or copies of a derived version.
    faults: of all files left out, skipped or without a row. notes: tell the owner how values were read. derived: the
    changes of a derived version. different: (pairs, 2) rows of `pixels` that its base has marked as different. copies:
    (pairs, 2) rows that features found to be copies in its base.
    """

    pixels: Pixels
    value_range: tuple[float, float]
    encodings: Counter[str]
    skipped: Sequence[int] = ()
    faults: Sequence[Rejection] = ()
    notes: Sequence[str] = ()
    derived: Mapping[str, Any] | None = None
    different: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    copies: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))


@dataclass(frozen=True)
class LeftOut:
    """Members that the dataset lacks although the owner may expect them. `what` describes them."""

    what: str
    names: list[str]


class UploadSource(ABC):
    """An upload of a known format, with its labels.

    names: (images,) the name of each image in the upload. labels: (images,) positions in `classes`. given_splits:
    (images,) positions in SPLITS, or -1. passed_over: names of files that are not images. left_out: images that the
    dataset lacks although the owner may expect them. notes: tell the owner how the upload was read. columns: further
    values of each image by name, such as its patient; None where unknown.
    """

    kind: str
    names: Sequence[str]
    labels: NDArray[np.int32]
    given_splits: NDArray[np.int8]
    classes: tuple[str, ...]
    passed_over: Sequence[str] = ()
    left_out: Sequence[LeftOut] = ()
    notes: Sequence[str] = ()
    columns: Columns = MappingProxyType({})

    @abstractmethod
    def store(self, path: Path, spec: DatasetSpec, limits: IngestLimits, pool: ProcessPool) -> StoredImages:
        """Write all pixels into the file `path`. Raises Rejection."""


class ImageFiles(UploadSource):
    """A source whose images are encoded files. faults: of files without rows."""

    faults: Sequence[Rejection] = ()

    @abstractmethod
    def iterate_parts(self, row_bytes: int) -> Iterator[tuple[Sequence[str], Callable[[int], bytes]]]:
        """Yield parts: the names of some images, and a function that reads the file of one, or raises Rejection.

        Args:
            row_bytes: size of one image's pixels. A part has at most `BATCH_BYTES` of them, or one image.
        """

    def store(self, path: Path, spec: DatasetSpec, limits: IngestLimits, pool: ProcessPool) -> StoredImages:
        """Decode all files into `images.npy` at `path`.

        Decoding starts over when the first color image is found with `colour: auto`: all get three channels then.
        It also starts over at the first 16-bit image: all images are then stored as float32.

        Raises:
            Rejection: names the image that cannot be stored.
        """
        sized_by, wanted = self._find_first_readable(limits)
        if spec.colour != "auto":
            wanted = replace(wanted, channels=1 if spec.colour == "grey" else 3)
        if (resize := spec.resize) is not None:
            wanted = replace(wanted, height=resize.height, width=resize.width, rule=resize.rule)
        while True:
            dtype = np.dtype(np.uint8 if wanted.bits == 8 else np.float32)
            shape = check_shape(
                (len(self.names), wanted.height, wanted.width, wanted.channels), dtype.itemsize, limits, sized_by
            )
            pixels = Pixels.create(path, shape, dtype)
            target = Target(pixels, wanted, limits, any_grey=spec.colour == "grey")
            try:
                decoded = Decoded()
                for part in pool.map(decode_batch, self._iterate_batches(target), names=lambda batch: batch.names):
                    decoded.add(part)
            except ColourFound:
                wanted = replace(wanted, channels=3)
                continue
            except DepthFound:
                wanted = replace(wanted, bits=16)
                continue
            faults = (*self.faults, *decoded.broken.values())
            has_none = len(decoded.broken) == len(self.names)
            unreadable = make_broken_files(faults, can_skip=not has_none) if faults else None
            if decoded.other_sizes:
                raise _make_mixed_sizes(self.names, wanted, decoded, None if spec.skip_broken else unreadable)
            if unreadable is not None and (has_none or not spec.skip_broken):
                raise unreadable
            value_range, notes = _choose_range(pixels, decoded, wanted.bits)
            if decoded.broken:
                pixels = pixels.without(np.array(list(decoded.broken), np.int64))
            return StoredImages(pixels, value_range, decoded.encodings, tuple(decoded.broken), faults, notes)

    def _iterate_batches(self, target: Target) -> Iterator[DecodeBatch]:
        first = 0
        for names, read in self.iterate_parts(target.pixels.row_bytes):
            yield DecodeBatch(first, names, target, read)
            first += len(names)

    def _find_first_readable(self, limits: IngestLimits) -> tuple[str, TargetShape]:
        """Return the name and the form of the first readable image. Raises Rejection."""
        faults = list(self.faults)
        for [name], read in self.iterate_parts(BATCH_BYTES):
            try:
                opened = OpenedImage(read(0), name, limits)
                image = opened.read_upright()
                size = image.height, image.width
                return name, TargetShape(*size, 1 if is_grey(image) else 3, None, 16 if opened.is_deep else 8)
            except Rejection as rejection:
                if rejection.code not in BROKEN_FILES:
                    raise
                faults.append(rejection)
        raise make_broken_files(faults, can_skip=False)


def _choose_range(pixels: Pixels, decoded: Decoded, bits: Literal[8, 16]) -> tuple[tuple[float, float], Sequence[str]]:
    """Return the range of the images, and a note about it.

    White of 8-bit images is stored as white of 16-bit images.
    """
    if bits == 8:
        return choose_range(255.0), ()
    highest_of = np.concatenate([np.max(block, axis=(1, 2, 3)) for block in pixels.blocks()])
    highest_of[decoded.shallow] = 0
    highest = float(np.max(highest_of))
    low, white = choose_range(highest)
    if not decoded.shallow:
        return (low, white), ()
    for row in decoded.shallow if white < WHITE else ():  # stored with the white of 16-bit images
        pixels.write(row, (pixels.read(row, 1) * np.float32(white / WHITE)).tobytes())
    deep_count = pixels.count - len(decoded.shallow) - len(decoded.broken)
    note = (
        f"{len(decoded.shallow):,} of the images have 8 bits and {deep_count:,} have 16. White is 255 in those of 8 "
        f"bits, and was taken to be {white:,.0f} in those of 16, whose largest value is {highest:,.0f}. If that is "
        "wrong, save all images with the same depth."
    )
    return (low, white), (note,)


def _make_mixed_sizes(
    names: Sequence[str], wanted: TargetShape, decoded: Decoded, unreadable: Rejection | None
) -> Rejection:
    """Make a rejection that lists all sizes with counts and examples, and other faults of files."""
    first_other = min(rows[0] for rows in decoded.other_sizes.values())
    faulty = {*decoded.broken, *(row for rows in decoded.other_sizes.values() for row in rows)}
    sized = next(row for row in range(len(names)) if row not in faulty)
    sizes = [(decoded.encodings.total(), (wanted.height, wanted.width), sized)]
    sizes += [(len(rows), size, rows[0]) for size, rows in decoded.other_sizes.items()]
    sizes.sort(key=lambda size: (-size[0], size[1]))
    listed = ", ".join(
        f"{count:,} of {height}×{width} (such as {clean_name(names[row])!r})"
        for count, (height, width), row in sizes[:MAX_SHOWN_SIZES]
    )
    more = f", and {len(sizes) - MAX_SHOWN_SIZES:,} more sizes" if len(sizes) > MAX_SHOWN_SIZES else ""
    also = f" Besides, {unreadable.detail[0].lower()}{unreadable.detail[1:]}" if unreadable else ""
    return Rejection(
        RejectionCode.MIXED_SIZES,
        f"The images have {len(sizes):,} sizes (height×width): {listed}{more}. {NAME_A_SIZE}{also}",
        names[first_other],
    )


def check_shape(
    shape: tuple[int, int, int, int], itemsize: int, limits: IngestLimits, member: str
) -> tuple[int, int, int, int]:
    """Return the shape if it is not too large or too small to train on or to store.

    Raises:
        Rejection: `size_out_of_bounds`, `normalised_too_large`.
    """
    count, height, width, channels = shape
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        raise Rejection(
            RejectionCode.SIZE_OUT_OF_BOUNDS,
            f"{clean_name(member)!r} has {height}×{width} pixels (height×width); sides of {MIN_SIDE} to {MAX_SIDE} are "
            f"accepted. {NAME_A_SIZE}",
            member,
        )
    size = count * height * width * channels * itemsize
    if size > limits.normalised_bytes:
        raise Rejection(
            RejectionCode.NORMALISED_TOO_LARGE,
            f"{count:,} images of {height}×{width}×{channels} take {format_size(size)}; at most "
            f"{format_size(limits.normalised_bytes)} are taken. Name a smaller size with `resize`, use fewer images, "
            "or ask the operator for a higher limit.",
        )
    return shape


def check_classes(classes: Sequence[str], limits: IngestLimits, least: int = 2) -> tuple[str, ...]:
    """Return the class names if their number is allowed.

    Raises:
        Rejection: `too_few_classes`, `too_many_classes`, `bad_labels`.
    """
    if len(classes) < least:
        only = f"is only one class, {clean_name(classes[0])!r}" if classes else "are no classes"
        raise Rejection(RejectionCode.TOO_FEW_CLASSES, f"There {only}; at least two are needed.")
    if len(classes) > limits.classes:
        raise Rejection(
            RejectionCode.TOO_MANY_CLASSES,
            f"There are {len(classes):,} classes, at most {limits.classes:,} are allowed. Are the labels classes, "
            "rather than numbers or file names?",
        )
    for name in classes:
        if len(name) > MAX_CLASS_CHARACTERS or any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
            raise make_bad_labels(
                f"The class {clean_name(name)!r} has a name of {len(name)} characters; at most {MAX_CLASS_CHARACTERS} "
                "are allowed, without control characters. Rename it.",
                name,
            )
    size = sum(len(name.encode()) for name in classes)
    if size > MAX_CLASS_NAMES_BYTES:
        raise make_bad_labels(
            f"The names of the {len(classes):,} classes take {size:,} bytes; at most {MAX_CLASS_NAMES_BYTES:,} are "
            "allowed. Shorten them."
        )
    return tuple(classes)
