"""The answer of a study: a cure, no remedy that helps, or why it is inconclusive. Pure."""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np

from analysis.studies.assessment import RemedyAssessment, estimate_needs
from analysis.studies.comparing import compare_pairs, compute_gain_unit
from analysis.studies.figures import build_difference_view, compute_test_figures
from analysis.studies.objectives import Pair, count_rarest
from analysis.studies.racing import Look, is_confirmed, list_clearly_beaten, list_cures
from analysis.studies.state import Scores, StudyState
from heldout.metrics import FEWEST_OF_RAREST
from heldout.studies.spec import BASE_ARM
from heldout.views.study import ArmView, ConclusionView, NeedsView, StudyTestView
from heldout.words import studies as words

# How often the intervals on the test split may miss together. One remedy uses it.
TEST_ERROR = 0.05


def conclude_cure(
    state: StudyState,
    look: Look,
    arms: Mapping[str, ArmView],
    winner: str,
    test: StudyTestView | None,
    ended_early: str | None,
) -> ConclusionView:
    """Return the answer if one arm has won.

    Args:
        look: the last one. arms: as views.
        ended_early: why there was no further look, if the race was not decided.
    """
    arm = next(arm for arm in state.arms if arm.name == winner)
    beaten = list_clearly_beaten(look, winner, arm.parts) if arm.parts else []
    also = [name for name in list_cures(look, unconfirmed=True) if name != winner]
    explanation = words.explain_cure(
        arms[winner],
        state.objective,
        fresh_seeds=look.seeds - look.seeds_before if is_confirmed(look, winner) else 0,
        beaten_parts=beaten,
        other_parts=[part for part in arm.parts if part not in beaten],
        also=also,
        simpler_than=[other.name for other in state.arms if winner in other.parts and other.name in also],
        notes=[
            *([ended_early] if ended_early else []),
            *([words.CHOSEN_ON_VALIDATION] if arm.chooses_alone else []),
            words.explain_test(test, state.test_failed),
        ],
    )
    return ConclusionView(kind="cure", remedy=winner, explanation=explanation, test=test)


def conclude_without_cure(
    state: StudyState,
    looks: Mapping[str, Look],
    arms: Mapping[str, ArmView],
    ended_early: str | None,
    undecided: Sequence[str] = (),
) -> ConclusionView:
    """Return the answer if no arm has won.

    Args:
        looks: the last look that each arm took part in; none if an arm failed before the first one. arms: as views.
        ended_early: why there was no further look, if the race was not decided.
        undecided: remedies that get more seeds if the study is continued.
    """
    assessments = {name: look.judgements[name].assessment for name, look in looks.items()}
    gains = {name: look.comparisons[name].gain.mean for name, look in looks.items()}
    open_arms = [
        name for name, assessment in assessments.items() if assessment in (RemedyAssessment.OPEN, RemedyAssessment.CURE)
    ]
    tried = [arm.name for arm in state.arms if arm.name != BASE_ARM]
    remedies = [name for name in tried if name in assessments]
    failed = [name for name in tried if name not in assessments]
    worse = sorted(
        (name for name, assessment in assessments.items() if assessment is RemedyAssessment.WORSE),
        key=gains.__getitem__,
    )
    harm = words.describe_harm([arms[name] for name in worse])
    if not open_arms:
        small = [name for name, assessment in assessments.items() if assessment is RemedyAssessment.NO_HELP]
        ways_on = words.say_ways_on(state.left_out, has_more_seeds=False)
        explanation = words.explain_nothing(remedies, state.objective, small, [*harm, *ways_on], failed)
        return ConclusionView(kind="nothing_helped", remedy=None, explanation=explanation)
    best = max(open_arms, key=lambda name: (gains[name], name))
    look = looks[best]
    needs = estimate_needs(look.comparisons[best], look.unit, look.last_error, state.validation_images)
    rarest = count_rarest(look.scores[best], state.measures[0])
    if rarest is not None and rarest < FEWEST_OF_RAREST:
        wanted = ceil(state.validation_images * (FEWEST_OF_RAREST / rarest - 1))
        needs, doubt = NeedsView(images=wanted), words.say_too_few(rarest, state.measures[0])
    elif assessments[best] is RemedyAssessment.CURE:
        doubt = ", but new seeds do not confirm it" if look.seeds_before else ", but no new seeds have confirmed it"
    else:
        images = f"{state.validation_images:,} validation images{' each' if state.folds else ''}"
        doubt = f", which may be chance with {look.seeds} seeds and {images}"
    ways_on = words.say_ways_on(state.left_out, has_more_seeds=bool(undecided))
    notes = [*([ended_early] if ended_early else []), *harm, *ways_on]
    explanation = words.explain_doubt(
        remedies, arms[best], state.objective, doubt, needs, notes, failed, is_first=bool(ways_on)
    )
    return ConclusionView(
        kind="cannot_tell", remedy=None, explanation=explanation, needs=needs, undecided=list(undecided)
    )


def build_test_view(
    base_jobs: Sequence[str], winner_jobs: Sequence[str], state: StudyState, *, is_paired: bool
) -> StudyTestView | None:
    """Compare base and winner on the test split, with all their trainings on the same images; None without figures."""
    if state.tested is None:
        return None
    base, winner = (_test_scores(jobs, state) for jobs in (base_jobs, winner_jobs))
    unit = compute_gain_unit(base, state.measures)
    comparison = compare_pairs({"winner": Pair(winner, base, is_paired)}, unit)["winner"]
    error = TEST_ERROR / len(state.measures)
    return StudyTestView(
        base=compute_test_figures(base, state.measures),
        winner=compute_test_figures(winner, state.measures),
        difference=build_difference_view(comparison, error, state.measures),
    )


def _test_scores(jobs: Sequence[str], state: StudyState) -> list[Scores]:
    assert state.tested is not None
    tested = state.tested
    return [
        Scores(
            np.arange(len(tested.losses[job]), dtype=np.int32),
            tested.losses[job],
            tested.right[job],
            objective=tested.objective.get(job),
        )
        for job in jobs
    ]
