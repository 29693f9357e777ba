"""How figures are written for people: shares in percent with one decimal, losses with four digits."""

from decimal import Decimal

NONE = "–"


def counted(count: int, thing: str) -> str:
    """`1 epoch`, `1,200 epochs`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def percent(share: float | None, digits: int = 1) -> str:
    """`35.5%`; a dash where it is not known."""
    return NONE if share is None else f"{100 * share:.{digits}f}%"


def percent_range(low: float, high: float) -> str:
    """`35.5–50.4%`."""
    return f"{100 * low:.1f}–{percent(high)}"


def rough_percent(share: float) -> str:
    """A part of a count: `11%`, `0.6%`; never `0%` or `100%`, unless it is none or all."""
    shown = 100 * share
    if 0 < shown < 1:
        return f"{shown:.1g}%" if shown >= 0.001 else "less than 0.001%"
    return "more than 99%" if 99 < shown < 100 else percent(share, 0)


def whole_percents(*shares: float) -> list[str]:
    """`46%` and `9%`; with a decimal where two of them would look the same, or one as none or all."""
    whole = [percent(share, 0) for share in shares]
    is_rounded_away = any(share not in (0, 1) and round(100 * share) in (0, 100) for share in shares)
    if is_rounded_away or len(set(whole)) < len(set(shares)):
        return [percent(share) for share in shares]
    return whole


def change_of(value: float, *, is_loss: bool) -> str:
    """A change of a loss, or of a share of wrong answers in points."""
    return _digits(value, 3) if is_loss else f"{100 * value:.1f} points"


def figure_of(value: float, *, is_loss: bool) -> str:
    """A loss, or a share of wrong answers in percent."""
    return _digits(value, 4) if is_loss else percent(value)


def _digits(value: float, count: int) -> str:
    """So many significant digits; `0.00001725` rather than `1.725e-05`, unless that would be longer than ten zeros."""
    text = f"{value:.{count}g}"
    return format(Decimal(text), "f") if "e-0" in text else text
