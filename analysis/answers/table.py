"""Reads predictions from a CSV with a line for each image: its split and label, and its answer or probabilities."""

import csv
from array import array
from codecs import getincrementaldecoder
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from reprlib import repr as short
from typing import BinaryIO

import numpy as np

from analysis.answers.answers import PredictionsRefused
from analysis.answers.received import MAX_CLASSES, MAX_VALUES, ExternalAnswers, GivenSplit, receive_answers
from heldout.histories.names import parse_number
from heldout.histories.prediction_names import get_column_class, list_first, split_and_what, split_of
from heldout.histories.rows import SEPARATORS
from heldout.spec.dataset import MAX_COLUMNS
from heldout.stored.evaluation import SPLIT_NAMES, SplitName

_EXPECTED = (
    "expected the columns `split`, `label` and `answer`, or a column `p_<class>` for each class in place of `answer`"
)
CHUNK_BYTES = 1024 * 1024
_MAX_COLUMNS = MAX_CLASSES + 20
# Class names; the same number can be written in several ways.
MAX_NAMES = 4 * MAX_CLASSES
# Columns with a value of its own for each image do not name groups.
_OF_SINGLE_IMAGES = frozenset(
    {"", "index", "id", "image", "file", "file_name", "filename", "path", "member", "name", "image_id"}
)


def read_table(file: BinaryIO, classes: int | list[str] | None = None) -> ExternalAnswers:
    """Read lines below `split,label,answer` or `split,label,p_cat,p_dog`; a column `hash` identifies copies.

    A column `probability` without `answer` belongs to the second of two classes. Other columns, such as `camera`, name
    groups of images. Those that name single images are ignored.

    Raises:
        PredictionsRefused: if it is not such a table, or `receive_answers` refuses it.
    """
    first = _read_first_line(file)
    file.seek(0)
    # Reads line by line: all lines of a large file at once would take ten times its size.
    text = TextIOWrapper(file, "utf-8-sig", newline=None)
    try:
        lines = csv.reader(text, delimiter=max(SEPARATORS, key=first.count))
        names = [name.strip() for name in next(lines, [])]
        columns = _Columns(names)
        for line, cells in enumerate(lines, 2):
            if any(cells):
                columns.add(cells, line)
    except csv.Error:
        raise PredictionsRefused("the table cannot be read: a cell is too long, or its quotes are broken") from None
    finally:
        text.detach()
    return receive_answers(columns.splits(), columns.classes or classes)


def _read_first_line(file: BinaryIO) -> str:
    """Return the first line of a text file. Raises PredictionsRefused."""
    decoder = getincrementaldecoder("utf-8-sig")()
    first, at = "", 0
    while True:
        chunk = file.read(CHUNK_BYTES)
        waiting = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            place = at - waiting + error.start
            raise PredictionsRefused(f"the file is neither an .npz nor text in UTF-8 (byte {place})") from None
        if "\n" not in first:
            first += text
        at += len(chunk)
        if not chunk:
            return first.partition("\n")[0]


@dataclass
class _Cells:
    """The cells of one split. probabilities: concatenated rows."""

    labels: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    probabilities: "array[float]" = field(default_factory=lambda: array("d"))
    hashes: list[str] = field(default_factory=list)
    columns: dict[str, list[str | None]] = field(default_factory=dict)


