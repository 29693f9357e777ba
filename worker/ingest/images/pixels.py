"""The file `images.npy`, written and read in blocks so that memory use stays constant; and conversions of blocks."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image, ImageOps

from heldout.fixes.changes import LinearChange, PixelChange
from heldout.spec.dataset import ResizeSpec
from worker.ingest.rejection import MIB

Rule = Literal["pad", "crop", "stretch"]

BLOCK_BYTES = 4 * MIB
BLOCK_ROWS = 8192  # at most: the data about a small image take more memory than its pixels


@dataclass(frozen=True)
class Pixels:
    """All images of a dataset. Several processes may write rows at the same time: each row has its place.

    shape is (count, height, width, channels); offset is the position of the first row in the file.
    """

    path: Path
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    offset: int

    @classmethod
    def create(cls, path: Path, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> "Pixels":
        """Create the file with its full size and no content, replacing an existing one."""
        with path.open("wb") as file:
            # The header is the one that np.save writes.
            npy.write_array_header_1_0(
                file, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            )
            offset = file.tell()
            file.truncate(offset + int(np.prod(shape)) * dtype.itemsize)
        return cls(path, shape, dtype, offset)

    def without(self, rows: NDArray[np.int64]) -> "Pixels":
        """Return the same file with some rows taken out."""
        shape = (self.count - len(rows), *self.shape[1:])
        kept = np.setdiff1d(np.arange(self.count), rows)
        beside = Pixels.create(self.path.with_suffix(".kept"), shape, self.dtype)
        for first in range(0, len(kept), self.rows_in_block):
            beside.write_images(first, self.take(kept[first : first + self.rows_in_block]))
        beside.path.replace(self.path)
        return Pixels(self.path, shape, self.dtype, beside.offset)

    @classmethod
    def of(cls, path: Path) -> "Pixels":
        """Open the images of an existing file, written by `numpy.save`."""
        mapped = np.load(path, mmap_mode="r")
        return cls(path, mapped.shape, mapped.dtype, mapped.offset)

    @property
    def count(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def rows_in_block(self) -> int:
        return max(1, min(BLOCK_ROWS, BLOCK_BYTES // self.row_bytes))

    def write(self, first: int, data: bytes | memoryview) -> None:
        """Write whole rows from row `first` on."""
        with self.path.open("r+b", buffering=0) as file:
            view, at = memoryview(data), self.offset + first * self.row_bytes
            while view:
                done = os.pwrite(file.fileno(), view, at)
                view, at = view[done:], at + done

    def write_images(self, first: int, images: NDArray[Any]) -> None:
        """Write images, (count, height, width, channels), from row `first` on."""
        self.write(first, np.ascontiguousarray(images).reshape(-1).view(np.uint8).data)

    def read(self, first: int, count: int) -> NDArray[Any]:
        """Read (count, height, width, channels), the rows from `first` on."""
        rows = np.fromfile(
            self.path, self.dtype, count * (self.row_bytes // self.dtype.itemsize), offset=self._find_place(first)
        )
        return rows.reshape(-1, *self.shape[1:])

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Read (len(rows), height, width, channels), in the order of `rows`."""
        taken = np.empty((len(rows), *self.shape[1:]), self.dtype)
        with self.path.open("rb", buffering=0) as file:
            for row, into in zip(rows.tolist(), taken, strict=True):
                os.preadv(file.fileno(), [into.data], self._find_place(row))
        return taken

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield all rows in order, some megabytes at a time."""
        for first in range(0, self.count, self.rows_in_block):
            yield self.read(first, min(self.rows_in_block, self.count - first))

    def _find_place(self, row: int) -> int:
        return self.offset + row * self.row_bytes


@dataclass(frozen=True)
class ChangedPixels(Pixels):
    """The same images, of which some are changed whenever they are read.

    change_of: (count,) for each image the place of its change in `changes`, -1 for an image as it is.
    """

    change_of: NDArray[np.int8]
    changes: tuple[PixelChange, ...]
    value_range: tuple[float, float]

    @classmethod
    def beside(
        cls,
        pixels: Pixels,
        change_of: NDArray[np.int8],
        changes: tuple[PixelChange, ...],
        value_range: tuple[float, float],
    ) -> "ChangedPixels":
        """Return the images of the same file under changes."""
        return cls(pixels.path, pixels.shape, pixels.dtype, pixels.offset, change_of, changes, value_range)

    def read(self, first: int, count: int) -> NDArray[Any]:
        """Read (count, height, width, channels), the rows from `first` on, changed."""
        return self._change(super().read(first, count), self.change_of[first : first + count])

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Read (len(rows), height, width, channels), in the order of `rows`, changed."""
        return self._change(super().take(rows), self.change_of[rows])

    def _change(self, images: NDArray[Any], change_of: NDArray[np.int8]) -> NDArray[Any]:
        for place, change in enumerate(self.changes):
            chosen = change_of == place
            images[chosen] = change_pixels(images[chosen], change, self.value_range)
        return images


# The usual ranges of pixels: the first that holds all values is assumed.
USUAL_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))


def convert_block_channels(block: NDArray[Any], channels: int) -> NDArray[Any]:
    """Convert images to one or three channels: gray is repeated, color becomes luma."""
    if block.shape[3] == channels:
        return block
    if channels == 3:
        return np.repeat(block, 3, axis=3)
    if block.dtype == np.uint8:
        return np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in block])[..., np.newaxis]
    return block @ np.array([[0.299], [0.587], [0.114]], np.float32)


def resize_image(image: Image.Image, height: int, width: int, rule: Rule, black: float | None = None) -> Image.Image:
    """Resize an image, bilinear, with antialiasing when it shrinks; bars of `pad` have the value `black`."""
    size, bilinear = (width, height), Image.Resampling.BILINEAR
    if rule == "stretch":
        return image.resize(size, bilinear)
    if rule == "crop":
        return ImageOps.fit(image, size, bilinear)
    return ImageOps.pad(image, size, bilinear, color=black)  # type: ignore[arg-type]


def resize_block(block: NDArray[Any], wanted: ResizeSpec | None, black: float) -> NDArray[Any]:
    """Resize images to the wanted size, channel by channel; bars of `pad` have the value `black`."""
    if wanted is None or block.shape[1:3] == (wanted.height, wanted.width):
        return block

    def resize_channel(channel: NDArray[Any]) -> NDArray[Any]:
        color = int(black) if channel.dtype == np.uint8 else black
        return np.asarray(resize_image(Image.fromarray(channel), wanted.height, wanted.width, wanted.rule, color))

    return np.stack(
        [np.stack([resize_channel(channel) for channel in image.transpose(2, 0, 1)], axis=2) for image in block]
    )


def change_pixels(images: NDArray[Any], change: PixelChange, value_range: tuple[float, float]) -> NDArray[Any]:
    """Change (images, height, width, channels) pixels. Their type stays, and values stay within the range."""
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
