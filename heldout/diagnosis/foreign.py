"""Histories that other programs have recorded: which of their curves is which. Tables, scalars, Keras' dictionary."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

from heldout.diagnosis.history import History

Series = Mapping[int, float | None]  # by epoch or step; None where a value was not finite

# Training figures of other programs are taken for what Keras' `fit` reports: averages over each epoch.
_FIELDS = {
    ("training", "loss"): "fit_loss",
    ("training", "accuracy"): "fit_accuracy",
    ("heldout", "loss"): "validation_loss",
    ("heldout", "accuracy"): "validation_accuracy",
}
_SHOWN = {field: field.replace("fit", "training").replace("_", " ") for field in _FIELDS.values()}
_HELDOUT = {"val", "valid", "validation", "dev", "eval", "evaluation"}
_TRAINING = {"train", "training", "fit"}
_ACCURACY = {"acc", "accuracy"}
# Words that say nothing of which curve it is, or that every curve of a file has.
_PLAIN = _HELDOUT | _TRAINING | _ACCURACY | {"loss", "epoch", "sparse", "categorical", "binary", ""}
# Figures of single batches, and accuracies of another kind.
_OTHER = {"batch", "step", "iteration", "iterations", "vs", "top"}
EXPECTED = "a history needs a training and a validation curve of the loss or of the accuracy (`loss` and `val_loss`)"


def from_keras(history: Mapping[str, Sequence[float | None]]) -> History:
    """Of the dictionary that `model.fit(...).history` holds, or of one like it.

    Raises:
        ValueError: if it has no pair of curves, curves of different lengths, or several that could be meant.
    """
    chosen = {field: history[name] for field, name in _chosen([name for name in history if history[name]]).items()}
    if len(set(map(len, chosen.values()))) > 1:
        lengths = ", ".join(f"{_SHOWN[field]} {len(values)}" for field, values in chosen.items())
        raise ValueError(f"the curves differ in length: {lengths}")
    return History(**{field: tuple(map(_finite, values)) for field, values in chosen.items()})


def from_series(series: Mapping[str, Series]) -> History:
    """Of curves by name, each with values by epoch (or step); what not every curve has is left out.

    Raises:
        ValueError: if it has no pair of curves, none with epochs in common, or several that could be meant.
    """
    chosen = {field: series[name] for field, name in _chosen([name for name in series if series[name]]).items()}
    common = sorted(set.intersection(*(set(values) for values in chosen.values())))
    if not common:
        raise ValueError(f"the curves have no epoch in common: {', '.join(_SHOWN[field] for field in chosen)}")
    return History(**{field: tuple(_finite(values[at]) for at in common) for field, values in chosen.items()})


def from_table(text: str) -> History:
    """Of a table with a line of names and one line an epoch, as Keras' CSVLogger writes it.

    Commas, semicolons and tabs separate; where there is a column `epoch`, lines of the same epoch belong together, and
    an empty cell or `NA` is no value.

    Raises:
        ValueError: as `from_series`.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    separator = max(",;\t", key=lines[0].count) if lines else ","
    try:
        rows = list(csv.DictReader(lines, delimiter=separator))
    except csv.Error as error:
        raise ValueError(f"the table cannot be read: {error}") from None
    series: dict[str, dict[int, float | None]] = {}
    for place, row in enumerate(rows):
        epoch = _number(row.get("epoch"))
        at = place if epoch is None or not isfinite(epoch) else int(epoch)
        for name, cell in row.items():
            value = _number(cell) if name and isinstance(cell, str) else None
            if value is not None:
                series.setdefault(name, {})[at] = _finite(value)
    return from_series(series)


def from_scalars(scalars: Mapping[str, Iterable[tuple[int, float]]]) -> History:
    """Of TensorBoard's scalars: for each run and tag (`validation/epoch_loss`) pairs of step and value.

    Raises:
        ValueError: as `from_series`.
    """
    return from_series({name: {step: _finite(value) for step, value in pairs} for name, pairs in scalars.items()})


def _chosen(names: Sequence[str]) -> dict[str, str]:
    """For each field the name of its curve: of several the plainest one."""
    found: dict[str, str] = {}
    for (split, figure), field in _FIELDS.items():
        ranked = sorted((_strangeness(name), name) for name in names if _role(name) == (split, figure))
        if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
            same = ", ".join(repr(name) for rank, name in ranked if rank == ranked[0][0])
            raise ValueError(f"several curves could be the {_SHOWN[field]}: {same}")
        if ranked:
            found[field] = ranked[0][1]
    pairs = (("fit_loss", "validation_loss"), ("fit_accuracy", "validation_accuracy"))
    if not any(one in found and other in found for one, other in pairs):
        said = ", ".join(repr(name) for name in sorted(names)[:12]) or "none"
        raise ValueError(f"{EXPECTED}; its curves are: {said}")
    return found


def _role(name: str) -> tuple[str, str] | None:
    words = set(_words(name))
    if words & _OTHER:
        return None
    figure = "loss" if "loss" in words else "accuracy" if words & _ACCURACY else None
    return None if figure is None else ("heldout" if words & _HELDOUT else "training", figure)


def _strangeness(name: str) -> int:
    return sum(word not in _PLAIN for word in _words(name))


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", name.lower())


def _number(text: str | None) -> float | None:
    """A cell's number; None where there is none."""
    try:
        return float(text or "")
    except ValueError:
        return None


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and isfinite(value) else None
