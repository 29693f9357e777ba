"""Plants wrong labels in real sets and counts how many of the first suspects they are: `python -m benchmarks.suspects`.

Each condition is a line of JSON in `benchmarks/suspects.jsonl`; a run adds those that it lacks, and prints the table.
`fashion_mnist` is read from the folder that HELDOUT_DATASETS names; without it, it is left out.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import worker.training.preload  # noqa: F401 - chooses the backend of Keras
from heldout.settings import Settings
from models.arrays import ImageSet
from models.bundled import BUNDLED, SourceMissing
from worker.training.suspects.estimate import estimated
from worker.training.suspects.search import find_suspects

LINES = Path(__file__).with_suffix(".jsonl")
SHARES = (0.05, 0.15, 0.35)
KINDS = ("uniform", "pairs")
SHUFFLE = 11
# Images that the method was fixed on, and images that it was then scored on: of the shuffle, from and to.
FIXED_ON = {"digits": (0, 1797), "mnist5k": (0, 2000), "fashion_mnist": (0, 2000)}
SCORED_ON = {"digits": (0, 1797), "mnist5k": (2000, 4500), "fashion_mnist": (2000, 4500)}
SEEDS = {"fixed": 1, "scored": 2}


def taken(name: str, first: int, last: int) -> ImageSet:
    """Some images of a real set; one that is not here raises SourceMissing."""
    whole = BUNDLED[name].read(Settings().datasets)
    rows = np.random.default_rng(SHUFFLE).permutation(len(whole.labels))[first:last]
    images = np.ascontiguousarray(whole.images[rows])
    labels = np.asarray(whole.labels[rows], np.int32)
    return ImageSet(images, labels, {"train": np.arange(len(rows))}, whole.classes, whole.value_range)


def planted(labels: NDArray[np.int32], kind: str, share: float, classes: int, seed: int) -> NDArray[np.int32]:
    """The labels with a share of them wrong: drawn from all other classes, or always the next class."""
    draws = np.random.default_rng([seed, classes, round(1000 * share)])
    wrong = draws.permutation(len(labels))[: round(share * len(labels))]
    given = labels.copy()
    moved = draws.integers(1, classes, len(wrong)) if kind == "uniform" else 1
    given[wrong] = (labels[wrong] + moved) % classes
    return given


def confident_learning(said: NDArray[np.floating], labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Northcutt, Jiang and Chuang 2021: images in the off-diagonal cells of the confident joint.

    A class' threshold is the mean probability that its own images have of it; an image counts for the class with the
    greatest probability among those whose thresholds it reaches.
    """
    classes = said.shape[1]
    thresholds = np.array([said[labels == own, own].mean() if (labels == own).any() else 1.0 for own in range(classes)])
    reached = said >= thresholds
    counted = np.where(reached, said, -1.0).argmax(axis=1)
    flagged: NDArray[np.bool_] = reached.any(axis=1) & (counted != labels)
    return flagged


def by_confident_learning(said: NDArray[np.floating], labels: NDArray[np.int32]) -> NDArray[np.floating]:
    """(images,) a score to rank by: flagged ones first, by normalised margin, as its authors' package does."""
    rows = np.arange(len(labels))
    others = said.copy()
    others[rows, labels] = -1
    margin = others.max(axis=1) - said[rows, labels]
    score: NDArray[np.floating] = margin + 10.0 * confident_learning(said, labels)
    return score


