"""Plans the trainings of each look of a study, within its budget. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from analysis.studies.state import Arm, Purpose, RunKey, StudyState
from heldout.studies.spec import BASE_ARM

# Sizes of the looks, as multiples of the first one's seeds: for three seeds they are 3, 5 and 8.
LOOK_GROWTH = (1, 5 / 3, 8 / 3)
# The error allowed for all looks together, divided in advance by the number of possible looks. Most of it is left for
# the last one, which knows most; the first one does not name a winner if there are others.
LOOK_ERRORS = {1: (0.05,), 2: (0.015, 0.035), 3: (0.005, 0.01, 0.035)}
# The same for a study that begins with a first answer: for each stage, the errors of its looks. A first answer has
# the first two looks; continuing adds a stage, at most two: more seeds, and then the remaining remedies.
STAGE_ERRORS = ((0.005, 0.015), (0.001, 0.006, 0.013), (0.0005, 0.0035, 0.006))
# Trainings that judge each candidate of a search.
TUNE_SEEDS = 2


@dataclass(frozen=True)
class PlannedLook:
    """A look that a study plans, from the seeds before it.

    error: how often all of its intervals together may miss.
    only_leader: whether only the leading arm gets more seeds, besides the base.
    """

    seeds_before: int
    seeds: int
    error: float
    only_leader: bool = False


@dataclass(frozen=True)
class Stage:
    """A part of a study: its looks at some of the arms.

    arms: how many of the study's arms it knows, from the first. new_from: the place of the first arm that is new.
    last_error: of the last look that the study could have if it is continued.
    """

    arms: int
    new_from: int
    looks: tuple[PlannedLook, ...]
    last_error: float


def plan_stages(state: StudyState) -> tuple[Stage, ...]:
    """Return the stages of a study: a single one, unless it began with a first answer."""
    sizes = plan_look_seeds(state)
    befores = (0, *sizes)
    if not state.stages:
        errors = LOOK_ERRORS[len(sizes)]
        looks = tuple(PlannedLook(*look) for look in zip(befores, sizes, errors, strict=False))
        return (Stage(len(state.arms), 1, looks, errors[-1]),)
    stages = []
    for number, arms in enumerate(state.stages):
        looks = tuple(
            PlannedLook(before, seeds, error, only_leader=number == 0 and before > 0)
            for before, seeds, error in zip(befores, sizes, STAGE_ERRORS[number], strict=False)
        )
        last_error = STAGE_ERRORS[max(number, 1)][-1]
        stages.append(Stage(arms, state.stages[number - 1] if number else 1, looks, last_error))
    return tuple(stages)


def plan_look_seeds(state: StudyState) -> tuple[int, ...]:
    """Return how many seeds each look may have; only looks that fit the budget if a single remedy remains.

    A first answer ends before the last one.
    """
    sizes = tuple(ceil(growth * state.seeds - 1e-9) for growth in LOOK_GROWTH)
    if state.max_jobs is None or state.stages:
        return sizes
    room = state.max_jobs - count_first_look_jobs(state) - state.refits
    return sizes[:1] + tuple(size for size in sizes[1:] if 2 * (size - sizes[0]) <= room)


def has_fewer_looks(state: StudyState) -> bool:
    """Return whether the budget allows fewer looks than there would be."""
    return len(plan_look_seeds(state)) < len(LOOK_GROWTH)


def list_first_arms(state: StudyState) -> tuple[Arm, ...]:
    """Return the arms of the first look."""
    return state.arms[: state.stages[0]] if state.stages else state.arms


def count_first_look_jobs(state: StudyState) -> int:
    """Return the trainings until all arms can be compared, including searches."""
    arms = list_first_arms(state)
    return len(arms) * state.seeds + sum(len(list_tuning_keys(state, arm)) for arm in arms)


def count_most_jobs(state: StudyState) -> int:
    """Return the maximum number of trainings until the answer: those of the last look if no arm is dropped."""
    if state.kind == "learning_curve":
        return len(state.sizes) * state.seeds
    first = count_first_look_jobs(state)
    return max(first, count_most_from(state, first, len(list_first_arms(state)), state.seeds) - state.refits)


def count_most_from(state: StudyState, planned: int, arms: int, seeds: int) -> int:
    """Return the maximum number of trainings of a study whose current look has this many arms and seeds, and the refit.

    planned: trainings in total up to and including that look.
    """
    last = plan_look_seeds(state)[-1]
    if state.is_first_answer:
        last, arms = plan_stages(state)[0].looks[-1].seeds, min(arms, 2)
    most = planned + arms * (last - seeds) + state.refits
    return most if state.max_jobs is None else max(planned, min(most, state.max_jobs))


def count_comparisons(state: StudyState, arms: int | None = None) -> int:
    """Return how many chances there are to name a false cure: each measure of each remedy and search candidate.

    arms: how many of the study's arms are compared, from the first; None for all.
    """
    return len(state.measures) * sum(max(len(arm.candidates), 1) for arm in state.arms[:arms] if arm.name != BASE_ARM)


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
