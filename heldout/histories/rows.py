"""Rows of names and values, one per epoch or with gaps: tables, JSON Lines, lists of records, long tables."""

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from reprlib import repr as short

from heldout.histories.names import (
    EXPECTED,
    WORDS_OF_TRAINING,
    WORDS_OF_VALIDATION,
    assign_roles,
    list_first,
    parse_number,
    split_words,
)
from heldout.histories.recorded import MAX_NAMES, MAX_RUNS, Point, RecordedRun

Row = Mapping[str, object]
# Numbers of a row by name. NaN stays NaN; empty cells and those without a number are absent.
Figures = Mapping[str, float]

SEPARATORS = ",;\t|"
# Charts of W&B have columns named `run - metric`, each with bounds.
_CHART_SEPARATOR = " - "
_CHART_BOUNDS = ("__MIN", "__MAX")
# Columns of long tables (one figure per row), and columns that name the run or split of a row.
NAME_COLUMNS = ("key", "metric", "tag", "name", "variable")
VALUE_COLUMNS = ("value",)
_RUN_COLUMNS = ("run_id", "run", "run_name", "run_uuid")
_SPLIT_COLUMNS = ("split", "phase", "mode", "stage", "subset", "set")
_WORDS_OF_SPLITS = WORDS_OF_TRAINING | WORDS_OF_VALIDATION | {"test"}
# Hugging Face's last row, whose `train_loss` is a mean over all epochs.
_WORD_OF_SUMMARIES = "runtime"
# Larger numbers cannot be epochs or steps.
_MAX_POSITION = 1e9
# From this number of equally spaced values on, the rows between them count as gaps.
_MIN_REGULAR_VALUES = 3


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
    """Return whether these are column names: no numbers, and at least one name of a curve."""
    return all(parse_number(cell) is None for cell in cells) and any(
        assign_roles([cell for cell in cells if cell]).values()
    )


def is_long_header(cells: Sequence[str]) -> bool:
    """Return whether these are the column names of a long table: one for the names of figures, and one for values."""
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


def read_chart_runs(rows: Sequence[Mapping[str, str]]) -> list[RecordedRun]:
    """Read the runs from the table of a chart, whose columns are named `run - metric`; empty for other tables."""
    names = {name for row in rows for name in row}
    columns = sorted(name for name in names if _CHART_SEPARATOR in name and not name.endswith(_CHART_BOUNDS))
    axis = next((name for name in names if name.lower() in {"step", "epoch"}), None)
    if axis is None or not columns or len(columns) + len(_CHART_BOUNDS) * len(columns) < len(names) - 1:
        return []
    curves: dict[str, dict[str, list[Point]]] = {}
    for row in rows:
        position = parse_number(row.get(axis, ""))
        for column in columns:
            run, _, metric = column.rpartition(_CHART_SEPARATOR)
            value = parse_number(row.get(column, ""))
            if position is not None and value is not None and assign_roles([metric])[metric]:
                curves.setdefault(run, {}).setdefault(metric, []).append((position, value))
    is_epoch = axis.lower() == "epoch"
    return [RecordedRun(found, frozenset(found) if is_epoch else frozenset(), name) for name, found in curves.items()]


def read_row_runs(rows: Sequence[Row], places: Sequence[int] = ()) -> list[RecordedRun]:
    """Read the runs from the rows of one table.

    Args:
        places: the number of each row in its part of the file; a repeated header starts a new part.
    """
    numbered = list(zip(rows, places or range(len(rows)), strict=True))
    summaries = {name for row in rows for name in row if {"train", _WORD_OF_SUMMARIES} <= set(split_words(name))}
    kept = [(row, at) for row, at in numbered if all(row.get(name) in (None, "") for name in summaries)]
    run_column = _find_column(rows, _RUN_COLUMNS)
    groups: dict[str, list[tuple[Row, int]]] = {}
    for row, place in kept:
        groups.setdefault("" if run_column is None else str(row.get(run_column, "")), []).append((row, place))
    if len(groups) > MAX_RUNS:
        raise ValueError(f"the column {run_column!r} names {len(groups):,} runs; expected at most {MAX_RUNS:,}")
    names_them = len(groups) > 1
    return [run for name, group in groups.items() for run in _read_group_runs(group, name if names_them else "")]


