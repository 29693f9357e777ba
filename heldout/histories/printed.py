"""Printed output of trainings: lines of Keras' `fit`, records, fastai's table, hand-written `name: value`."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from heldout.histories.documents import flatten
from heldout.histories.names import WORDS_OF_TRAINING, WORDS_OF_VALIDATION, split_words
from heldout.histories.recorded import RecordedRun
from heldout.histories.rows import is_header, read_row_runs

# Colors, and escapes that move the cursor back for the next state of a progress bar.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NEXT_STATES = re.compile(r"[\r\x08]+|\n")
_EPOCH = re.compile(r"\bepoch\b[\s:#=\[(]*(\d{1,9})(?:\s*(?:/|of)\s*\d+)?", re.IGNORECASE)
_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+|nan|inf(?:inity)?)"
_WORD = r"[A-Za-z][\w@./]{0,60}"
# A colon or equals sign or, directly after the name of a figure, a number with a decimal point.
_BEFORE_NUMBER = r"(?:\s*[:=]\s*|(?<=loss|.acc|racy|cc@1|top1|acc1)\s+(?=[-+]?\d*\.\d))"
_PAIR = re.compile(rf"(?<![\w./@])({_WORD}(?: +{_WORD}){{0,4}}){_BEFORE_NUMBER}({_NUMBER})(?!\w|\.\d)", re.IGNORECASE)
# `Test set: Average loss: 0.5`; `Accuracy: 9500/10000`; `0,35` in a line without points between digits.
_SPLIT_HEADING = re.compile(
    r"^(train|training|val|valid|validation|test|eval)( set)?\s*:\s*(?=[A-Za-z])", re.IGNORECASE
)
_RATIO = re.compile(r"(acc(?:uracy)?\s*[:=]\s*)(\d{1,12})\s*/\s*(\d{1,12})(?![\d./])", re.IGNORECASE)
_DECIMAL_POINT = re.compile(r"\d\.\d")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])(\d+),(\d+)(?!\d|[.,]\d)")
_BRACKETS = re.compile(r"[\[\](){}]+")
_SEPARATORS = re.compile(r" - |[,;|]")
# Python's names of values, and their JSON equivalents.
_PYTHON_WORDS = {"None": "null", "nan": "NaN", "inf": "Infinity", "True": "true", "False": "false"}
_PYTHON_VALUE = re.compile(r"\b(None|nan|inf|True|False)\b")
_NUMPY_VALUE = re.compile(r"\b(?:np\.|numpy\.)?float(?:16|32|64)\(([^()]*)\)")


def read_printed_runs(text: str, max_rows: int | None = None) -> list[RecordedRun]:
    """Read the lines of a training's output that contain figures.

    Returns:
        An empty list if no line has named figures.

    Raises:
        ValueError: if there are more lines of figures than `max_rows`.
    """
    rows = list(islice(_iterate_rows(text), None if max_rows is None else max_rows + 1))
    if max_rows is not None and len(rows) > max_rows:
        raise ValueError(f"there are more than {max_rows:,} lines of figures; expected at most that many")
    return read_row_runs(rows) if rows else []


def parse_python_or_json(text: str) -> object:
    """Parse a value written as JSON or as Python prints it: `{'loss': [0.5, nan]}`.

    Raises:
        ValueError: if it is neither.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        written = _PYTHON_VALUE.sub(lambda word: _PYTHON_WORDS[word[0]], _NUMPY_VALUE.sub(r"\1", text))
        try:
            return json.loads(written.replace("'", '"'))
        except ValueError:
            raise error from None


def _iterate_rows(text: str) -> Iterator[Mapping[str, object]]:
    """Yield a row for each record, each line of a table, and each epoch with named figures."""
    epoch: int | None = None
    figures: dict[str, object] = {}
    header: Sequence[str] = ()
    for line in map(str.strip, _NEXT_STATES.split(_ESCAPES.sub("", text))):
        record = _record_in(line)
        if record is not None:
            yield dict(flatten(record))
            continue
        cells = line.split()
        is_named = any("=" in cell or ":" in cell for cell in cells)
        if len(cells) > 1 and cells[0].lower() in {"epoch", "step"} and not is_named and is_header(cells):
            header = cells
        elif header and len(cells) == len(header) and cells[0].isdecimal():
            yield dict(zip(header, cells, strict=True))
        else:
            marker = _EPOCH.search(line)
            # Of several states of one epoch, the last one counts. A line may also just announce an epoch.
            is_new = marker is not None and (int(marker[1]) != epoch or marker[0] == line)
            if is_new and figures:
                yield {"epoch": epoch, **figures}
                figures = {}
            if marker is not None:
                epoch = int(marker[1])
            found = _parse_figures(line[: marker.start()] + " ; " + line[marker.end() :] if marker else line)
            if epoch is None and found:
                yield found
            elif not _is_of_another_evaluation(found, figures):
                figures.update(found)
    if figures:
        yield {"epoch": epoch, **figures}


def _is_of_another_evaluation(found: Mapping[str, object], figures: Mapping[str, object]) -> bool:
    """Return whether these would overwrite the figures of a finished epoch, as a line of Keras' `evaluate` would."""
    is_over = any(_split_of(name) == "val" for name in figures)
    return is_over and bool(set(found) & set(figures)) and not any(_split_of(name) == "val" for name in found)


def _record_in(line: str) -> dict[str, object] | None:
    """Parse the record that makes up the line, possibly after a logger's prefix."""
    start = line.find("{")
    if start < 0 or not line.endswith("}"):
        return None
    try:
        found = parse_python_or_json(line[start:])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _parse_figures(line: str) -> dict[str, object]:
    """Parse names and values. If only one split is named, names without a split belong to it too."""
    if not _DECIMAL_POINT.search(line):
        line = _DECIMAL_COMMA.sub(r"\1.\2", line)
    line = _RATIO.sub(_compute_fraction, line)
    heading = _SPLIT_HEADING.search(line.lstrip(" ;"))
    line = _BRACKETS.sub(" ", _SEPARATORS.sub(" ; ", line))
    pairs = [(name.strip(), value) for name, value in _PAIR.findall(line)]
    if heading and not any(_split_of(name) for name, _ in pairs):
        pairs = [(f"{heading[1]} {name}", value) for name, value in pairs]
    splits = [_split_of(name) for name, _ in pairs]
    named = {split for split in splits if split}
    if len(named) == 1 and splits[0]:
        pairs = [(name if _split_of(name) else f"{splits[0]} {name}", value) for name, value in pairs]
    return dict(pairs)


def _compute_fraction(ratio: re.Match[str]) -> str:
    return f"{ratio[1]}{int(ratio[2]) / max(int(ratio[3]), 1)}"


def _split_of(name: str) -> str | None:
    words = set(split_words(name))
    if words & WORDS_OF_VALIDATION:
        return "val"
    return "train" if words & WORDS_OF_TRAINING else "test" if "test" in words else None
