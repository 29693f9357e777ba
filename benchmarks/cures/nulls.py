"""Studies in which nothing can help, from recorded trainings: how often they still name a cure.

- *other seeds*: arms that train the base with other seeds. With fixed splits, all their trainings are permuted at
  random; with folds, only those of the same seed.
- *shuffled labels*: the base and the remedies that the referee cannot tell from it. For each seed their names are
  shuffled, so that each name stands for a random arm.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.cures import replay
from benchmarks.cures.conditions import SEEDS, Condition
from benchmarks.cures.record import Training
from benchmarks.cures.studies import Grid, Outcome, follow_grid, orders
from benchmarks.cures.truth import truth_of
from heldout.studies.spec import BASE_ARM

KINDS = ("other seeds", "shuffled labels")


def exchangeable(condition: Condition, kind: str) -> list[str]:
    """The arms whose trainings may be permuted, the base first."""
    if kind == "other seeds":
        return replay.null_arms(condition)
    truth = truth_of(condition)
    return [BASE_ARM, *(remedy for remedy in truth.benefits if truth.is_like_base(remedy))]


def null_studies(condition: Condition, kind: str, count: int) -> Iterator[Outcome]:
    """Make this many studies; none if there is only the base."""
    arms = exchangeable(condition, kind)
    if len(arms) < 2:
        return
    random = np.random.default_rng([condition.draw, 2 + KINDS.index(kind)])
    for order in orders(condition, count):
        yield follow_grid(condition, arms[1:], shuffle_trainings(condition, kind, arms, order, random))


def shuffle_trainings(
    condition: Condition, kind: str, arms: list[str], order: tuple[int, ...], random: np.random.Generator
) -> Grid:
    """Permute the trainings of exchangeable arms."""
    places = {seed: random.permutation(len(arms)) for seed in SEEDS}
    cells = {(arms[place], seed): (arms[own], seed) for seed in SEEDS for place, own in enumerate(places[seed])}
    if kind == "other seeds" and condition.folds is None:
        keys = [*cells]
        cells = dict(zip(keys, [keys[place] for place in random.permutation(len(keys))], strict=True))
    return _Shuffled(condition, order, cells)


class _Shuffled:
    """A condition's trainings, permuted."""

    def __init__(
        self, condition: Condition, order: tuple[int, ...], cells: dict[tuple[str, int], tuple[str, int]]
    ) -> None:
        self._grid, self._order, self._cells = replay.grid(condition), order, cells

    def __call__(self, arm: str, seed: int) -> Training:
        return self._grid[self._cells[arm, self._order[seed]]]
