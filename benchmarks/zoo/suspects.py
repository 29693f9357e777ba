"""The search for wrong labels on the zoo's sets, clean and with planted wrong labels, compared with the truth.

The networks' probabilities are kept in the cache folder: a change of how they are judged shows in the table without
training. With `--features`, heads on pretrained features judge, too, and the service's own rule chooses between them.
"""

import argparse
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import worker.training.preload  # noqa: F401 - chooses the backend of Keras
from analysis.arrays.dataset import ImageSet
from benchmarks.zoo.cuts import Cut
from benchmarks.zoo.draw import open_set, sealed_sets
from benchmarks.zoo.faults import EVERYWHERE, wrong_labels
from benchmarks.zoo.features import compute_rows
from benchmarks.zoo.packages import cache_folder
from benchmarks.zoo.registry import ZOO
from worker.training.suspects.estimate import LabelEstimate, estimate
from worker.training.suspects.linear_head import predict_from_features
from worker.training.suspects.planting import SUREST, SUSPECTED
from worker.training.suspects.run import choose_better
from worker.training.suspects.search import Found, find_suspects

# Kinds of wrong labels and their shares, in the order in which they are searched.
CONDITIONS = (
    ("clean", 0.0),
    ("random", 0.15),
    ("confusable", 0.05),
    ("random", 0.25),
    ("random", 0.05),
    ("confusable", 0.25),
)
IMAGES = 1200
PARTS = (0.6, 0.8)
SEED = 3


@dataclass(frozen=True)
class Searched:
    """The judgement of a set. said: (images, classes) probabilities. given, true: (images,) labels."""

    name: str
    kind: str
    share: float
    said: NDArray[np.float32]
    given: NDArray[np.int32]
    true: NDArray[np.int32]
    splits: dict[str, NDArray[np.int64]]


def search(name: str, kind: str, share: float, images: int, *, unseal: bool, features: bool = False) -> Searched:
    """Search a set, or the part of it that is drawn for that many images, unless that was done before.

    Args:
        features: whether heads on pretrained features judge, too, as in the service.

    Raises:
        Sealed: if the set is sealed and shall stay so.
    """
    built = open_set(name, unseal=unseal)
    draws = np.random.default_rng([zlib.crc32(name.encode()), SEED])
    rows = np.sort(draws.permutation(len(built.labels))[:images])
    classes, true = np.unique(built.labels[rows], return_inverse=True)
    order, ends = draws.permutation(len(rows)), [round(part * len(rows)) for part in PARTS]
    splits = dict(zip(EVERYWHERE, map(np.sort, np.split(order, ends)), strict=True))
    cut = Cut(built.images[rows], true.astype(np.int32), splits, built.groups[rows], len(classes))
    planted, _ = wrong_labels(kind, EVERYWHERE)(cut, draws, share) if share else (cut, [])
    file = cache_folder() / "suspects" / f"{name}-{kind}-{share}-{images}.npy"
    if not file.exists():
        names = tuple(built.classes[label] for label in classes)
        found = find_suspects(
            ImageSet(cut.images, planted.labels, splits, names, (0, 255)), np.arange(len(rows), dtype=np.int32), SEED
        )
        file.parent.mkdir(exist_ok=True)
        np.save(file, found.probabilities)
    said = np.load(file)
    if features:
        computed = compute_rows(built, rows, file.parent / f"{name}-{images}-features.npy")
        heads = predict_from_features(computed, planted.labels, len(classes), np.arange(len(rows)), SEED)
        judged = ImageSet(cut.images, planted.labels, splits, built.classes, (0, 255))
        said = choose_better([Found(said, 0, 0), Found(heads, 0, 0)], judged, SEED).probabilities
    return Searched(name, kind, share, said, planted.labels, cut.labels, splits)


def row_of(one: Searched) -> str:
    """A line of the table."""
    estimated, wrong = _estimate(one), one.given != one.true
    what = "clean" if not one.share else f"{100 * one.share:.0f}% {one.kind}"
    agreement = f"{100 * (one.said.argmax(axis=1) == one.given).mean():.0f}%"
    head = [
        one.name,
        what,
        f"{estimated.is_judged.sum():,}",
        agreement,
        f"{100 * estimated.planted.found:.0f}%, {100 * estimated.planted.accused:.1f}%",
    ]
    if estimated.verdict == "too_hard":
        return f"| {' | '.join([*head, 'too hard', f'{wrong.sum():,}'])} | | | |"
    return f"| {' | '.join([*head, *figures_of(estimated, one, wrong)])} |"


def figures_of(estimated: LabelEstimate, one: Searched, wrong: NDArray[np.bool_]) -> list[str]:
    judged, counts = estimated.judged, estimated.counts
    true = (wrong & estimated.is_judged).sum()
    listed, sure = judged.wrong > SUSPECTED, judged.wrong >= SUREST
    moved = listed & wrong
    return [
        f"{counts.count:,} ({counts.low:,} to {counts.high:,})",
        f"{true:,}" + ("" if counts.low <= true <= counts.high else " (outside)"),
        f"{(listed & wrong).sum():,} of {listed.sum():,}",
        f"{(sure & wrong).sum():,} of {sure.sum():,}",
        f"{100 * (judged.suggested[moved] == one.true[moved]).mean():.0f}%" if moved.any() else "",
    ]


HEAD = (
    "| set | wrong labels | images | agreement | planted: found, others accused | said | true | listed: wrong "
    "| surest: wrong | right class |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def summarize(searched: Sequence[Searched]) -> str:
    """Return how many searches can tell, and how often their ranges hold."""
    told = [(one, estimated) for one in searched if (estimated := _estimate(one)).verdict == "can_tell"]
    holds = sum(e.counts.low <= ((one.given != one.true) & e.is_judged).sum() <= e.counts.high for one, e in told)
    clean = [float((e.judged.wrong > SUSPECTED).mean()) for one, e in told if not one.share]
    listed = sum((e.judged.wrong > SUSPECTED).sum() for _, e in told)
    right = sum(((e.judged.wrong > SUSPECTED) & (one.given != one.true)).sum() for one, e in told)
    return (
        f"{len(told)} of {len(searched)} searches can tell; the true count is in the range of {holds}. "
        f"Of {listed:,} listed labels {right:,} are wrong. "
        f"Of the {len(clean)} clean sets at most {100 * max(clean, default=0):.1f}% are listed."
    )


def _estimate(one: Searched) -> LabelEstimate:
    return estimate(one.said, one.given, one.splits, SEED)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo suspects", description=__doc__)
    parser.add_argument("--sets", nargs="*", choices=list(ZOO), help="by default all that are open")
    parser.add_argument("--images", type=int, default=IMAGES, help="drawn of each set, at most")
    parser.add_argument("--unseal", action="store_true", help="judge with the sealed sets, and with no others")
    parser.add_argument("--features", action="store_true", help="judge with heads on pretrained features, too")
    parser.add_argument("--save", type=Path, help="a file for the table")
    chosen = parser.parse_args(arguments)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    sealed = sealed_sets()
    names = chosen.sets or [name for name in ZOO if (name in sealed) == chosen.unseal]
    lines, searched = [], []
    for (kind, share), name in product(CONDITIONS, names):
        searched.append(search(name, kind, share, chosen.images, unseal=chosen.unseal, features=chosen.features))
        lines.append(row_of(searched[-1]))
        print(lines[-1], flush=True)
    table = "\n".join([*HEAD, *sorted(lines), "", summarize(searched)])
    print(summarize(searched))
    if chosen.save is not None:
        chosen.save.write_text(table + "\n", "utf-8")
