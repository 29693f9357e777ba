"""Histories that other programs have recorded: which of their curves is which. Tables, scalars, Keras' dictionary."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from reprlib import repr as short
from typing import Any

from heldout.diagnosis.history import Curve, History, figure
from heldout.diagnosis.thresholds import MAX_SHOWN_NAME

Series = Mapping[int, float | None]  # by epoch or step; None where a value was not finite

# Training figures of other programs are taken for what Keras' `fit` reports: averages over each epoch.
_FIELDS = {
    ("training", "loss"): "fit_loss",
    ("training", "accuracy"): "fit_accuracy",
    ("heldout", "loss"): "validation_loss",
    ("heldout", "accuracy"): "validation_accuracy",
}
_FIELD_NAMES = {field: field.replace("fit", "training").replace("_", " ") for field in _FIELDS.values()}
_WORDS_OF_VALIDATION = {"val", "valid", "validation", "dev", "eval", "evaluation"}
_WORDS_OF_TRAINING = {"train", "training", "fit"}
_WORDS_OF_ACCURACY = {"acc", "accuracy"}
# Words that say nothing of which curve it is, or that every curve of a file has.
_WORDS_WITHOUT_MEANING = (
    _WORDS_OF_VALIDATION
    | _WORDS_OF_TRAINING
    | _WORDS_OF_ACCURACY
    | {"loss", "epoch", "sparse", "categorical", "binary", ""}
)
_WORDS_OF_OTHER_CURVES = {
    # Figures of single batches, and accuracies of another kind.
    *("batch", "step", "iteration", "iterations", "vs", "top"),
    # A split that is neither of the two.
    *("test", "testing"),
    # Parts of a loss.
    *("l1", "l2", "reg", "regularization", "regularisation", "regularizer", "regulariser", "penalty", "decay", "kl"),
    *("aux", "auxiliary"),
}
EXPECTED = "a history needs a training and a validation curve of the loss or of the accuracy (`loss` and `val_loss`)"


def from_keras(history: Mapping[str, object]) -> History:
    """Read the dictionary `model.fit(...).history`, or a similar one; other entries are ignored.

    Raises:
        ValueError: if it has no pair of curves, curves of different lengths or not of numbers, or several that could
            be meant.
    """
    names = choose_curves([name for name in history if history[name]])
    curves: dict[str, Any] = {field: _curve_of(field, history[name]) for field, name in names.items()}
    if len(set(map(len, curves.values()))) > 1:
        lengths = ", ".join(f"{_FIELD_NAMES[field]} {len(values)}" for field, values in curves.items())
        raise ValueError(f"the curves differ in length: {lengths}")
    return History(**curves)


def from_series(series: Mapping[str, Series], epochs: Mapping[str, AbstractSet[int]] | None = None) -> History:
    """Read curves by name, each with values by epoch (or step); epochs that a curve lacks are left out.

    Args:
        epochs: by the curve's name which of its places are numbers of epochs, with those of epochs without a value;
            others only say what belongs together.

    Raises:
        ValueError: if it has no pair of curves, none with epochs in common, or several that could be meant.
    """
    names = choose_curves([name for name in series if series[name]])
    common = sorted(set.intersection(*(set(series[name]) for name in names.values())))
    if not common:
        raise ValueError(f"the curves have no epoch in common: {', '.join(_FIELD_NAMES[field] for field in names)}")
    numbers = _epoch_numbers(common, [(epochs or {}).get(name, frozenset()) for name in names.values()])
    curves: dict[str, Any] = {field: tuple(figure(series[name][at]) for at in common) for field, name in names.items()}
    return History(**curves, numbers=numbers)


def from_table(text: str, max_rows: int | None = None) -> History:
    """Read a table with a header line and one line per epoch, as Keras' CSVLogger writes it.

    Commas, semicolons and tabs separate; where there is a column `epoch`, lines of the same epoch belong together, and
    an empty cell or `NA` is no value.

    Raises:
        ValueError: as `from_series`, or if there are more rows below the names than `max_rows`.
    """
    lines = [line for line in text.removeprefix("\ufeff").splitlines() if line]
    separator = max(",;\t", key=lines[0].count) if lines else ","
    try:
        names, *rows = list(csv.reader(lines, delimiter=separator)) or [[]]
    except csv.Error as error:
        raise ValueError(f"the table cannot be read: {error}") from None
    if max_rows is not None and len(rows) > max_rows:
        raise ValueError(f"the table has {len(rows):,} rows below its names; expected at most {max_rows:,}")
    of_epoch = next((name for name in names if name.strip().lower() == "epoch"), "epoch")
    series: dict[str, dict[int, float | None]] = {}
    epochs: set[int] = set()
    for place, row in enumerate(rows):
        # Short rows stay short: to fill them up would take rows times names, of which a small file can have many.
        cells = {name: value for name, cell in zip(names, row, strict=False) if (value := _number_in(cell)) is not None}
        epoch = figure(cells.get(of_epoch))
        at = place if epoch is None else int(epoch)
        if epoch is not None:
            epochs.add(at)
        for name, value in cells.items():
            series.setdefault(name, {})[at] = figure(value)
    return from_series(series, dict.fromkeys(series, epochs))


def from_scalars(scalars: Mapping[str, Iterable[tuple[int, float]]]) -> History:
    """Of TensorBoard's scalars: for each run and tag (`validation/epoch_loss`) pairs of step and value.

    Raises:
        ValueError: as `from_series`.
    """
    series = {name: {step: figure(value) for step, value in pairs} for name, pairs in scalars.items()}
    return from_series(series, {name: values.keys() for name, values in series.items() if _is_by_epoch(name)})


def choose_curves(names: Sequence[str]) -> dict[str, str]:
    """For each field of a history the name of its curve: of several the plainest one.

    Raises:
        ValueError: if there is no pair of curves, or several could be meant.
    """
    found: dict[str, str] = {}
    roles = _roles(names)
    for role, field in _FIELDS.items():
        ranked = sorted((_extra_words(name), name) for name in names if roles[name] == role)
        if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
            same = _listing(name for rank, name in ranked if rank == ranked[0][0])
            raise ValueError(f"several curves could be the {_FIELD_NAMES[field]}: {same}")
        if ranked:
            found[field] = ranked[0][1]
    pairs = (("fit_loss", "validation_loss"), ("fit_accuracy", "validation_accuracy"))
    if not any(one in found and other in found for one, other in pairs):
        raise ValueError(f"{EXPECTED}; its curves are: {_listing(sorted(names)) or 'none'}")
    return found


def _roles(names: Sequence[str]) -> dict[str, tuple[str, str] | None]:
    """Of which split each curve is, and of which figure; None where it is neither's."""
    words = {name: set(_words(name)) for name in names}
    figures = {
        name: "loss" if "loss" in of_name else "accuracy" if of_name & _WORDS_OF_ACCURACY else None
        for name, of_name in words.items()
    }
    folders = {name: set(_words(name.rpartition("/")[0])) for name in names if figures[name]}
    # A folder that all of them lie in, such as `l2_0.01/`, tells none from another.
    shared = set.intersection(*folders.values()) if folders else set()
    roles: dict[str, tuple[str, str] | None] = {}
    for name in names:
        kind = figures[name]
        is_other = (
            kind is None or (folders[name] - shared | set(_words(name.rpartition("/")[2]))) & _WORDS_OF_OTHER_CURVES
        )
        split = "heldout" if words[name] & _WORDS_OF_VALIDATION else "training"
        roles[name] = None if kind is None or is_other else (split, kind)
    return roles


