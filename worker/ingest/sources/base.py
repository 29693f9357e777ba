"""What every format gives: names, labels and splits when it is opened, and pixels when they are stored."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from heldout.dataset_lifecycle import RejectionCode
from heldout.datasets import MAX_SIDE, MIN_SIDE, DatasetSpec
from worker.ingest.images.batches import Batch, Target, decode_all
from worker.ingest.images.decode import ColourFound, DepthFound, ImageProperties, TargetShape, properties_of
from worker.ingest.images.deep import range_of
from worker.ingest.images.pixels import Pixels
from worker.ingest.limits import Limits
from worker.ingest.pool import ProcessPool
from worker.ingest.rejection import BROKEN_FILES, Rejection, amount, broken_files, printable
from worker.ingest.sources.layout import LeftOut

Progress = Callable[[int], None]


@dataclass(frozen=True)
class StoredImages:
    """Pixels on disk. `encodings` counts what the files were, e.g. {"PNG L": 60000}.

    skipped: rows of the source that `pixels` does not have, ascending; why_skipped: what they are. derived: what was
    changed, of a derived version.
    """

    pixels: Pixels
    value_range: tuple[float, float]
    encodings: Counter[str]
    skipped: Sequence[int] = ()
    why_skipped: str = "files that cannot be read"
    derived: Mapping[str, Any] | None = None


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

    def files(self) -> Iterator[bytes]:
        """All images' files in order, one at a time."""
        ...

    def batches(self, target: Target) -> Iterator[Batch]:
        """All images' files in order, as tasks."""
        ...


def store_files(
    source: ImageFiles, path: Path, spec: DatasetSpec, limits: Limits, pool: ProcessPool, progress: Progress
) -> StoredImages:
    """Decode all files into `images.npy` at `path`.

    With `colour: auto` three channels are used as soon as one image has colour: decoding then begins again. So it does
    with 16 bits as soon as one image has them: all images are stored as float32 then.

    Raises:
        Rejection: with the image that cannot be taken.
    """
    sized_by, first = _first_readable(source, limits)
    channels: Literal[1, 3] = 1 if spec.colour == "grey" or (spec.colour == "auto" and first.is_grey) else 3
    bits: Literal[8, 16] = 16 if first.is_deep else 8
    while True:
        dtype = np.dtype(np.uint8 if bits == 8 else np.float32)
        if spec.resize is not None:
            wanted = TargetShape(spec.resize.height, spec.resize.width, channels, spec.resize.rule, bits=bits)
        else:
            wanted = TargetShape(first.height, first.width, channels, None, sized_by, bits)
        shape = checked_shape(
            (len(source.names), wanted.height, wanted.width, channels), dtype.itemsize, limits, sized_by
        )
        pixels = Pixels.create(path, shape, dtype)
        target = Target(pixels, wanted, limits, any_grey=spec.colour == "grey")
        try:
            decoded = decode_all(pool, source.batches(target), progress)
        except ColourFound:
            channels = 3
            continue
        except DepthFound:
            bits = 16
            continue
        if decoded.broken and (not spec.skip_broken or len(decoded.broken) == len(source.names)):
            raise broken_files(list(decoded.broken.values()))
        if decoded.broken:
            pixels = pixels.without(np.array(list(decoded.broken), np.int64))
        highest = 255.0 if bits == 8 else max(float(np.max(block)) for block in pixels.blocks())
        return StoredImages(pixels, range_of(highest), decoded.encodings, tuple(decoded.broken))


def _first_readable(source: ImageFiles, limits: Limits) -> tuple[str, ImageProperties]:
    """Name and properties of the first image that is not broken. Raises Rejection."""
    faults = []
    for name, data in zip(source.names, source.files(), strict=True):
        try:
            return name, properties_of(data, name, limits)
        except Rejection as rejection:
            if rejection.code not in BROKEN_FILES:
                raise
            faults.append(rejection)
    raise broken_files(faults)


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
