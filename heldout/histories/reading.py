"""The entry point for all formats: recognizes the format of a text and reads its history."""

import csv
import re
from collections.abc import Iterable, Mapping

from heldout.histories.documents import read_document
from heldout.histories.joining import join_run
from heldout.histories.names import EXPECTED
from heldout.histories.printed import parse_python_or_json, read_printed_runs
from heldout.histories.recorded import ReadHistory
from heldout.histories.scalars import group_scalars_into_runs
from heldout.histories.tables import SEPARATORS, is_header, is_long_header, read_table_runs

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
    """Whether the first line contains column names with separators, rather than named figures."""
    first = text.partition("\n")[0].removeprefix("#")
    if _FIGURE.search(first):
        return False
    separator = max(SEPARATORS, key=first.count)
    try:
        cells = [cell.strip() for cell in next(csv.reader([first], delimiter=separator), [])]
    except csv.Error:
        return False
    return len(cells) > 1 and (is_header(cells) or is_long_header(cells))
