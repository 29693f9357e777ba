"""How much of the possible gain studies achieve, how often they are wrong, and what they cost; as Markdown tables.

All intervals are over conditions: studies of one condition resemble each other, so whole conditions are resampled.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.cures import replay
from benchmarks.cures.conditions import SEEDS, Condition
from benchmarks.cures.habits import HABITS
from benchmarks.cures.nulls import KINDS, null_studies
from benchmarks.cures.studies import (
    Outcome,
    best_of_grid,
    is_as_good,
    look_at_all,
    orders,
    study,
    winner_of_grid,
)
from benchmarks.cures.truth import MEASURES, Gap, Measure, truth_of
from heldout.studies.spec import BASE_ARM

STUDIES = 40  # of each condition
NULL_STUDIES = 60  # of each condition and kind
DRAWS = 4000  # of conditions, for an interval
STUDY, LOOKS_BEST = "a study", "a study, or else what it says looks best"


@dataclass(frozen=True)
class Scored:
    """All studies of one condition. choices: by method, what it chose in each study; None for the base."""

    condition: Condition
    studies: list[Outcome]
    choices: dict[str, list[str | None]]
    gaps: dict[Measure, Gap]

    @property
    def is_curable(self) -> bool:
        """Return whether the best remedy surely improves loss or accuracy."""
        return any(gap.closable for gap in self.gaps.values())

    def shares(self, method: str, measure: Measure) -> list[float]:
        """The share of the closable gap that each choice closes."""
        truth = truth_of(self.condition)
        return [truth.benefit(choice, measure) / self.gaps[measure].size for choice in self.choices[method]]

    def is_wrong(self, method: str) -> list[bool]:
        """Whether each choice is a wrong remedy."""
        truth = truth_of(self.condition)
        return [choice is not None and truth.is_wrong(choice) for choice in self.choices[method]]

    def costs(self) -> list[float]:
        """The share of the whole grid's trainings that each study used."""
        whole = len(SEEDS) * (1 + len(replay.remedies(self.condition)))
        return [one.trainings / whole for one in self.studies]


