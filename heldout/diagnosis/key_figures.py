"""The figures at the top of every diagnosis: accuracy on each split, the gap, and the weakest class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.history import Curve, History
from heldout.stored.evaluation import SPLIT_NAMES, SplitName
from heldout.words import percent, pluralize, quote_name

FigureCode = Literal["train", "validation", "test", "gap", "weakest_class"]

_NAMES: Mapping[FigureCode, str] = {
    "train": "Training accuracy",
    "validation": "Validation accuracy",
    "test": "Test accuracy",
    "gap": "Gap",
    "weakest_class": "Weakest class",
}


@dataclass(frozen=True)
class KeyFigure:
    """A figure that every diagnosis begins with, as people read it.

    text: the figure. note: what it was counted on, which continues the text; may be empty.
    value: a fraction; None if it was not measured.
    """

    code: FigureCode
    text: str
    note: str = ""
    value: float | None = None

    @property
    def name(self) -> str:
        return _NAMES[self.code]


def list_key_figures(
    splits: Mapping[str, SplitFigures | None], classes: Sequence[str], history: History | None = None
) -> tuple[KeyFigure, ...]:
    """List the figures of the kept weights or, if they were not measured, those of the last epoch.

    Args:
        splits: by name. Figures without a count are means over several trainings.
        classes: class names; empty if unknown.
        history: the curves, if known.
    """
    known = {name: figures for name, figures in splits.items() if figures is not None}
    if not known:
        return () if history is None else _list_last_figures(history)
    accuracies = [_make_accuracy(code, known.get(code)) for code in SPLIT_NAMES]
    heldout = next((name for name in ("test", "validation") if name in known), None)
    if heldout is None:
        return tuple(accuracies)
    weakest = next(
        (found for name in ("test", "validation") if (found := _find_weakest_class(known.get(name), classes, name))),
        None,
    )
    gap = [_make_gap(known["train"].accuracy, known[heldout].accuracy, heldout)] if "train" in known else []
    return (*accuracies, *gap, *([] if weakest is None else [weakest]))


def _make_accuracy(code: SplitName, figures: SplitFigures | None) -> KeyFigure:
    if figures is None:
        return KeyFigure(code, "not measured")
    note = f"of {pluralize(figures.count, 'image')}" if figures.count else ""
    return KeyFigure(code, percent(figures.accuracy), note, figures.accuracy)


def _make_gap(train: float, heldout: float, name: str) -> KeyFigure:
    points = f"{100 * (train - heldout):z.1f}".replace("-", "−")
    return KeyFigure("gap", f"{points} points", f"from training to {name}", train - heldout)


def _find_weakest_class(figures: SplitFigures | None, classes: Sequence[str], split: str) -> KeyFigure | None:
    """The class with the lowest recall, and the largest of several; None if the answers are not known by class."""
    if figures is None:
        return None
    recalls = [
        (recall, -sum(row), label)
        for label, row in enumerate(figures.confusion)
        if label < len(classes) and (recall := figures.get_recall(label)) is not None
    ]
    if len(recalls) < 2:
        return None
    recall, _, label = min(recalls)
    row = figures.confusion[label]
    images = pluralize(sum(row), f"{split} image")
    return KeyFigure("weakest_class", quote_name(classes[label]), f"with {row[label]:,} of {images} right", recall)


def _list_last_figures(history: History) -> tuple[KeyFigure, ...]:
    """List what the last epoch reached. `fit` averages over an epoch, so its accuracy is not part of a gap."""
    by_fit = not history.train_accuracy
    train = _find_last(history.fit_accuracy if by_fit else history.train_accuracy)
    validation = _find_last(history.validation_accuracy)
    if train is None and validation is None:
        return ()
    numbers = history.epoch_numbers
    figures = [
        _make_last("train", train, numbers, " as fit reports it" if by_fit else ""),
        _make_last("validation", validation, numbers),
        KeyFigure("test", "not measured"),
    ]
    if train is not None and validation is not None and train[0] == validation[0] and not by_fit:
        figures.append(_make_gap(train[1], validation[1], "validation"))
    return tuple(figures)


def _make_last(
    code: Literal["train", "validation"], last: tuple[int, float] | None, numbers: Sequence[int], source: str = ""
) -> KeyFigure:
    if last is None:
        return KeyFigure(code, "not measured")
    place, accuracy = last
    return KeyFigure(code, percent(accuracy), f"in epoch {numbers[place]:,}{source}", accuracy)


def _find_last(accuracy: Curve) -> tuple[int, float] | None:
    """The last position with a value, and the value."""
    return next(
        ((place, value) for place in range(len(accuracy) - 1, -1, -1) if (value := accuracy[place]) is not None), None
    )
