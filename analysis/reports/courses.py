"""The part of a report that shows courses: learning curves epoch by epoch, and errors by the number of images."""

from collections.abc import Callable, Sequence

from analysis.reports.comparisons import arms_in_order, shown_name
from analysis.reports.document import Block, Heading, Panel, Panels, Paragraph, Table
from heldout.markup import Markup, element, joined
from heldout.pictures.kit import Box, Course, CoursePoint, courses_chart, scale_epochs, scale_figures, sizes_chart
from heldout.views.study import StudyView
from heldout.views.study_report import BandView, EpochBandView, ReportArmView, StudyReportView
from heldout.words import NONE, loss_text, percent

# Units of the charts' own, about a pixel each.
WIDTH, HEIGHT = 320, 150
BOX = Box(40, WIDTH - 10, 22, HEIGHT - 22)

Figure = Callable[[EpochBandView], BandView | None]
# Title, factor from figures to written numbers, and the figures of training and of validation.
MEASURES: tuple[tuple[str, float, Figure, Figure], ...] = (
    ("right answers, %, by epoch", 100.0, lambda point: point.train_accuracy, lambda point: point.validation_accuracy),
    ("loss, by epoch", 1.0, lambda point: point.train_loss, lambda point: point.validation_loss),
)


def course_blocks(report: StudyReportView) -> list[Block]:
    """A chart of accuracy and one of loss for each arm, on the same scales, and a table."""
    told = {arm.name: arm for arm in report.arms}
    arms = [(shown_name(report, arm), told[arm.name]) for arm in (report.study.arms[0], *arms_in_order(report))]
    charts: dict[str, list[Markup]] = {name: [] for name, _ in arms}
    for title, factor, *figures in MEASURES:
        courses = {name: [_list_points(arm.curve, figure) for figure in figures] for name, arm in arms}
        of_all = [course for both in courses.values() for course in both]
        x, y = scale_epochs(of_all, BOX.left, BOX.right), scale_figures(of_all, BOX.bottom, BOX.top)
        for name, (train, validation) in courses.items():
            if y is not None and (train or validation):
                charts[name].append(_chart(title, courses_chart(title, train, validation, BOX, x, y, factor=factor)))
    panels = [Panel(name, joined(*drawn)) for name, drawn in charts.items() if drawn]
    if not panels:
        return []
    return [
        Heading("How did the trainings go?"),
        Paragraph(
            "From left to right, epoch by epoch. Dashed: training images. Solid: validation images. The line is the "
            "mean of all trainings of a remedy, the band around it reaches from the lowest to the highest of them. "
            "Where a solid line turns back while the dashed one goes on, the network learns its training images by "
            "heart. The first epochs may lie outside of the picture.",
            is_hint=True,
            in_markdown="",
        ),
        Panels(panels),
        Table(
            "The best epoch by validation loss and the last one; means over the trainings",
            ("remedy", "epoch", "training", "validation", "training loss", "validation loss", "trainings"),
            [row for name, arm in arms for row in _rows_of(name, arm)],
            (),
            range(1, 7),
        ),
    ]


def size_blocks(study: StudyView) -> list[Block]:
    """The error at each number of training images, and the forecast."""
    heading = Heading("What do more training images bring?")
    if not study.sizes:
        return [heading, Paragraph("Nothing has been measured yet.")]
    rows = [
        (f"{one.images:,} images", percent(one.error), _range(one.interval), loss_text(one.loss), "measured")
        for one in study.sizes
    ]
    if study.forecast is not None:
        one = study.forecast
        rows.append((f"{one.images:,} images", percent(one.error), _range(one.interval), NONE, "forecast"))
    forecast = "The hollow dot is a forecast, no measurement."
    if study.forecast is None:
        forecast = f"There is no forecast: {(study.no_forecast or 'it is not known yet').rstrip('.')}."
    return [
        heading,
        Paragraph(
            "Each dot is the share of validation images that are answered wrongly, by networks that were trained on so "
            "many images; the upright line is where the true share very likely lies. The distance to the right is "
            f"the same for every doubling. {forecast}",
            is_hint=True,
            in_markdown="" if study.forecast is not None else forecast,
        ),
        Panels([Panel("", _sizes_picture(study))]),
        Table(
            "Wrong answers on validation images",
            ("trained on", "wrong answers", "very likely between", "loss", "how"),
            rows,
            (),
            (1, 2, 3),
        ),
    ]


def _sizes_picture(study: StudyView) -> Markup:
    title = "wrong answers, %, by training images"
    return _chart(title, sizes_chart(title, study.sizes or [], study.forecast, BOX))


def _list_points(curve: Sequence[EpochBandView], figure: Figure) -> Course:
    bands = [(point.epoch, band) for point in curve if (band := figure(point)) is not None]
    return [CoursePoint(epoch, band.mean, band.low, band.high) for epoch, band in bands]


def _chart(title: str, content: Markup) -> Markup:
    view = f"0 0 {WIDTH} {HEIGHT}"
    return element("svg", element("title", title), content, class_="chart", viewBox=view, role="img", aria_label=title)


def _range(bounds: tuple[float, float] | None) -> str:
    return NONE if bounds is None else f"{percent(bounds[0])} to {percent(bounds[1])}"


def _rows_of(name: str, arm: ReportArmView) -> list[tuple[str, ...]]:
    """Best and last epoch; one row where they are the same."""
    if not arm.curve:
        return []
    measured = [point for point in arm.curve if point.validation_loss is not None]
    best = min(measured, key=_mean_validation_loss, default=arm.curve[-1])
    points: Sequence[EpochBandView] = sorted(
        {point.epoch: point for point in (best, arm.curve[-1])}.values(), key=lambda point: point.epoch
    )
    return [
        (
            name,
            f"{point.epoch:,}{' (best)' if point is best else ''}",
            percent(None if point.train_accuracy is None else point.train_accuracy.mean),
            percent(None if point.validation_accuracy is None else point.validation_accuracy.mean),
            loss_text(None if point.train_loss is None else point.train_loss.mean),
            loss_text(None if point.validation_loss is None else point.validation_loss.mean),
            f"{point.trainings:,}",
        )
        for point in points
    ]


def _mean_validation_loss(point: EpochBandView) -> float:
    assert point.validation_loss is not None
    return point.validation_loss.mean
