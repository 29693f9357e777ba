"""Checks labels and answers from other programs: the answers of a network that Heldout did not train."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from reprlib import repr as short
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Answers, Path, PredictionsRefused
from analysis.answers.probabilities import check_probabilities, replace_zeros
from analysis.arrays.columns import Columns
from heldout.spec.dataset import MAX_COLUMNS
from heldout.stored.evaluation import SplitName
from heldout.words import pluralize
from heldout.words.labels import SEVERAL_LABELS

MAX_CLASSES = 1000
# Images times classes over all splits. Limits the memory (about 200 megabytes) and the time (a few seconds).
MAX_VALUES = 8_000_000
BLOCK = 65_536

Column = Sequence[Any] | NDArray[Any]


@dataclass(frozen=True)
class GivenSplit:
    """One split as received: a label for each image, and its probabilities or its answer."""

    labels: Column
    probabilities: Column | None = None
    answers: Column | None = None
    hashes: Column | None = None
    columns: Mapping[str, Column] = MappingProxyType({})


@dataclass(frozen=True)
class ExternalAnswers:
    """Answers of a network that another program trained.

    hashes: of the images, if sent; equal hashes mean copies. columns: further values of the images of each split.
    notes: sentences that tell the user how the figures were read.
    """

    classes: tuple[str, ...]
    splits: Mapping[SplitName, Answers]
    hashes: Mapping[SplitName, Column]
    notes: tuple[str, ...] = field(default=())
    columns: Mapping[SplitName, Columns] = field(default_factory=dict)


def receive_answers(
    splits: Mapping[SplitName, GivenSplit], classes: int | Sequence[str] | None = None
) -> ExternalAnswers:
    """Check received predictions, and turn class names into positions.

    Args:
        classes: how many there are, or their names in the order of the columns of probabilities.
    Raises:
        PredictionsRefused: with the place of the wrong value.
    """
    if not splits:
        raise PredictionsRefused("there is no split; expected `train`, `validation` or `test`")
    probabilities: dict[SplitName, NDArray[np.float64]] = {}
    arrays = [split.probabilities for split in splits.values() if isinstance(split.probabilities, np.ndarray)]
    if (size := sum(array.size for array in arrays)) > MAX_VALUES:  # before they become float64
        raise PredictionsRefused(
            f"received {size:,} probabilities; expected at most {MAX_VALUES:,}. Send a random part of the images"
        )
    for name, split in splits.items():
        _check_form(name, split)
        if split.probabilities is not None:
            probabilities[name] = check_probabilities(split.probabilities, (name, "probabilities"))
            _check_length(len(probabilities[name]), len(split.labels), (name, "probabilities"))
    columns = _count_columns(probabilities)
    names = _get_class_names(splits, classes, columns)
    count = len(names)
    images = sum(len(split.labels) for split in splits.values())
    if images * count > MAX_VALUES:
        raise PredictionsRefused(
            f"received {images:,} images with {count:,} classes; images times classes must be at most {MAX_VALUES:,}. "
            "Send a random part of the images"
        )
    places = {class_name: place for place, class_name in enumerate(names)}
    labels = {name: _find_positions(split.labels, (name, "labels"), places) for name, split in splits.items()}
    known, notes = replace_zeros(probabilities, labels)
    answered = {
        name: known[name]
        if name in known
        else Answers.without_probabilities(labels[name], _find_positions(split.answers, (name, "answers"), places))
        for name, split in splits.items()
    }
    return ExternalAnswers(
        classes=names,
        splits=answered,
        hashes={
            name: _check_hashes(split.hashes, len(split.labels), (name, "hashes"))
            for name, split in splits.items()
            if split.hashes is not None
        },
        notes=notes,
        columns={name: _check_columns(split, name) for name, split in splits.items() if split.columns},
    )


def _check_form(name: SplitName, split: GivenSplit) -> None:
    shape = np.shape(split.labels) if isinstance(split.labels, np.ndarray) else (len(split.labels),)
    if len(shape) != 1:
        rows = np.asarray(split.labels)
        is_one_hot = rows.ndim == 2 and np.isin(rows, (0, 1)).all() and (rows.sum(axis=1) == 1).all()
        way_on = (
            "expected one label per image. These are one-hot: send the positions, `labels.argmax(axis=1)`"
            if is_one_hot
            else SEVERAL_LABELS.rstrip(".")
        )
        raise PredictionsRefused(f"received an array of the shape {shape}; {way_on}", (name, "labels"))
    if not shape[0]:
        raise PredictionsRefused("received no labels; leave the split out", (name, "labels"))
    if (split.probabilities is None) == (split.answers is None):
        received = "neither" if split.answers is None else "both"
        raise PredictionsRefused(f"received {received}; expected `probabilities` or `answers`", (name,))


def _check_length(length: int, images: int, path: Path) -> None:
    if length != images:
        received = pluralize(length, "value")
        raise PredictionsRefused(f"received {received} for {images:,} labels; expected one per image", path)


def _count_columns(probabilities: Mapping[SplitName, NDArray[np.float64]]) -> int | None:
    """Return how many classes the probabilities have; None if there are only answers."""
    first: tuple[SplitName, int] | None = None
    for name, rows in probabilities.items():
        if first is not None and rows.shape[1] != first[1]:
            raise PredictionsRefused(
                f"received probabilities of {rows.shape[1]:,} classes, but {first[0]} has {first[1]:,}; expected the "
                "same number in each split",
                (name, "probabilities"),
            )
        first = first or (name, rows.shape[1])
    return None if first is None else first[1]


def _get_class_names(
    splits: Mapping[SplitName, GivenSplit], classes: int | Sequence[str] | None, columns: int | None
) -> tuple[str, ...]:
    """Return the class names, or their numbers as text."""
    if classes is not None and not isinstance(classes, int):
        if len(set(classes)) < len(classes):
            twice = next(name for place, name in enumerate(classes) if name in classes[:place])
            raise PredictionsRefused(f"received {short(twice)} twice; expected different names", ("classes",))
        _check_count(len(classes), columns)
        return tuple(classes)
    if (count := columns if classes is None else classes) is not None:
        _check_count(count, columns)
        return tuple(map(str, range(count)))
    found = [column for split in splits.values() for column in (split.labels, split.answers) if column is not None]
    seen = {value for column in found for value in _collect_distinct(column)}
    if any(isinstance(value, str) and not value.isdecimal() for value in seen):
        _check_count(len(seen), None)
        return tuple(sorted(map(str, seen)))
    numbers = [_parse_number(value) for value in seen]
    # A value that is not a class number is refused with its position.
    count = max((number for number in numbers if number is not None and number < MAX_CLASSES), default=1) + 1
    _check_count(count, None)
    return tuple(map(str, range(count)))


def _check_count(count: int, columns: int | None) -> None:
    received = f"received {count:,} {'class' if count == 1 else 'classes'}"
    if columns is not None and count != columns:
        raise PredictionsRefused(
            f"{received}, but probabilities of {columns:,}; expected the same number", ("classes",)
        )
    if not 2 <= count <= MAX_CLASSES:
        raise PredictionsRefused(
            f"{received}; expected 2 to {MAX_CLASSES:,}. If some of the classes do not occur here, give the number of "
            "classes in `classes`",
            ("classes",) if columns is None else (),
        )


def _collect_distinct(column: Column) -> set[Any]:
    return {
        value
        for block in _iterate_blocks(np.unique(column) if isinstance(column, np.ndarray) else column)
        for value in block
    }


def _iterate_blocks(column: Column) -> Iterator[Sequence[Any]]:
    """Yield the column's values as Python objects, some at a time: they take ten times the memory of an array."""
    if not isinstance(column, np.ndarray):
        yield column
        return
    for first in range(0, len(column), BLOCK):
        values = column[first : first + BLOCK].tolist()
        yield [value.decode("utf-8", "replace") for value in values] if column.dtype.kind == "S" else values


