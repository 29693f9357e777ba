"""Measure how well true copies are separated from images that only look alike, set by set.

A clean set has no copy under two labels, since its labels are known by construction: each reported conflict is false.
Then half of its test images are replaced by copies of training images, with their own labels or with others. In the
end they are replaced by look-alikes: a training image with a small dot, encoded again, whose class is another.
"""

import tempfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from benchmarks.zoo.alterations import recompressed
from benchmarks.zoo.cuts import Change, Cut, NotApplicable, cut_of
from benchmarks.zoo.draw import open_set
from benchmarks.zoo.faults import COPIED, copies, plant
from benchmarks.zoo.registry import ZOO
from benchmarks.zoo.sets import Built
from worker.ingest.audit.copies import Copies, build_relations, find_copies
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.scan import scan
from worker.ingest.images.pixels import Pixels
from worker.ingest.pool import ProcessPool

KINDS = ("exact", "recompressed", "scaled", "cropped")
MOST = 2000  # images of a set
LEVEL = 2  # half of the test images
DOT, CONTRAST = 1 / 16, 30  # of a side, and levels


@dataclass(frozen=True)
class Row:
    """What was measured on one set.

    false_before, false: images that a conflict names in the clean set, with all look-alikes taken for one picture, and
    as it is. leaks: images that were named as copies in another split.
    dotted: the shares of look-alikes that differ in a dot and are called one picture, before and now.
    found: for each kind the shares of true copies that are found, with their own labels, and with others' before and
    now; None if none could be planted.
    """

    name: str
    images: int
    false_before: int
    false: int
    leaks: int
    dotted: tuple[float, float] | None
    found: dict[str, tuple[float, float, float] | None]


def main(names: list[str], *, unseal: bool = False) -> None:
    """Measure the sets, and print a table of them."""
    rows = []
    print(HEADER)
    for name in names:
        rows.append(measure(name, open_set(name, unseal=unseal)))
        print(line_of(rows[-1]), flush=True)
    print(line_of(total_of(rows)))


HEADER = "\n".join(
    (
        "| set | images | false conflicts per 1,000 images | false copies across splits per 1,000 | with a dot | "
        + " | ".join(f"{kind}: own label, other label" for kind in KINDS)
        + " |",
        "|---" * (5 + len(KINDS)) + "|",
    )
)


def measure(name: str, built: Built) -> Row:
    """What an audit says of a set, clean and with copies planted."""
    clean = capped(cut_of(built, ZOO[name].folds))
    seen = found_in(clean)
    loose = as_before(seen)
    split_of = np.zeros(len(clean.labels), np.int8)
    for code, split in enumerate(SPLITS):
        split_of[clean.splits[split]] = code
    return Row(
        name,
        len(clean.labels),
        len(np.unique(differing(loose.near, clean.labels))),
        len(np.unique(differing(seen.near, clean.labels))),
        len(np.unique(differing(seen.near, split_of))),
        mistaken_of(clean),
        {kind: recall_of(clean, kind) for kind in KINDS},
    )


def recall_of(clean: Cut, kind: str) -> tuple[float, float, float] | None:
    """Shares of copies of a kind that are found: with their own labels; with other labels before and now."""
    shares = []
    for name in (f"{kind}_train_test", f"conflicting_{kind}_train_test"):
        try:
            planted = plant(clean, [(name, LEVEL)], seed=0)
        except NotApplicable:
            return None
        [change] = planted.changes
        found = found_in(planted.data)
        shares += [
            share_joined(seen, change) for seen in ((found,) if name.startswith(kind) else (as_before(found), found))
        ]
    own, before, now = shares
    return own, before, now


def mistaken_of(clean: Cut) -> tuple[float, float] | None:
    """Shares of look-alikes that are called one picture with two labels, before and now."""
    plant_dots = copies(dotted, "train", "test", other_label=True)
    try:
        data, [change] = plant_dots(clean, np.random.default_rng(0), COPIED[LEVEL])
    except NotApplicable:
        return None
    found = found_in(data)
    return share_joined(as_before(found), change), share_joined(found, change)