def scored(condition: Condition, count: int = STUDIES) -> Scored:
    """Run the studies of a condition, and what people do today with the same trainings."""
    seeds = orders(condition, count)
    studies = [study(condition, order) for order in seeds]
    arms = 1 + len(replay.remedies(condition))
    choices: dict[str, list[str | None]] = {
        STUDY: [one.winner for one in studies],
        LOOKS_BEST: [one.looks_best for one in studies],
    }
    for name, habit in HABITS.items():
        found = [
            habit(condition, order, max(one.trainings // arms, 1)) for order, one in zip(seeds, studies, strict=True)
        ]
        choices[name] = [None if arm == BASE_ARM else arm for arm in found]
    truth = truth_of(condition)
    return Scored(condition, studies, choices, {measure: truth.gap(measure) for measure in MEASURES})


def tables(conditions: Sequence[Condition]) -> Iterator[str]:
    """Build all tables for some conditions."""
    found = [scored(condition) for condition in conditions]
    yield from _conditions(found)
    yield ""
    yield from methods(found)
    yield ""
    yield from _racing(found)
    yield ""
    yield from _nulls(conditions)


def _conditions(found: Sequence[Scored]) -> Iterator[str]:
    yield f"| condition | gap: loss, accuracy | named by {STUDIES} studies | closed: loss, accuracy | trainings |"
    yield "|---|---|---|---|---|"
    yield from map(row_of, found)


def row_of(one: Scored) -> str:
    """Describe what the studies of a condition named, and what that is worth."""
    gaps = [_gap(one.gaps[measure], measure) for measure in MEASURES]
    closed = [
        f"{np.mean(one.shares(STUDY, measure)):.2f}" if one.gaps[measure].closable else "–" for measure in MEASURES
    ]
    names = Counter(f"`{name}`" if name else "no cure" for name in one.choices[STUDY])
    named = ", ".join(f"{name} {count}" for name, count in names.most_common())
    figures = [one.condition.key, " · ".join(gaps), named, " · ".join(closed), f"{np.mean(one.costs()):.2f}"]
    return f"| {' | '.join(figures)} |"


def methods(found: Sequence[Scored]) -> Iterator[str]:
    """Compare studies with today's habits: first on conditions with a sure remedy, then on all."""
    closable = {measure: [one for one in found if one.gaps[measure].closable] for measure in MEASURES}
    counts = " · ".join(f"{len(closable[measure])} conditions" for measure in MEASURES)
    yield f"| chosen by | median closed of the gap: loss · accuracy ({counts}) | on average a study closes more by |"
    yield "|---|---|---|"
    for method in found[0].choices:
        closed, more = [], []
        for measure in MEASURES:
            own = [np.array(one.shares(STUDY, measure)) for one in closable[measure]]
            others = [np.array(one.shares(method, measure)) for one in closable[measure]]
            closed.append(_interval(others, _median))
            more.append(_interval([a - b for a, b in zip(own, others, strict=True)], _mean))
        yield f"| {method} | {' · '.join(closed)} | {' · '.join(more) if method != STUDY else ''} |"
    yield ""
    curable, others = [one for one in found if one.is_curable], [one for one in found if not one.is_curable]
    yield (
        f"| chosen by | names one although none is surely better ({len(others)} conditions)"
        f" | names none where one is ({len(curable)}) | names a wrong one (all {len(found)}) |"
    )
    yield "|---|---|---|---|"
    for method in found[0].choices:
        false = _interval([_named(one, method) for one in others], _mean)
        missed = _interval([1 - _named(one, method) for one in curable], _mean)
        wrong = _interval([np.array(one.is_wrong(method), float) for one in found], _mean)
        yield f"| {method} | {false} | {missed} | {wrong} |"


def _racing(found: Sequence[Scored]) -> Iterator[str]:
    """Measure what is lost by the trainings that studies skip."""
    best, named, none = [], [], []
    for one in found:
        look = look_at_all(one.condition)
        first, cure = best_of_grid(look), winner_of_grid(look)
        best.append(np.array([is_as_good(look, study.looks_best, first) for study in one.studies], float))
        if cure is None:
            none.append(1 - _named(one, STUDY))
        else:
            named.append(np.array([study.winner is not None for study in one.studies], float))
            named[-1] *= [is_as_good(look, study.winner, cure) for study in one.studies]
    rows = {
        "what looks best is the grid's best, or not surely worse": best,
        "a cure that the grid names is named, or one not surely worse": named,
        "where the grid names none, neither does the study": none,
        "share of the grid's trainings": [np.array(one.costs()) for one in found],
    }
    yield "| compared with all remedies and all eight seeds | conditions | share (interval) |"
    yield "|---|---|---|"
    for name, figures in rows.items():
        yield f"| {name} | {len(figures)} | {_interval(figures, _mean)} |"


def _nulls(conditions: Sequence[Condition]) -> Iterator[str]:
    yield "| nothing can help | grids | studies | named a cure |"
    yield "|---|---|---|---|"
    for kind in KINDS:
        grids = [[*null_studies(condition, kind, NULL_STUDIES)] for condition in conditions]
        named = [np.array([one.winner is not None for one in grid], float) for grid in grids if grid]
        yield f"| {kind} | {len(named)} | {sum(map(len, named))} | {_interval(named, _mean, 3)} |"


Clusters = Sequence[NDArray[np.float64]]


def _interval(clusters: Clusters, figure: Callable[[Clusters], float], digits: int = 2) -> str:
    """Format a figure with its 95% interval over draws of conditions; without one if all are alike."""
    if not clusters:
        return "–"
    random = np.random.default_rng(0)
    count = len(clusters)
    drawn = [figure([clusters[place] for place in random.integers(count, size=count)]) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    interval = f" ({low:.{digits}f} to {high:.{digits}f})" if low < high else ""
    return f"{figure(clusters):.{digits}f}{interval}"


def _mean(clusters: Clusters) -> float:
    return float(np.mean([part.mean() for part in clusters]))


def _median(clusters: Clusters) -> float:
    return float(np.median([part.mean() for part in clusters]))


def _named(one: Scored, method: str) -> NDArray[np.float64]:
    return np.array([choice is not None for choice in one.choices[method]], float)


def _gap(gap: Gap, measure: Measure) -> str:
    size = f"{gap.size:.3f}" if measure == "loss" else f"{100 * gap.size:.1f} points"
    return f"**{size}**" if gap.closable else size
