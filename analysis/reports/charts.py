"""Charts of a report: learning curves as mean and band, and the error by the number of training images."""

from collections.abc import Callable, Sequence

from heldout.markup import Markup, element
from heldout.pictures import axes
from heldout.pictures.axes import START_SHARE, Box, curve, epoch_columns
from heldout.pictures.scales import Scale, scale_of
from heldout.views.study import CurvePointView, ForecastView
from heldout.views.study_report import BandView, EpochBandView

# Units of the pictures' own, about a pixel each.
WIDTH, HEIGHT = 320, 150
BOX = Box(40, WIDTH - 10, 22, HEIGHT - 22)

Figure = Callable[[EpochBandView], BandView | None]


def epochs_axis(curves: Sequence[Sequence[EpochBandView]]) -> Scale:
    """One for all arms, so that their charts compare."""
    last = max((point.epoch for curve in curves for point in curve), default=2)
    return Scale(1, max(last, 2), BOX.left, BOX.right)


def figures_axis(curves: Sequence[Sequence[EpochBandView]], figures: Sequence[Figure]) -> Scale | None:
    """One for all arms, of what follows the first epochs; None where no figure is known."""
    late = [point for curve in curves for point in curve if point.epoch > START_SHARE * curve[-1].epoch]
    bands = [band for point in late for figure in figures if (band := figure(point)) is not None]
    values = [value for band in bands for value in (band.low, band.high)]
    return scale_of(values, BOX.bottom, BOX.top) if values else None


def curve_chart(
    points: Sequence[EpochBandView],
    x: Scale,
    y: Scale,
    train: Figure,
    validation: Figure,
    *,
    title: str,
    factor: float = 1.0,
) -> Markup:
    """Training dashed, validation solid, each with its band. factor: from figures to written numbers."""
    lines: list[Markup] = []
    for name, figure in (("train", train), ("heldout", validation)):
        bands = [(x.place(point.epoch), band) for point in points if (band := figure(point)) is not None]
        if bands:
            edge = [*((at, band.high) for at, band in bands), *((at, band.low) for at, band in reversed(bands))]
            outline = " ".join(f"{at:.1f},{y.place(value):.1f}" for at, value in edge)
            lines.append(element("polygon", points=outline, class_=f"band {name}"))
            lines.append(curve([(at, y.place(band.mean)) for at, band in bands], name))
    return _chart(title, BOX.frame(title, y, epoch_columns(x), factor=factor), _clipped(lines))


def sizes_chart(sizes: Sequence[CurvePointView], forecast: ForecastView | None, *, title: str) -> Markup:
    return _chart(title, axes.sizes_chart(title, sizes, forecast, BOX))


def _clipped(lines: Sequence[Markup]) -> Markup:
    """Nothing outside of the axes is seen."""
    width, height = BOX.right - BOX.left, BOX.bottom - BOX.top
    box = f"{BOX.left} {BOX.top} {width} {height}"
    return element("svg", lines, x=BOX.left, y=BOX.top, width=width, height=height, viewBox=box)


def _chart(title: str, *content: Markup) -> Markup:
    return element(
        "svg",
        element("title", title),
        *content,
        class_="chart",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=title,
    )
