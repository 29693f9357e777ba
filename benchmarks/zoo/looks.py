"""What the audit's findings of groups and of odd images are worth on sets of the zoo.

`python -m benchmarks.zoo.looks [SET…]` prints two tables for built sets (by default those of the sixth lot). It
computes the features of up to 2,000 images of each set with the service's pretrained network, once.

Groups: names carry the true groups of a set, or random ones of the same sizes in each class. The finding says how
much whole groups in one split would lower its figures. A logistic regression on the same features says it too: its
accuracy when cross-validated with images at random, less its accuracy with whole groups.

Odd images: each kind of fault is planted in 1% of the images. The table counts how many of them are listed, and how
many images of the unchanged set.
"""

import sys
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, cross_val_score

from analysis.arrays.dataset import ImageSet
from analysis.arrays.features import find_neighbors, normalize
from benchmarks.zoo.draw import sets_of_lot
from benchmarks.zoo.features import MOST_IMAGES, compute, load_network
from benchmarks.zoo.manifest import load_built
from benchmarks.zoo.sets import Built
from worker.ingest.local_audit.odd_images import find_odd_images
from worker.training.looks.compute import choose_size, make_compute
from worker.training.looks.name_groups import MIN_SIGMAS, compare_with_random_groups, measure_flattery

LOT, PLANTED, FOLDS, FEWEST_GROUPS = 6, 0.01, 5, 10

Pixels = NDArray[np.float32]
FAULTS: dict[str, Callable[[Pixels], Pixels]] = {
    "dark": lambda images: images * 0.1,
    "bright": lambda images: 255 - (255 - images) * 0.1,
    "flat": lambda images: (
        images.mean(axis=(1, 2), keepdims=True) + (images - images.mean(axis=(1, 2), keepdims=True)) / 12
    ),
    "blurred": lambda images: gaussian_filter(images, (0, images.shape[1] / 12, images.shape[1] / 12, 0)),
    "cut": lambda images: np.where(np.arange(images.shape[1])[None, :, None, None] < images.shape[1] // 2, images, 128),
}


def measure_groups(name: str) -> str:
    """Return a row of the table of groups."""
    found, labels, groups = compute(name)
    normalized = normalize(found)
    draws = np.random.default_rng(0)
    random = groups.astype(np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        random[members] = random[draws.permutation(members)]
    true, chance = (compare_with_random_groups(normalized, labels, each) for each in (groups.astype(np.int64), random))
    stated = measure_flattery(normalized, labels, groups.astype(np.int64))
    low, high = stated.interval
    head = LogisticRegression(max_iter=300)
    mixed = cross_val_score(head, normalized, labels, cv=KFold(FOLDS, shuffle=True, random_state=0)).mean()
    apart = cross_val_score(head, normalized, labels, cv=GroupKFold(FOLDS), groups=groups).mean()
    said = ("named" if sigmas >= MIN_SIGMAS else "not named" for sigmas in (true, chance))
    points = 100 * (stated.mixed - stated.apart)
    return (
        f"| {name} | {len(np.unique(groups)):,} | {true:.0f} ({next(said)}) | {chance:.1f} ({next(said)}) | "
        f"{points:.1f} ({100 * low:.1f} to {100 * high:.1f}) | {100 * (mixed - apart):.1f} |"
    )


def compute_neighbors(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Similarities of each image's neighbors, as the service finds them."""
    rows = np.arange(len(images))
    one_set = ImageSet(images, np.zeros(len(images), np.int32), {}, (), (0, 255))
    run = make_compute(load_network(), one_set, rows, choose_size(*images.shape[1:3]), threads=1)
    padded = np.pad(rows, (0, -len(rows) % 32), mode="edge").astype(np.int32)
    return np.concatenate([run(padded[at : at + 128]) for at in range(0, len(padded), 128)])[: len(rows)]


def plant(
    built: Built, rows: NDArray[np.int64], other: Built
) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.int64]]]:
    """Yield for each fault its name, a few faulty images, and which rows of the sample they replace."""
    draws = np.random.default_rng(1)
    count = max(2, round(PLANTED * len(rows)))
    for name, change in FAULTS.items():
        places = np.sort(draws.choice(len(rows), count, replace=False))
        faulty = change(built.images[rows[places]].astype(np.float32))
        yield name, faulty.clip(0, 255).round().astype(np.uint8), places
    places = np.sort(draws.choice(len(rows), count, replace=False))
    foreign = other.images[draws.choice(len(other.images), count, replace=False)]
    yield "off-topic", fit(foreign, built.images.shape[1:]), places


def fit(images: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Give images of another set the size and the channels of this one."""
    rows, columns = (np.arange(side) * images.shape[axis] // side for axis, side in ((1, shape[0]), (2, shape[1])))
    sized = images[:, rows][:, :, columns]
    return np.repeat(sized[..., :1], 3, axis=-1) if sized.shape[-1] < shape[-1] else sized[..., : shape[-1]]


def main(names: list[str]) -> None:
    names = names or list(sets_of_lot(LOT))
    print("| set | groups | true groups: deviations | random groups | flattery that is stated | of a linear head |")
    print("|---|---|---|---|---|---|")
    for name in names:
        built = load_built(name)
        if len(np.unique(built.groups)) >= FEWEST_GROUPS:
            print(measure_groups(name), flush=True)
    kinds = [*FAULTS, "off-topic", "the same by pixels alone"]
    print(f"\n| set | images | listed unchanged | {' | '.join(kinds)} |\n|---|---|---{'|---' * len(kinds)}|")
    for place, name in enumerate(names):
        built, other = load_built(name), load_built(names[place - 1])
        rows = np.sort(np.random.default_rng(0).permutation(len(built.labels))[:MOST_IMAGES])
        features, _, _ = compute(name)

        def find(pixels: NDArray[np.uint8], features: NDArray[np.float32] | None) -> set[int]:
            one_set = ImageSet(pixels, np.zeros(len(pixels), np.int32), {}, (), (0, 255))
            similarity = None if features is None else find_neighbors(normalize(features)).similarity
            return {image.row for image in find_odd_images(one_set, similarity)}

        pixels = built.images[rows]
        cells = [f"{len(find(pixels, features)):,}"]
        for _, faulty, places in plant(built, rows, other):
            changed, changed_features = pixels.copy(), features.copy()
            changed[places], changed_features[places] = faulty, compute_neighbors(faulty)
            cells.append(f"{len(find(changed, changed_features) & set(places.tolist()))} of {len(places)}")
        cells.append(f"{len(find(changed, None) & set(places.tolist()))} of {len(places)}")
        print(f"| {name} | {len(rows):,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
