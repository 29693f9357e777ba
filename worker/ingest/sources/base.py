"""What every format gives: names, labels and splits when it is opened, and pixels when they are stored."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from heldout.dataset_lifecycle import RejectionCode
from heldout.datasets import MAX_SIDE, MIN_SIDE, DatasetSpec
from worker.ingest.images.batches import Batch, Target, decode_all
from worker.ingest.images.decode import ColourFound, TargetShape, properties_of
from worker.ingest.images.pixels import Pixels
from worker.ingest.limits import Limits
from worker.ingest.pool import ProcessPool
from worker.ingest.rejection import Rejection, amount, printable
from worker.ingest.sources.layout import LeftOut

Progress = Callable[[int], None]


@dataclass(frozen=True)
class StoredImages:
    """Pixels on disk. `encodings` counts what the files were, e.g. {"PNG L": 60000}."""

    pixels: Pixels
    value_range: tuple[float, float]
    encodings: Counter[str]


class Source(Protocol):
    """An upload, its format known and its labels read.

    names: (images,) what each image is called in the upload. labels: (images,) positions in `classes`.
    given_splits: (images,) positions in SPLITS, or -1. passed_over: names of what is no image. left_out: what is not in
    the dataset though it may be missed.
    """

    kind: str
    labels: NDArray[np.int32]
    given_splits: NDArray[np.int8]
    classes: tuple[str, ...]

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def passed_over(self) -> Sequence[str]: ...

    @property
    def left_out(self) -> Sequence[LeftOut]: ...

    def store(
        self, path: Path, spec: DatasetSpec, limits: Limits, pool: ProcessPool, progress: Progress
    ) -> StoredImages:
        """Write all pixels into the file `path`. Raises Rejection."""
        ...


class ImageFiles(Protocol):
    """Sources whose images are encoded files."""

    @property
    def names(self) -> Sequence[str]: ...

    def first(self) -> bytes:
        """The first image's file."""
        ...

    def batches(self, target: Target) -> Iterator[Batch]:
        """All images' files in order."""
        ...


def store_files(
    source: ImageFiles, path: Path, spec: DatasetSpec, limits: Limits, pool: ProcessPool, progress: Progress
) -> StoredImages:
    """Decode all files into `images.npy` at `path`.

    With `colour: auto` three channels are used as soon as one image has colour: decoding then begins again.

    Raises:
        Rejection: with the image that cannot be taken.
    """
    first = properties_of(source.first(), source.names[0], limits)
    channels: Literal[1, 3] = 1 if spec.colour == "grey" or (spec.colour == "auto" and first.is_grey) else 3
    while True:
        if spec.resize is not None:
            wanted = TargetShape(spec.resize.height, spec.resize.width, channels, spec.resize.rule)
        else:
            wanted = TargetShape(first.height, first.width, channels, None, source.names[0])
        shape = checked_shape((len(source.names), wanted.height, wanted.width, channels), 1, limits, source.names[0])
        pixels = Pixels.create(path, shape, np.dtype(np.uint8))
        target = Target(pixels, wanted, limits, any_grey=spec.colour == "grey")
        try:
            encodings = decode_all(pool, source.batches(target), progress)
        except ColourFound:
            channels = 3
            continue
        return StoredImages(pixels, (0, 255), encodings)


def checked_shape(
    shape: tuple[int, int, int, int], itemsize: int, limits: Limits, member: str
) -> tuple[int, int, int, int]:
    """The same shape, unless it is too large or too small to be trained on or stored.

    Raises:
        Rejection: `size_out_of_bounds`, `normalised_too_large`.
    """
    count, height, width, channels = shape
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        raise Rejection(
            RejectionCode.SIZE_OUT_OF_BOUNDS,
            f"{printable(member)!r} has {height}×{width} pixels (height×width); sides of {MIN_SIDE} to {MAX_SIDE} are "
            'accepted. Name a size: "resize": {"height": …, "width": …, "rule": "pad" | "crop" | "stretch"}.',
            member,
        )
    size = count * height * width * channels * itemsize
    if size > limits.normalised_bytes:
        raise Rejection(
            RejectionCode.NORMALISED_TOO_LARGE,
            f"{count:,} images of {height}×{width}×{channels} take {amount(size)}; at most "
            f"{amount(limits.normalised_bytes)} are taken. Name a smaller size with `resize`, use fewer images, or ask "
            "the operator for a higher limit.",
        )
    return shape
