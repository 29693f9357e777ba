"""Makes the report of a study from its figures, its curves and its gaps."""

from collections.abc import Mapping, Sequence

from analysis.reports.changes import changes_of, patched
from analysis.reports.commands import commands_of
from analysis.reports.curves import EpochFigures, curve_of
from analysis.reports.effects import effect_of, explanation_of
from analysis.reports.in_short import in_short_of
from analysis.reports.remedies import idea_of
from analysis.reports.sentences import answer_of, question_of, tested_of, winner_of
from heldout.stored.final import GapsView, GapView
from heldout.views.study import ArmFiguresView, ArmView, StudyView, TestFiguresView
from heldout.views.study_report import ReportArmView, ReportBudgetView, StudyReportView


def report_of(
    study: StudyView,
    epochs: Mapping[str, Sequence[EpochFigures]],
    gaps: Sequence[ReportBudgetView] = (),
    *,
    gaps_missing: str | None = None,
) -> StudyReportView:
    """The report, also of a study that still runs.

    Args:
        epochs: of each job of the study, in order; jobs may be missing.
        gaps: of base and winner, where they are known. gaps_missing: why they cannot be read.
    """
    winner = winner_of(study)
    winning_spec = None if winner is None else patched(study.spec, winner.patch)
    return StudyReportView(
        object="study_report",
        study=study,
        question=question_of(study),
        answer=answer_of(study),
        in_short=in_short_of(study),
        arms=[_arm_of(study, arm, epochs) for arm in study.arms],
        gaps=list(gaps),
        gaps_missing=gaps_missing,
        winning_spec=winning_spec,
        commands=commands_of(study, winning_spec),
    )


def _arm_of(study: StudyView, arm: ArmView, epochs: Mapping[str, Sequence[EpochFigures]]) -> ReportArmView:
    is_base = arm is study.arms[0]
    return ReportArmView(
        name=arm.name,
        idea=None if is_base else idea_of(arm, study.spec),
        changes=changes_of(study.spec, arm.patch),
        effect=effect_of(arm.difference),
        explanation="The network as it is; every remedy is compared with it." if is_base else explanation_of(arm),
        gap=_gaps_of(study, arm),
        curve=curve_of(arm.jobs, epochs),
    )


def _gaps_of(study: StudyView, arm: ArmView) -> GapsView | None:
    """By the arm's means; to test where it was measured there."""
    if arm.train is None or arm.validation is None:
        return None
    tested = tested_of(study, arm)
    test = None if tested is None else _gap(arm.train, tested)
    return GapsView(validation=_gap(arm.train, arm.validation), test=test)


def _gap(train: ArmFiguresView, held_out: ArmFiguresView | TestFiguresView) -> GapView:
    return GapView(accuracy=_less(train.accuracy, held_out.accuracy), loss=_less(held_out.loss, train.loss))


def _less(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other