def area_under_curve(score: NDArray[np.floating], wrong: NDArray[np.bool_]) -> float:
    """Chance that a planted label ranks before another one (Mann and Whitney)."""
    ranks = np.empty(len(score))
    _, which, counts = np.unique(score, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[which]
    count = int(wrong.sum())
    return float((ranks[wrong].sum() - count * (count + 1) / 2) / (count * (len(wrong) - count)))


def precision(score: NDArray[np.floating], wrong: NDArray[np.bool_], count: int) -> float:
    """Share of planted labels among the first `count`."""
    return float(wrong[np.argsort(-score, kind="stable")[: max(1, count)]].mean())


def measured(name: str, kind: str, share: float, rows: tuple[int, int], seed: int) -> dict[str, Any]:
    """The figures of one condition."""
    images = taken(name, *rows)
    labels = planted(images.labels, kind, share, len(images.classes), seed)
    wrong = labels != images.labels
    began = perf_counter()
    given = ImageSet(images.images, labels, images.splits, images.classes, images.value_range)
    found = find_suspects(given, np.arange(len(labels), dtype=np.int32), seed)
    line: dict[str, Any] = {"set": name, "kind": kind, "share": share, "rows": list(rows), "seed": seed}
    count = estimated(found.judged, found.said, labels)
    likely = found.judged.wrong > 0.5
    rest = {
        "images": len(labels),
        "planted": int(wrong.sum()),
        "right_by_networks": round(float((found.said.argmax(axis=1) == images.labels).mean()), 4),
        "estimate": [count.low, count.count, count.high],
        "listed": int(likely.sum()),
        "listed_planted": int((likely & wrong).sum()),
        "confident_learning_count": int(confident_learning(found.said, labels).sum()),
        "seconds": round(perf_counter() - began, 1),
    }
    if wrong.any():
        scores = {"ours": found.judged.log_odds, "confident_learning": by_confident_learning(found.said, labels)}
        for who, score in scores.items():
            rest[who] = {
                "first_fifth": round(precision(score, wrong, round(wrong.sum() / 5)), 4),
                "as_many": round(precision(score, wrong, int(wrong.sum())), 4),
                "area": round(area_under_curve(score, wrong), 4),
            }
        moved = likely & wrong
        rest["suggested_right"] = round(float((found.judged.suggested[moved] == images.labels[moved]).mean()), 4)
    return line | rest


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each condition."""
    head = [
        "| set | planted | first fifth | as many as planted | area under the curve | estimate | listed | right class |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *map(_row, lines)])


def _place(line: dict[str, Any]) -> tuple[str, float, str]:
    return line["set"], line["share"], line["kind"]


def _row(line: dict[str, Any]) -> str:
    low, count, high = line["estimate"]
    counts = f"{count:,} ({low:,} to {high:,}) · {line['confident_learning_count']:,}"
    listed = f"{line['listed']:,}, {line['listed_planted']:,} of them planted"
    if not line["planted"]:
        return f"| {line['set']}, {line['images']:,} | none | | | | {counts} | {listed} | |"
    figures = [
        f"{line['ours'][name]:.{digits}f} · {line['confident_learning'][name]:.{digits}f}"
        for name, digits in (("first_fifth", 2), ("as_many", 2), ("area", 3))
    ]
    what = f"{line['planted']:,} ({100 * line['share']:.0f} %, {line['kind']})"
    row = [f"{line['set']}, {line['images']:,}", what, *figures, counts, listed, f"{line['suggested_right']:.2f}"]
    return "| " + " | ".join(row) + " |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--on", choices=("fixed", "scored"), default="scored", help="which images and seed")
    parser.add_argument("--sets", nargs="*", default=list(SCORED_ON))
    parser.add_argument("--lines", type=Path, default=LINES, help="file of the figures")
    chosen = parser.parse_args(arguments)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    rows_of, seed = (FIXED_ON if chosen.on == "fixed" else SCORED_ON), SEEDS[chosen.on]
    lines = []
    if chosen.lines.is_file():
        lines = [json.loads(line) for line in chosen.lines.read_text(encoding="utf-8").splitlines()]
    for share, kind in [(share, kind) for share in SHARES for kind in KINDS] + [(0.0, "uniform")]:
        for name in chosen.sets:
            if any((one["set"], one["kind"], one["share"], one["seed"]) == (name, kind, share, seed) for one in lines):
                continue
            try:
                lines.append(measured(name, kind, share, rows_of[name], seed))
            except SourceMissing as missing:
                print(f"{name} is left out: {missing}")
                continue
            print(json.dumps(lines[-1]), flush=True)
            with chosen.lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps(lines[-1]) + "\n")
    print(table(sorted((one for one in lines if one["seed"] == seed), key=_place)))


if __name__ == "__main__":
    main()