class _Columns:
    """The cells of a table, divided by split while its lines are read."""

    def __init__(self, names: Sequence[str]) -> None:
        if len(names) > _MAX_COLUMNS:
            raise PredictionsRefused(f"the table has {len(names):,} columns; expected at most {_MAX_COLUMNS:,}")
        of_class = [(place, name) for place, column in enumerate(names) if (name := get_column_class(column))]
        whats: dict[str, int] = {}
        for place, column in enumerate(names):
            meant = split_and_what(column)[1] or ""
            if meant in whats and meant in ("split", "labels", *([] if of_class else ["answers"])):
                both = list_first([names[whats[meant]], column])
                raise PredictionsRefused(f"the columns {both} could both be the {meant}; keep one of them")
            whats[meant] = place
        missing = [name for name in ("split", "labels") if name not in whats]
        if missing or not (of_class or {"probabilities", "answers"} & whats.keys()):
            raise PredictionsRefused(f"the columns are {list_first(names) or 'none'}; {_EXPECTED}")
        self.classes = [name for _, name in of_class]
        self._names = names
        self._split, self._label = whats["split"], whats["labels"]
        self._hash = whats.get("hashes")
        classes = {place for place, _ in of_class}
        self._others = {
            name: place
            for place, name in enumerate(names)
            if place not in classes and split_and_what(name)[1] is None and name.lower() not in _OF_SINGLE_IMAGES
        }
        if len(self._others) > MAX_COLUMNS:
            self._others = {}
        self._probabilities = [place for place, _ in of_class]
        if not of_class and "probabilities" in whats and "answers" not in whats:
            self._probabilities = [whats["probabilities"]]  # of the second of two classes
        self._answer = None if self._probabilities else whats["answers"]
        self._values = 0
        self._cells: dict[SplitName, _Cells] = {}
        self._known: dict[str, str] = {}
        self._values_of_columns: dict[str, str] = {}

    def add(self, cells: Sequence[str], line: int) -> None:
        if len(cells) != len(self._names):
            raise PredictionsRefused(
                f"line {line:,} has {len(cells):,} values, but the first line has {len(self._names):,} names; if "
                "numbers have a decimal comma, put them in quotes or separate the values by semicolons"
            )
        self._values += max(1, len(self._probabilities))
        if self._values > MAX_VALUES:
            raise PredictionsRefused(
                f"there are more than {MAX_VALUES:,} probabilities; send a random part of the images"
            )
        split = split_of(cells[self._split])
        if split is None:
            raise PredictionsRefused(
                f"line {line:,} has the split {short(cells[self._split])}; expected train, validation or test"
            )
        found = self._cells.setdefault(split, _Cells())
        found.labels.append(self._get_class(cells[self._label]))
        if self._answer is not None:
            found.answers.append(self._get_class(cells[self._answer]))
        else:
            found.probabilities.extend(self._parse_number(cells[place], line) for place in self._probabilities)
        if self._hash is not None:
            found.hashes.append(cells[self._hash].strip())
        for name, place in self._others.items():
            found.columns.setdefault(name, []).append(self._intern(cells[place].strip()) or None)

    def splits(self) -> dict[SplitName, GivenSplit]:
        width = len(self._probabilities)
        return {
            split: GivenSplit(
                labels=cells.labels,
                answers=cells.answers if width == 0 else None,
                probabilities=np.frombuffer(cells.probabilities, np.float64).reshape(-1, width) if width else None,
                hashes=None if self._hash is None else cells.hashes,
                columns=cells.columns,
            )
            for split in SPLIT_NAMES
            if (cells := self._cells.get(split)) is not None
        }

    def _intern(self, cell: str) -> str:
        """Return the value, as one object for all lines that have it."""
        return self._values_of_columns.setdefault(cell, cell)

    def _get_class(self, cell: str) -> str:
        """Return the class name, as one object for all lines that use it."""
        name = cell.strip()
        if name[:1] == "'" and name[1:2] in {"=", "+", "-", "@"}:
            name = name[1:]  # it keeps spreadsheets from computing the name, as in a job's own table
        if name not in self._known and len(self._known) == MAX_NAMES:
            raise PredictionsRefused(f"there are more than {MAX_NAMES:,} different labels and answers")
        return self._known.setdefault(name, name)

    def _parse_number(self, cell: str, line: int) -> float:
        number = parse_number(cell)
        if number is None:
            raise PredictionsRefused(f"line {line:,} has the probability {short(cell)}; expected a number")
        return number
