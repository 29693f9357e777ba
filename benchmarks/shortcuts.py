"""How often a planted shortcut is suspected and confirmed, and how often columns that say nothing are.

`python -m benchmarks.shortcuts` trains a small network on each set as it is, and with a property that follows a column
in all splits. The column names the class of nine in ten images. Each training also has 24 columns that say nothing. One
row has the column without a property, so what is confirmed there is a false alarm.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.answers.shortcuts import make_mask
from analysis.arrays.columns import COLUMNS_FILE, write_columns
from analysis.arrays.dataset import ImageSet
from benchmarks.diagnosis.sets import cut
from benchmarks.imbalanced import train_small
from heldout.diagnosis import Evaluation, diagnose
from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.history import History
from heldout.diagnosis.rules.groups import list_suspected
from worker.training.data.training_data import TrainingData
from worker.training.measuring.evaluate import measure_columns
from worker.training.measuring.predictor import Predictor
from worker.training.measuring.shortcuts import measure_interventions

SETS = {"digits": (900, 300, 500, 97), "mnist5k": (2500, 800, 1000, 700)}
COLUMN_ONLY = "nothing, but the column follows"
PLANTED = (COLUMN_ONLY, "border", "top left corner", "bottom right corner", "brightness")
SEEDS, EPOCHS, NULL_COLUMNS, FOLLOWS = 3, 12, 24, 0.9
SPLITS = ("train", "validation", "test")


def plant(images: ImageSet, what: str, values: NDArray[np.int64]) -> ImageSet:
    """Give each image a property by the value of its column, from dark to light."""
    if what == COLUMN_ONLY:
        return images
    low, high = images.value_range
    pixels = images.images.astype(np.float64)
    level = values / (len(images.classes) - 1)
    if what == "brightness":
        pixels = low + (pixels - low) * 0.5 + (level * (high - low) * 0.5)[:, None, None, None]
    else:
        mask = make_mask(what, images.images.shape[1], images.images.shape[2])
        pixels[:, mask] = (low + level * (high - low))[:, None, None]
    return replace(images, images=pixels.round().astype(images.images.dtype))


def find(
    predictor: Predictor, data: TrainingData, columns: Mapping[str, list[str | None]]
) -> tuple[Finding | None, set[str]]:
    """Measure as at the end of a training, and return the finding, if there is one, and all suspected columns."""
    said = {split: predictor.predict(rows) for split, rows in data.rows.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / COLUMNS_FILE
        write_columns(columns, file)
        measured = measure_columns(file, data, said)
    tried = measure_interventions(predictor, data, said, measured)
    splits, suspected = {}, set[str]()
    for split, predictions in said.items():
        right = data.make_answers(split, predictions).right
        figures = SplitFigures(
            float(right.mean()), len(right), columns=measured.get(split, ()), interventions=tried.get(split, ())
        )
        splits[split] = figures
        suspected |= {column.name for column in list_suspected(figures.columns, figures.counts)}
    found = diagnose(History(), None, Evaluation(splits, tuple(data.classes))).findings
    return next((finding for finding in found if finding.code == "shortcut_suspected"), None), suspected


def describe(finding: Finding | None) -> str:
    if finding is None:
        return "none"
    evidence = finding.evidence
    if "what" not in evidence:
        return f"note ({evidence['column']})"
    lost, control = (round(100 * evidence[name]) for name in ("lost", "lost_by_control"))
    return f"{evidence['what']}, {lost} points (control {control})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    seeds = range(parser.parse_args().seeds)
    print("| set | planted | suspected | confirmed | of | null columns suspected | of | found |")
    print("|---|---|---|---|---|---|---|---|")
    for dataset, counts in SETS.items():
        plain = cut(dataset, counts)
        for what in (None, *PLANTED):
            found, nulls = list[Finding | None](), 0
            for seed in seeds:
                draw = np.random.default_rng([seed, 5])
                classes, images = len(plain.classes), plain
                columns = {
                    f"null {place}": draw.integers(0, 2 + place % 9, len(plain.labels)).astype(str).tolist()
                    for place in range(NULL_COLUMNS)
                }
                if what is not None:
                    follows = draw.random(len(plain.labels)) < FOLLOWS
                    values = np.where(follows, plain.labels, draw.integers(0, classes, len(plain.labels)))
                    columns["camera"] = [f"camera {value}" for value in values.tolist()]
                    images = plant(plain, what, values)
                *_, (predictor, data) = train_small(dataset, images, SPLITS, seed, EPOCHS)
                finding, names = find(predictor, data, columns)
                found.append(finding)
                nulls += len(names - {"camera"})
            confirmed = sum(each is not None and each.severity == "warning" for each in found)
            suspected = sum(each is not None for each in found)
            said = "; ".join(dict.fromkeys(map(describe, found)))
            cells = (
                dataset,
                what or "nothing",
                suspected,
                confirmed,
                len(found),
                nulls,
                NULL_COLUMNS * len(found),
                said,
            )
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    main()
