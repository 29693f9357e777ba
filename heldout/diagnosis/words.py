"""How figures are written for people: shares in percent with one decimal, losses with four digits."""

from decimal import Decimal


def counted(count: int, thing: str) -> str:
    """`1 epoch`, `1,200 epochs`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def percent(share: float) -> str:
    """`35.5 %`."""
    return f"{100 * share:.1f} %"


def percent_range(low: float, high: float) -> str:
    """`35.5–50.4 %`."""
    return f"{100 * low:.1f}–{100 * high:.1f} %"


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
