"""The part of a report that shows what helped and by how much: one row for each arm, as a picture and in figures."""

from collections.abc import Sequence

from heldout.documents.blocks import Block, Cell, Heading, Paragraph, Table, TablePicture
from heldout.pictures.kit import draw_axis_strip, draw_interval_strip, draw_way_strip
from heldout.pictures.scales import Scale, choose_scale, compute_reach
from heldout.views.study import ArmView, Interval, Measure
from heldout.views.study_report import StudyReportView
from heldout.words import LOSS, NONE, POINTS, Unit, format_loss, format_signed, format_signed_range, percent
from heldout.words.labels import EFFECTS, HOW_TO_READ, describe_remedy

HOW_TO_READ_PICTURES = (
    "In the pictures, the line at 0 is the unchanged network, the dot is what was measured, and the bar is its range. "
    f"Farther right is better. An arrow at the edge means that the bar continues beyond it. {HOW_TO_READ}"
)
MEASURES: dict[Measure, tuple[str, str, Unit]] = {
    "accuracy": ("Accuracy on validation images, compared with the unchanged network", "points", POINTS),
    "loss": ("Loss on validation images, compared with the unchanged network; lower is better", "loss", LOSS),
}


def build_comparison_blocks(report: StudyReportView) -> list[Block]:
    compared = [arm for arm in sort_arms(report) if arm.difference is not None]
    blocks: list[Block] = [Heading("What helped, and by how much?")]
    if not compared:
        return [*blocks, Paragraph("Nothing has been compared.")]
    blocks.append(Paragraph(HOW_TO_READ_PICTURES, tone="hint", in_markdown=HOW_TO_READ))
    measured = [measure for measure in MEASURES if any(_get_figures(arm, measure)[0] is not None for arm in compared)]
    return blocks + [_build_table(report, compared, measure) for measure in measured]


def sort_arms(report: StudyReportView) -> list[ArmView]:
    """The winner first, then the others by their right answers, and last those that were not compared yet."""

    def place(arm: ArmView) -> tuple[bool, float]:
        gained = None if arm.difference is None else arm.difference.accuracy
        return arm is not report.study.winner, float("inf") if gained is None else -gained

    return sorted(report.study.arms[1:], key=place)


def format_arm_name(report: StudyReportView, arm: ArmView) -> str:
    """`unchanged network`, `label smoothing (chosen)`."""
    if arm is report.study.arms[0]:
        return "unchanged network"
    if arm is report.study.winner:
        return f"{describe_remedy(arm.name)} (chosen)"
    if arm.status == "dropped":
        return f"{describe_remedy(arm.name)} (dropped)"
    return describe_remedy(arm.name)


def build_gap_blocks(report: StudyReportView) -> list[Block]:
    """The gap from training to validation for each arm."""
    shown = [
        (arm, arm.train, arm.validation)
        for arm in (report.study.arms[0], *sort_arms(report))
        if arm.train is not None and arm.validation is not None
    ]
    accuracies = [figures.accuracy for _, *both in shown for figures in both if figures.accuracy is not None]
    if not accuracies:
        return []
    scale = choose_scale([*accuracies, 1.0], 4, 96)
    rows = []
    for arm, train, validation in shown:
        picture: Cell = ""
        gap = NONE
        if train.accuracy is not None and validation.accuracy is not None:
            gap = f"{100 * (train.accuracy - validation.accuracy):.1f}"
            said = f"From {percent(train.accuracy)} in training to {percent(validation.accuracy)} in validation"
            picture = TablePicture(draw_way_strip(scale, train.accuracy, validation.accuracy, alternative=said))
        rows.append(
            (
                format_arm_name(report, arm),
                picture,
                percent(train.accuracy),
                percent(validation.accuracy),
                gap,
                format_loss(train.loss),
                format_loss(validation.loss),
            )
        )
    headings = (
        "remedy",
        TablePicture(draw_axis_strip(scale, "fewer right", "more right", factor=100), "training and validation"),
        "training",
        "validation",
        "gap, points",
        "training loss",
        "validation loss",
    )
    return [
        Heading("How far is training from validation?"),
        Paragraph(
            "The ring shows right answers on training images. The dot shows right answers on validation images, which "
            "the network did not learn from. The distance between them is the gap. A shorter distance is good only if "
            "the dot moves to the right: a network that just learns less has a small gap too.",
            tone="hint",
            in_markdown="A smaller gap is good only if validation got better: a network that just learns less has a "
            "small gap too.",
        ),
        Table("Means over the trainings of each remedy", headings, rows, _find_marked(report, shown), range(2, 7)),
    ]


def _build_table(report: StudyReportView, arms: Sequence[ArmView], measure: Measure) -> Table:
    caption, column, unit = MEASURES[measure]
    if report.study.metric is not None:
        caption = f"{report.study.metric} of recorded runs, compared with the base"
    scale = _choose_scale(arms, measure)
    rows = []
    for arm in arms:
        assert arm.difference is not None
        (value, bounds), side = _get_figures(arm, measure), arm.difference.side(measure)
        figure, figure_range = format_signed(unit, value, bounds), format_signed_range(unit, value, bounds)
        picture: Cell = ""
        if value is not None and scale is not None:
            alternative = f"Measured {figure}, very likely {figure_range}, {EFFECTS[side]}"
            picture = TablePicture(draw_interval_strip(scale, value, bounds, side, alternative=alternative))
        rows.append((format_arm_name(report, arm), picture, figure, figure_range, EFFECTS[side], f"{arm.seeds:,}"))
    axis: Cell = ""
    if scale is not None:
        axis = TablePicture(draw_axis_strip(scale, "← worse", "better →", factor=unit.scale, sign=True), "picture")
    return Table(
        caption,
        ("remedy", axis, column, "very likely between", "verdict", "trainings"),
        rows,
        _find_marked(report, [(arm,) for arm in arms]),
        (2, 3, 5),
    )


def _choose_scale(arms: Sequence[ArmView], measure: Measure) -> Scale | None:
    """A scale with better on the right that includes 0. An arm with extreme values does not squeeze the others."""
    known = [(value, bounds) for value, bounds in (_get_figures(arm, measure) for arm in arms) if value is not None]
    if not known:
        return None
    most = compute_reach(known)
    shown = [min(max(end, -most), most) for value, bounds in known for end in (value, *(bounds or ()))]
    return choose_scale([0.0, *shown], *((2.0, 98.0) if measure == "accuracy" else (98.0, 2.0)))


def _get_figures(arm: ArmView, measure: Measure) -> tuple[float | None, Interval]:
    """The difference from the base in one measure, with its adjusted interval."""
    assert arm.difference is not None
    return getattr(arm.difference, measure), getattr(arm.difference.adjusted_intervals, measure)


def _find_marked(report: StudyReportView, shown: Sequence[Sequence[object]]) -> list[int]:
    winner = report.study.winner
    return [place for place, (arm, *_) in enumerate(shown) if arm is winner]
