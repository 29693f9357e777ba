"""Scales of pictures: from figures to places, and the round numbers that an axis names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

MAX_TICKS = 6


@dataclass(frozen=True)
class Scale:
    """Figures from low to high lie between two places. A scale may run backwards: start above end."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round numbers within the scale, at most MAX_TICKS and a few."""
        step = _round_step((self.high - self.low) / MAX_TICKS)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def scale_of(values: Iterable[float], start: float, end: float, *, room: float = 0.04) -> Scale:
    """A scale that has all values, with some room beyond them; there must be at least one."""
    known = list(values)
    low, high = min(known), max(known)
    width = (high - low) or abs(high) or 1.0
    return Scale(low - room * width, high + room * width, start, end)


def tick_texts(ticks: Sequence[float], *, sign: bool = False) -> list[str]:
    """Labels with as many decimals as the step between them needs."""
    step = abs(ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
    decimals = max(0, -floor(log10(step) + 1e-9))
    texts = [f"{abs(round(tick, decimals)):.{decimals}f}" for tick in ticks]
    return [f"{_sign(tick, sign)}{text}" if float(text) else "0" for tick, text in zip(ticks, texts, strict=True)]


def _sign(value: float, sign: bool) -> str:
    return "−" if value < 0 else "+" if sign else ""


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten, at least `least`."""
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
