"""Charts with two axes: learning curves as mean and band, and the error by the number of training images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2

from heldout.markup import Markup, element, joined
from heldout.pictures.scales import Scale, scale_of, tick_texts
from heldout.views.study import CurvePointView, ForecastView
from heldout.views.study_report import BandView, EpochBandView

# Units of the pictures' own, about a pixel each.
WIDTH, HEIGHT = 320, 150
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 22, 22
DOT = 12  # room beside the first and the last dot of a row

# The first epochs are far from where a training ends: what follows them sets the scale.
START_SHARE = 0.15

Figure = Callable[[EpochBandView], BandView | None]


@dataclass(frozen=True)
class Axes:
    """Both scales of a chart."""

    x: Scale
    y: Scale

    def at(self, x: float, y: float) -> str:
        return f"{self.x.place(x):.1f},{self.y.place(y):.1f}"


def epochs_axis(curves: Sequence[Sequence[EpochBandView]]) -> Scale:
    """One for all arms, so that their charts compare."""
    last = max((point.epoch for curve in curves for point in curve), default=2)
    return Scale(1, max(last, 2), LEFT, WIDTH - RIGHT)


def figures_axis(curves: Sequence[Sequence[EpochBandView]], figures: Sequence[Figure]) -> Scale | None:
    """One for all arms, of what follows the first epochs; None where no figure is known."""
    late = [point for curve in curves for point in curve if point.epoch > START_SHARE * curve[-1].epoch]
    bands = [band for point in late for figure in figures if (band := figure(point)) is not None]
    values = [value for band in bands for value in (band.low, band.high)]
    return scale_of(values, HEIGHT - BOTTOM, TOP) if values else None


def curve_chart(
    curve: Sequence[EpochBandView], axes: Axes, train: Figure, validation: Figure, *, title: str, factor: float = 1.0
) -> Markup:
    """Training dashed, validation solid, each with its band. factor: from figures to written numbers."""
    lines: list[Markup] = []
    for name, figure in (("train", train), ("heldout", validation)):
        points = [(point.epoch, band) for point in curve if (band := figure(point)) is not None]
        if points:
            lines += _mean_and_band(axes, points, name)
    return _chart(joined(_frame(axes, title, factor), _clipped(lines)), title)


def sizes_chart(sizes: Sequence[CurvePointView], forecast: ForecastView | None, *, title: str) -> Markup:
    """The error at each number of training images, with its interval; the forecast is hollow and dashed.

    Twice as many images are as far to the right everywhere, since that is what they bring that is compared.
    """
    points: list[CurvePointView | ForecastView] = [*sizes]
    if forecast is not None:
        points.append(forecast)
    errors = [value for one in points for value in (one.error, *(one.interval or ()))]
    first, last = log2(points[0].images), log2(points[-1].images)
    axes = Axes(
        Scale(first, max(last, first + 1), LEFT + DOT, WIDTH - RIGHT - DOT),
        scale_of([0.0, *errors], HEIGHT - BOTTOM, TOP, room=0.02),
    )
    line = " ".join(axes.at(log2(one.images), one.error) for one in sizes)
    named = [(axes.x.place(log2(one.images)), f"{one.images:,}") for one in points]
    parts = [_frame(axes, title, 100.0, named), element("polyline", points=line, class_="mean heldout")]
    if forecast is not None and sizes:
        ends = " ".join(axes.at(log2(one.images), one.error) for one in (sizes[-1], forecast))
        parts.append(element("polyline", points=ends, class_="mean train"))
    for one in points:
        parts.append(_error_bar(axes, one, "forecast" if one is forecast else "heldout"))
    return _chart(joined(*parts), title)


def _error_bar(axes: Axes, point: CurvePointView | ForecastView, class_: str) -> Markup:
    x, y = axes.x.place(log2(point.images)), axes.y.place(point.error)
    bar = None
    if point.interval is not None:
        low, high = (axes.y.place(bound) for bound in point.interval)
        bar = element("line", x1=x, x2=x, y1=low, y2=high, class_=f"whisker {class_}")
    return joined(bar, element("circle", cx=x, cy=y, r=3, class_=f"point {class_}"))


def _mean_and_band(axes: Axes, points: Sequence[tuple[int, BandView]], name: str) -> list[Markup]:
    upper = [axes.at(epoch, band.high) for epoch, band in points]
    lower = [axes.at(epoch, band.low) for epoch, band in reversed(points)]
    mean = " ".join(axes.at(epoch, band.mean) for epoch, band in points)
    band = element("polygon", points=" ".join([*upper, *lower]), class_=f"band {name}")
    if len(points) == 1:
        epoch, only = points[0]
        dot = element("circle", cx=axes.x.place(epoch), cy=axes.y.place(only.mean), r=3, class_=f"point {name}")
        return [band, dot]
    return [band, element("polyline", points=mean, class_=f"mean {name}")]


def _clipped(lines: Sequence[Markup]) -> Markup:
    """Nothing outside of the axes is seen."""
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    box = f"{LEFT} {TOP} {width} {height}"
    return element("svg", lines, x=LEFT, y=TOP, width=width, height=height, viewBox=box)


def _frame(axes: Axes, title: str, factor: float, named: Sequence[tuple[float, str]] | None = None) -> Markup:
    """Title, grid and numbers. named: places on the horizontal axis and what is written there; else whole numbers."""
    written = Scale(factor * axes.y.low, factor * axes.y.high, axes.y.start, axes.y.end)
    parts = [element("text", title, x=LEFT, y=12, class_="name")]
    for tick, text in zip(written.ticks, tick_texts(written.ticks), strict=True):
        y = written.place(tick)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(element("text", text, x=LEFT - 5, y=y + 4, text_anchor="end"))
    if named is None:
        named = [(axes.x.place(tick), f"{round(tick):,}") for tick in axes.x.ticks if tick == round(tick)]
    for x, text in named:
        parts.append(element("text", text, x=x, y=HEIGHT - 6, text_anchor="middle"))
    return joined(*parts)


def _chart(content: Markup, title: str) -> Markup:
    return element(
        "svg",
        element("title", title),
        content,
        class_="chart",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=title,
    )
