"""How often intervals of a difference hold the true one, in simulated studies: `python -m benchmarks.studies.coverage`.

Prints a Markdown table of docs/measurements/coverage.md. Truths: two of the remedies really differ (+3 points and a
loss with lighter tails; −3 points and heavier ones), the others do not.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import exp

import numpy as np

from analysis.studies.comparing import compare, compute_gain_unit
from analysis.studies.planning import list_race_keys
from benchmarks.studies.simulated import Trainings, World, hash_of, state_of
from heldout.metrics import MEASURES
from heldout.studies.spec import BASE_ARM


@dataclass(frozen=True)
class Setting:
    """One row: the number of remedies, seeds and images, the noise of seeds in points, and whether all arms share
    it.
    """

    remedies: int
    seeds: int
    images: int
    noise: float
    equal: bool
    folds: int | None = None


@dataclass(frozen=True)
class Coverage:
    """Shares of studies: single intervals, those of the worst remedy, and all adjusted intervals of a study at once."""

    single: float
    worst: float
    family: float


def settings(folds: int | None) -> Iterator[Setting]:
    """All rows of a table."""
    for remedies in (1, 6):
        for images in (200, 1000, 5000) if folds is None else (40, 400):
            for noise, equal in ((0.0, True), (1.0, True), (4.0, True), (4.0, False)):
                yield Setting(remedies, 3, images, noise, equal, folds)
    for images, noise, equal in ((200, 1.0, True), (1000, 4.0, False)) if folds is None else ((40, 1.0, True),):
        yield Setting(6, 10, images, noise, equal, folds)


def world_of(setting: Setting) -> World:
    """What is true in such a study."""
    arms = (BASE_ARM, *(f"remedy {number}" for number in range(setting.remedies)))
    noise = dict.fromkeys(arms, setting.noise / 100)
    if not setting.equal:  # from a quarter of the noise to all of it, the base between them
        noise = dict(zip(arms, np.geomspace(0.25, 1, len(arms)) * setting.noise / 100, strict=True))
        noise[BASE_ARM] = 0.5 * setting.noise / 100
    world = World(arms, setting.images, seed_noise=noise, folds=setting.folds)
    better, worse = arms[1], arms[-1]
    if setting.remedies > 1:
        world = replace(world, accuracy={better: 0.03, worse: -0.03}, tails={better: 0.8, worse: 1.2})
    return world


def true_difference(world: World, arm: str, measure: str) -> float:
    """The arm's mean minus the base's, over all possible images and trainings."""
    if measure == "accuracy":
        return world.accuracy.get(arm, 0.0)
    own, base = world.tails.get(arm, 1.0), world.tails.get(BASE_ARM, 1.0)
    return 0.5 * (exp(own**2 / 2) - exp(base**2 / 2)) + world.loss.get(arm, 0.0)


def coverage(setting: Setting, studies: int) -> dict[str, Coverage]:
    """The coverage of each measure. Every setting draws again, so that chance in one does not affect another."""
    world = world_of(setting)
    seed = 10_000 * hash_of(setting)
    remedies = world.arms[1:]
    single = {measure: np.zeros((studies, len(remedies)), bool) for measure in MEASURES}
    family = {measure: np.zeros((studies, len(remedies)), bool) for measure in MEASURES}
    state = state_of(world, setting.seeds)
    for number in range(studies):
        trainings = Trainings(world, seed + number)
        scores = {
            arm: [trainings.scores(k) for k in list_race_keys(state, arm, range(setting.seeds))] for arm in world.arms
        }
        base = scores.pop(BASE_ARM)
        compared = compare(scores, base, compute_gain_unit(base), setting.folds)
        for position, arm in enumerate(remedies):
            for measure in MEASURES:
                difference, truth = getattr(compared[arm], measure), true_difference(world, arm, measure)
                for errors, found in ((0.05, single), (0.05 / (2 * len(remedies)), family)):
                    low, high = difference.interval(errors)
                    found[measure][number, position] = low <= truth <= high
    return {
        m: Coverage(float(single[m].mean()), float(single[m].mean(axis=0).min()), float(family[m].all(axis=1).mean()))
        for m in MEASURES
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=900, help="for each row, of all its studies together")
    parser.add_argument("--folds", type=int, default=None)
    options = parser.parse_args()
    measures = "accuracy: single | worst | family | loss: single | worst | family"
    print(f"| remedies | seeds | images | seed noise | {measures} |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for setting in settings(options.folds):
        found = coverage(setting, options.comparisons // setting.remedies)
        noise = f"{setting.noise:g} points" + ("" if setting.equal else ", unequal")
        figures = [f"{v:.3f}" for m in ("accuracy", "loss") for v in vars(found[m]).values()]
        row = [setting.remedies, setting.seeds, f"{setting.images:,}", noise, *figures]
        print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
