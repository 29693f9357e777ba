"""What all pictures are drawn with, those of the client and those of reports: frames, axes, courses, intervals.

Each part has its colours as attributes, which hold where a picture stands alone, and a class, by which the page of a
report gives it others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log2
from typing import NamedTuple

from heldout.markup import Attribute, Child, Markup, element, joined
from heldout.pictures.scales import Scale, scale_of, tick_texts
from heldout.views.study import CurvePointView, ForecastView, Side

TRAIN, HELD_OUT, WORSE, BETTER = "#b23c00", "#1f5fbf", "#b23c00", "#00695c"
INK, QUIET, GRID = "#1c2126", "#58626d", "#e1e5ea"
FONT = "12px system-ui, sans-serif"
COLOURS = {"train": TRAIN, "heldout": HELD_OUT, "forecast": HELD_OUT}
# The first epochs are far from where a training ends: what follows them sets the scale.
START_SHARE = 0.15
DOT = 12  # room beside the first and the last dot of a row
# Strips have places in percent of a cell's width, so that they fit a phone as well as paper.
MIDDLE = "50%"
EDGES = 0.0, 100.0


class CoursePoint(NamedTuple):
    """A figure at an epoch: its mean, lowest and highest over trainings, which are the same of a single one."""

    epoch: float
    mean: float
    low: float
    high: float


Course = Sequence[CoursePoint]


def svg(width: int, height: int, title: str, *children: Child) -> Markup:
    """A picture on white, with its title above."""
    return element(
        "svg",
        element("title", title),
        element("rect", width=width, height=height, fill="#ffffff"),
        element("text", title, x=12, y=20, fill=INK, font_weight="600"),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        style=f"font: {FONT}; max-width: 100%; height: auto",
    )


def text(
    content: str, x: float, y: float, *, anchor: str = "start", fill: str = QUIET, class_: str | None = None
) -> Markup:
    return element("text", content, x=x, y=y, text_anchor=anchor, fill=fill, class_=class_)


@dataclass(frozen=True)
class Box:
    """Where the figures of a chart lie, in the picture's own units."""

    left: int
    right: int
    top: int
    bottom: int

    @property
    def clip(self) -> dict[str, Attribute]:
        """Attributes of an element outside of which nothing of its content is seen."""
        width, height = self.right - self.left, self.bottom - self.top
        view = f"{self.left} {self.top} {width} {height}"
        return {"x": self.left, "y": self.top, "width": width, "height": height, "viewBox": view}

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


def _epoch_columns(x: Scale) -> list[tuple[float, str]]:
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
    return element(
        "polyline",
        points=_written(points),
        fill="none",
        stroke=COLOURS[name],
        stroke_width=2,
        stroke_dasharray=None if name == "heldout" else "5 4",
        class_=f"mean {name}",
    )


