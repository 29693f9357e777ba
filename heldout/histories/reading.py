"""The entry point for all formats: recognizes the format of a text or of scalars, and reads its history."""

import csv
import math
import re
from collections.abc import Iterable, Mapping

from heldout.diagnosis.history import parse_figure
from heldout.histories.documents import read_document
from heldout.histories.joining import join_run
from heldout.histories.names import EXPECTED, SeveralCurvesError, choose_curves, split_words
from heldout.histories.printed import parse_python_or_json, read_printed_runs
from heldout.histories.recorded import ReadHistory, RecordedRun
from heldout.histories.rows import SEPARATORS, is_header, is_long_header, read_table_runs

_FIGURE = re.compile(r"[:=]\s*[-+]?\.?\d")


def read_text(text: str, run: int | None = None, max_rows: int | None = None) -> ReadHistory:
    """Read JSON, JSON Lines, a table or the printed output of a training, whichever it is.

    Args:
        run: which run, counted from 1, if there are several.
        max_rows: maximum number of rows, records or lines of figures.

    Raises:
        ValueError: if there is no pair of curves, or several fit; the message says what was found.
    """
    content = text.removeprefix("\ufeff").lstrip()
    if content.startswith(("{", "[")):
        try:
            document = parse_python_or_json(content)
        except ValueError:
            # One record per line, or lines that begin with `[INFO]`.
            if not (printed := read_printed_runs(content, max_rows)):
                if content.startswith("{"):
                    raise
                raise ValueError(f"{EXPECTED}; no line has figures with such names") from None
            return join_run(printed, run)
        return read_document(document, run, max_rows)
    if not _is_table(content) and (printed := read_printed_runs(content, max_rows)):
        return join_run(printed, run)
    return read_table(content, run, max_rows)


def read_table(text: str, run: int | None = None, max_rows: int | None = None) -> ReadHistory:
    """Read a table with a line of names.

    Raises:
        ValueError: as `read_text`.
    """
    return join_run(read_table_runs(text, max_rows), run)


def read_scalars(scalars: Mapping[str, Iterable[tuple[int, float]]], run: int | None = None) -> ReadHistory:
    """Read TensorBoard's scalars: pairs of step and value for each run and tag (`validation/epoch_loss`).

    Raises:
        ValueError: as `read_text`.
    """
    return join_run(group_scalars_into_runs(scalars), run)


def _is_table(text: str) -> bool:
    """Return whether the first line contains column names with separators, rather than named figures."""
    first = text.partition("\n")[0].removeprefix("#")
    if _FIGURE.search(first):
        return False
    separator = max(SEPARATORS, key=first.count)
    try:
        cells = [cell.strip() for cell in next(csv.reader([first], delimiter=separator), [])]
    except csv.Error:
        return False
    return len(cells) > 1 and (is_header(cells) or is_long_header(cells))


def group_scalars_into_runs(scalars: Mapping[str, Iterable[tuple[int, float]]]) -> list[RecordedRun]:
    """Group scalars by run and tag (`validation/epoch_loss`; pairs of step and value in written order) into runs.

    Trainings in separate folders are separate runs.
    """
    curves = {
        name: [(float(step), _convert_to_float(value)) for step, value in pairs] for name, pairs in scalars.items()
    }
    whole = _run(curves, "")
    try:
        choose_curves([name for name in curves if curves[name]])
    except SeveralCurvesError:
        return _group_by_folder(curves) or [whole]
    except ValueError:
        pass
    return [whole]


def _group_by_folder(curves: Mapping[str, list[tuple[float, float]]]) -> list[RecordedRun]:
    """Make a run for each folder with a pair of curves; empty if folders do not separate them."""
    groups: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name, points in curves.items():
        folder, _, rest = name.partition("/")
        groups.setdefault(folder, {})[rest] = points
    if len(groups) == 1:
        [(folder, inner)] = groups.items()
        return _group_by_folder(inner) if any("/" in name for name in inner) else []
    return [_run(group, folder) for folder, group in groups.items() if _has_a_pair(group)]


def _has_a_pair(curves: Mapping[str, object]) -> bool:
    try:
        choose_curves([name for name in curves if curves[name]])
    except ValueError:
        return False
    return True


def _run(curves: Mapping[str, list[tuple[float, float]]], name: str) -> RecordedRun:
    # Steps are epochs in Keras' `epoch_loss`. Lightning's `loss_epoch` counts batches.
    by_epoch = frozenset(name for name in curves if split_words(name.rpartition("/")[2])[0] == "epoch")
    return RecordedRun(curves=curves, by_epoch=by_epoch, name=name)


def _convert_to_float(value: float) -> float:
    """Convert to a float; integers that are too large become infinite.

    Raises:
        ValueError: if it is not a number.
    """
    checked = parse_figure(value)
    return math.inf if checked is None and isinstance(value, int) else float(value)
