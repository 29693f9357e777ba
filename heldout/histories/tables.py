"""Tables in text: names in the first line, then a line of values for each epoch or step."""

import csv
from collections.abc import Sequence
from reprlib import repr as short

from heldout.histories.names import EXPECTED, assign_roles, list_first, parse_number
from heldout.histories.recorded import RecordedRun
from heldout.histories.rows import NAME_COLUMNS, VALUE_COLUMNS, read_row_runs
from heldout.histories.trackers import read_chart_runs

SEPARATORS = ",;\t|"


def read_table_runs(text: str, max_rows: int | None = None) -> list[RecordedRun]:
    """Read a table with a header and one line per epoch, as written by Keras' and Lightning's CSVLogger.

    Commas, semicolons, tabs and bars are separators. Empty cells and words have no value. If there is a column of
    epochs or steps, lines with the same one belong together.

    Raises:
        ValueError: if there are more than `max_rows` rows below the header, or no table can be read.
    """
    lines = [line for line in text.removeprefix("\ufeff").splitlines() if line.strip()]
    first = lines[0].removeprefix("#") if lines else ""
    separator = max(SEPARATORS, key=first.count)
    try:
        header, *cells = list(csv.reader([first, *lines[1:]], delimiter=separator)) or [[]]
    except csv.Error:
        raise ValueError("the table cannot be read: a cell is too long, or its quotes are broken") from None
    if max_rows is not None and len(cells) > max_rows:
        raise ValueError(f"the table has {len(cells):,} rows below its names; expected at most {max_rows:,}")
    rows, places = _read_rows_below([name.strip() for name in header], cells)
    if not any(parse_number(cell) is not None for row in rows for cell in row.values()):
        raise ValueError(
            f"{EXPECTED}; its curves are: none. Its first line is {list_first([lines[0] if lines else ''])}"
        )
    return read_chart_runs(rows) or read_row_runs(rows, places)


def is_header(cells: Sequence[str]) -> bool:
    """Whether these are column names: no numbers, and at least one name of a curve."""
    return all(parse_number(cell) is None for cell in cells) and any(
        assign_roles([cell for cell in cells if cell]).values()
    )


def is_long_header(cells: Sequence[str]) -> bool:
    """Whether these are the column names of a long table: one for the names of figures, and one for values."""
    names = {cell.lower() for cell in cells}
    return bool(names & set(NAME_COLUMNS)) and bool(names & set(VALUE_COLUMNS))


def _read_rows_below(names: list[str], cells: Sequence[Sequence[str]]) -> tuple[list[dict[str, str]], list[int]]:
    """Read the rows and the position of each below its header; a restarted logger writes another header."""
    rows: list[dict[str, str]] = []
    places: list[int] = []
    place = 0
    for row in cells:
        stripped = [cell.strip() for cell in row]
        if stripped == names or (len(stripped) > 1 and is_header(stripped)):
            names, place = stripped, 0
            continue
        if any(stripped[len(names) :]):
            raise ValueError(
                f"a line has {len(stripped)} values, {short(','.join(stripped))}, below {len(names)} names; numbers "
                "with a decimal comma need quotes, or semicolons between them"
            )
        # Short rows stay short: filling them up would take rows times names, and a small file can have many of both.
        rows.append({name: cell for name, cell in zip(names, stripped, strict=False) if cell})
        places.append(place)
        place += 1
    return rows, places
