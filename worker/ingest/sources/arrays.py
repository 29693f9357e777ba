"""Images and labels as arrays in an .npz: Keras' keys, MedMNIST's keys, or one pair without splits."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import DatasetSpec
from worker.ingest.archives.members import Archive
from worker.ingest.archives.npy import StoredArray
from worker.ingest.images.pixels import USUAL_RANGES, Pixels, convert_block_channels, resize_block
from worker.ingest.pool import ProcessPool
from worker.ingest.rejection import IngestLimits, Rejection, clean_name, make_bad_array, make_bad_labels, make_no_images
from worker.ingest.sources.base import StoredImages, UploadSource, check_shape
from worker.ingest.sources.labels import CLASS_NAME_KEYS, flatten_labels, number_classes, read_texts
from worker.ingest.sources.split_folders import split_named
from worker.ingest.splits import NO_SPLIT

# For each family of keys: the split, and the keys of its images and labels. The first family present is used.
FAMILIES: tuple[tuple[tuple[str | None, str, str], ...], ...] = (
    (
        ("train", "x_train", "y_train"),
        ("validation", "x_val", "y_val"),
        ("validation", "x_valid", "y_valid"),
        ("validation", "x_validation", "y_validation"),
        ("test", "x_test", "y_test"),
    ),
    (
        ("train", "train_images", "train_labels"),
        ("validation", "val_images", "val_labels"),
        ("test", "test_images", "test_labels"),
    ),
    ((None, "x", "y"),),
    ((None, "X", "y"),),
    ((None, "images", "labels"),),
)
EXPECTED = "`x_train, y_train, x_test, y_test[, x_val, y_val]`, `train_images, train_labels, …`, or one pair `x, y`"
EXACT_IN_FLOAT32 = 2**24


class RowNames(Sequence[str]):
    """Names such as `x_train[0]`, made on request, because a list of a million takes 70 MB."""

    def __init__(self, arrays: Sequence[tuple[str, int]]) -> None:
        self._arrays = arrays
        self._ends = np.cumsum([count for _, count in arrays])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        if not 0 <= row < len(self):
            raise IndexError(row)
        at = int(np.searchsorted(self._ends, row, side="right"))
        key, count = self._arrays[at]
        return f"{key}[{row - int(self._ends[at]) + count}]"


class ArraySource(UploadSource):
    """One .npz of images and labels, or several, each in a folder with its name."""

    def __init__(self, archive: Archive, limits: IngestLimits) -> None:
        by_key = {name.removesuffix(".npy"): row for row, name in enumerate(archive.names) if name.endswith(".npy")}
        # Read all headers, because objects are refused in any array.
        stored = {key: StoredArray(archive, row) for key, row in by_key.items()}
        by_file = _group_by_file(stored)
        self.kind = "arrays in npz" if len(by_file) == 1 else f"arrays in {len(by_file)} npz files"
        pairs = _pair_files(by_file)
        self._images = [images for _, images, _ in pairs]
        for _, images, labels in pairs:
            _check_images(images)
            _check_lengths(images, labels)
        count = sum(images.shape[0] for images in self._images)
        if count > limits.images:
            raise Rejection(
                RejectionCode.TOO_MANY_MEMBERS, f"There are {count:,} images; at most {limits.images:,} are taken."
            )
        names = _find_class_names(by_file)
        values = [flatten_labels(labels, limits) for _, _, labels in pairs]
        member, listed = (names[0].key, read_texts(names[0])) if names else (pairs[0][2].key, None)
        self.labels, self.classes = number_classes(values, listed, member, limits)
        given_splits = [
            np.full(images.shape[0], NO_SPLIT if split is None else SPLITS.index(split)) for split, images, _ in pairs
        ]
        self.given_splits: NDArray[np.int8] = np.concatenate(given_splits).astype(np.int8)
        self.names = RowNames([(images.key, images.shape[0]) for images in self._images])
        used = {images.key for images in self._images} | {labels.key for _, _, labels in pairs}
        self.passed_over = sorted(set(by_key) - used - {array.key for array in names})

    def store(self, path: Path, spec: DatasetSpec, limits: IngestLimits, pool: ProcessPool) -> StoredImages:
        """Copy the pixels: uint8 unchanged, other integers from 0 to 255 as uint8, everything else as float32."""
        shape = self._check_shape(spec, limits)
        is_uint8 = all(images.dtype.kind in "bu" and images.dtype.itemsize == 1 for images in self._images)
        values = None if is_uint8 else _measure_values(self._images)
        if values is not None and all(images.dtype.kind in "bui" for images in self._images):
            is_uint8 = values[0] >= 0 and values[1] <= 255
        dtype = np.dtype(np.uint8 if is_uint8 else np.float32)
        if all(images.dtype.kind == "b" for images in self._images):
            value_range: tuple[float, float] = (0, 1)
        else:
            value_range = (0, 255) if is_uint8 else _choose_range(values, self._images[0].key)
        check_shape(shape, dtype.itemsize, limits, self._images[0].key)
        pixels = Pixels.create(path, shape, dtype)
        done = 0
        for images in self._images:
            for block in images.blocks():
                block = block.reshape(len(block), *_get_image_shape(images)).astype(dtype)
                block = resize_block(convert_block_channels(block, shape[3]), spec.resize, value_range[0])
                pixels.write_images(done, block)
                done += len(block)
        encodings = Counter({f"array {images.dtype}": images.shape[0] for images in self._images})
        return StoredImages(pixels, value_range, encodings)

    def _check_shape(self, spec: DatasetSpec, limits: IngestLimits) -> tuple[int, int, int, int]:
        """Return the stored (count, height, width, channels). Raises Rejection if the arrays' images differ in size."""
        first = self._images[0]
        height, width, _ = _get_image_shape(first)
        for images in self._images:
            if spec.resize is None and _get_image_shape(images)[:2] != (height, width):
                raise Rejection(
                    RejectionCode.MIXED_SIZES,
                    f"`{first.key}` has images of {height}×{width} pixels (height×width) and `{images.key}` of "
                    f"{'×'.join(map(str, _get_image_shape(images)[:2]))}. Name one size for all with `resize`.",
                    images.key,
                )
        found = max(_get_image_shape(images)[2] for images in self._images)
        channels = {"auto": found, "grey": 1, "rgb": 3}[spec.colour]
        if spec.resize is not None:
            height, width = spec.resize.height, spec.resize.width
        return check_shape((len(self.names), height, width, channels), 1, limits, first.key)


