"""Turns recorded runs into one history: chooses a run, and joins its curves by epoch or step."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from heldout.diagnosis.history import Curve, History, parse_figure
from heldout.histories.names import FIELD_NAMES, PAIRS, choose_curves, list_first, make_test_note
from heldout.histories.recorded import MAX_RUNS, Point, ReadHistory, RecordedRun
from heldout.words import pluralize

# A loss that fell to this share of its first value and then returns to between these shares marks a new run.
_MAX_FALLEN = 0.5
_BACK = (0.9, 1.2)

_TRAINING = tuple(training_field for training_field, _ in PAIRS)
_VALIDATION = tuple(other for _, other in PAIRS)


class SeveralRunsError(ValueError):
    """The file contains several trainings, and the user has not said which one to use."""


def join_run(runs: Sequence[RecordedRun], number: int | None = None) -> ReadHistory:
    """Make the history of one run.

    Args:
        number: which run, counted from 1; None if there is only one.

    Raises:
        SeveralRunsError: if there are several runs and no number is given, or there is no run with that number.
        ValueError: if there is no pair of curves, no common epoch, or several curves fit.
    """
    chosen = _choose_run([part for run in runs for part in _split_run(_number_positions(run))], number)
    names = choose_curves([name for name in chosen.curves if chosen.curves[name]], chosen.without_values)
    values = {field: _average_by_position(chosen.curves[name]) for field, name in names.items()}
    curves, positions, notes = _join_curves(values)
    by_epoch = all(name in chosen.by_epoch for name in names.values())
    trained = {position for field in _TRAINING if field in values for position in values[field]}
    fields, units = convert_to_fractions(curves)
    numbers = _number_epochs(positions, trained) if by_epoch else ()
    return ReadHistory(
        History(**fields, numbers=numbers),
        (*chosen.notes, *notes, *units, *make_test_note(names.values())),
        tuple(chosen.without_values),
    )


def _choose_run(runs: Sequence[RecordedRun], number: int | None) -> RecordedRun:
    if number is not None and number > len(runs):
        raise SeveralRunsError(
            f"there {'is' if len(runs) == 1 else 'are'} {pluralize(len(runs), 'run')}, and no run {number}"
        )
    if len(runs) > 1 and number is None:
        described = ", ".join(f"{at}: {_describe_run(run)}" for at, run in enumerate(runs[:12], 1))
        raise SeveralRunsError(
            f"there are {pluralize(len(runs), 'run')} ({described}{', …' if len(runs) > 12 else ''}); say which one to "
            'use, for example with `--run 2` or `"run": 2` for the second'
        )
    return runs[(number or 1) - 1] if runs else RecordedRun({})


def _describe_run(run: RecordedRun) -> str:
    lengths = {len({position for position, _ in points}) for points in run.curves.values()}
    name = f"{run.name[:100]!r}, " if run.name else ""
    return f"{name}{max(lengths, default=0):,} {'epochs' if run.by_epoch else 'points'}"


def _number_positions(run: RecordedRun) -> RecordedRun:
    """Number the positions 1, 2, 3 … if all values were written at the same one, because no step was given."""
    counts = {len(points) for points in run.curves.values() if len(points) > 1}
    if len(counts) != 1 or any(len({position for position, _ in points}) > 1 for points in run.curves.values()):
        return run
    return replace(
        run,
        curves={
            name: [(float(at), value) for at, (_, value) in enumerate(points, 1)] for name, points in run.curves.items()
        },
    )


# --- runs written in sequence ------------------------------------------------------------------------


def _split_run(run: RecordedRun) -> list[RecordedRun]:
    """Split a recording into several runs where its positions restart.

    Raises:
        ValueError: if only some of its curves restart.
    """
    try:
        names = choose_curves([name for name in run.curves if run.curves[name]], run.without_values)
    except ValueError:
        return [run]  # choosing it later raises the error with the reason
    parts = {name: _split_at_restarts(run.curves[name]) for name in names.values()}
    if all(len(of_name) == 1 for of_name in parts.values()) and "fit_loss" in names:
        starts = _find_new_starts(parts[names["fit_loss"]][0])
        parts = {name: _cut_points(starts, points) for name, [points] in parts.items()} if starts else parts
    lengths = set(map(len, parts.values()))
    if len(lengths) > 1:
        counts = list_first(f"{name} {len(of_name)}" for name, of_name in parts.items())
        raise ValueError(
            f"several runs follow each other, but not all of them have all curves: {counts}; put each run into its own "
            "file"
        )
    return [replace(run, curves={name: parts[name][at] for name in parts}) for at in range(lengths.pop())]


def _split_at_restarts(points: Sequence[Point]) -> list[list[Point]]:
    """Split the points where positions return to their start.

    If they only go back a little, a training was resumed, and the later points count. If they always decrease, the file
    was written in reverse.
    """
    positions = [position for position, _ in points]
    if positions == sorted(positions, reverse=True):
        return [list(reversed(points))]
    parts: list[list[Point]] = [[]]
    for position, value in points:
        part = parts[-1]
        if part and position < part[-1][0]:
            if position <= part[0][0]:
                parts.append([])
            else:
                del part[bisect_left(part, position, key=lambda point: point[0]) :]
        parts[-1].append((position, value))
        if len(parts) > MAX_RUNS:
            raise ValueError(f"positions restart more than {MAX_RUNS:,} times; expected one run after another")
    return parts


def _find_new_starts(loss: Sequence[Point]) -> list[int]:
    """Find the rows of a table without epochs where a training loss returns to its start and falls again."""
    values = [value for _, value in loss]
    if [position for position, _ in loss] != list(range(len(loss))) or not all(
        0 <= value < math.inf for value in values
    ):
        return []
    low = _MAX_FALLEN * values[0]
    back_low, back_high = (share * values[0] for share in _BACK)
    return [
        at
        for at in range(1, len(values))
        if values[at - 1] <= low and back_low <= values[at] <= back_high and min(values[at:]) <= low
    ]


def _cut_points(starts: Sequence[int], points: Sequence[Point]) -> list[list[Point]]:
    bounds = [-math.inf, *starts, math.inf]
    return [[point for point in points if low <= point[0] < high] for low, high in pairwise(bounds)]


# --- joined by epoch or step -------------------------------------------------------------------------


def _average_by_position(points: Sequence[Point]) -> dict[float, float | None]:
    """Average the values at each position, such as batches of an epoch. NaN next to figures is a gap in the table."""
    values: dict[float, list[float]] = {}
    for position, value in points:
        values.setdefault(position, []).append(value)
    return {
        position: _average([given_value for given_value in of_one if not math.isnan(given_value)])
        for position, of_one in values.items()
    }


def _average(values: Sequence[float | None]) -> float | None:
    """Average figures; None if there are none, or one is not finite."""
    figures = [None if value is None else parse_figure(value) for value in values]
    finite = [value for value in figures if value is not None]
    return parse_figure(sum(finite) / len(finite)) if finite and len(finite) == len(figures) else None


def _join_curves(
    values: Mapping[str, Mapping[float, float | None]],
) -> tuple[dict[str, Curve], list[float], tuple[str, ...]]:
    """Join the curves at their common positions; also returns these positions and notes for the user."""
    validated = set.intersection(*(set(values[field]) for field in _VALIDATION if field in values))
    common = sorted(set.intersection(*map(set, values.values())))
    # Training was logged every few steps and validation less often, so common positions are accidental.
    is_apart = 2 * len(common) <= len(validated)
    if not is_apart:
        return {field: tuple(curve[at] for at in common) for field, curve in values.items()}, common, ()
    curves: dict[str, dict[float, float | None]] = {
        field: _average_until(sorted(validated), curve) if field in _TRAINING else dict(curve)
        for field, curve in values.items()
    }
    positions = sorted(set.intersection(*map(set, curves.values())))
    if not positions:
        raise ValueError(f"the curves have no epoch in common: {', '.join(FIELD_NAMES[field] for field in values)}")
    logged = max(len(values[field]) for field in _TRAINING if field in values)
    note = (
        f"Training was logged {logged:,} times and validation {len(validated):,} times; each validation result is "
        "compared with the mean of the training results since the previous one."
    )
    return (
        {field: tuple(curve[at] for at in positions) for field, curve in curves.items()},
        positions,
        () if logged == len(validated) else (note,),
    )


def _average_until(ends: Sequence[float], curve: Mapping[float, float | None]) -> dict[float, float | None]:
    """For each end, the mean of the values since the previous end; ends without values are left out."""
    found: dict[float, float | None] = {}
    waiting = sorted(curve)
    at = 0
    for end in ends:
        since: list[float | None] = []
        while at < len(waiting) and waiting[at] <= end:
            since.append(curve[waiting[at]])
            at += 1
        if since:
            found[end] = _average(since)
    return found


def _number_epochs(positions: Sequence[float], trained: set[float]) -> tuple[int, ...]:
    """Number the epochs at these positions, counting from 1; empty if unknown, or if they are 1, 2, 3 …

    Args:
        trained: all positions with a training result; a file with a result in epoch 0 counts from 0.
    """
    if not all(position.is_integer() for position in positions):
        return ()
    from_zero = min(trained) == 0
    numbers = tuple(int(position) + from_zero for position in positions)
    return () if numbers == tuple(range(1, len(numbers) + 1)) else numbers


_MAX_PERCENT = 100.0
# A fraction that rounding put slightly above 1 is still a fraction.
_MAX_FRACTION = 1.001
# Smaller accuracies are hardly ever fractions: guessing among a hundred classes gives more.
_MIN_FRACTION = 0.01
# Multiple of the next smaller value. Accuracies in percent do not grow like that repeatedly from epoch to epoch. A file
# that switches from fractions to percent has one such step.
_MIN_STEP_BETWEEN_UNITS = 20.0


def convert_to_fractions(curves: Mapping[str, Curve]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Convert all accuracies to fractions; also returns notes for the user.

    Raises:
        ValueError: if one curve contains both fractions and percentages.
    """
    units = {field: _detect_unit(field, curves[field]) for field in PAIRS[1] if field in curves}
    changed = {
        field: tuple(None if value is None else value / _MAX_PERCENT for value in values)
        if units.get(field) == "percent"
        else values
        for field, values in curves.items()
    }
    if len(set(units.values())) < 2:
        return changed, ()
    percent, fractions = (
        next(FIELD_NAMES[field] for field, unit in units.items() if unit == wanted)
        for wanted in ("percent", "fractions")
    )
    return changed, (f"The {percent} is in percent and the {fractions} in fractions; both were read as fractions.",)


def _detect_unit(field: str, curve: Curve) -> str:
    values = sorted(value for value in curve if value is not None)
    if not values or values[0] < 0 or not _MAX_FRACTION < values[-1] <= _MAX_PERCENT:
        return "fractions"
    small = [value for value in values if _MIN_FRACTION < value <= _MAX_FRACTION]
    large = next(value for value in values if value > _MAX_FRACTION)
    if len(small) > 1 and large > _MIN_STEP_BETWEEN_UNITS * small[-1]:
        raise ValueError(
            f"the {FIELD_NAMES[field]} contains fractions (up to {small[-1]:.4g}) and percentages (from {large:.4g}); "
            "use one unit for all values"
        )
    return "percent"