def _written(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def scale_epochs(courses: Iterable[Course], start: float, end: float) -> Scale:
    """From the first epoch to the last one of them all."""
    last = max((point.epoch for course in courses for point in course), default=2)
    return Scale(1, max(last, 2), start, end)


def scale_figures(courses: Iterable[Course], start: float, end: float) -> Scale | None:
    """A scale of what follows the first epochs of each; None where no figure is known."""
    late = [point for course in courses for point in course if point.epoch > START_SHARE * course[-1].epoch]
    values = [value for point in late for value in (point.low, point.high)]
    return scale_of(values, start, end) if values else None


def courses_chart(
    title: str, train: Course, held_out: Course, box: Box, x: Scale, y: Scale, *, factor: float = 1.0
) -> Markup:
    """Training dashed, held-out images solid, each with its band if it has one. factor: to written numbers."""
    lines: list[Markup] = []
    for name, course in (("train", train), ("heldout", held_out)):
        upper = [(x.place(point.epoch), y.place(point.high)) for point in course]
        lower = [(x.place(point.epoch), y.place(point.low)) for point in course]
        if upper != lower:
            outline = _written([*upper, *reversed(lower)])
            band: dict[str, Attribute] = {"fill": COLOURS[name], "fill_opacity": 0.15, "class_": f"band {name}"}
            lines.append(element("polygon", points=outline, **band))
        if course:
            lines.append(curve([(x.place(point.epoch), y.place(point.mean)) for point in course], name))
    return joined(box.frame(title, y, _epoch_columns(x), factor=factor), element("svg", lines, **box.clip))


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


# --- strips: small pictures for the rows of a table ----------------------------------------------


def interval_strip(
    scale: Scale, value: float, bounds: tuple[float, float] | None, side: Side, *, alternative: str
) -> Markup:
    """A dot for what was measured, a bar for where the true figure may be, and the line at 0.

    What lies outside of the picture ends at its edge, in an arrow.
    """
    bar = None
    if bounds is not None:
        low, high = (_within(scale, bound) for bound in bounds)
        bar = joined(
            _line(low, high, f"bar {side}"),
            *(_end(scale, bound, side) for bound in bounds),
        )
    inside = _is_inside(scale, value)
    dot = element("circle", cx=_percent(scale, value), cy=MIDDLE, r=6, class_=f"dot {side}") if inside else None
    return _strip(joined(_strip_grid(scale), bar, dot), alternative)


def _end(scale: Scale, bound: float, side: Side) -> Markup:
    if _is_inside(scale, bound):
        end = _percent(scale, bound)
        return element("line", x1=end, x2=end, y1="32%", y2="68%", class_=f"cap {side}")
    is_left = scale.place(bound) < EDGES[0]
    anchor = "start" if is_left else "end"
    return element("text", "◀" if is_left else "▶", x=_within(scale, bound), y="66%", text_anchor=anchor, class_="end")


def _is_inside(scale: Scale, value: float) -> bool:
    return EDGES[0] <= scale.place(value) <= EDGES[1]


def _within(scale: Scale, value: float) -> str:
    return f"{min(max(scale.place(value), EDGES[0]), EDGES[1]):.2f}%"


def way_strip(scale: Scale, train: float, validation: float, *, alternative: str) -> Markup:
    """A ring for training, a dot for validation, and the gap between them."""
    ends = _percent(scale, train), _percent(scale, validation)
    return _strip(
        joined(
            _strip_grid(scale),
            _line(*ends, "bar gap"),
            element("circle", cx=ends[0], cy=MIDDLE, r=5, class_="ring"),
            element("circle", cx=ends[1], cy=MIDDLE, r=6, class_="dot heldout"),
        ),
        alternative,
    )


def axis_strip(scale: Scale, low: str, high: str, *, factor: float = 1.0, sign: bool = False) -> Markup:
    """The numbers of the scale, with a word for each end. factor: from figures to written numbers."""
    written = Scale(factor * scale.low, factor * scale.high, scale.start, scale.end)
    ticks = written.ticks
    numbers = [
        element("text", text, x=_percent(written, tick), y="85%", text_anchor="middle")
        for tick, text in zip(ticks, tick_texts(ticks, sign=sign), strict=True)
    ]
    words = (
        element("text", low, x="1%", y="35%", class_="end"),
        element("text", high, x="99%", y="35%", text_anchor="end", class_="end"),
    )
    return _strip(joined(*words, *numbers), "")


def _strip_grid(scale: Scale) -> Markup:
    lines = []
    for tick in scale.ticks:
        x = _percent(scale, tick)
        lines.append(element("line", x1=x, x2=x, y1="0%", y2="100%", class_="zero" if abs(tick) < 1e-12 else "grid"))
    return joined(*lines)


def _line(start: str, end: str, class_: str) -> Markup:
    return element("line", x1=start, x2=end, y1=MIDDLE, y2=MIDDLE, class_=class_)


def _percent(scale: Scale, value: float) -> str:
    return f"{scale.place(value):.2f}%"


def _strip(content: Markup, alternative: str) -> Markup:
    if not alternative:
        return element("svg", content, class_="strip", aria_hidden="true")
    return element("svg", element("title", alternative), content, class_="strip", role="img", aria_label=alternative)
