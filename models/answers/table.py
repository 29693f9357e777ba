"""Predictions in a CSV: a line for each image, with its split, label and answer, or a probability for each class."""

import csv
from collections.abc import Sequence
from reprlib import repr as short
from typing import BinaryIO

from heldout.histories.numbers import number_in
from heldout.histories.prediction_names import class_of_column, listed, split_and_what, split_of
from heldout.histories.tables import SEPARATORS
from heldout.stored.evaluation import SPLIT_NAMES, SplitName
from models.answers.received import MAX_CLASSES, MAX_VALUES, ForeignAnswers, GivenSplit, received_answers
from models.answers.refusal import PredictionsRefused

_EXPECTED = (
    "expected the columns `split`, `label` and `answer`, or a column `p_<class>` for each class in place of `answer`"
)
_MAX_COLUMNS = MAX_CLASSES + 20


def read_table(file: BinaryIO, classes: int | list[str] | None = None) -> ForeignAnswers:
    """Read lines below `split,label,answer` or `split,label,p_cat,p_dog`; a column `hash` tells copies.

    One column `probability` without `answer` is that of the second of two classes. Other columns are passed over.

    Raises:
        PredictionsRefused: if it is no such table, or holds what `received_answers` refuses.
    """
    try:
        text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PredictionsRefused(f"the file is neither an .npz nor text in UTF-8 (byte {error.start})") from None
    first = text.partition("\n")[0]
    try:
        lines = csv.reader(text.splitlines(), delimiter=max(SEPARATORS, key=first.count))
        names = [name.strip() for name in next(lines, [])]
        columns = _Columns(names)
        for line, cells in enumerate(lines, 2):
            if any(cells):
                columns.add(cells, line)
    except csv.Error as error:
        raise PredictionsRefused(f"the table cannot be read: {error}") from None
    return received_answers(columns.splits(), columns.classes or classes)


class _Columns:
    """The cells of a table, parted by split as its lines come."""

    def __init__(self, names: Sequence[str]) -> None:
        if len(names) > _MAX_COLUMNS:
            raise PredictionsRefused(f"the table has {len(names):,} columns; expected at most {_MAX_COLUMNS:,}")
        whats = {what: place for place, name in enumerate(names) if (what := split_and_what(name)[1]) is not None}
        of_class = [(place, name) for place, column in enumerate(names) if (name := class_of_column(column))]
        missing = [name for name in ("split", "labels") if name not in whats]
        if missing or not (of_class or {"probabilities", "answers"} & whats.keys()):
            raise PredictionsRefused(f"the columns are {listed(names) or 'none'}; {_EXPECTED}")
        self.classes = [name for _, name in of_class]
        self._names = names
        self._split, self._label = whats["split"], whats["labels"]
        self._hash = whats.get("hashes")
        self._probabilities = [place for place, _ in of_class]
        if not of_class and "probabilities" in whats and "answers" not in whats:
            self._probabilities = [whats["probabilities"]]  # of the second of two classes
        self._answer = None if self._probabilities else whats["answers"]
        self._values = 0
        self._cells: dict[SplitName, tuple[list[str], list[str], list[list[float]], list[str]]] = {}

    def add(self, cells: Sequence[str], line: int) -> None:
        if len(cells) != len(self._names):
            raise PredictionsRefused(
                f"line {line:,} has {len(cells):,} values below {len(self._names):,} names; numbers with a decimal "
                "comma need quotes, or semicolons between them"
            )
        self._values += max(1, len(self._probabilities))
        if self._values > MAX_VALUES:
            raise PredictionsRefused(f"there are more than {MAX_VALUES:,} probabilities; send a random part of them")
        split = split_of(cells[self._split])
        if split is None:
            raise PredictionsRefused(
                f"line {line:,} has the split {short(cells[self._split])}; expected train, validation or test"
            )
        labels, answers, probabilities, hashes = self._cells.setdefault(split, ([], [], [], []))
        labels.append(_plain(cells[self._label]))
        if self._answer is not None:
            answers.append(_plain(cells[self._answer]))
        else:
            probabilities.append([self._number(cells[place], line) for place in self._probabilities])
        if self._hash is not None:
            hashes.append(cells[self._hash].strip())

    def splits(self) -> dict[SplitName, GivenSplit]:
        return {
            split: GivenSplit(
                labels=self._cells[split][0],
                answers=None if self._answer is None else self._cells[split][1],
                probabilities=None if self._answer is not None else self._cells[split][2],
                hashes=None if self._hash is None else self._cells[split][3],
            )
            for split in SPLIT_NAMES
            if split in self._cells
        }

    def _number(self, cell: str, line: int) -> float:
        number = number_in(cell)
        if number is None:
            raise PredictionsRefused(f"line {line:,} has the probability {short(cell)}; expected a number")
        return number


def _plain(cell: str) -> str:
    """Without the apostrophe that keeps a spreadsheet from computing it, as in a job's own table."""
    text = cell.strip()
    return text[1:] if text[:1] == "'" and text[1:2] in {"=", "+", "-", "@"} else text