def _is_by_epoch(name: str) -> bool:
    """Whether a scalar's steps are epochs, as those of Keras' `epoch_loss`. Lightning's `loss_epoch` counts batches."""
    return _words(name.rpartition("/")[2])[0] == "epoch"


def _epoch_numbers(places: Sequence[int], epochs: Sequence[AbstractSet[int]]) -> tuple[int, ...]:
    """What epochs at these places are called, counting from 1; nothing where it is not known, or 1, 2, 3 …

    Args:
        epochs: of each curve, which of its places are numbers of epochs.
    """
    if not all(set(places) <= of_curve for of_curve in epochs):
        return ()
    first = min(map(min, epochs))
    numbers = tuple(place + 1 if first == 0 else place for place in places)
    return () if numbers == tuple(range(1, len(numbers) + 1)) else numbers


def _extra_words(name: str) -> int:
    return sum(word not in _WORDS_WITHOUT_MEANING for word in _words(name))


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", name.lower())


def _listing(names: Iterable[str]) -> str:
    """The first of them."""
    return ", ".join(repr(name[:MAX_SHOWN_NAME]) for name in islice(names, 12))


def _curve_of(field: str, values: object) -> Curve:
    if not isinstance(values, list | tuple):
        raise ValueError(f"the {_FIELD_NAMES[field]} is {short(values)}; expected a list of numbers")
    return tuple(map(figure, values))


def _number_in(cell: str) -> float | None:
    """A cell's number; None where there is none."""
    try:
        return float(cell)
    except ValueError:
        return None
