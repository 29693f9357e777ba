"""Metrics of a network for each value of a column, such as each camera. Numbers are put into bins. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import NO_GROUP, Answers
from analysis.answers.metrics import NotMeasurable, contribute, describe_metric
from analysis.arrays.columns import Columns, read_columns
from heldout.metrics import FEWEST_OF_RAREST, METRICS
from heldout.stored.evaluation import StoredColumn, StoredGroup
from heldout.stored.results import MetricResult

# Each group needs images of its own, and more rows could not be read.
MAX_GROUPS = 50
# A column of more different numbers is a measurement, such as an age. Its images are divided into equal parts.
MAX_SINGLE_NUMBERS, BINS = 10, 4


@dataclass(frozen=True)
class GroupedImages:
    """The images of a dataset by the values of a column.

    names: of the groups. of_image: (images,) positions in `names`, or NO_GROUP for images without a value. why: why
    there are no groups.
    """

    names: tuple[str, ...]
    of_image: NDArray[np.int64]
    why: str | None = None


def group_images(values: Sequence[str | None]) -> GroupedImages:
    """Group images by their values, or by bins of their values if these are many different numbers."""
    known = sorted({value for value in values if value is not None})
    numbers = _parse_numbers(known)
    if numbers is not None:
        known.sort(key=numbers.__getitem__)
        if len(known) > MAX_SINGLE_NUMBERS:
            return _group_by_bins(np.array([np.nan if value is None else numbers[value] for value in values]))
    if len(known) > MAX_GROUPS:
        why = f"It has {len(known):,} different values; at most {MAX_GROUPS} are reported."
        return GroupedImages((), np.full(len(values), NO_GROUP), why)
    place_of = {value: place for place, value in enumerate(known)}
    of_image = [NO_GROUP if value is None else place_of[value] for value in values]
    return GroupedImages(tuple(known), np.array(of_image, np.int64))


def read_groups(columns: Path | None, name: str | None) -> NDArray[np.int64] | None:
    """Read the group of each image of a dataset by a column; None without that column."""
    values = None if columns is None or name is None else read_columns(columns).get(name)
    return None if values is None else group_images(values).of_image


def _parse_numbers(texts: Sequence[str]) -> dict[str, float] | None:
    """Return the number that each text is; None if one is not."""
    try:
        found = {text: float(text) for text in texts}
    except ValueError:
        return None
    return found if all(map(isfinite, found.values())) else None


def _group_by_bins(numbers: NDArray[np.float64]) -> GroupedImages:
    is_known = ~np.isnan(numbers)
    edges = np.unique(np.quantile(numbers[is_known], np.linspace(0, 1, BINS + 1)[1:-1]))
    of_image = np.where(is_known, np.searchsorted(edges, numbers), NO_GROUP)
    used, places = np.unique(of_image[is_known], return_inverse=True)
    of_image[is_known] = places
    bounds = [numbers[of_image == place] for place in range(len(used))]
    names = tuple(f"{np.min(inside):g} to {np.max(inside):g}" for inside in bounds)
    return GroupedImages(names, of_image.astype(np.int64))


def measure_groups(
    columns: Columns,
    answers: Mapping[str, Answers],
    source: Mapping[str, NDArray[np.integer]],
    costs: Sequence[Sequence[float]] | None = None,
) -> dict[str, tuple[StoredColumn, ...]]:
    """Compute every metric of the held-out splits for each value of each column.

    All intervals of a column hold together: each misses with its share of the error.

    Args:
        columns: of the whole dataset. answers: by split. source: (images,) where the split's images are in the dataset.
        costs: of each answer to each label, if the job has them.
    """
    grouped = {name: group_images(values) for name, values in columns.items()}
    return {
        split: tuple(
            _measure_column(name, each, own, source[split], costs).model_copy(
                update=_count_predicted_by_column(each, answers.get("train"), source.get("train"), own, source[split])
            )
            for name, each in grouped.items()
        )
        for split, own in answers.items()
        if split != "train" and grouped and len(own)
    }


def _count_predicted_by_column(
    grouped: GroupedImages,
    train: Answers | None,
    train_source: NDArray[np.integer] | None,
    held_out: Answers,
    source: NDArray[np.integer],
) -> dict[str, int]:
    """Count labels that the column alone predicts, and those of the largest class of training. Empty if unknown."""
    if train is None or train_source is None or not len(train) or grouped.why is not None:
        return {}
    classes = int(np.max(np.concatenate([train.labels, held_out.labels]))) + 1
    counts = np.zeros((len(grouped.names) + 1, classes), np.int64)  # the last row: images without a value
    np.add.at(counts, (grouped.of_image[train_source], train.labels), 1)
    usual = int(np.argmax(counts.sum(axis=0)))
    predicted = np.where(counts.any(axis=1), np.argmax(counts, axis=1), usual)
    right = predicted[grouped.of_image[source]] == held_out.labels
    return {"right_by_column": int(right.sum()), "right_by_majority": int((held_out.labels == usual).sum())}


def _measure_column(
    name: str,
    grouped: GroupedImages,
    answers: Answers,
    source: NDArray[np.integer],
    costs: Sequence[Sequence[float]] | None,
) -> StoredColumn:
    of_image = grouped.of_image[source]
    counts = np.bincount(of_image[of_image >= 0], minlength=len(grouped.names))
    confidence = 1 - 0.05 / max(1, int((counts >= FEWEST_OF_RAREST).sum()))
    groups = []
    for place in np.flatnonzero(counts).tolist():
        inside = answers.of(np.flatnonzero(of_image == place))
        is_enough = counts[place] >= FEWEST_OF_RAREST
        groups.append(
            StoredGroup(
                value=grouped.names[place],
                count=len(inside),
                right=int(inside.right.sum()),
                metrics=_measure_group(inside, costs, confidence) if is_enough else {},
                why=None if is_enough else f"Too few to say: {FEWEST_OF_RAREST} images are needed.",
            )
        )
    without = int((of_image == NO_GROUP).sum()) if grouped.why is None else 0
    return StoredColumn(name=name, groups=tuple(groups), without_value=without, why=grouped.why)


def _measure_group(
    answers: Answers, costs: Sequence[Sequence[float]] | None, confidence: float
) -> dict[str, MetricResult]:
    found: dict[str, MetricResult] = {}
    for metric in METRICS:
        if METRICS[metric].depends_on == "groups" or (metric == "cost" and costs is None):
            continue
        try:
            found[metric] = describe_metric(metric, contribute(metric, answers, costs), confidence)
        except NotMeasurable as why:
            found[metric] = MetricResult(value=None, interval=None, why=str(why))
    return found
