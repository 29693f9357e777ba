"""The parts of a report that show curves: figures of each epoch as bands, and errors by the number of images."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from typing import NamedTuple

from heldout.documents.arms import format_arm_name, sort_arms
from heldout.documents.blocks import Block, Heading, Panel, Panels, Table
from heldout.markup import Markup
from heldout.pictures.kit import Box, Course, CoursePoint, draw_chart, draw_courses, scale_epochs, scale_figures
from heldout.views.study_report import BandView, EpochBandView, ReportArmView, StudyReportView
from heldout.words import format_loss, percent

# Chart units, about a pixel each.
WIDTH, HEIGHT = 320, 150
BOX = Box(40, WIDTH - 10, 22, HEIGHT - 22)

Figure = Callable[[EpochBandView], BandView | None]
# Title, factor from figures to written numbers, and the figures of training and of validation.
MEASURES: tuple[tuple[str, float, Figure, Figure], ...] = (
    ("right answers, %, by epoch", 100.0, lambda point: point.train_accuracy, lambda point: point.validation_accuracy),
    ("loss, by epoch", 1.0, lambda point: point.train_loss, lambda point: point.validation_loss),
)


def build_course_blocks(report: StudyReportView) -> list[Block]:
    """Build a chart of accuracy and one of loss for each arm, all on the same scales, and a table."""
    reported = {arm.name: arm for arm in report.arms}
    arms = [
        (format_arm_name(report.study, arm), reported[arm.name])
        for arm in (report.study.arms[0], *sort_arms(report.study))
    ]
    charts: dict[str, list[Markup]] = {name: [] for name, _ in arms}
    for title, factor, *figures in MEASURES:
        courses = {name: [_list_points(arm.curve, figure) for figure in figures] for name, arm in arms}
        of_all = [course for both in courses.values() for course in both]
        x, y = scale_epochs(of_all, BOX.left, BOX.right), scale_figures(of_all, BOX.bottom, BOX.top)
        for name, (train, validation) in courses.items():
            if y is not None and (train or validation):
                charts[name].append(
                    draw_chart(WIDTH, HEIGHT, title, draw_courses(title, train, validation, BOX, x, y, factor=factor))
                )
    panels = [Panel(name, drawn) for name, drawn in charts.items() if drawn]
    if not panels:
        return []
    return [
        Heading("How did the trainings go?", is_folded=True),
        Panels(
            panels,
            "From left to right, epoch by epoch. Dashed: training images. Solid: validation images. The line is the "
            "mean of all trainings of a remedy, and the band around it reaches from the lowest to the highest. If the "
            "solid line turns back while the dashed one continues, the network memorizes its training images. "
            "The first epochs may be outside of the picture.",
        ),
        Table(
            "The epoch with the best validation loss and the last epoch: means over the trainings",
            ("remedy", "epoch", "training", "validation", "training loss", "validation loss", "trainings"),
            [row for name, arm in arms for row in _build_rows(name, arm)],
            (),
            tuple(range(1, 7)),
        ),
    ]


def _list_points(curve: Sequence[EpochBandView], figure: Figure) -> Course:
    bands = [(point.epoch, band) for point in curve if (band := figure(point)) is not None]
    return [CoursePoint(epoch, band.mean, band.low, band.high) for epoch, band in bands]


def _build_rows(name: str, arm: ReportArmView) -> list[tuple[str, ...]]:
    """Build rows for the best and the last epoch, or a single row if they are the same."""
    if not arm.curve:
        return []
    measured = [point for point in arm.curve if point.validation_loss is not None]
    best = min(measured, key=lambda point: _get_mean(point.validation_loss) or 0.0, default=arm.curve[-1])
    points: Sequence[EpochBandView] = sorted(
        {point.epoch: point for point in (best, arm.curve[-1])}.values(), key=lambda point: point.epoch
    )
    return [
        (
            name,
            f"{point.epoch:,}{' (best)' if point is best else ''}",
            percent(_get_mean(point.train_accuracy)),
            percent(_get_mean(point.validation_accuracy)),
            format_loss(_get_mean(point.train_loss)),
            format_loss(_get_mean(point.validation_loss)),
            f"{point.trainings:,}",
        )
        for point in points
    ]


def _get_mean(band: BandView | None) -> float | None:
    return None if band is None else band.mean


MAX_POINTS = 120  # more than a picture can show


class EpochFigures(NamedTuple):
    """One epoch of one training. A figure is None if it was not measured or is not finite."""

    epoch: int
    train_accuracy: float | None
    validation_accuracy: float | None
    train_loss: float | None
    validation_loss: float | None


def build_curve(jobs: Sequence[str], epochs: Mapping[str, Sequence[EpochFigures]]) -> list[EpochBandView]:
    """Build the bands of these trainings.

    Args:
        epochs: of each job, in order.
    """
    by_epoch: dict[int, list[EpochFigures]] = {}
    for job in jobs:
        for figures in epochs.get(job, ()):
            by_epoch.setdefault(figures.epoch, []).append(figures)
    numbers = sorted(by_epoch)
    return [_build_point(number, by_epoch[number]) for number in _thin_out(numbers)]


def _thin_out(numbers: Sequence[int]) -> list[int]:
    """At most MAX_POINTS of the items, evenly spread, with the first and the last one."""
    if len(numbers) <= MAX_POINTS:
        return list(numbers)
    last = len(numbers) - 1
    places = sorted({round(step * last / (MAX_POINTS - 1)) for step in range(MAX_POINTS)})
    return [numbers[place] for place in places]


def _build_point(epoch: int, figures: Sequence[EpochFigures]) -> EpochBandView:
    bands = {name: _build_band(getattr(measured, name) for measured in figures) for name in EpochFigures._fields[1:]}
    return EpochBandView.model_validate({"epoch": epoch, "trainings": len(figures), **bands})


def _build_band(values: Iterable[float | None]) -> BandView | None:
    known = [value for value in values if value is not None and isfinite(value)]
    if not known:
        return None
    return BandView(mean=sum(known) / len(known), low=min(known), high=max(known))