def _parse_number(value: Any) -> int | None:
    """Return the whole number that a value means, also if it is a text or a float."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str):
        text = value.strip().removesuffix(".0")
        return int(text) if text.isdecimal() and len(text) < 10 else None
    return None


def _find_positions(column: Column | None, path: Path, places: Mapping[str, int]) -> NDArray[Any]:
    """Return (images,) the position of each class, from names or from numbers starting at 0."""
    assert column is not None
    found: NDArray[Any]
    if isinstance(column, np.ndarray) and column.dtype.kind in "biuf":
        is_class = (column >= 0) & (column < len(places)) & (np.floor(column) == column)
        if not is_class.all():
            row = int(np.argmin(is_class))
            raise PredictionsRefused(
                _describe_expected(column[row].item(), _parse_number(column[row].item()), places), (*path, row)
            )
        found = column.astype(np.int64)
    else:
        found = np.fromiter(_iterate_positions(column, path, places), np.int64, len(column))
    return found.astype(np.int32) if path[-1] == "labels" else found


def _iterate_positions(column: Column, path: Path, places: Mapping[str, int]) -> Iterator[int]:
    known: dict[Any, int] = {}
    for row, value in enumerate(chain.from_iterable(_iterate_blocks(column))):
        place = known.get(value) if isinstance(value, str | int | float) else None
        if place is None:
            place = places.get(value) if isinstance(value, str) else None
            number = _parse_number(value) if place is None else None
            if place is None and (number is None or not 0 <= number < len(places)):
                raise PredictionsRefused(_describe_expected(value, number, places), (*path, row))
            place = known[value] = number if place is None else place  # type: ignore[assignment]
        yield place  # type: ignore[misc]


def _describe_expected(value: Any, number: int | None, places: Mapping[str, int]) -> str:
    shown = short(value)
    are_numbers = all(name == str(place) for name, place in places.items())
    if are_numbers and isinstance(value, str) and number is None:
        return (
            f"received {shown}; expected a number from 0 to {len(places) - 1}. To use names, give the name of each "
            "column of probabilities in `classes`"
        )
    whole = f"a whole number from 0 to {len(places) - 1:,}"
    if number == len(places):
        return f"received {shown}; expected {whole}. Classes are counted from 0"
    return f"received {shown}; expected {whole}" + ("" if are_numbers else f", or one of {short(list(places))}")


def _check_columns(split: GivenSplit, name: SplitName) -> Columns:
    """Return the values of the images as texts, or None where they are unknown."""
    if len(split.columns) > MAX_COLUMNS:
        received = pluralize(len(split.columns), "column")
        raise PredictionsRefused(f"received {received}; expected at most {MAX_COLUMNS}", (name, "columns"))
    found = {}
    for column, values in split.columns.items():
        if isinstance(values, np.ndarray) and values.ndim != 1:
            shape = f"received an array of the shape {values.shape}"
            raise PredictionsRefused(f"{shape}; expected one value per image", (name, "columns", column))
        _check_length(len(values), len(split.labels), (name, "columns", column))
        found[column] = [_format_value(value) for block in _iterate_blocks(values) for value in block]
    return found


def _format_value(value: Any) -> str | None:
    """Return a value as in a table: whole numbers without decimals, None for nothing."""
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def _check_hashes(column: Column, images: int, path: Path) -> Column:
    if isinstance(column, np.ndarray) and column.ndim != 1:
        raise PredictionsRefused(f"received an array of the shape {column.shape}; expected one text per image", path)
    _check_length(len(column), images, path)
    if isinstance(column, np.ndarray) and column.dtype.kind != "f":
        return column
    for row, value in enumerate(column):
        if not isinstance(value, str | int | bytes):
            shown = value.item() if isinstance(value, np.generic) else value
            raise PredictionsRefused(f"received {short(shown)}; expected one text per image", (*path, row))
    return column