def _read_group_runs(group: Sequence[tuple[Row, int]], name: str) -> list[RecordedRun]:
    rows = [row for row, _ in group]
    name_column, value_column = _find_column(rows, NAME_COLUMNS), _find_column(rows, VALUE_COLUMNS)
    if name_column is not None and value_column is not None:
        split_column = _find_split_column(rows)
        if split_column is not None:
            rows = [{**row, name_column: f"{row.get(split_column)}/{row.get(name_column)}"} for row in rows]
        return [_read_long_rows(rows, name, name_column, value_column)]
    split_column = _find_split_column(rows)
    if split_column is not None:
        rows = [_add_split(row, split_column) for row in rows]
    return [_read_wide_rows(rows, [place for _, place in group], name)]


def _read_wide_rows(rows: Sequence[Row], places: Sequence[int], name: str) -> RecordedRun:
    cells = [{name: value for name, cell in row.items() if (value := parse_number(cell)) is not None} for row in rows]
    names = len({name for row in cells for name in row})
    if names > MAX_NAMES:
        raise ValueError(f"there are {names:,} names with figures; expected at most {MAX_NAMES:,}")
    figures, without_values = _drop_empty_columns(cells)
    positions, is_epoch = _find_positions(figures, places)
    curves: dict[str, list[Point]] = {}
    for row, position in zip(_drop_gaps(figures), positions, strict=True):
        for column, value in row.items():
            curves.setdefault(column, []).append((position, value))
    run = RecordedRun(
        curves=curves, by_epoch=frozenset(curves) if is_epoch else frozenset(), name=name, without_values=without_values
    )
    return sum_losses(convert_error_rate(run))


def _read_long_rows(rows: Sequence[Row], name: str, name_column: str, value_column: str) -> RecordedRun:
    """Read rows with one figure each: its name, its value, and its step or epoch."""
    curves: dict[str, list[Point]] = {}
    at_column = _find_column(rows, ("epoch",)) or _find_column(rows, ("step",))
    for row in rows:
        value = parse_number(row.get(value_column))
        if value is not None:
            points = curves.setdefault(str(row.get(name_column)), [])
            position = None if at_column is None else parse_number(row.get(at_column))
            points.append((float(len(points)) if position is None else position, value))
    is_epoch = at_column is not None and split_words(at_column)[-1] == "epoch"
    run = RecordedRun(curves=curves, by_epoch=frozenset(curves) if is_epoch else frozenset(), name=name)
    return sum_losses(convert_error_rate(run))


# --- positions of rows -------------------------------------------------------------------------------


def _find_positions(rows: Sequence[Figures], places: Sequence[int]) -> tuple[list[float], bool]:
    """Find the epoch, step or line number of each row, and whether it is an epoch."""
    roles = assign_roles({name for row in rows for name in row})
    of_curves = [row for row in rows if any(roles[name] for name in row)]
    for word in ("epoch", "step"):
        columns = {name for name, role in roles.items() if role is None and split_words(name)[-1] == word}
        for column in sorted(columns, key=lambda name: (len(name), name)):
            # Every row with a curve's value must have it; otherwise unrelated rows would be joined.
            if all(abs(row.get(column, math.inf)) <= _MAX_POSITION for row in of_curves):
                return [row.get(column, float(place)) for row, place in zip(rows, places, strict=True)], word == "epoch"
    return list(map(float, places)), False


# --- NaN that only means that another row has the value ---------------------------------------------


def _drop_empty_columns(rows: Sequence[Figures]) -> tuple[list[Figures], tuple[str, ...]]:
    """Drop curves that contain only NaN while a curve of the other split has only figures."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    roles = assign_roles(values)
    whole = {role[0] for name, of_name in values.items() if (role := roles[name]) and all(map(math.isfinite, of_name))}
    empty = tuple(
        name
        for name, of_name in values.items()
        if (role := roles[name]) and all(map(math.isnan, of_name)) and whole - {role[0]}
    )
    return [{name: value for name, value in row.items() if name not in empty} for row in rows], empty


def _drop_gaps(rows: Sequence[Figures]) -> list[Figures]:
    """Drop NaN that only fills gaps: the other split's row has the value, or validation is less frequent."""
    roles = assign_roles({name for row in rows for name in row})
    splits = {name: role[0] for name, role in roles.items() if role}
    with_values = [
        {splits[name] for name, value in row.items() if name in splits and not math.isnan(value)} for row in rows
    ]
    # True if no row has figures of both splits.
    are_apart = {"training", "heldout"} <= set().union(*with_values) and max(map(len, with_values), default=0) == 1
    between = {name: _make_regular_check([row.get(name, math.nan) for row in rows]) for name in splits}

    def is_gap(name: str, value: float, at: int) -> bool:
        if name not in splits or not math.isnan(value):
            return False
        return between[name](at) or (are_apart and bool(with_values[at] - {splits[name]}))

    return [{name: value for name, value in row.items() if not is_gap(name, value, at)} for at, row in enumerate(rows)]


