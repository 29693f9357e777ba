"""How good forecasts of learning curves are, on recorded ones: `python -m benchmarks.cures.forecasts COMMAND [FILE]`.

open    on two thirds of the curves, on which the rules were found
sealed  on the third that was drawn beforehand, once the rules are committed

A forecast uses five sizes and is judged by the sixth, which has twice as many images as the largest of them. Another
one uses the first four and is judged by the fifth.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from pathlib import Path

import numpy as np

from analysis.studies.forecasting import NoForecast, Size, forecast
from benchmarks.cures import curves

DRAW = 2_027
BOOTSTRAPS = 2000
# A planted fault is one that matters: a size whose error exceeds that of a smaller size by this share.
PLANTED_RISE = 0.2
# Wrong labels in a size make its network as bad as one with this many times fewer images.
SPOILED_STEPS = 2


@dataclass(frozen=True)
class Real:
    """A recorded curve as seen by someone with this many images to measure on.

    sizes: the known ones. images, error: of the next size, which judges; `validation` judges on other images.
    """

    name: str
    sizes: tuple[Size, ...]
    images: int
    error: float


def sealed() -> set[str]:
    """The names of the third that chose nothing. They were drawn, not picked."""
    names = sorted(curve.key for curve in curves.all_curves())
    order = np.random.default_rng(DRAW).permutation(len(names))
    return {names[place] for place in order[: round(len(names) / 3)]}


def real_curves(file: Path, *, of_sealed: bool, by: str, known: int = 5) -> Iterator[Real]:
    """List complete curves.

    Args:
        known: how many sizes are known; the next one judges.
        by: `validation` as in a study, judged by the referee's images; or `referee`, whose 1,000 or 2,000 images both
            measure and judge.
    """
    points: dict[str, dict[int, list[curves.Point]]] = {}
    for point in curves.read_points(file):
        points.setdefault(point.curve, {}).setdefault(point.images, []).append(point)
    chosen = sealed()
    for curve in curves.all_curves():
        measured = points.get(curve.key, {})
        if (curve.key in chosen) != of_sealed or any(
            len(measured.get(images, [])) < len(curves.SEEDS) for images in curve.sizes
        ):
            continue
        asked = curve.condition.validation if by == "validation" else referees(curve.dataset)
        # Images that measure as well as judge, so that the choice of images does not matter.
        different = asked if by == "validation" else 10**9
        sizes = [
            Size(images, tuple(1 - getattr(point, by)[1] for point in measured[images]), asked, different)
            for images in curve.sizes
        ]
        error = float(np.mean([1 - point.referee[1] for point in measured[curve.sizes[known]]]))
        yield Real(curve.key, tuple(sizes[:known]), curve.sizes[known], error)


def referees(dataset: str) -> int:
    from benchmarks.cures.sets import REFEREES

    return REFEREES[dataset]


# --- what people do without a forecast ---------------------------------------------------------------------


def last_value(sizes: Sequence[Size], images: int) -> float:
    """Forecast the error of the largest size."""
    return float(np.mean(sizes[-1].errors))


def plain_power_law(sizes: Sequence[Size], images: int) -> float:
    """Fit a·N^−b by least squares in logarithms, adding half an image if there are no errors."""
    logs = [log(max(float(np.mean(size.errors)), 0.5 / (size.asked + 1))) for size in sizes]
    slope, start = np.polyfit(np.log([size.images for size in sizes]), logs, 1)
    return exp(start + slope * log(images))


RIVALS: Mapping[str, Callable[[Sequence[Size], int], float]] = {
    "the last value": last_value,
    "a plain power law": plain_power_law,
}


# --- scores ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """How good forecasts are: by how many points they miss, and how often the truth lies in the interval."""

    curves: int
    refused: Mapping[str, str]
    missed: Mapping[str, Sequence[float]]  # by method, curve by curve
    covered: float
    width: float

    def mean(self, name: str) -> float:
        return float(np.mean(self.missed[name]))


OURS = "the forecast"


def score(reals: Sequence[Real]) -> Score:
    refused: dict[str, str] = {}
    missed: dict[str, list[float]] = {name: [] for name in (OURS, *RIVALS)}
    covered, widths = [], []
    for real in reals:
        found = forecast(real.sizes, real.images)
        if isinstance(found, NoForecast):
            refused[real.name] = found.code
            continue
        missed[OURS].append(100 * abs(found.error - real.error))
        for name, rival in RIVALS.items():
            missed[name].append(100 * abs(rival(real.sizes, real.images) - real.error))
        covered.append(found.interval[0] <= real.error <= found.interval[1])
        widths.append((found.interval[1] - found.interval[0]) / 2 / found.error)
    return Score(len(reals), refused, missed, float(np.mean(covered)), float(np.median(widths)))


def planted(reals: Sequence[Real]) -> Iterator[tuple[str, Sequence[Size]]]:
    """Make curves that are not monotone: two sizes are swapped, or one is spoiled as if by wrong labels.

    They are made of curves that have a forecast unchanged.
    """
    for real in reals:
        if isinstance(forecast(real.sizes, real.images), NoForecast):
            continue
        sizes, means = real.sizes, [float(np.mean(size.errors)) for size in real.sizes]
        for i in range(len(sizes)):
            for j in range(i + 1, len(sizes)):
                if means[i] > (1 + PLANTED_RISE) * means[j]:
                    swapped = list(sizes)
                    swapped[i], swapped[j] = (
                        replace(sizes[i], errors=sizes[j].errors),
                        replace(sizes[j], errors=sizes[i].errors),
                    )
                    yield "swapped", swapped
        for j in range(SPOILED_STEPS, len(sizes)):
            if means[j - SPOILED_STEPS] > (1 + PLANTED_RISE) * means[j - 1]:
                spoiled = list(sizes)
                spoiled[j] = replace(sizes[j], errors=sizes[j - SPOILED_STEPS].errors)
                yield "spoiled", spoiled


def refusals(reals: Sequence[Real]) -> dict[str, tuple[int, int]]:
    """Count the refused ones among each kind of planted curves."""
    found: dict[str, list[bool]] = {}
    for kind, sizes in planted(reals):
        found.setdefault(kind, []).append(isinstance(forecast(sizes, 2 * sizes[-1].images), NoForecast))
    return {kind: (sum(one), len(one)) for kind, one in found.items()}


def better_by(missed: Mapping[str, Sequence[float]], rival: str) -> tuple[float, float]:
    """The 95% interval of how many more points the rival misses by, with curves resampled."""
    more = np.array(missed[rival]) - np.array(missed[OURS])
    drawn = np.random.default_rng(0).integers(0, len(more), (BOOTSTRAPS, len(more)))
    low, high = np.quantile(more[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def main(arguments: list[str]) -> None:
    which, *rest = arguments or [""]
    if which not in {"open", "sealed"}:
        raise SystemExit(__doc__)
    file = Path(rest[0]) if rest else curves.FILE
    for by, known in ((by, known) for known in (5, 4) for by in ("validation", "referee")):
        reals = [*real_curves(file, of_sealed=which == "sealed", by=by, known=known)]
        found = score(reals)
        described = f"{known} sizes, measured by {by}"
        print(f"{which}, {described}: {found.curves} curves, {len(found.refused)} without a forecast")
        print(f"  {found.refused}")
        for name in found.missed:
            beside = "" if name == OURS else " (more by {:+.2f} to {:+.2f})".format(*better_by(found.missed, name))
            print(f"  {name}: misses by {found.mean(name):.2f} points{beside}")
        print(f"  in the interval: {100 * found.covered:.0f}%; half its width, of the forecast: {found.width:.2f}")
        for kind, (refused, count) in refusals(reals).items():
            print(f"  planted, {kind}: {refused} of {count} refused ({100 * refused / count:.0f}%)")


if __name__ == "__main__":
    main(sys.argv[1:])
