"""What a set of the zoo is, and how it is cut into splits without leaks."""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks.zoo.packages import Package

SPLITS = ("train", "validation", "test", "referee")
SAME = 0.98  # correlation of two images above which one is copied from the other
LEAST = 40  # samples that a class needs
Sample = tuple[NDArray[np.uint8], str, str]  # pixels, class, group


@dataclass(frozen=True)
class Built:
    """A whole set, not cut yet, without two equal images.

    images: (count, side, side, 1 or 3) uint8. labels: (count,) int32. groups: (count,) int32, the numbers of what must
        not be torn apart (one font, one drawing, one region of a photograph).
    dropped: images left out because another has the same pixels; of two with different labels, both are.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    classes: tuple[str, ...]
    groups: NDArray[np.int32]
    dropped: int

    @property
    def imbalance(self) -> float:
        """How many times more images the largest class has than the smallest one."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        return float(counts.max() / counts.min())

    def digest(self) -> str:
        """SHA-256 of all its arrays and of the names of its classes."""
        digest = hashlib.sha256(json.dumps([self.images.shape, self.classes]).encode())
        for array in (self.images, self.labels.astype("<i4"), self.groups.astype("<i4")):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class ZooSet:
    """One set of the registry.

    about: what is shown, what its classes are, and what its groups are.
    guess: how well a good network should do: above 95% ("easy"), 75 to 95% ("medium") or less ("hard").
    folds: of how many equal parts train, validation, test and referee get each; whole groups go to one of them. A set
        has a referee if 2,000 images can be spared.
    copied: whether one drawing can come under several names; then groups with nearly the same image are one group.
    tuned_on: whether rules have been tuned on it or on images like it; such a set judges nothing.
    lot: 2 for sets that were added after the first sealed ones had judged, 3 to 6 for those after the lot before had.
    """

    name: str
    about: str
    packages: tuple[Package, ...]
    make: Callable[[np.random.Generator], Iterable[Sample]]
    guess: Literal["easy", "medium", "hard"]
    channels: int
    folds: tuple[int, int, int, int] = (6, 2, 2, 0)
    copied: bool = False
    tuned_on: bool = False
    lot: int = 1

    def build(self) -> Built:
        """The set's images, the same bytes each time."""
        built = collect(self.make(np.random.default_rng(zlib.crc32(self.name.encode()))))
        return join_copies(built) if self.copied else built


def collect(samples: Iterable[Sample]) -> Built:
    """One set of all samples, in their order, without equal images."""
    by_pixels: dict[bytes, tuple[int, set[str]]] = {}
    pixels: list[NDArray[np.uint8]] = []
    names: list[str] = []
    groups: list[str] = []
    for image, name, group in samples:
        _, labels = by_pixels.setdefault(hashlib.sha256(image.tobytes()).digest(), (len(pixels), set()))
        labels.add(name)
        pixels.append(image)
        names.append(name)
        groups.append(group)
    kept = sorted(first for first, labels in by_pixels.values() if len(labels) == 1)
    classes = tuple(sorted({names[row] for row in kept}))
    number = {name: label for label, name in enumerate(classes)}
    _, of_group = np.unique([groups[row] for row in kept], return_inverse=True)
    return Built(
        images=np.stack([pixels[row] for row in kept]),
        labels=np.array([number[names[row]] for row in kept], np.int32),
        classes=classes,
        groups=of_group.astype(np.int32),
        dropped=len(pixels) - len(kept),
    )


def join_copies(built: Built) -> Built:
    """The set with one group for all groups that have nearly the same image: a correlation of at least SAME."""
    flat = built.images.reshape(len(built.images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    pairs = [
        built.groups[np.stack(np.nonzero(flat[first : first + 500] @ flat.T >= SAME)) + [[first], [0]]]
        for first in range(0, len(flat), 500)
    ]
    first, second = np.concatenate(pairs, axis=1)
    count = int(built.groups.max()) + 1
    _, joined = connected_components(coo_array((np.ones(len(first)), (first, second)), (count, count)), directed=False)
    _, groups = np.unique(joined[built.groups], return_inverse=True)
    return replace(built, groups=groups.astype(np.int32))


def split(built: Built, folds: Sequence[int], seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """Positions of train, validation, test and referee: random by group, classes as equal as groups allow.

    Args:
        folds: how many of the equal parts each of them gets.
    """
    count = sum(folds)
    parts = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(built.labels, built.labels, built.groups)
    fold = np.empty(len(built.labels), np.int64)
    for part, (_, rows) in enumerate(parts):
        fold[rows] = part
    ends = np.cumsum(folds)
    return {
        name: np.flatnonzero((fold >= end - length) & (fold < end))
        for name, end, length in zip(SPLITS, ends, folds, strict=True)
    }


def thin(samples: Iterable[Sample], per_class: int, rng: np.random.Generator, ratio: float = 1) -> list[Sample]:
    """Draw at most this many samples per class; with a ratio, the last class has only that part of the first's.

    The classes between get geometrically fewer, in an order drawn at random. Classes with fewer samples than LEAST are
    left out.
    """
    by_class: dict[str, list[Sample]] = {}
    for sample in samples:
        by_class.setdefault(sample[1], []).append(sample)
    names = rng.permutation(sorted(name for name, found in by_class.items() if len(found) >= LEAST)).tolist()
    chosen: list[Sample] = []
    for place, name in enumerate(names):
        wanted = round(per_class * ratio ** (-place / max(1, len(names) - 1)))
        of_class = by_class[name]
        chosen += [of_class[row] for row in np.sort(rng.permutation(len(of_class))[: max(4, wanted)])]
    return chosen
