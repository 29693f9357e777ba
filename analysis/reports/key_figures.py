"""The figures at the top of every report: accuracy on each split, the gap, and the weakest class. Pure."""

from collections.abc import Mapping, Sequence

from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.key_figures import list_key_figures
from heldout.documents.arms import format_arm_name
from heldout.documents.blocks import Block, Table, strip_code
from heldout.stored.evaluation import Matrix
from heldout.views.base import make_view
from heldout.views.diagnosis import KeyFigureView
from heldout.views.study import ArmView, StudyView
from heldout.views.study_report import ReportFiguresView, StudyReportView
from heldout.words import NONE, pluralize


def build_figure_tables(report: StudyReportView) -> list[Block]:
    """Build a row for each network whose figures are known."""
    if not report.figures:
        return []
    names = {figure.code: figure.name for shown in report.figures for figure in shown.figures}
    rows = []
    for shown in report.figures:
        arm = next(arm for arm in report.study.arms if arm.name == shown.arm)
        texts = {
            figure.code: strip_code(figure.text if figure.code in ("train", "validation", "test") else figure.line)
            for figure in shown.figures
        }
        rows.append((format_arm_name(report.study, arm), *(texts.get(code, NONE) for code in names)))
    most = max(shown.trainings for shown in report.figures)
    caption = f"Means over {pluralize(most, 'training')}" if most > 1 else "One training"
    return [Table(caption, ("network", *(name.lower() for name in names.values())), rows)]


def list_study_figures(
    study: StudyView, classes: Sequence[str], confusions: Mapping[str, Matrix]
) -> list[ReportFiguresView]:
    """List the figures of the base and of the winner, as means over their trainings.

    Args:
        classes: names of the dataset's classes; empty if unknown.
        confusions: answers to validation images by arm, summed over its trainings. Arms may be missing.
    """
    if study.metric is not None:
        return []  # its figures may be shares of anything
    arms = [arm for arm in study.arms[:1] + [study.winner] if arm is not None and arm.train is not None]
    found = [
        ReportFiguresView(
            arm=arm.name,
            trainings=arm.seeds,
            figures=[make_view(KeyFigureView, figure) for figure in list_key_figures(splits, classes)],
        )
        for arm in arms
        if (splits := _collect_splits(study, arm, confusions.get(arm.name, ())))
    ]
    return [shown for shown in found if shown.figures]


def sum_confusions(matrices: Sequence[Matrix]) -> Matrix:
    """Add matrices of the same classes."""
    return tuple(tuple(map(sum, zip(*rows, strict=True))) for rows in zip(*matrices, strict=True))


def _collect_splits(study: StudyView, arm: ArmView, confusion: Matrix) -> dict[str, SplitFigures]:
    tested = None if study.conclusion is None else study.conclusion.test
    test = None if tested is None else tested.base if arm is study.arms[0] else tested.winner
    known = {"train": arm.train, "validation": arm.validation, "test": test}
    return {
        name: SplitFigures(figures.accuracy, 0, confusion=confusion if name == "validation" else ())
        for name, figures in known.items()
        if figures is not None and figures.accuracy is not None
    }
