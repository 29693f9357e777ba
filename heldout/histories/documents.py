"""JSON histories: Keras' dictionary and similar ones, curves by split, lists of records, Hugging Face's log."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from reprlib import repr as short
from typing import Any

from heldout.diagnosis.history import Curve, History, parse_figure, read_history
from heldout.histories.joining import SeveralRunsError, convert_to_fractions, join_run
from heldout.histories.names import EXPECTED, FIELD_NAMES, assign_roles, choose_curves, make_test_note
from heldout.histories.recorded import ReadHistory
from heldout.histories.rows import read_row_runs

# Names under which programs store a history or its records.
_WRAPPERS = ("history", "log_history")
_MAX_DEPTH = 6
# Limit for the columns of a split's records, because each takes time for each record.
_MAX_COLUMNS = 100


def read_document(content: object, run: int | None = None, max_rows: int | None = None) -> ReadHistory:
    """Read the content of a JSON file, whichever program wrote it.

    Args:
        run: which run, counted from 1, if there are several in sequence.
        max_rows: maximum number of records.

    Raises:
        ValueError: as `join_run`, or if it contains neither curves nor records.
    """
    if isinstance(content, dict) and content.get("object") == "metrics" and isinstance(content.get("epochs"), list):
        return ReadHistory(_read_our_metrics(content["epochs"]))
    unwrapped = _unwrap(content)
    records = _find_records(unwrapped)
    if records is not None:
        if max_rows is not None and len(records) > max_rows:
            raise ValueError(f"there are {len(records):,} records; expected at most {max_rows:,}")
        return join_run(read_row_runs([dict(flatten(record)) for record in records]), run)
    if not isinstance(unwrapped, dict):
        raise ValueError(f"{EXPECTED}, but this is {short(unwrapped)}")
    if run is not None and run > 1:
        raise SeveralRunsError(f"there is 1 run, and no run {run}")
    return read_curves(dict(_iterate_curves(unwrapped)))


def read_curves(curves: Mapping[str, object]) -> ReadHistory:
    """Read curves with one value per epoch, such as `model.fit(...).history`; other entries are ignored.

    Raises:
        ValueError: if there is no pair of curves, lengths differ, values are not numbers, or several curves fit.
    """
    names = choose_curves([name for name in curves if curves[name]])
    chosen = {name: _read_curve(field, curves[name]) for field, name in names.items()}
    roles = assign_roles(chosen)
    whole = {role[0] for name, curve in chosen.items() if (role := roles[name]) and None not in curve}
    # A curve without any value was not recorded if the other split has figures.
    without = [name for name, curve in chosen.items() if all(value is None for value in curve)]
    empty = [name for name in without if (role := roles[name]) and whole - {role[0]}]
    left = {name: curve for name, curve in chosen.items() if name not in empty}
    names = choose_curves([name for name in left if left[name]], empty)
    if len({len(left[name]) for name in names.values()}) > 1:
        lengths = ", ".join(f"{FIELD_NAMES[field]} {len(left[name])}" for field, name in names.items())
        raise ValueError(f"the curves differ in length: {lengths}")
    fields, notes = convert_to_fractions({field: left[name] for field, name in names.items()})
    return ReadHistory(History(**fields), (*notes, *make_test_note(names.values())), tuple(empty))


def is_keras(content: object) -> bool:
    """Return whether it is a dictionary of only curves, as in Keras, and not another form of history."""
    if not isinstance(content, dict) or any(name in content for name in _WRAPPERS):
        return False
    return not any(_has_curves(name, value) for name, value in content.items()) and (_find_records(content) is None)


def _read_our_metrics(epochs: Sequence[Any]) -> History:
    if any(not isinstance(epoch, dict) for epoch in epochs):
        raise ValueError("an epoch of these metrics is not an object")
    numbers = [epoch.get("epoch") for epoch in epochs]
    are_known = all(isinstance(number, int) and number > 0 for number in numbers) and sorted(set(numbers)) == numbers
    return replace(read_history(epochs), numbers=tuple(numbers) if are_known else ())


def _unwrap(content: object) -> object:
    for name in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict | list):
            return content[name]
    return content


# --- records -----------------------------------------------------------------------------------------


def _find_records(content: object) -> list[Mapping[str, object]] | None:
    """Find the records: the content itself, a list under some name, or one record under each epoch's number."""
    if isinstance(content, list):
        if content and all(isinstance(record, dict) for record in content):
            return content
        return None
    if not isinstance(content, dict):
        return None
    by_number = {name: value for name, value in content.items() if str(name).isdecimal() and isinstance(value, dict)}
    if by_number and len(by_number) == len(content):
        return [{"epoch": int(name), **value} for name, value in by_number.items()]
    found = [value for value in content.values() if _find_records(value) is not None and isinstance(value, list)]
    has_curves = any(isinstance(value, list) and assign_roles([name])[name] for name, value in content.items())
    if len(found) == 1 and not has_curves:
        records: list[Mapping[str, object]] = found[0]
        return records
    return None


def flatten(record: Mapping[str, object], above: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    """Yield the record's values by path, such as `val/loss`; values nested too deeply are left out."""
    for name, value in record.items():
        if isinstance(value, dict):
            if depth < _MAX_DEPTH:
                yield from flatten(value, f"{above}{name}/", depth + 1)
        else:
            yield f"{above}{name}", value


# --- curves ------------------------------------------------------------------------------------------


def _iterate_curves(content: Mapping[str, object], above: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    """Yield lists by path: `train/loss` for `{"train": {"loss": […]}}`. Objects with numbers as keys count as lists."""
    for name, value in content.items():
        path = f"{above}{name}"
        if isinstance(value, dict) and value and all(str(key).isdecimal() for key in value):
            yield path, [value[key] for key in sorted(value, key=int)]
        elif isinstance(value, dict) and depth < _MAX_DEPTH:
            yield from _iterate_curves(value, f"{path}/", depth + 1)
        elif isinstance(value, list) and value and all(isinstance(record, dict) for record in value):
            for column in islice(value[0], _MAX_COLUMNS):
                yield f"{path}/{column}", [record.get(column) for record in value]
        elif isinstance(value, list):
            yield path, value


def _has_curves(name: str, value: object) -> bool:
    """Return whether there are curves under a name, in an object or in records."""
    is_below = isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(record, dict) for record in value)
    )
    return is_below and any(assign_roles([path for path, _ in _iterate_curves({name: value})]).values())


def _read_curve(field: str, values: object) -> Curve:
    if not isinstance(values, list | tuple):
        raise ValueError(f"the {FIELD_NAMES[field]} is {short(values)}; expected a list of numbers")
    return tuple(map(parse_figure, values))
