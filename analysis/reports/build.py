"""Builds the report of a study from its figures, its curves and its gaps."""

from collections.abc import Mapping, Sequence

from analysis.reports.changes import apply_patch, describe_changes, describe_parameters, explain_idea
from analysis.reports.commands import build_commands
from analysis.reports.curves import EpochFigures, build_curve
from heldout.stored.results import GapsView, GapView
from heldout.views.study import ArmFiguresView, ArmView, StudyView, TestFiguresView
from heldout.views.study_report import QuestionView, ReportArmView, ReportBudgetView, StudyReportView
from heldout.words.studies import explain_arm
from heldout.words.study_answers import answer_questions, describe_study, phrase_question


def build_report(
    study: StudyView,
    epochs: Mapping[str, Sequence[EpochFigures]],
    gaps: Sequence[ReportBudgetView] = (),
    *,
    gaps_missing: str | None = None,
) -> StudyReportView:
    """Return the report, also of a study that is still running.

    Args:
        epochs: of each job of the study, in order; jobs may be missing.
        gaps: of base and winner, if known. gaps_missing: why they cannot be read.
    """
    winner = study.winner
    winning_spec = None if winner is None or study.spec is None else apply_patch(study.spec, winner.patch)
    return StudyReportView(
        object="study_report",
        study=study,
        question=phrase_question(study),
        answer=describe_study(study)[0],
        in_short=[QuestionView(question=asked, answer=told) for asked, told in answer_questions(study)],
        arms=[_build_arm(study, arm, epochs) for arm in study.arms],
        gaps=list(gaps),
        gaps_missing=gaps_missing,
        winning_spec=winning_spec,
        commands=build_commands(study, winning_spec),
    )


def _build_arm(study: StudyView, arm: ArmView, epochs: Mapping[str, Sequence[EpochFigures]]) -> ReportArmView:
    is_base = arm is study.arms[0]
    return ReportArmView(
        name=arm.name,
        idea=None if is_base or study.spec is None else explain_idea(arm, study.spec),
        changes=describe_parameters(arm) if study.spec is None else describe_changes(study.spec, arm.patch),
        effect=None if arm.difference is None else arm.difference.effect,
        explanation="The unchanged network. Every remedy is compared with it."
        if is_base
        else explain_arm(arm, study.metric),
        gap=_build_gaps(study, arm),
        curve=build_curve(arm.jobs, epochs),
    )


def _build_gaps(study: StudyView, arm: ArmView) -> GapsView | None:
    """The gap from the arm's means; to test if it was measured there."""
    if arm.train is None or arm.validation is None:
        return None
    tested = None
    if study.conclusion is not None and study.conclusion.test is not None:
        test_figures = study.conclusion.test
        tested = test_figures.base if arm is study.arms[0] else test_figures.winner if arm is study.winner else None
    test = None if tested is None else _build_gap(arm.train, tested)
    return GapsView(validation=_build_gap(arm.train, arm.validation), test=test)


def _build_gap(train: ArmFiguresView, held_out: ArmFiguresView | TestFiguresView) -> GapView:
    return GapView(accuracy=_subtract(train.accuracy, held_out.accuracy), loss=_subtract(held_out.loss, train.loss))


def _subtract(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other
