"""Studies decided as the product does, on recorded trainings instead of new ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from analysis.studies.assessment import RemedyAssessment
from analysis.studies.planning import count_comparisons, plan_stages
from analysis.studies.progress import follow as progress_of
from analysis.studies.racing import Look, find_leader, find_winner, list_clearly_beaten
from analysis.studies.state import Arm, RunKey, Scores, StudyState
from benchmarks.cures import replay
from benchmarks.cures.conditions import SEEDS, Condition
from benchmarks.cures.record import Training
from benchmarks.studies.simulated import follow
from heldout.studies.spec import BASE_ARM

FIRST_SEEDS = 3  # of the first look, so that the last one has all eight that are recorded

Grid = Callable[[str, int], Training]


@dataclass(frozen=True)
class Outcome:
    """The answer of one study.

    winner: None if it named no cure. looks_best: the winner, or else the remedy that the answer calls most promising;
    None if it says that none looks better than the base.
    """

    winner: str | None
    looks_best: str | None
    trainings: int


def orders(condition: Condition, count: int) -> list[tuple[int, ...]]:
    """The orders in which studies meet the recorded seeds, drawn by the condition's number and so always the same.

    With folds, seeds of one cut stay together, as in a study, and those of an incomplete cut come last.
    """
    random = np.random.default_rng([condition.draw, 1])
    size = condition.folds or len(SEEDS)
    cuts = [np.array(SEEDS[start : start + size]) for start in range(0, len(SEEDS), size)]
    whole, rest = [cut for cut in cuts if len(cut) == size], [cut for cut in cuts if len(cut) < size]
    found = []
    for _ in range(count):
        chosen = [whole[place] for place in random.permutation(len(whole))] + rest
        found.append(tuple(int(seed) for cut in chosen for seed in random.permutation(cut)))
    return found


def study(condition: Condition, order: Sequence[int]) -> Outcome:
    """Run a study of all recorded remedies, with the seeds in this order."""
    grid = replay.grid(condition)
    return follow_grid(condition, [*replay.remedies(condition)], lambda arm, seed: grid[arm, order[seed]])


def follow_grid(condition: Condition, remedies: Sequence[str], grid: Grid) -> Outcome:
    """Give a study the trainings that it asks for.

    Args:
        remedies: names of its arms besides the base.
        grid: the training of an arm and a seed of the study.
    """
    state = state_of(condition, remedies)

    def scores(key: RunKey) -> Scores:
        return scores_of(condition, grid(key.arm, key.seed))

    steps, runs = follow(state, scores)
    assert steps.conclusion is not None, f"a study of {condition.key} has failed: {steps.error}"
    winner = steps.conclusion.remedy
    looks = progress_of(state, runs).looks
    gains = {
        name: look.comparisons[name].gain.mean
        for name, look in looks.items()
        if look.judgements[name].assessment in (RemedyAssessment.OPEN, RemedyAssessment.CURE)
    }
    promising = [name for name in gains if gains[name] > 0]
    best = max(promising, key=lambda name: gains[name], default=None)
    return Outcome(winner, winner or best, len(runs))


def state_of(condition: Condition, remedies: Sequence[str]) -> StudyState:
    """Build the state of a study without a test split."""
    arms = tuple(Arm(name, {}) for name in (BASE_ARM, *remedies))
    return StudyState(
        "remedies", arms, FIRST_SEEDS, condition.folds, condition.train, condition.validation, has_test=False
    )


def scores_of(condition: Condition, training: Training) -> Scores:
    """Return what a study may see of a training."""
    return Scores(
        images=training.rows.astype(np.int32),
        losses=training.losses.astype(np.float32),
        right=training.correct,
        train_loss=training.train_loss,
        train_accuracy=training.train_accuracy,
        train_images=condition.train,
        kept_epoch=training.epoch,
    )


@cache
def look_at_all(condition: Condition) -> Look:
    """Take the last look of a study that drops nothing: every remedy with every seed."""
    remedies = [*replay.remedies(condition)]
    state = state_of(condition, remedies)
    grid = replay.grid(condition)
    scores = {arm: [scores_of(condition, grid[arm, seed]) for seed in SEEDS] for arm in (BASE_ARM, *remedies)}
    error = plan_stages(state)[-1].last_error / count_comparisons(state)
    count = len(SEEDS)
    return Look(scores, {}, condition.folds, count, 0, error, error, last_seeds=count)


def winner_of_grid(look: Look) -> str | None:
    """The cure that the whole grid names."""
    names = [*look.comparisons]
    return find_winner(look, [Arm(name, {}) for name in names], names, unconfirmed=True)


def best_of_grid(look: Look) -> str | None:
    """The remedy with the greatest gain that makes nothing worse, whether or not it is a cure; None is the base."""
    first = find_leader(look, look.ranked)
    return first if first is not None and look.comparisons[first].gain.mean > 0 else None


def is_as_good(look: Look, found: str | None, best: str | None) -> bool:
    """Return whether a remedy is the best, or not surely worse than the best. None is the base."""
    return best in (found, None) or not list_clearly_beaten(look, best, [found or BASE_ARM])