def _make_regular_check(values: Sequence[float]) -> Callable[[int], bool]:
    """Make a check for rows between equally spaced figures, such as those of every fifth epoch."""
    places = [at for at, value in enumerate(values) if not math.isnan(value)]
    distances = {after - before for before, after in pairwise(places)}
    if len(distances) == 1:
        # Equal spacing is intentional with at least three figures, or two that start at the first or k-th epoch.
        distance = distances.pop()
        if len(places) >= _MIN_REGULAR_VALUES or (distance > 2 and places[0] in {0, distance - 1}):
            return lambda at: (at - places[0]) % distance != 0
    # Otherwise, the only regular case is a single measurement at the end.
    return lambda at: places == [len(values) - 1]


# --- columns by their names --------------------------------------------------------------------------


def _find_column(rows: Iterable[Row], wanted: Sequence[str]) -> str | None:
    """Find the first of these columns that the rows have."""
    names = {name.strip().lower().replace(" ", "_").lstrip("_"): name for row in rows for name in row}
    return next((names[name] for name in wanted if name in names), None)


def _find_split_column(rows: Sequence[Row]) -> str | None:
    column = _find_column(rows, _SPLIT_COLUMNS)
    cells = [row[column] for row in rows if column in row] if column else []
    are_splits = all(isinstance(cell, str) and set(split_words(cell)) & _WORDS_OF_SPLITS for cell in cells)
    return column if are_splits else None


def _add_split(row: Row, column: str) -> Row:
    """Add the split to the names of a row's curves."""
    split = row.get(column)
    roles = assign_roles(row)
    return {f"{split}/{name}" if roles[name] else name: cell for name, cell in row.items() if name != column}


_ERROR_RATE = "error_rate"
_TRAINING, _VALIDATION = "train/", "val/"
_LOSS = "_loss"


def convert_error_rate(run: RecordedRun) -> RecordedRun:
    """Replace fastai's `error_rate` with validation accuracy, unless there already is an accuracy."""
    points = run.curves.get(_ERROR_RATE)
    has_accuracy = any(role and role[1] == "accuracy" for role in assign_roles(run.curves).values())
    if points is None or has_accuracy or not {"train_loss", "valid_loss"} <= set(run.curves):
        return run
    accuracy = [(position, 1 - value) for position, value in points]
    by_epoch = run.by_epoch | {"valid_accuracy"} if run.by_epoch else run.by_epoch
    return replace(run, curves={**run.curves, "valid_accuracy": accuracy}, by_epoch=by_epoch)


def sum_losses(run: RecordedRun) -> RecordedRun:
    """Replace the parts of losses, such as `train/box_loss`, with their sums `train/loss` and `val/loss`.

    This only applies if there are figures `metrics/…` too, and both splits have the same parts.
    """
    parts = [name.removeprefix(_TRAINING) for name in run.curves if name.startswith(_TRAINING) and name.endswith(_LOSS)]
    of_validation = {name.removeprefix(_VALIDATION) for name in run.curves if name.startswith(_VALIDATION)}
    is_theirs = any(name.startswith("metrics/") for name in run.curves)
    if len(parts) < 2 or not is_theirs or not set(parts) <= of_validation:
        return run
    curves = {name: points for name, points in run.curves.items() if not name.endswith(_LOSS)}
    for split in (_TRAINING, _VALIDATION):
        curves[f"{split}loss"] = _sum_curves([run.curves[split + part] for part in parts])
    return replace(
        run,
        curves=curves,
        by_epoch=frozenset(curves) if run.by_epoch else run.by_epoch,
        notes=(*run.notes, f"Each loss is the sum of its parts: {list_first(parts)}."),
    )


def _sum_curves(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """Sum curves that were written together, row by row."""
    return [
        (points[0][0], sum(value for _, value in points))
        for points in zip(*curves, strict=False)
        if len({position for position, _ in points}) == 1
    ]
