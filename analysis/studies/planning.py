"""Plans the trainings of each look of a study, within its budget. Pure."""

from collections.abc import Iterable
from math import ceil

from analysis.studies.state import Arm, Purpose, RunKey, StudyState
from heldout.studies.spec import BASE_ARM

# Sizes of the looks, as multiples of the first one's seeds: for three seeds they are 3, 5 and 8.
LOOK_GROWTH = (1, 5 / 3, 8 / 3)
# The error allowed for all looks together, divided in advance by the number of possible looks. Most of it is left for
# the last one, which knows most; the first one does not name a winner if there are others.
LOOK_ERRORS = {1: (0.05,), 2: (0.015, 0.035), 3: (0.005, 0.01, 0.035)}
# Trainings that judge each candidate of a search.
TUNE_SEEDS = 2


def plan_look_seeds(state: StudyState) -> tuple[int, ...]:
    """Return how many seeds each look has; only looks that fit the budget if a single remedy remains."""
    sizes = tuple(ceil(growth * state.seeds - 1e-9) for growth in LOOK_GROWTH)
    if state.max_jobs is None:
        return sizes
    room = state.max_jobs - count_first_look_jobs(state) - state.refits
    return sizes[:1] + tuple(size for size in sizes[1:] if 2 * (size - sizes[0]) <= room)


def has_fewer_looks(state: StudyState) -> bool:
    """Return whether the budget allows fewer looks than there would be."""
    return len(plan_look_seeds(state)) < len(LOOK_GROWTH)


def plan_look_errors(state: StudyState) -> tuple[float, ...]:
    """Return how often all intervals of each look together may miss."""
    return LOOK_ERRORS[len(plan_look_seeds(state))]


def count_first_look_jobs(state: StudyState) -> int:
    """Return the trainings until all arms can be compared, including searches."""
    return len(state.arms) * state.seeds + sum(len(list_tuning_keys(state, arm)) for arm in state.arms)


def count_most_jobs(state: StudyState) -> int:
    """Return the maximum number of trainings: those of the last look if no arm is dropped, and the refit."""
    if state.kind == "learning_curve":
        return len(state.sizes) * state.seeds
    last = plan_look_seeds(state)[-1]
    jobs = count_first_look_jobs(state) + len(state.arms) * (last - state.seeds) + state.refits
    return jobs if state.max_jobs is None else min(jobs, state.max_jobs)


def count_most_from(state: StudyState, planned: int, arms: int, seeds: int) -> int:
    """Return the maximum number of trainings of a study whose current look has this many arms and seeds.

    planned: trainings in total up to and including that look.
    """
    most = planned + arms * (plan_look_seeds(state)[-1] - seeds) + state.refits
    return most if state.max_jobs is None else max(planned, min(most, state.max_jobs))


def count_comparisons(state: StudyState) -> int:
    """Return how many chances there are to name a false cure: each measure of each remedy and search candidate."""
    return len(state.measures) * sum(max(len(arm.candidates), 1) for arm in state.arms if arm.name != BASE_ARM)


def list_race_keys(state: StudyState, arm: str, seeds: Iterable[int]) -> list[RunKey]:
    """Return an arm's trainings that are compared with other arms'."""
    return [_make_key(state, arm, Purpose.RACE, seed) for seed in seeds]


def list_tuning_keys(state: StudyState, arm: Arm) -> list[RunKey]:
    """Return a search's trainings, on seeds that no comparison uses, and on other folds if there are enough."""
    first = ceil(LOOK_GROWTH[-1] * state.seeds - 1e-9)
    seeds = range(first, first + TUNE_SEEDS)
    variants = range(len(arm.candidates))
    return [_make_key(state, arm.name, Purpose.TUNE, seed, variant) for variant in variants for seed in seeds]


def list_curve_keys(state: StudyState, images: int) -> list[RunKey]:
    """Return the trainings of a learning curve on this many images."""
    return [_make_key(state, BASE_ARM, Purpose.RACE, seed, images) for seed in range(state.seeds)]


def _make_key(state: StudyState, arm: str, purpose: Purpose, seed: int, variant: int = 0) -> RunKey:
    if state.folds is None:
        return RunKey(arm, purpose, seed, variant=variant)
    return RunKey(arm, purpose, seed, seed % state.folds, seed // state.folds, variant)
