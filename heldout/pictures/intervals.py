"""Differences with their intervals around 0, as rows of characters."""

from collections.abc import Iterable

# Of how far intervals reach from 0: one that reaches farther is cut off.
MOST_TIMES_THE_MEDIAN = 3


def reach_of(differences: Iterable[tuple[float, tuple[float, float] | None]]) -> float:
    """The largest distance from 0 that is shown. One interval that runs wild leaves room for the others."""
    reaches: list[float] = sorted(max(map(abs, (mean, *(bounds or ())))) for mean, bounds in differences)
    if not reaches:
        return 0.0
    median = reaches[(len(reaches) - 1) // 2]
    return min(reaches[-1], MOST_TIMES_THE_MEDIAN * median or reaches[-1])


def around_zero(mean: float | None, bounds: tuple[float, float] | None, reach: float, width: int) -> str:
    """`-----o---|` : the interval, its mean as an o, and 0 as a |. What lies outside ends in < or >.

    Args:
        mean: None where nothing is known.
        reach: the distance from 0 to both ends of the row.
        width: an odd number of characters, so that 0 has one of its own.
    """
    cells = [" "] * width
    middle = width // 2

    def column(value: float) -> int:
        return middle + max(-middle, min(middle, round(value / reach * middle)))

    cells[middle] = "|"
    if mean is not None and reach > 0:
        low, high = bounds or (mean, mean)
        for place in range(column(low), column(high) + 1):
            cells[place] = "-"
        cells[middle] = "|"
        cells[column(mean)] = "o"
        cells[0] = "<" if low < -reach else cells[0]
        cells[-1] = ">" if high > reach else cells[-1]
    return "".join(cells).rstrip()
