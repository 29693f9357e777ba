"""Cuts windows out of photographs, in families of versions of one picture."""

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from benchmarks.zoo.likeness import FEWEST_PIXELS, has_continuous_tones
from benchmarks.zoo.packages import Package, files_of
from benchmarks.zoo.pictures import PLAIN
from benchmarks.zoo.sets import Sample, thin

MOST_PIXELS = 1024  # of a picture that windows are cut from
ALIKE = 0.9  # correlation of two pictures' grey thumbnails above which one is a version of the other
MOSTLY = 0.5
FEWEST_FAMILIES = 6  # that a class needs: one for each split, and more for training
Names = Mapping[str, str]  # class: a pattern of names; the first that is found counts


@dataclass(frozen=True)
class Source:
    """One picture that windows are cut from. family: pictures of one family are one group, whatever they show."""

    kind: str
    family: str
    read: Callable[[], Image.Image | None]


def windows(
    sources: Callable[[], Sequence[Source]],
    count: int,
    per_class: int = 10_000,
    ratio: float = 1,
    share: tuple[float, float] = (0.3, 0.6),
) -> Callable[[np.random.Generator], list[Sample]]:
    """How to make a set of square windows of pictures, which overlap like several photographs of one thing.

    Pictures that are alike apart from their colors and sizes are one family, and a family is one group. Drawn ones are
    left out: those of whose windows fewer than half have continuous tones.

    Args:
        count: windows of all pictures, as many of each.
        per_class, ratio: as in `thin`; a ratio makes rare classes.
        share: smallest and largest side of a window, in shares of the picture's shorter side; at least 48 pixels.
    """

    def cut(rng: np.random.Generator) -> Iterator[Sample]:
        found = sources()
        kept: list[tuple[Source, Image.Image, list[NDArray[np.uint8]]]] = []
        for source in found:
            picture = source.read()
            if picture is None or min(picture.size) < FEWEST_PIXELS:
                continue
            cut_out = [cut_window(picture, share, rng) for _ in range(max(2, round(count / len(found))))]
            if np.mean([has_continuous_tones(window) for window in cut_out]) >= MOSTLY:
                kept.append((source, make_thumbnail(picture), cut_out))
        families = find_families([source.family for source, _, _ in kept], [thumbnail for _, thumbnail, _ in kept])
        of_kind: dict[str, set[str]] = {}
        for (source, _, _), family in zip(kept, families, strict=True):
            of_kind.setdefault(source.kind, set()).add(family)
        for (source, _, cut_out), family in zip(kept, families, strict=True):
            for window in cut_out:
                if window.std() > PLAIN and len(of_kind[source.kind]) >= FEWEST_FAMILIES:
                    yield window, source.kind, family

    return lambda rng: thin(cut(rng), per_class, rng, ratio)


def cut_window(picture: Image.Image, share: tuple[float, float], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(48, 48, 3) uint8: a random square of a picture, at least as large as it becomes."""
    shorter = min(picture.size)
    side = max(FEWEST_PIXELS, min(shorter, round(rng.uniform(*share) * shorter)))
    left, top = (int(rng.integers(0, length - side + 1)) for length in picture.size)
    window = picture.resize((FEWEST_PIXELS, FEWEST_PIXELS), Image.Resampling.BOX, (left, top, left + side, top + side))
    return np.asarray(window, np.uint8)


def make_thumbnail(picture: Image.Image) -> Image.Image:
    """A picture as small as it takes to recognize a version of it."""
    return picture.convert("L").resize((16, 16), Image.Resampling.BOX)


def find_families(names: Sequence[str], small: Sequence[Image.Image]) -> list[str]:
    """The family of each picture: those that share a name, or whose thumbnails are alike apart from their colors."""
    thumbnails = np.stack([np.asarray(thumbnail, np.float64).ravel() for thumbnail in small])
    thumbnails -= thumbnails.mean(axis=1, keepdims=True)
    thumbnails /= np.maximum(np.linalg.norm(thumbnails, axis=1, keepdims=True), 1e-6)
    _, named = np.unique(names, return_inverse=True)
    first, second = np.nonzero((thumbnails @ thumbnails.T >= ALIKE) | (named[:, None] == named[None]))
    graph = coo_array((np.ones(len(first)), (first, second)), (len(names), len(names)))
    _, joined = connected_components(graph, directed=False)
    return [str(family) for family in joined]


def kind_of(name: str, kinds: Names) -> str | None:
    """The first kind whose pattern is found in a name."""
    return next((kind for kind, words in kinds.items() if re.search(words, name, re.I)), None)


def from_files(
    pattern: str, kinds: Names, *packages: Package, without: str = "$^", folders: int = 0
) -> Callable[[], list[Source]]:
    """Pictures of packages whose names say what they show, or the names of folders that many above them."""

    def find() -> list[Source]:
        found = []
        for file in (file for one in packages for file in files_of(one, pattern)):
            kind = kind_of((file, *file.parents)[folders].stem, kinds)
            if kind and not re.search(without, file.stem, re.I):
                found.append(Source(kind, str(file), partial(_open, file)))
        return found

    return find


def from_archive(
    pattern: str, inside: str, kinds: Names, one: Package, without: str = "$^"
) -> Callable[[], list[Source]]:
    """Pictures of an archive in a package; the whole path inside says what they show."""

    def find() -> list[Source]:
        found = []
        for file in files_of(one, pattern):
            with zipfile.ZipFile(file) as archive:
                for name in sorted(archive.namelist()):
                    kind = kind_of(name, kinds) if re.search(inside, name) else None
                    if kind and not re.search(without, name, re.I):
                        found.append(Source(kind, name, partial(_open, io.BytesIO(archive.read(name)))))
        return found

    return find


def blocks(
    pattern: str, one: Package, count: int, most: int = 60, only: str = ""
) -> Callable[[np.random.Generator], list[Sample]]:
    """How to make a set whose class is the photograph: windows of 25 blocks, each of which is a group.

    Args:
        count: windows of a photograph.
        most: photographs; those with the most windows of continuous tones are taken.
    """

    def cut(rng: np.random.Generator) -> list[Sample]:
        found: list[list[Sample]] = []
        for file in (file for file in files_of(one, pattern) if re.search(only, file.stem)):
            picture = _open(file)
            width, height = (length // 5 for length in picture.size) if picture else (0, 0)
            if picture is None or min(width, height) <= FEWEST_PIXELS:
                continue
            samples = []
            for row, column in np.ndindex(5, 5):
                block = picture.crop(
                    (column * width, row * height, column * width + width - 1, row * height + height - 1)
                )
                for _ in range(count // 25):
                    window = cut_window(block, (0.5, 1), rng)
                    if window.std() > PLAIN:
                        samples.append((window, file.stem, f"{file.stem} {row} {column}"))
            found.append(samples)
        found.sort(key=lambda samples: -sum(has_continuous_tones(window) for window, _, _ in samples))
        return [sample for samples in found[:most] for sample in samples]

    return cut


def _open(file: Path | io.BytesIO) -> Image.Image | None:
    """The picture without transparency, made smaller if it is very large; None if it is of an unknown kind."""
    try:
        with Image.open(file) as picture:
            picture.draft("RGB", (MOST_PIXELS, MOST_PIXELS))
            small = picture.reduce(max(1, max(picture.size) // MOST_PIXELS)) if picture.mode == "RGB" else picture
            shown = small.convert("RGBA").convert("RGB")
    except (OSError, ValueError):
        return None
    return shown.reduce(max(1, max(shown.size) // MOST_PIXELS))
