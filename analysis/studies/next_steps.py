"""Decides what a study does next: new trainings, an evaluation, or its answer. Pure.

Nothing is stored between calls: looks, drops and choices are derived from the trainings each time, in any order.
"""

from collections.abc import Collection, Mapping, Sequence
from statistics import median

from analysis.studies import figures
from analysis.studies.as_good import choose_smallest, compute_mean_seconds, conclude_as_good
from analysis.studies.conclusion import build_test_view, conclude_cure, conclude_without_cure
from analysis.studies.learning_curve import plan_curve_steps
from analysis.studies.planning import count_most_from, list_first_arms, list_race_keys
from analysis.studies.progress import RaceProgress, follow
from analysis.studies.racing import Look, find_winner
from analysis.studies.recorded import decide_recorded
from analysis.studies.state import Arm, NextSteps, Purpose, Refit, RunKey, StudyRun, StudyState
from heldout.studies.spec import BASE_ARM
from heldout.views.study import ArmStatus, ArmView
from heldout.words.labels import quote_remedy
from heldout.words.studies import CHOSEN_ON_VALIDATION


def decide_next_steps(state: StudyState, runs: Sequence[StudyRun]) -> NextSteps:
    """Decide what to do now.

    Args:
        state: the study's definition.
        runs: all of its trainings, in any order; succeeded ones with their scores.
    Returns:
        steps; asking again after they are done returns no new ones. `refit` comes with the conclusion.
    """
    if state.kind == "learning_curve":
        return plan_curve_steps(state, runs)
    if state.kind == "recorded":
        return decide_recorded(state, runs)
    by_key = {run.key: run for run in runs}
    progress = follow(state, by_key)
    if progress.error is not None:
        return NextSteps("failed", arms=_build_arm_views(progress, ended=True), error=progress.error)
    if progress.submit or progress.waiting:
        return _keep_running(progress)
    if progress.final is None:
        detail = " ".join(f"{quote_remedy(name)}: {why}" for name, why in progress.why.items())
        error = ("no_remedy_trained", f"No remedy could be compared with the base. {detail}")
        return NextSteps("failed", arms=_build_arm_views(progress, ended=True), error=error)
    return _end_race(progress, progress.final)


def _end_race(progress: RaceProgress, look: Look) -> NextSteps:
    """End a race that is decided: use the test split once, then conclude."""
    state, by_key = progress.state, progress.by_key
    # A first answer names no winner before fresh seeds confirm it, since it can be continued.
    unconfirmed = progress.ended_early is not None and not look.seeds_before and not state.stages
    if state.margin is not None:
        winner = choose_smallest(state.arms, progress.answers, compute_mean_seconds(list(by_key.values())))
        look = look if winner is None else progress.looks[winner]
    else:
        winner = find_winner(look, state.arms, progress.racing, unconfirmed=unconfirmed)
    arms = _build_arm_views(progress, ended=True)
    planned, of_arm = len(by_key), {arm.name: arm for arm in arms}
    if winner is None:
        undecided = [*progress.racing, *progress.held] if state.is_first_answer else []
        if state.margin is not None:
            conclusion = conclude_as_good(
                state, progress.looks, of_arm, progress.answers, None, None, progress.ended_early
            )
        else:
            conclusion = conclude_without_cure(state, progress.looks, of_arm, progress.ended_early, undecided)
        return NextSteps("succeeded", patches=progress.patches, planned=planned, arms=arms, conclusion=conclusion)
    base_jobs, winner_jobs = (_list_jobs(progress, name, look.seeds) for name in (BASE_ARM, winner))
    if state.has_test and state.tested is None and state.test_failed is None:
        return NextSteps(
            "running",
            patches=progress.patches,
            planned=planned + state.refits,
            most=planned + state.refits,
            evaluate=(base_jobs, winner_jobs),
            arms=arms,
        )
    test = build_test_view(base_jobs, winner_jobs, state, is_paired=True)
    if state.margin is not None:
        conclusion = conclude_as_good(
            state, progress.looks, of_arm, progress.answers, winner, test, progress.ended_early
        )
    else:
        conclusion = conclude_cure(state, look, of_arm, winner, test, progress.ended_early)
    gap = figures.compute_gap_closed(of_arm[BASE_ARM], of_arm[winner], test)
    conclusion = conclusion.model_copy(update={"gap": gap})
    done = next((run for run in by_key.values() if run.key.purpose is Purpose.REFIT), None)
    if done is not None:
        conclusion = conclusion.model_copy(update={"refit": done.job})
    refit = None
    if state.refits and done is None and (state.max_jobs is None or len(by_key) < state.max_jobs):
        epochs = int(median(run.kept_epoch for run in look.scores[winner]) + 0.5)
        refit = Refit(winner, _get_patch(progress, winner), epochs)
    return NextSteps(
        "succeeded",
        patches=progress.patches,
        planned=planned + (1 if refit else 0),
        refit=refit,
        arms=arms,
        conclusion=conclusion,
    )


