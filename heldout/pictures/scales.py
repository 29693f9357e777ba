"""Scales of pictures: positions of figures, the round numbers of an axis, and charts made of characters."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

MAX_TICKS = 6
# Multiple of the median distance that intervals reach from 0. Intervals that reach further are cut off.
MOST_TIMES_THE_MEDIAN = 3
# Dots of one Braille character, by row and column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


@dataclass(frozen=True)
class Scale:
    """Maps figures from low to high to positions from start to end. A scale may run backwards: start above end."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round numbers within the scale, about MAX_TICKS of them."""
        step = _choose_round_step((self.high - self.low) / MAX_TICKS)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def choose_scale(values: Iterable[float], start: float, end: float, *, room: float = 0.04) -> Scale:
    """Make a scale that contains all values (at least one), with some room at both ends."""
    known = list(values)
    low, high = min(known), max(known)
    width = (high - low) or abs(high) or 1.0
    return Scale(low - room * width, high + room * width, start, end)


def format_ticks(ticks: Sequence[float], *, sign: bool = False) -> list[str]:
    """Format ticks with as many decimals as the step between them needs."""
    step = abs(ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
    decimals = max(0, -floor(log10(step) + 1e-9))
    texts = [f"{abs(round(tick, decimals)):.{decimals}f}" for tick in ticks]
    signs = ["−" if tick < 0 else "+" if sign else "" for tick in ticks]
    return [f"{before}{text}" if float(text) else "0" for before, text in zip(signs, texts, strict=True)]


def compute_reach(differences: Iterable[tuple[float, tuple[float, float] | None]]) -> float:
    """Compute the largest distance from 0 to show, limited so that one extreme interval does not squeeze the others."""
    reaches: list[float] = sorted(max(map(abs, (mean, *(bounds or ())))) for mean, bounds in differences)
    if not reaches:
        return 0.0
    median = reaches[(len(reaches) - 1) // 2]
    return min(reaches[-1], MOST_TIMES_THE_MEDIAN * median or reaches[-1])


def draw_braille(
    curves: Sequence[Sequence[tuple[float, float]]], x: Scale, y: Scale, width: int, height: int
) -> list[str]:
    """Draw curves as `height` rows of `width` characters, each with two by four dots.

    Args:
        x, y: map figures to shares of the width and height, 0 to 1; y counts from the top.
    """
    cells = [[0] * width for _ in range(height)]

    def dot(across: float, down: float) -> None:
        column = min(max(round(across * (2 * width - 1)), 0), 2 * width - 1)
        row = min(max(round(down * (4 * height - 1)), 0), 4 * height - 1)
        cells[row // 4][column // 2] |= _DOTS[row % 4][column % 2]

    for curve in curves:
        places = [(x.place(across), y.place(value)) for across, value in curve]
        for (x0, y0), (x1, y1) in zip(places, places[1:] or places, strict=False):
            steps = max(1, round(2 * width * abs(x1 - x0)), round(4 * height * abs(y1 - y0)))
            for step in range(steps + 1):
                dot(x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps)
    return ["".join(chr(0x2800 + cell) for cell in row) for row in cells]


def _choose_round_step(least: float) -> float:
    """Choose 1, 2 or 5 times a power of ten, at least `least`."""
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
