"""What all pictures with axes are drawn with: grids, curves, and the error by the number of training images.

Each part has its colours as attributes, which hold where a picture stands alone, and a class, by which the page of a
report gives it others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

from heldout.markup import Attribute, Markup, element, joined
from heldout.pictures.canvas import GRID, HELD_OUT, INK, TRAIN, text
from heldout.pictures.scales import Scale, scale_of, tick_texts
from heldout.views.study import CurvePointView, ForecastView

# The first epochs are far from where a training ends: what follows them sets the scale.
START_SHARE = 0.15
DOT = 12  # room beside the first and the last dot of a row

COLOURS = {"train": TRAIN, "heldout": HELD_OUT, "forecast": HELD_OUT}


@dataclass(frozen=True)
class Box:
    """Where the figures of a chart lie, in the picture's own units."""

    left: int
    right: int
    top: int
    bottom: int

    def frame(self, title: str, y: Scale, columns: Sequence[tuple[float, str]], *, factor: float = 1.0) -> Markup:
        """Title, lines with their numbers at the left, and what is written below.

        Args:
            columns: places from left to right, and what stands there.
            factor: from figures to written numbers.
        """
        written = Scale(factor * y.low, factor * y.high, y.start, y.end)
        parts = [text(title, self.left, self.top - 10, class_="name")]
        for tick, number in zip(written.ticks, tick_texts(written.ticks), strict=True):
            place = written.place(tick)
            parts.append(element("line", x1=self.left, x2=self.right, y1=place, y2=place, stroke=GRID, class_="grid"))
            parts.append(text(number, self.left - 6, place + 4, anchor="end"))
        return joined(*parts, *(text(said, place, self.bottom + 16, anchor="middle") for place, said in columns))


def epoch_columns(x: Scale) -> list[tuple[float, str]]:
    return [(x.place(tick), f"{round(tick):,}") for tick in x.ticks if tick == round(tick)]


def upright_grid(x: Scale, top: float, bottom: float, numbers: Sequence[str]) -> Markup:
    """A line for each round figure with its number below; that of 0 is dark."""
    parts = []
    for tick, number in zip(x.ticks, numbers, strict=True):
        place = x.place(tick)
        parts.append(element("line", x1=place, x2=place, y1=top, y2=bottom, stroke=INK if number == "0" else GRID))
        parts.append(text(number, place, bottom + 16, anchor="middle"))
    return joined(*parts)


def curve(points: Sequence[tuple[float, float]], name: str) -> Markup:
    """A line through places, dashed where it is not of held-out images; a lone one is a dot."""
    if len(points) == 1:
        [(x, y)] = points
        return element("circle", cx=x, cy=y, r=3, fill=COLOURS[name], class_=f"point {name}")
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return element(
        "polyline",
        points=places,
        fill="none",
        stroke=COLOURS[name],
        stroke_width=2,
        stroke_dasharray=None if name == "heldout" else "5 4",
        class_=f"mean {name}",
    )


def sizes_chart(
    title: str, sizes: Sequence[CurvePointView], forecast: ForecastView | None, box: Box, *, dot: int = 3
) -> Markup:
    """The error at each number of training images, with its interval; the forecast is hollow and dashed.

    Twice as many images are as far to the right everywhere, since that is what they bring that is compared.
    """
    points: list[CurvePointView | ForecastView] = [*sizes, *([] if forecast is None else [forecast])]
    errors = [value for point in points for value in (point.error, *(point.interval or ()))]
    first, last = log2(points[0].images), log2(points[-1].images)
    x = Scale(first, max(last, first + 1), box.left + DOT, box.right - DOT)
    y = scale_of([0.0, *errors], box.bottom, box.top, room=0.02)
    places = [(x.place(log2(point.images)), y.place(point.error)) for point in points]
    columns = [(across, f"{point.images:,}") for point, (across, _) in zip(points, places, strict=True)]
    parts = [box.frame(title, y, columns, factor=100.0)]
    if sizes:
        parts.append(curve(places[: len(sizes)], "heldout"))
    if forecast is not None and sizes:
        parts.append(curve(places[-2:], "forecast"))
    for point, (across, down) in zip(points, places, strict=True):
        name = "forecast" if point is forecast else "heldout"
        stroke: dict[str, Attribute] = {"stroke": COLOURS[name], "stroke_width": 2}
        if point.interval is not None:
            low, high = (y.place(bound) for bound in point.interval)
            parts.append(element("line", x1=across, x2=across, y1=low, y2=high, class_=f"whisker {name}", **stroke))
        filled: dict[str, Attribute] = {"fill": "#ffffff", **stroke} if point is forecast else {"fill": COLOURS[name]}
        parts.append(element("circle", cx=across, cy=down, r=dot, class_=f"point {name}", **filled))
    return joined(*parts)
