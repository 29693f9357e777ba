"""The part of a report that says what helped by how much: a row for each arm, as a picture and in figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis.reports.document import Block, Cell, Heading, Paragraph, Picture, Table
from analysis.reports.effects import Side, accuracy_of, accuracy_side, loss_side
from analysis.reports.figures import LOSS, OF_100_IMAGES, Unit, signed, signed_range
from analysis.reports.figures import loss as loss_text
from analysis.reports.sentences import flattered, flattered_told, winner_of
from analysis.reports.strips import axis_strip, interval_strip, way_strip
from heldout.pictures.scales import Scale, reach_of, scale_of
from heldout.remedy_words import words_of
from heldout.views.study import ArmView, DifferenceView, Interval
from heldout.views.study_report import StudyReportView
from heldout.words import NONE, percent

SIDE_WORDS: dict[Side, str] = {
    "better": "surely better",
    "worse": "surely worse",
    "may_be_chance": "may be chance",
}
_WHY_WIDE = (
    "The ranges are wider than those of a single comparison would be, because several remedies and two measures are "
    "looked at: in 95 of 100 studies, all ranges together hold the true differences."
)
HOW_TO_READ_PICTURES = (
    "How to read the pictures: the line at 0 is the unchanged network. The dot is what was measured. The bar is the "
    "range in which the true difference very likely lies; right is better in both pictures. A bar wholly to the right "
    "of the line: surely better. Wholly to the left: surely worse. A bar across the line: may be chance. An arrow at "
    f"the edge: it reaches farther. {_WHY_WIDE}"
)
HOW_TO_READ_TABLES = (
    "How to read the tables: 0 would be no difference from the unchanged network. The true difference very likely lies "
    "in the range. A range wholly on the better side of 0: surely better. A range with 0 in it: may be chance. "
    f"{_WHY_WIDE}"
)


@dataclass(frozen=True)
class Measure:
    """One of the two figures that arms are compared by."""

    caption: str
    column: str
    unit: Unit
    value: Callable[[DifferenceView], float | None]
    bounds: Callable[[DifferenceView], Interval]
    side: Callable[[DifferenceView], Side]


ACCURACY = Measure(
    "Right answers: how many more of 100 unseen images (validation images) are answered correctly than by the "
    "unchanged network",
    "of 100 images",
    OF_100_IMAGES,
    lambda one: one.accuracy,
    lambda one: one.adjusted_intervals.accuracy,
    accuracy_side,
)
LOSS_MEASURE = Measure(
    "Loss: how far the answers are from being right and certain (0 would be perfect, lower is better), compared with "
    "the unchanged network",
    "loss",
    LOSS,
    lambda one: one.loss,
    lambda one: one.adjusted_intervals.loss,
    loss_side,
)


def comparison_blocks(report: StudyReportView) -> list[Block]:
    compared = [arm for arm in arms_in_order(report) if arm.difference is not None]
    blocks: list[Block] = [Heading("What helped, and by how much?")]
    if not compared:
        return [*blocks, Paragraph("Nothing has been compared yet.")]
    blocks.append(Paragraph(HOW_TO_READ_PICTURES, is_hint=True, in_markdown=HOW_TO_READ_TABLES))
    blocks += [_table(report, compared, measure) for measure in (ACCURACY, LOSS_MEASURE)]
    names = flattered(report.study)
    return [*blocks, Paragraph(flattered_told(names))] if names else blocks


def arms_in_order(report: StudyReportView) -> list[ArmView]:
    """The winner, then the others with the most right answers first; not yet compared ones last."""
    winner = winner_of(report.study)
    return sorted(report.study.arms[1:], key=lambda arm: (arm is not winner, -accuracy_of(arm)))


def shown_name(report: StudyReportView, arm: ArmView) -> str:
    """`unchanged network`, `label smoothing (chosen)`."""
    if arm is report.study.arms[0]:
        return "unchanged network"
    if arm is winner_of(report.study):
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
    scale = _scale(arms, measure)
    rows = []
    for arm in arms:
        assert arm.difference is not None
        value, bounds = measure.value(arm.difference), measure.bounds(arm.difference)
        side = measure.side(arm.difference)
        told, told_range = signed(measure.unit, value, bounds), signed_range(measure.unit, value, bounds)
        picture: Cell = ""
        if value is not None and scale is not None:
            alternative = f"Measured {told}, very likely {told_range}, {SIDE_WORDS[side]}"
            picture = Picture(interval_strip(scale, value, bounds, side, alternative=alternative))
        rows.append((shown_name(report, arm), picture, told, told_range, SIDE_WORDS[side], f"{arm.seeds:,}"))
    axis: Cell = "" if scale is None else _axis(scale, measure)
    return Table(
        measure.caption,
        ("remedy", axis, measure.column, "very likely between", "verdict", "trainings"),
        rows,
        _marked(report, [(arm,) for arm in arms]),
        (2, 3, 5),
    )


def _axis(scale: Scale, measure: Measure) -> Picture:
    return Picture(axis_strip(scale, "← worse", "better →", factor=measure.unit.scale, sign=True), "picture")


def _scale(arms: Sequence[ArmView], measure: Measure) -> Scale | None:
    """Better is on the right, and 0 always within. An arm that ran wild leaves room for the others."""
    differences = [arm.difference for arm in arms if arm.difference is not None]
    known = [(value, measure.bounds(one)) for one in differences if (value := measure.value(one)) is not None]
    if not known:
        return None
    most = reach_of(known)
    shown = [min(max(end, -most), most) for value, bounds in known for end in (value, *(bounds or ()))]
    return scale_of([0.0, *shown], *((2.0, 98.0) if measure.unit.is_rise_better else (98.0, 2.0)))


def _marked(report: StudyReportView, shown: Sequence[Sequence[object]]) -> list[int]:
    winner = winner_of(report.study)
    return [place for place, (arm, *_) in enumerate(shown) if arm is winner]
