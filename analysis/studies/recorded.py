"""The answer of a study of trainings that were done before it. Pure.

No one knows when the recording was stopped, so it says `better`, `worse` or `cannot_tell`. It says `cure` only if one
half of the seeds, drawn by lot before any figure was read, chose an arm, and the other half alone proves its benefit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from analysis.studies import figures
from analysis.studies.assessment import Judgement, RemedyAssessment, estimate_needs, judge, list_worse_measures
from analysis.studies.comparing import Comparison, GainUnit, compare_pairs, compute_gain_unit
from analysis.studies.conclusion import build_test_view
from analysis.studies.intervals import (
    UNKNOWN,
    MeanEstimate,
    Spread,
    compute_figures_spread,
    compute_share_noise,
    estimate_own_noise,
    estimate_shared_noise,
    subtract_spreads,
)
from analysis.studies.objectives import Pair
from analysis.studies.recording import FEWEST_RUNS, Matched, list_run_keys, match_runs, take_half
from analysis.studies.state import NextSteps, Recording, Scores, StudyRun, StudyState
from heldout.lifecycle.job import TERMINAL
from heldout.metrics import Measure
from heldout.studies.spec import BASE_ARM
from heldout.views.study import ArmView, ConclusionView, StudyTestView
from heldout.views.study_figures import ArmFiguresView
from heldout.words import recordings as words
from heldout.words.studies import explain_test

# How often a study may name an arm better that is not.
ERROR = 0.05
# Figures that differ by less count as equal: one may have passed through 32 bits.
MIN_STEP = 1e-6


@dataclass(frozen=True)
class _Compared:
    """The arms that can be compared, with their runs that ended well.

    measures: those that decide. matched: which of the runs are compared.
    """

    recording: Recording
    measures: tuple[Measure, ...]
    scores: Mapping[str, Sequence[Scores]]
    jobs: Mapping[str, Sequence[str]]
    matched: Mapping[str, Matched]

    @property
    def error(self) -> float:
        """How often each interval that decides may miss."""
        return ERROR / (len(self.measures) * len(self.matched))

    @cached_property
    def comparison(self) -> tuple[GainUnit, dict[str, Comparison]]:
        """The unit of gains, and each arm compared with the base."""
        return _compare(self, self.matched)

    @cached_property
    def judgements(self) -> Mapping[str, Judgement]:
        """The conclusion about each arm."""
        unit, comparisons = self.comparison
        return {name: judge(comparison, unit, self.error) for name, comparison in comparisons.items()}

    def find_best(self, names: Iterable[str]) -> str:
        """Return the arm with the greatest gain."""
        _, comparisons = self.comparison
        return max(names, key=lambda name: (comparisons[name].gain.mean, name))


def decide_recorded(state: StudyState, runs: Sequence[StudyRun]) -> NextSteps:
    """Wait for the answers of all runs, then compare them. Final figures are compared at once."""
    recording = state.recording
    assert recording is not None
    keys = list_run_keys(recording)
    by_key = {run.key: run for run in runs}
    has_figures = recording.metric is not None
    if not has_figures:
        missing = tuple(key for of_arm in keys.values() for key in of_arm if key not in by_key)
        wanted = sum(len(of_arm) for of_arm in keys.values())
        if missing or any(run.status not in TERMINAL for run in runs):
            arms = tuple(_build_arm(state, arm.name, status="racing") for arm in state.arms)
            return NextSteps("running", submit=missing, planned=wanted, most=wanted, arms=arms)
    # Final figures have no trainings.
    known = {
        arm: [(run, by_key.get(key)) for run, key in zip(recording.runs[arm], keys[arm], strict=True)] for arm in keys
    }
    there = {arm: tuple(run for run, ended in of_arm if ended is None or ended.scores) for arm, of_arm in known.items()}
    ended = {arm: [run for _, run in of_arm if run is not None] for arm, of_arm in known.items()}
    scores = {arm: [run.scores for run in of_arm if run.scores is not None] for arm, of_arm in ended.items()}
    jobs = {arm: [run.job for run in of_arm if run.scores is not None] for arm, of_arm in ended.items()}
    matched = {arm: match_runs(there, arm) for arm in there if arm != BASE_ARM and len(there[arm]) >= FEWEST_RUNS}
    if len(there[BASE_ARM]) < FEWEST_RUNS or not matched:
        failed = tuple(_build_arm(state, arm.name, status="dropped") for arm in state.arms)
        return NextSteps("failed", arms=failed, error=("nothing_to_compare", words.NOTHING_TO_COMPARE))
    return _conclude(state, _Compared(replace(recording, runs=there), state.measures, scores, jobs, matched))


def _conclude(state: StudyState, compared: _Compared) -> NextSteps:
    arms = tuple(_build_compared_arm(state, compared, arm.name) for arm in state.arms)
    of_arm = {arm.name: arm for arm in arms}
    better = [name for name, judgement in compared.judgements.items() if judgement.assessment is RemedyAssessment.CURE]
    count = sum(len(runs) for runs in compared.jobs.values())
    if not better:
        return NextSteps("succeeded", planned=count, arms=arms, conclusion=_conclude_without(compared, of_arm))
    winner, is_cure, doubt = _choose(compared, better)
    if is_cure and state.has_test and state.tested is None and state.test_failed is None:
        jobs = _list_compared_jobs(compared, winner)
        return NextSteps("running", planned=count, most=count, evaluate=jobs, arms=arms)
    test: StudyTestView | None = None
    if is_cure and state.tested is not None:
        base_jobs, winner_jobs = _list_compared_jobs(compared, winner)
        test = build_test_view(base_jobs, winner_jobs, state, is_paired=compared.matched[winner].is_paired)
    confirming = len(take_half(compared.recording, winner, compared.matched[winner], chooses=False).own)
    explanation = words.explain_better(
        of_arm[winner],
        compared.recording.metric,
        state.objective,
        others=[name for name in better if name != winner],
        confirming=confirming if is_cure else 0,
        doubt=doubt,
        notes=[
            *words.explain_scope(compared.recording.metric, compared.recording.images),
            *([explain_test(test, state.test_failed)] if is_cure and compared.recording.metric is None else []),
        ],
    )
    conclusion = ConclusionView(
        kind="cure" if is_cure else "better",
        remedy=winner,
        explanation=explanation,
        test=test,
        gap=figures.compute_gap_closed(of_arm[BASE_ARM], of_arm[winner], test),
    )
    return NextSteps("succeeded", planned=count, arms=arms, conclusion=conclusion)


def _choose(compared: _Compared, better: Sequence[str]) -> tuple[str, bool, str]:
    """Return the arm to name, whether it is a cure, and if not, why."""
    best, judgements = compared.find_best(better), compared.judgements
    choosing = {
        name: half
        for name, matched in compared.matched.items()
        if judgements[name].assessment is not RemedyAssessment.WORSE
        and (half := take_half(compared.recording, name, matched, chooses=True)).own
        and half.base
    }
    if not choosing:
        return best, False, words.TOO_FEW_TO_CONFIRM
    _, first = _compare(compared, choosing)
    chosen = max(first, key=lambda name: (first[name].gain.mean, name))
    if chosen not in better:
        return best, False, words.say_not_chosen(chosen)
    half = take_half(compared.recording, chosen, compared.matched[chosen], chooses=False)
    if min(len(half.own), len(half.base)) < FEWEST_RUNS:
        return best, False, words.TOO_FEW_TO_CONFIRM
    unit, confirming = _compare(compared, {chosen: half})
    judgement = judge(confirming[chosen], unit, ERROR / len(compared.measures))
    if judgement.assessment is RemedyAssessment.CURE and set(judgement.better) & set(judgements[chosen].better):
        return chosen, True, ""
    return best, False, words.NOT_CONFIRMED if chosen == best else words.say_not_chosen(chosen)


def _conclude_without(compared: _Compared, arms: Mapping[str, ArmView]) -> ConclusionView:
    """Return the answer if no arm is surely better."""
    recording, (unit, comparisons), error = compared.recording, compared.comparison, compared.error
    worse = [name for name, comparison in comparisons.items() if list_worse_measures(comparison, unit, error)]
    scope = words.explain_scope(recording.metric, recording.images)
    if len(worse) == len(comparisons):
        explanation = words.explain_worse([arms[name] for name in worse], recording.metric, scope)
        return ConclusionView(kind="worse", remedy=None, explanation=explanation)
    open_arms = [name for name in comparisons if name not in worse]
    small = [name for name in open_arms if compared.judgements[name].assessment is RemedyAssessment.NO_HELP]
    undecided = [name for name in open_arms if name not in small]
    best = compared.find_best(undecided or open_arms)
    images = len(compared.scores[best][0].images) if recording.metric is None else recording.images
    needs = estimate_needs(comparisons[best], unit, error, images or 1) if undecided else None
    explanation = words.explain_doubt(
        arms[best], recording.metric, needs, several=len(comparisons) > 1, small=small, worse=worse, scope=scope
    )
    return ConclusionView(kind="cannot_tell", remedy=None, explanation=explanation, needs=needs)


# --- comparing -------------------------------------------------------------------------------------------


def _compare(compared: _Compared, matched: Mapping[str, Matched]) -> tuple[GainUnit, dict[str, Comparison]]:
    recording = compared.recording
    if recording.metric is not None:
        return _compare_figures(recording, matched)
    unit = compute_gain_unit(compared.scores[BASE_ARM], compared.measures)
    pairs = {
        name: Pair(
            [compared.scores[name][place] for place in match.own],
            [compared.scores[BASE_ARM][place] for place in match.base],
            match.is_paired,
        )
        for name, match in matched.items()
    }
    return unit, compare_pairs(pairs, unit)


def _compare_figures(recording: Recording, matched: Mapping[str, Matched]) -> tuple[GainUnit, dict[str, Comparison]]:
    base = float(np.mean(_get_figures(recording, BASE_ARM, range(len(recording.runs[BASE_ARM])))))
    unit = GainUnit(loss=max(abs(base), 1e-6), errors=max(1 - base, 1e-6))
    spreads = [_compute_figures_difference(recording, name, match) for name, match in matched.items()]
    found = [MeanEstimate(*pair) for pair in zip(spreads, estimate_shared_noise(spreads), strict=True)]
    if recording.better == "higher":
        return unit, {name: Comparison(UNKNOWN, one, one) for name, one in zip(matched, found, strict=True)}
    return unit, {name: Comparison(one, UNKNOWN, one.mirror()) for name, one in zip(matched, found, strict=True)}


def _compute_figures_difference(recording: Recording, name: str, match: Matched) -> Spread:
    own, base = _get_figures(recording, name, match.own), _get_figures(recording, BASE_ARM, match.base)
    noise = sum(compute_share_noise(float(np.mean(of_arm)), recording.images) for of_arm in (own, base))
    rounding = _compute_rounding(recording)
    if match.is_paired:
        differences = [first - second for first, second in zip(own, base, strict=True)]
        return compute_figures_spread(differences, recording.images, noise, 2 * rounding)
    first, second = (compute_figures_spread(of_arm, recording.images, 0.0, rounding) for of_arm in (own, base))
    return subtract_spreads(first, second, noise)


def _compute_rounding(recording: Recording) -> float:
    """Return the variance that rounding gives a figure, if it has steps of the smallest difference of two figures."""
    figures = [run.figure for runs in recording.runs.values() for run in runs if run.figure is not None]
    steps = (higher - lower for lower, higher in pairwise(sorted(figures)))
    return min((step for step in steps if step > MIN_STEP), default=0.0) ** 2 / 12


def _get_figures(recording: Recording, arm: str, places: Sequence[int]) -> list[float]:
    found = (recording.runs[arm][place].figure for place in places)
    return [figure for figure in found if figure is not None]


# --- views -----------------------------------------------------------------------------------------------


def _build_arm(state: StudyState, name: str, *, status: str, **given: object) -> ArmView:
    patch = next(dict(arm.patch) for arm in state.arms if arm.name == name)
    values = {"jobs": [], "seeds": 0, "train": None, "validation": None, "difference": None, **given}
    return ArmView.model_validate({"name": name, "patch": patch, "status": status, **values})


def _build_compared_arm(state: StudyState, compared: _Compared, name: str) -> ArmView:
    recording, comparison = compared.recording, compared.comparison[1].get(name)
    runs, match = recording.runs[name], compared.matched.get(name)
    if name != BASE_ARM and match is None:
        return _build_arm(state, name, status="dropped", why=words.TOO_FEW_RUNS)
    places = range(len(runs)) if match is None else match.own
    scores = [] if recording.metric is not None else [compared.scores[name][place] for place in places]
    return _build_arm(
        state,
        name,
        status="finished",
        jobs=list(compared.jobs[name]),
        seeds=len(places),
        train=figures.compute_train_figures(scores) if scores else None,
        validation=figures.compute_validation_figures(scores, None, state.measures)
        if scores
        else _summarize(recording, name, places),
        difference=None
        if comparison is None
        else figures.build_difference_view(comparison, compared.error, state.measures),
        why=None
        if match is None
        else words.describe_matching(
            len(match.own),
            is_paired=match.is_paired,
            left_out=(len(runs) - len(match.own), len(recording.runs[BASE_ARM]) - len(match.base)),
        ),
    )


def _summarize(recording: Recording, name: str, places: Sequence[int]) -> ArmFiguresView:
    """Return the mean of an arm's final figures."""
    found = _get_figures(recording, name, places)
    noise = compute_share_noise(float(np.mean(found)), recording.images)
    spread = compute_figures_spread(found, recording.images, noise, _compute_rounding(recording))
    mean = MeanEstimate(spread, estimate_own_noise(spread))
    return figures.make_figures_view(*((UNKNOWN, mean) if recording.better == "higher" else (mean, UNKNOWN)))


def _list_compared_jobs(compared: _Compared, winner: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    match = compared.matched[winner]
    return (
        tuple(compared.jobs[BASE_ARM][place] for place in match.base),
        tuple(compared.jobs[winner][place] for place in match.own),
    )
