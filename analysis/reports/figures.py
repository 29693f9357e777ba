"""How figures are written in a report: differences as right answers of 100 images, losses, shares and durations."""

from collections.abc import Sequence
from dataclasses import dataclass

from heldout.views.study import Interval
from heldout.words import NONE, counted

MOST_DECIMALS = 6
MINUTE_S, HOUR_S = 60, 3600


@dataclass(frozen=True)
class Unit:
    """How differences of a figure are said. scale: from the JSON's unit to the written one."""

    scale: float
    decimals: int
    rise: str
    fall: str
    is_rise_better: bool


OF_100_IMAGES = Unit(100, 1, "more", "fewer", is_rise_better=True)
LOSS = Unit(1, 3, "higher", "lower", is_rise_better=False)


def loss(value: float | None) -> str:
    return NONE if value is None else f"{value:.{LOSS.decimals}f}"


def signed(unit: Unit, value: float | None, beside: Interval = None) -> str:
    """`+3.1`, with as many decimals as the interval beside it."""
    return NONE if value is None else _signed(unit, value, _decimals(unit, value, beside))


def signed_range(unit: Unit, value: float | None, bounds: Interval) -> str:
    """`+1.4 to +4.8`."""
    if bounds is None:
        return NONE
    decimals = _decimals(unit, value, bounds)
    return f"{_signed(unit, bounds[0], decimals)} to {_signed(unit, bounds[1], decimals)}"


def change(unit: Unit, value: float, beside: Interval = None) -> str:
    """`3.1 more`, `0.121 lower`."""
    decimals = _decimals(unit, value, beside)
    return f"{_plain(unit, value, decimals)} {unit.rise if value >= 0 else unit.fall}"


def change_range(unit: Unit, value: float | None, bounds: tuple[float, float]) -> str:
    """`1.4 to 4.8 more`, `0.060 to 0.182 lower`, `from 0.4 fewer to 2.1 more`."""
    decimals = _decimals(unit, value, bounds)
    low, high = (_plain(unit, bound, decimals) for bound in bounds)
    if bounds[0] >= 0:
        return f"{low} to {high} {unit.rise}"
    if bounds[1] <= 0:
        return f"{high} to {low} {unit.fall}"
    return f"from {low} {unit.fall} to {high} {unit.rise}"


def duration(seconds: float) -> str:
    """`48 seconds`, `14 minutes`, `3.2 hours`."""
    if round(seconds) < MINUTE_S:
        return counted(round(seconds), "second")
    if round(seconds / MINUTE_S) < MINUTE_S:
        return counted(round(seconds / MINUTE_S), "minute")
    return f"{seconds / HOUR_S:.1f} hours"


def listed(things: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(things[:-1]), things[-1]] if len(things) > 1 else things)


def _decimals(unit: Unit, value: float | None, bounds: Interval) -> int:
    """As few as the unit has, but so many that nothing but 0 is written as 0: a bound says on which side of 0 it is."""
    numbers = [unit.scale * one for one in (value, *(bounds or ())) if one]
    decimals = unit.decimals
    while decimals < MOST_DECIMALS and any(round(one, decimals) == 0 for one in numbers):
        decimals += 1
    return decimals


def _plain(unit: Unit, value: float, decimals: int) -> str:
    return f"{abs(unit.scale * value):.{decimals}f}"


def _signed(unit: Unit, value: float, decimals: int) -> str:
    text = _plain(unit, value, decimals)
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else '−'}{text}"
