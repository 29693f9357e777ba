"""Accuracies that were written in percent, as fractions."""

from collections.abc import Mapping

from heldout.diagnosis.history import Curve
from heldout.histories.names import FIELD_NAMES, PAIRS

_MAX_PERCENT = 100.0
# A fraction that floating point has put above 1 is still a fraction.
_MAX_FRACTION = 1.001
# Accuracies below are hardly ever written as fractions: guessing among a hundred classes has more.
_MIN_FRACTION = 0.01
# Times the next smaller value. No accuracy in percent grows like that from one epoch to the next, again and again; a
# file that goes over from fractions to percent has one such step.
_MIN_STEP_BETWEEN_UNITS = 20.0


def with_fractions(curves: Mapping[str, Curve]) -> tuple[dict[str, Curve], tuple[str, ...]]:
    """The curves by field with all accuracies as fractions, and what to tell the user of it.

    Raises:
        ValueError: if one curve holds both fractions and percentages.
    """
    units = {field: _unit_of(field, curves[field]) for field in PAIRS[1] if field in curves}
    changed = {
        field: tuple(None if value is None else value / _MAX_PERCENT for value in values)
        if units.get(field) == "percent"
        else values
        for field, values in curves.items()
    }
    return changed, (_note_of(units),) if len(set(units.values())) > 1 else ()


def _unit_of(field: str, curve: Curve) -> str:
    values = sorted(value for value in curve if value is not None)
    if not values or values[0] < 0 or not _MAX_FRACTION < values[-1] <= _MAX_PERCENT:
        return "fractions"
    small = [value for value in values if _MIN_FRACTION < value <= _MAX_FRACTION]
    large = next(value for value in values if value > _MAX_FRACTION)
    if len(small) > 1 and large > _MIN_STEP_BETWEEN_UNITS * small[-1]:
        raise ValueError(
            f"the {FIELD_NAMES[field]} holds fractions (up to {small[-1]:.4g}) and percentages (from {large:.4g} on); "
            "write all of it in one unit"
        )
    return "percent"


def _note_of(units: Mapping[str, str]) -> str:
    percent, fractions = (
        next(FIELD_NAMES[field] for field, unit in units.items() if unit == wanted)
        for wanted in ("percent", "fractions")
    )
    return f"The {percent} is written in percent and the {fractions} as fractions; both were read as fractions."
