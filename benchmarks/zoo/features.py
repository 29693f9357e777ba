"""How often features name a class foreign that is not, and one that is, on sets of the zoo.

`python -m benchmarks.zoo.features` prints a table. It computes the features of up to 2,000 images of each built set
with the service's pretrained network, and keeps them in the zoo's folder. That takes minutes.

Each class is divided in three ways. Images are held out at random, or whole groups are, without declaring them. In the
third way, held-out images are of another kind: they are the smaller of two clusters (2-means of the features).
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from analysis.arrays.dataset import ImageSet
from analysis.arrays.features import normalize
from benchmarks.zoo.manifest import load_built, read_manifest
from benchmarks.zoo.packages import cache_folder
from benchmarks.zoo.sets import Built
from models.pretrained import PRETRAINED
from worker.training.looks.compute import choose_size, make_compute
from worker.training.looks.foreign import compare_class
from worker.training.pretrained.efficientnet_lite import build_with
from worker.training.pretrained.torch_file import read_tensors

MOST_IMAGES, HELD_OUT, FEWEST = 2_000, 0.3, 10


def compute(name: str) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int32]]:
    """Features, labels and groups of a sample of a set, from their file if they were computed before."""
    built = load_built(name)
    rows = np.sort(np.random.default_rng(0).permutation(len(built.labels))[:MOST_IMAGES])
    found = compute_rows(built, rows, cache_folder() / "features" / f"{name}.npy")
    return found, built.labels[rows], built.groups[rows]


def compute_rows(built: Built, rows: NDArray[np.int64], file: Path) -> NDArray[np.float32]:
    """Features of some images of a set, from their file if they were computed before."""
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        images = ImageSet(built.images, built.labels, {}, built.classes, (0, 255))
        run = make_compute(load_network(), images, rows, choose_size(*images.shape[:2]), threads=1)
        padded = np.pad(np.arange(len(rows)), (0, -len(rows) % 32), mode="edge").astype(np.int32)
        parts = [run(padded[at : at + 128]) for at in range(0, len(padded), 128)]
        np.save(file, np.concatenate(parts)[: len(rows)].astype(np.float16))
    return np.asarray(np.load(file), np.float32)


@cache
def load_network() -> keras.Model:
    """The service's pretrained network with the mean over its map."""
    network = build_with(read_tensors(PRETRAINED["efficientnet_lite0"].find_file()))
    return keras.Model(network.input, keras.layers.GlobalAveragePooling2D()(network.output))


def divide(
    features: NDArray[np.float32], groups: NDArray[np.int32], draws: np.random.Generator
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the divisions of one class: a name, and which images are held out."""
    yield "at random", draws.random(len(groups)) < HELD_OUT
    known = np.unique(groups)
    yield "whole groups", np.isin(groups, draws.permutation(known)[: max(1, round(HELD_OUT * len(known)))])
    clusters = KMeans(2, n_init=2, random_state=0).fit(features).labels_
    yield "another kind", clusters == int(np.argmin(np.bincount(clusters)))


def main() -> None:
    counts: dict[str, list[int]] = {}
    draws = np.random.default_rng(0)
    for name in read_manifest():
        try:
            found, labels, groups = compute(name)
        except Exception as error:  # noqa: BLE001 - sets that are not built on this machine
            print(f"left out: {name} ({type(error).__name__})")
            continue
        features = normalize(found)
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            for kind, held in divide(features[rows], groups[rows], draws):
                if min(held.sum(), (~held).sum()) >= FEWEST:
                    named = compare_class(features, rows[~held], rows[held], np.arange(len(labels))) is not None
                    counts.setdefault(kind, []).append(named)
    print("\n| held-out images of a class | classes | named |\n|---|---|---|")
    for kind, named_of in counts.items():
        print(f"| {kind} | {len(named_of):,} | {sum(named_of):,} ({np.mean(named_of):.1%}) |")


if __name__ == "__main__":
    main()
