"""The part of a report that says what helped by how much: a row for each arm, as a picture and in figures."""

from collections.abc import Sequence

from analysis.reports.document import Block, Cell, Heading, Paragraph, Picture, Table
from heldout.pictures.kit import axis_strip, interval_strip, way_strip
from heldout.pictures.scales import Scale, reach_of, scale_of
from heldout.views.study import ArmView, Interval, Measure
from heldout.views.study_report import StudyReportView
from heldout.words import LOSS, NONE, POINTS, Unit, loss_text, percent, signed, signed_range
from heldout.words.labels import EFFECTS, HOW_TO_READ, words_of

HOW_TO_READ_PICTURES = (
    "In the pictures, the line at 0 is the unchanged network, the dot is what was measured, and the bar is its range. "
    f"Right is better. An arrow at the edge: the bar reaches farther. {HOW_TO_READ}"
)
MEASURES: dict[Measure, tuple[str, str, Unit]] = {
    "accuracy": ("Accuracy on validation images, compared with the unchanged network", "points", POINTS),
    "loss": ("Loss on validation images, compared with the unchanged network; lower is better", "loss", LOSS),
}


def comparison_blocks(report: StudyReportView) -> list[Block]:
    compared = [arm for arm in arms_in_order(report) if arm.difference is not None]
    blocks: list[Block] = [Heading("What helped, and by how much?")]
    if not compared:
        return [*blocks, Paragraph("Nothing has been compared yet.")]
    blocks.append(Paragraph(HOW_TO_READ_PICTURES, is_hint=True, in_markdown=HOW_TO_READ))
    return blocks + [_table(report, compared, measure) for measure in MEASURES]


def arms_in_order(report: StudyReportView) -> list[ArmView]:
    """The winner, then the others with the most right answers first; not yet compared ones last."""

    def place(arm: ArmView) -> tuple[bool, float]:
        gained = None if arm.difference is None else arm.difference.accuracy
        return arm is not report.study.winner, float("inf") if gained is None else -gained

    return sorted(report.study.arms[1:], key=place)


def shown_name(report: StudyReportView, arm: ArmView) -> str:
    """`unchanged network`, `label smoothing (chosen)`."""
    if arm is report.study.arms[0]:
        return "unchanged network"
    if arm is report.study.winner:
        return f"{words_of(arm.name)} (chosen)"
    if arm.status == "dropped":
        return f"{words_of(arm.name)} (dropped)"
    return words_of(arm.name)


def gap_blocks(report: StudyReportView) -> list[Block]:
    """From training to validation, for each arm."""
    shown = [
        (arm, arm.train, arm.validation)
        for arm in (report.study.arms[0], *arms_in_order(report))
        if arm.train is not None and arm.validation is not None
    ]
    accuracies = [one.accuracy for _, *both in shown for one in both if one.accuracy is not None]
    if not accuracies:
        return []
    scale = scale_of([*accuracies, 1.0], 4, 96)
    rows = []
    for arm, train, validation in shown:
        picture: Cell = ""
        gap = NONE
        if train.accuracy is not None and validation.accuracy is not None:
            gap = f"{100 * (train.accuracy - validation.accuracy):.1f}"
            said = f"From {percent(train.accuracy)} in training to {percent(validation.accuracy)} in validation"
            picture = Picture(way_strip(scale, train.accuracy, validation.accuracy, alternative=said))
        rows.append(
            (
                shown_name(report, arm),
                picture,
                percent(train.accuracy),
                percent(validation.accuracy),
                gap,
                loss_text(train.loss),
                loss_text(validation.loss),
            )
        )
    headings = (
        "remedy",
        Picture(axis_strip(scale, "fewer right", "more right", factor=100), "training and validation"),
        "training",
        "validation",
        "gap, points",
        "training loss",
        "validation loss",
    )
    return [
        Heading("How far is training from validation?"),
        Paragraph(
            "Ring: right answers on training images. Dot: on validation images, which the network was not trained on. "
            "The way between them is the gap. A shorter way is good only where the dot moves to the right; a network "
            "that merely learns less has a small gap too.",
            is_hint=True,
            in_markdown="A smaller gap is good only where validation got better; a network that merely learns less has "
            "a small gap too.",
        ),
        Table("Means over the trainings of each remedy", headings, rows, _marked(report, shown), range(2, 7)),
    ]


def _table(report: StudyReportView, arms: Sequence[ArmView], measure: Measure) -> Table:
    caption, column, unit = MEASURES[measure]
    scale = _scale(arms, measure)
    rows = []
    for arm in arms:
        assert arm.difference is not None
        (value, bounds), side = _figures_of(arm, measure), arm.difference.side(measure)
        told, told_range = signed(unit, value, bounds), signed_range(unit, value, bounds)
        picture: Cell = ""
        if value is not None and scale is not None:
            alternative = f"Measured {told}, very likely {told_range}, {EFFECTS[side]}"
            picture = Picture(interval_strip(scale, value, bounds, side, alternative=alternative))
        rows.append((shown_name(report, arm), picture, told, told_range, EFFECTS[side], f"{arm.seeds:,}"))
    axis: Cell = "" if scale is None else _axis(scale, measure)
    return Table(
        caption,
        ("remedy", axis, column, "very likely between", "verdict", "trainings"),
        rows,
        _marked(report, [(arm,) for arm in arms]),
        (2, 3, 5),
    )


def _axis(scale: Scale, measure: Measure) -> Picture:
    return Picture(axis_strip(scale, "← worse", "better →", factor=MEASURES[measure][2].scale, sign=True), "picture")


def _scale(arms: Sequence[ArmView], measure: Measure) -> Scale | None:
    """Better is on the right, and 0 always within. An arm that ran wild leaves room for the others."""
    known = [(value, bounds) for value, bounds in (_figures_of(arm, measure) for arm in arms) if value is not None]
    if not known:
        return None
    most = reach_of(known)
    shown = [min(max(end, -most), most) for value, bounds in known for end in (value, *(bounds or ()))]
    return scale_of([0.0, *shown], *((2.0, 98.0) if measure == "accuracy" else (98.0, 2.0)))


def _figures_of(arm: ArmView, measure: Measure) -> tuple[float | None, Interval]:
    """The difference from the base in one measure, with its adjusted interval."""
    assert arm.difference is not None
    return getattr(arm.difference, measure), getattr(arm.difference.adjusted_intervals, measure)


def _marked(report: StudyReportView, shown: Sequence[Sequence[object]]) -> list[int]:
    winner = report.study.winner
    return [place for place, (arm, *_) in enumerate(shown) if arm is winner]