def dotted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """With a small square in another shade, as JPEG leaves it."""
    height, width, _ = image.shape
    side = max(1, round(DOT * min(height, width)))
    draw = np.random.default_rng(zlib.crc32(image.tobytes()))
    top, left = (int(draw.integers(length // 5, length - length // 5)) for length in (height, width))
    marked = image.astype(np.int16)
    place = marked[top : top + side, left : left + side]
    place += CONTRAST if place.mean() < 128 else -CONTRAST
    return recompressed(marked.clip(0, 255).astype(np.uint8))


def share_joined(seen: Copies, change: Change) -> float:
    """The share of the planted images that are in one cluster with the image that they were made of."""
    cluster = build_relations(seen, None).copy_of
    return float(np.mean(cluster[change.rows] == cluster[change.sources]))


def as_before(seen: Copies) -> Copies:
    """With images that look alike taken for copies, as before they were distinguished."""
    return replace(seen, near=np.concatenate([seen.near, seen.look_alikes]))


def differing(pairs: NDArray[np.int64], values: NDArray[np.integer]) -> NDArray[np.int64]:
    return pairs[values[pairs[:, 0]] != values[pairs[:, 1]]]


def capped(cut: Cut) -> Cut:
    """Without the referee, and some MOST images: whole groups of each split, drawn at random."""
    total = sum(len(cut.splits[split]) for split in SPLITS)
    chosen = []
    for split in SPLITS:
        of_split = cut.splits[split]
        names, of = np.unique(cut.groups[of_split], return_inverse=True)
        order = np.random.default_rng(0).permutation(len(names))
        sizes = np.cumsum(np.bincount(of)[order])
        last = len(names) if total <= MOST else int(np.searchsorted(sizes, MOST * len(of_split) / total))
        chosen.append(of_split[np.isin(of, order[: max(1, last)])])
    rows = np.sort(np.concatenate(chosen))
    place = np.full(len(cut.labels), -1)
    place[rows] = np.arange(len(rows))
    splits = {split: place[cut.splits[split]] for split in SPLITS}
    splits = {split: of_split[of_split >= 0] for split, of_split in splits.items()}
    return Cut(cut.images[rows], cut.labels[rows], splits, cut.groups[rows], cut.classes)


def found_in(cut: Cut) -> Copies:
    with tempfile.TemporaryDirectory(prefix="heldout-zoo-") as folder:
        pixels = Pixels.create(Path(folder, "images.npy"), cut.images.shape, cut.images.dtype)
        pixels.write(0, np.ascontiguousarray(cut.images).tobytes())
        classes = tuple(str(label) for label in range(cut.classes))
        dataset = IngestedDataset(pixels, cut.labels, cut.splits, classes, [""] * len(cut.labels), (0, 255))
        pool = ProcessPool(1)
        return find_copies(dataset, scan(dataset, pool), pool)


def total_of(rows: list[Row]) -> Row:
    """All images together, and the means of the sets' recalls."""
    found = {}
    for kind in KINDS:
        measured = [shares for row in rows if (shares := row.found[kind]) is not None]
        own, before, now = np.mean(measured, axis=0).tolist()
        found[kind] = (own, before, now)
    sums = (sum(getattr(row, name) for row in rows) for name in ("images", "false_before", "false", "leaks"))
    dotted = np.mean([row.dotted for row in rows if row.dotted is not None], axis=0).tolist()
    return Row("all", *sums, tuple(dotted), found)


def line_of(row: Row) -> str:
    """Markdown."""
    per_1000 = (f"{1000 * count / row.images:.1f}" for count in (row.false_before, row.false, row.leaks))
    before, now, leaks = per_1000
    cells = ["–" if shares is None else shown(*shares) for shares in row.found.values()]
    dotted = "–" if row.dotted is None else "{:.1%} → {:.1%}".format(*row.dotted)
    return f"| {row.name} | {row.images:,} | {before} → {now} | {leaks} | {dotted} | " + " | ".join(cells) + " |"


def shown(own: float, before: float, now: float) -> str:
    return f"{own:.1%}, {before:.1%} → {now:.1%}"