def _group_by_file(stored: dict[str, StoredArray]) -> dict[str, dict[str, StoredArray]]:
    """Group arrays by file, without files that have no images. If none has images, keep all arrays together."""
    by_file: dict[str, dict[str, StoredArray]] = {}
    for key, array in sorted(stored.items()):
        file, _, own = key.rpartition("/")
        by_file.setdefault(file, {})[own] = array
    keys = {images for family in FAMILIES for _, images, _ in family}
    return {file: arrays for file, arrays in by_file.items() if keys & arrays.keys()} or {"": stored}


def _pair_files(by_file: dict[str, dict[str, StoredArray]]) -> list[tuple[str | None, StoredArray, StoredArray]]:
    """Pair the arrays of all files. If there are several files, the name of each says which split its pair is."""
    pairs = []
    for file, arrays in by_file.items():
        for split, images, labels in _pair_arrays(arrays):
            named = split_named(file.rpartition("/")[2]) if split is None and len(by_file) > 1 else (split, None)
            if named is None:
                raise make_no_images(
                    f"'{clean_name(file)}.npz' has one pair of arrays, and its name does not say which split it is. "
                    "Call the files train.npz, validation.npz and test.npz, or save all arrays in one file.",
                    images.key,
                )
            pairs.append((named[0], images, labels))
    return sorted(pairs, key=lambda pair: SPLITS.index(pair[0]) if pair[0] else NO_SPLIT)


def _find_class_names(by_file: dict[str, dict[str, StoredArray]]) -> list[StoredArray]:
    """Return the array of class names of each file that has such an array. Raises Rejection if they differ."""
    first = [next((arrays[key] for key in CLASS_NAME_KEYS if key in arrays), None) for arrays in by_file.values()]
    found = [names for names in first if names is not None]
    if len(found) > 1 and len({tuple(read_texts(names)) for names in found}) > 1:
        raise make_bad_labels(
            f"`{clean_name(found[0].key)}` and `{clean_name(found[1].key)}` are among arrays that name different "
            "classes. Save the same class names in each file.",
            found[0].key,
        )
    return found


