"""Format figures for people: shares as percentages with one decimal, losses with four digits."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

NONE = "–"
MOST_DECIMALS = 6
DURATION_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
# A share this close to one half, a quarter or three quarters is called that.
MAX_DISTANCE_FROM_NAMED_SHARE = 0.02
# Smaller shares of a split are written as a count of images, not as a percentage.
MIN_SHARE_IN_PERCENT = 0.05
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Unit:
    """How differences of a figure are written. scale: factor from the unit in JSON to the written one."""

    scale: float
    decimals: int


POINTS, LOSS = Unit(100, 1), Unit(1, 3)


@dataclass(frozen=True)
class Words:
    """The text for one thing that is wrong.

    effect: a sentence with figures. action: what to do. then: a shorter imperative for a cause that comes second.
    before_next: the action as worded before `, then …`. None means `action`; empty means that nothing may follow it.
    flatters: a clause that says which results look better than they are: `Copies flatter test results`.
    """

    headline: str
    effect: str
    action: str
    then: str = ""
    before_next: str | None = None
    flatters: str = ""


def pluralize(count: int, thing: str) -> str:
    """`1 epoch`, `1,200 epochs`, `2 classes`."""
    ending = "" if count == 1 else "es" if thing.endswith("s") else "s"
    return f"{count:,} {thing}{ending}"


def percent(share: float | None, digits: int = 1) -> str:
    """`35.5%`, or a dash if the share is unknown."""
    return NONE if share is None else f"{100 * share:.{digits}f}%"


def percent_range(low: float, high: float) -> str:
    """`35.5–50.4%`."""
    return f"{100 * low:.1f}–{percent(high)}"


def format_range(bounds: tuple[float, float] | None) -> str:
    """`35.5% to 50.4%`, or a dash."""
    return NONE if bounds is None else f"{percent(bounds[0])} to {percent(bounds[1])}"


def rough_percent(share: float) -> str:
    """Return a share of a count: `11%`, `0.6%`. Only none and all are written as `0%` and `100%`."""
    shown = 100 * share
    if 0 < shown < 1:
        return f"{shown:.1g}%" if shown >= 0.001 else "less than 0.001%"
    return "more than 99%" if 99 < shown < 100 else percent(share, 0)


def whole_percents(*shares: float) -> list[str]:
    """`46%` and `9%`; with one decimal if two shares would look equal, or one would be rounded to none or all."""
    whole = [percent(share, 0) for share in shares]
    is_rounded_away = any(share not in (0, 1) and round(100 * share) in (0, 100) for share in shares)
    if is_rounded_away or len(set(whole)) < len(set(shares)):
        return [percent(share) for share in shares]
    return whole


def of_100(share: float) -> str:
    """`91 of 100`. Other shares are never rounded to none or all."""
    if share in (0, 1):
        return f"{round(100 * share)} of 100"
    rounded = round(100 * share)
    return "more than 99 of 100" if rounded == 100 else "fewer than 1 of 100" if rounded == 0 else f"{rounded} of 100"


def describe_share(images: int, count: int, name: str) -> str:
    """`Half of the test images`, `12% of the test images`, `3 of 400 test images`."""
    share = images / count
    if images == count:
        return f"All {name} images"
    if abs(share - 1 / 2) < MAX_DISTANCE_FROM_NAMED_SHARE:
        return f"Half of the {name} images"
    if share >= MIN_SHARE_IN_PERCENT:
        return f"{percent(share, 0)} of the {name} images"
    return f"{images:,} of {count:,} {name} images"


def describe_part(share: float) -> str:
    """Name an estimated share: `a quarter`, `half`, `31%`."""
    for name, exact in (("a quarter", 1 / 4), ("half", 1 / 2), ("three quarters", 3 / 4)):
        if abs(share - exact) < MAX_DISTANCE_FROM_NAMED_SHARE:
            return name
    return percent(share, 0)


def quote_name(label: object) -> str:
    text = str(label)
    return f'"{text}"' if len(text) <= 24 else f'"{text[:23]}…"'


def join_with_and(things: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(things[:-1]), things[-1]] if len(things) > 1 else things)


def format_duration(seconds: float | None) -> str:
    """Return the two largest units that matter, as the dashboard writes them: `48 s`, `9 min`, `1 h 12 min`."""
    if seconds is None:
        return NONE
    if seconds < 1:
        return "under 1 s"
    rest, parts = round(seconds), list[str]()
    for size, unit in DURATION_UNITS:
        whole, rest = divmod(rest, size)
        if whole:
            parts.append(f"{whole} {unit}")
        if parts and (not whole or len(parts) == 2):
            break
    return " ".join(parts)


def format_bytes(size: float) -> str:
    """`812 bytes`, `39.1 kB`, `1.20 GB`."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def format_loss(value: float | None) -> str:
    return NONE if value is None else f"{value:.{LOSS.decimals}f}"


def format_signed(unit: Unit, value: float | None, beside: Interval = None) -> str:
    """`+3.1`, with as many decimals as the interval printed with it."""
    return NONE if value is None else _format_signed(unit, value, _count_decimals(unit, value, beside))


def format_signed_range(unit: Unit, value: float | None, bounds: Interval) -> str:
    """`+1.4 to +4.8`."""
    if bounds is None:
        return NONE
    decimals = _count_decimals(unit, value, bounds)
    return f"{_format_signed(unit, bounds[0], decimals)} to {_format_signed(unit, bounds[1], decimals)}"


def format_figure(value: float, *, is_loss: bool) -> str:
    """Format a share as a percentage, or a loss: `0.50`, `2.303`, `0.00001725` unless it has more than ten zeros."""
    if not is_loss:
        return percent(value)
    text = f"{value:.4g}"
    if float(short := f"{value:.2f}") == float(text):
        return short
    return format(Decimal(text), "f") if "e-0" in text else text


def _count_decimals(unit: Unit, value: float | None, bounds: Interval) -> int:
    """Return the unit's decimals, or more until only 0 itself is written as 0: a bound must show its side of 0."""
    numbers = [unit.scale * number for number in (value, *(bounds or ())) if number]
    decimals = unit.decimals
    while decimals < MOST_DECIMALS and any(round(number, decimals) == 0 for number in numbers):
        decimals += 1
    return decimals


def _format_signed(unit: Unit, value: float, decimals: int) -> str:
    text = f"{abs(unit.scale * value):.{decimals}f}"
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else '−'}{text}"
