"""Decides whether arms are as good as the base within a margin, and which of them is the smallest. Pure."""

from collections.abc import Mapping, Sequence
from math import ceil, isfinite
from statistics import fmean

from analysis.studies.assessment import find_fewest_seeds
from analysis.studies.racing import Look
from analysis.studies.state import Arm, StudyRun, StudyState
from heldout.studies.spec import BASE_ARM
from heldout.views.study import ArmView, ConclusionView, NeedsView, StudyTestView
from heldout.views.study_figures import Answer
from heldout.words import as_good as words


def answer_arm(look: Look, name: str, margin: float) -> Answer:
    """Say whether an arm is as good: its adjusted interval lies above minus the margin, below it, or on both sides.

    Source: Piaggio et al. 2012, JAMA 308(24) (noninferiority trials).
    """
    low, high = look.comparisons[name].get_benefit(look.unit.measures[0]).interval(look.error)
    if low > -margin:
        return "as_good"
    return "worse" if high < -margin else "cannot_tell"


def choose_smallest(arms: Sequence[Arm], answers: Mapping[str, Answer], seconds: Mapping[str, float]) -> str | None:
    """Return the arm that is as good with the fewest parameters, or if these are equal, the least time."""
    found = [arm for arm in arms if answers.get(arm.name) == "as_good"]
    return min(found, key=lambda arm: (arm.size, seconds.get(arm.name, 0.0), arm.name)).name if found else None


def compute_mean_seconds(runs: Sequence[StudyRun]) -> dict[str, float]:
    """Return the mean time of each arm's trainings."""
    of_arm: dict[str, list[float]] = {}
    for run in runs:
        if run.scores is not None:
            of_arm.setdefault(run.key.arm, []).append(run.seconds)
    return {name: fmean(seconds) for name, seconds in of_arm.items()}


def conclude_as_good(
    state: StudyState,
    looks: Mapping[str, Look],
    arms: Mapping[str, ArmView],
    answers: Mapping[str, Answer],
    chosen: str | None,
    test: StudyTestView | None,
    ended_early: str | None,
) -> ConclusionView:
    """Return the answer of a study that asks whether arms are as good.

    Args:
        looks: the last look that each arm took part in. arms: as views. answers: of each arm that was compared.
        chosen: the smallest one that is as good. ended_early: why there was no further look.
    """
    assert state.margin is not None
    others = [name for name in answers if name != BASE_ARM]
    failed = [arm.name for arm in state.arms if arm.name != BASE_ARM and arm.name not in answers]
    open_arms = [name for name in others if answers[name] == "cannot_tell"]
    notes = [*([ended_early] if ended_early else []), *words.describe_failed(failed)]
    needs = None
    if open_arms and chosen is None:
        closest = max(open_arms, key=lambda name: looks[name].comparisons[name].gain.mean)
        needs = estimate_needs(looks[closest], closest, state.margin, state.validation_images)
        notes.insert(0, words.describe_needs(needs))
    if chosen is not None:
        notes.append(words.explain_test(test, state.test_failed, state.margin))
    explanation = words.explain_answers([arms[name] for name in others], state.margin, chosen, notes)
    kind = "as_good" if chosen is not None else "cannot_tell" if open_arms else "worse"
    return ConclusionView(kind=kind, remedy=chosen, explanation=explanation, test=test, needs=needs)


def estimate_needs(look: Look, name: str, margin: float, validation_images: int) -> NeedsView:
    """Return what would decide whether an arm is as good, if it differs as much as it has seemed to."""
    benefit = look.comparisons[name].get_benefit(look.unit.measures[0])
    distance = abs(benefit.mean + margin)
    have = benefit.spread.trainings

    def tells(seeds: int, factor: float = 1.0) -> bool:
        half = benefit.compute_expected_half_width(look.last_error, max(have + seeds, 2), factor)
        return isfinite(half) and half < distance

    seeds = find_fewest_seeds(tells)
    if seeds is not None:
        return NeedsView(seeds=seeds)
    factor = next((times for times in (1.5, 2, 3, 5, 8, 12, 20) if tells(0, times)), None)
    return NeedsView() if factor is None else NeedsView(images=ceil((factor - 1) * validation_images))