def _pair_arrays(stored: dict[str, StoredArray]) -> list[tuple[str | None, StoredArray, StoredArray]]:
    for family in FAMILIES:
        if not any(images in stored for _, images, _ in family):
            continue
        pairs = []
        for split, images, labels in family:
            if (images in stored) != (labels in stored):
                there, missing = (images, labels) if images in stored else (labels, images)
                raise make_bad_labels(f"There is `{there}` and no `{missing}`. Expected are {EXPECTED}.", there)
            if images in stored:
                pairs.append((split, stored[images], stored[labels]))
        return pairs
    found = ", ".join(f"`{clean_name(key, 40)}`" for key in list(stored)[:10]) or "none"
    raise make_no_images(f"The arrays are {found}. Expected are {EXPECTED}.")


def _get_image_shape(images: StoredArray) -> tuple[int, int, int]:
    _, height, width, *channels = images.shape
    return height, width, channels[0] if channels else 1


def _check_images(images: StoredArray) -> None:
    key, shape = clean_name(images.key), images.shape
    to_do = None
    if len(shape) == 4 and shape[3] not in (1, 3) and shape[1] in (1, 3):
        to_do = f"Save {key}.transpose(0, 2, 3, 1): channels come last."
    elif len(shape) == 4 and shape[3] == 4:
        to_do = "Compose the alpha channel over a background and save three channels."
    elif len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
        to_do = f"Reshape {key} to one of these."
    elif images.dtype.kind not in "buif":
        raise make_bad_array(
            f"The array {key!r} is of type {clean_name(str(images.dtype), 80)}. Save it as uint8 or float32.", key
        )
    if to_do:
        raise make_bad_array(
            f"The array {key!r} has the shape {clean_name(str(shape), 80)}; images are (count, height, width), or "
            f"(count, height, width, channels) with 1 or 3 channels. {to_do}",
            key,
        )


def _check_lengths(images: StoredArray, labels: StoredArray) -> None:
    if not labels.shape or images.shape[0] != labels.shape[0]:
        raise make_bad_labels(
            f"`{clean_name(images.key)}` has {images.shape[0]:,} images and `{clean_name(labels.key)}` the shape "
            f"{clean_name(str(labels.shape), 80)}. Save one label for each image.",
            labels.key,
        )
    if not images.shape[0]:
        raise make_no_images(f"`{clean_name(images.key)}` is empty. Leave it out, or add images.", images.key)


def _measure_values(arrays: Sequence[StoredArray]) -> tuple[float, float]:
    """Find the extremes of all arrays in one pass. Raises Rejection if a value is not finite."""
    low, high = np.inf, -np.inf
    for images in arrays:
        row = 0
        for block in images.blocks():
            if block.dtype.kind == "f":
                with np.errstate(over="ignore"):  # Values beyond float32 become infinite, and are found here.
                    block = block.astype(np.float32)
                finite = np.isfinite(block).reshape(len(block), -1).all(axis=1)
                if not finite.all():
                    member = f"{images.key}[{row + int(np.argmin(finite))}]"
                    raise make_bad_array(
                        f"{clean_name(member)} has values that are not finite in float32 (NaN or infinite). Replace "
                        "them, or leave the image out.",
                        member,
                    )
            low, high = min(low, float(block.min())), max(high, float(block.max()))
            if block.dtype.kind in "iu" and max(-low, high) > EXACT_IN_FLOAT32:
                raise make_bad_array(
                    f"The array {clean_name(images.key)!r} holds whole numbers up to {max(-low, high):.0f}, more than "
                    "float32 holds exactly. Scale it and save float32.",
                    images.key,
                )
            row += len(block)
    return low, high


def _choose_range(values: tuple[float, float] | None, key: str) -> tuple[float, float]:
    assert values is not None
    if values[0] == values[1]:
        raise make_bad_array(f"Every pixel is {values[0]:g}. Save the images, not a placeholder.", key)
    return find_usual_range(*values) or values


def find_usual_range(lowest: float, highest: float) -> tuple[float, float] | None:
    """Return the first usual range that contains all values, or None."""
    for low, high in USUAL_RANGES:
        # Values that use little of 0–255 have another scale.
        if lowest >= low and highest <= high and (high <= 1 or highest > high / 2):
            return low, high
    return None