def _keep_running(progress: RaceProgress) -> NextSteps:
    state, planned = progress.state, {*progress.by_key, *progress.submit}
    if not progress.looks:
        for arm in list_first_arms(state):
            if arm.name not in progress.why:
                planned |= {*list_race_keys(state, arm.name, range(state.seeds))}
    return NextSteps(
        "running",
        submit=tuple(progress.submit),
        patches=progress.patches,
        planned=len(planned),
        most=count_most_from(state, len(planned), 1 + len(progress.racing), _count_seeds(planned)),
        arms=_build_arm_views(progress, ended=False),
    )


def _count_seeds(planned: Collection[RunKey]) -> int:
    """Return the number of seeds of the current look."""
    return 1 + max(key.seed for key in planned if key.arm == BASE_ARM and key.purpose is Purpose.RACE)


def _list_jobs(progress: RaceProgress, name: str, seeds: int) -> tuple[str, ...]:
    return tuple(progress.by_key[key].job for key in list_race_keys(progress.state, name, range(seeds)))


def _build_arm_views(progress: RaceProgress, *, ended: bool) -> tuple[ArmView, ...]:
    """Return all arms in their current state. `ended`: whether the race is decided."""
    state, by_key, looks = progress.state, progress.by_key, progress.looks.values()
    views, seconds = [], compute_mean_seconds(list(by_key.values()))
    for arm in state.arms:
        is_base = arm.name == BASE_ARM
        look = max(looks, key=lambda look: look.seeds, default=None) if is_base else progress.looks.get(arm.name)
        runs = look.scores[arm.name] if look is not None else ()
        goes_on = is_base or arm.name in progress.racing or progress.answers.get(arm.name) in ("as_good", "cannot_tell")
        status: ArmStatus = "dropped" if not goes_on else "finished" if ended else "racing"
        keys = (key for key in by_key if key.arm == arm.name and key.purpose is Purpose.RACE)
        views.append(
            ArmView(
                name=arm.name,
                patch=dict(_get_patch(progress, arm.name)),
                status=status,
                jobs=[by_key[key].job for key in sorted(keys, key=lambda key: key.seed)],
                seeds=len(runs),
                train=figures.compute_train_figures(runs) if runs else None,
                validation=figures.compute_validation_figures(runs, state.folds, state.measures) if runs else None,
                difference=None
                if is_base or look is None
                else figures.build_difference_view(look.comparisons[arm.name], look.error, state.measures),
                why=_explain_drop(arm, progress),
                answer=progress.answers.get(arm.name),
                parameters=arm.size or None,
                seconds=seconds.get(arm.name),
            )
        )
    return tuple(views)


def _explain_drop(arm: Arm, progress: RaceProgress) -> str | None:
    """Say why an arm was dropped, with notes about its figures."""
    messages = [progress.why[arm.name]] if arm.name in progress.why else []
    messages += [CHOSEN_ON_VALIDATION] if arm.chooses_alone and arm.name in progress.looks else []
    return " ".join(messages) or None


def _get_patch(progress: RaceProgress, name: str) -> Mapping[str, object]:
    """Return an arm's patch; for a search, the chosen one, if any."""
    chosen = progress.patches.get(name)
    return next(arm.patch for arm in progress.state.arms if arm.name == name) if chosen is None else chosen
